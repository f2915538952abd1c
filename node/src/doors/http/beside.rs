//! The requests of one connection, answered by the task that holds it.
//!
//! Over HTTP/2 a client has many requests under way at once, and a node often has the answers to many of them at the same moment. Were each
//! request a task of its own, each answer would wake the connection, and leave in a packet of its own.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures::stream::{FuturesUnordered, StreamExt};
use hyper::rt::Executor;

type Request = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a connection leaves its requests.
#[derive(Clone, Default)]
pub(super) struct Beside {
    begun: Arc<Mutex<Vec<Request>>>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

impl<R: Future<Output = ()> + Send + 'static> Executor<R> for Beside {
    fn execute(&self, request: R) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push(Box::pin(request));
    }
}

/// The requests that are under way.
#[derive(Default)]
pub(super) struct Requests {
    under_way: FuturesUnordered<Request>,
}

impl Requests {
    /// Drives a connection and its requests until the connection ends. All answers that are there leave together.
    pub(super) async fn drive<C: Future>(
        &mut self,
        beside: &Beside,
        mut connection: Pin<&mut C>,
    ) -> C::Output {
        poll_fn(|context| {
            loop {
                while let Poll::Ready(Some(())) = self.under_way.poll_next_unpin(context) {}
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(ended);
                }
                let mut begun = beside.begun.lock().unwrap_or_else(PoisonError::into_inner);
                if begun.is_empty() {
                    return Poll::Pending;
                }
                self.under_way.extend(begun.drain(..));
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::watch;

    use super::*;

    /// A connection that begins ten requests at once, counts how often it is polled, and ends when they are answered.
    #[tokio::test]
    async fn answers_that_come_at_once_wake_the_connection_once() {
        let beside = Beside::default();
        let (answered, polled) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
        let (ready, waits) = watch::channel(false);
        for _ in 0..10 {
            let (mut waits, answered) = (waits.clone(), Arc::clone(&answered));
            beside.execute(async move {
                waits.wait_for(|ready| *ready).await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            });
        }
        let connection = poll_fn(|_| {
            polled.fetch_add(1, Ordering::Relaxed);
            if answered.load(Ordering::Relaxed) == 10 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let mut connection = std::pin::pin!(connection);
        let mut requests = Requests::default();
        let driven = requests.drive(&beside, connection.as_mut());
        let mut driven = std::pin::pin!(driven);
        assert!(futures::poll!(driven.as_mut()).is_pending());
        let before = polled.load(Ordering::Relaxed);
        ready.send(true).unwrap();
        driven.await;
        assert_eq!(polled.load(Ordering::Relaxed), before + 1);
    }
}
