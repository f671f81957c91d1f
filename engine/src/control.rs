//! How a running program is told to stop, and how a failure anywhere stops all of it: a thread that died must never
//! leave the others waiting for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use timely::scheduling::SyncActivator;
use tokio::sync::Notify;

use crate::error::Error;
use crate::time::Epoch;

/// Shared by everything that belongs to one running program.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stopping: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    /// Wakes the intake: a stop, a failure, or an epoch that is complete.
    pub(crate) changed: Notify,
    /// All epochs below it are complete on all workers.
    completed: AtomicU64,
    /// One per worker: wakes it.
    workers: Mutex<Vec<SyncActivator>>,
}

/// A lock of a thread that panicked is still good here: the panic itself ends the program.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Sources stop reading; what was read is finished.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Everything stops at once. The first failure is the one that is reported.
    pub(crate) fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
        self.stop();
        self.wake_workers();
    }

    pub(crate) fn wake_workers(&self) {
        for worker in lock(&self.workers).iter() {
            // A worker that is gone already needs no waking.
            worker.activate().ok();
        }
    }

    /// What was read is finished, then the program ends with this error; with `stop` the other sources read no further.
    pub(crate) fn fail_in_order(&self, error: Error, stop: bool) {
        lock(&self.failure).get_or_insert(error);
        if stop {
            self.stop();
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    pub(crate) fn add_worker(&self, activator: SyncActivator) {
        lock(&self.workers).push(activator);
    }

    pub(crate) fn complete(&self, below: Epoch) {
        if self.completed.swap(below, Ordering::AcqRel) != below {
            self.changed.notify_one();
        }
    }

    pub(crate) fn completed(&self) -> Epoch {
        self.completed.load(Ordering::Acquire)
    }
}
