//! The signals that ask a program to stop.

use super::exit::{Exit, Failure};

/// Takes the signals from the moment it was made; until then they end the program.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Within a tokio runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        let take = |kind| {
            tokio::signal::unix::signal(kind)
                .map_err(|error| Failure::from_error(Exit::Failed, &error))
        };
        Ok(Self {
            #[cfg(unix)]
            interrupt: take(tokio::signal::unix::SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: take(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
    }
}
