//! The executor of a simulated mesh: runs whatever is ready, in the order in which it became so.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Futures of the application under test. They wait for their nodes, and for virtual time.
#[derive(Default)]
pub(crate) struct Tasks {
    tasks: RefCell<BTreeMap<u64, Task>>,
    spawned: RefCell<Vec<Task>>,
    next: RefCell<u64>,
    ready: Arc<Ready>,
}

#[derive(Debug, Default)]
struct Ready(Mutex<VecDeque<u64>>);

/// Wakes one task.
#[derive(Debug)]
struct Alarm {
    task: u64,
    ready: Arc<Ready>,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
    }

    /// Polls what is ready until nothing is; says whether anything was.
    pub(crate) fn run(&self) -> bool {
        let mut any = false;
        loop {
            self.adopt();
            let Some(id) = self.ready.pop() else {
                return any;
            };
            any = true;
            // Out of the map while it runs: it may spawn others.
            let Some(mut task) = self.tasks.borrow_mut().remove(&id) else {
                continue;
            };
            let waker = Waker::from(Arc::new(Alarm {
                task: id,
                ready: Arc::clone(&self.ready),
            }));
            if task
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {
                self.tasks.borrow_mut().insert(id, task);
            }
        }
    }

    /// Drops all of them.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(dropped);
        let dropped = std::mem::take(&mut *self.spawned.borrow_mut());
        drop(dropped);
    }

    fn adopt(&self) {
        for task in std::mem::take(&mut *self.spawned.borrow_mut()) {
            let mut next = self.next.borrow_mut();
            *next += 1;
            self.tasks.borrow_mut().insert(*next, task);
            self.ready.push(*next);
        }
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks")
            .field("tasks", &self.tasks.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Ready {
    fn push(&self, task: u64) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.contains(&task) {
            queue.push_back(task);
        }
    }

    fn pop(&self) -> Option<u64> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.task);
    }
}
