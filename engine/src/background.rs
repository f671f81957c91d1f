//! What the intake cannot do itself without holding up others: to block, and to wait. Without a runtime, as in a
//! [simulation](crate::simulation), nobody is held up: what blocks is done at once, and who waits looks at the clock
//! whenever it is polled.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::error::{Error, Result};

/// Work that was begun on a thread that may block.
pub(crate) enum Task<T> {
    Running(JoinHandle<T>),
    Done(T),
}

impl<T> Task<T> {
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Running(task) => task.is_finished(),
            Self::Done(_) => true,
        }
    }

    /// What it gives; nothing if it panicked.
    pub(crate) async fn join(self) -> Option<T> {
        match self {
            Self::Running(task) => task.await.ok(),
            Self::Done(done) => Some(done),
        }
    }
}

/// Begins work that may block.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    match Handle::try_current() {
        Ok(runtime) => Task::Running(runtime.spawn_blocking(work)),
        Err(_) => Task::Done(work()),
    }
}

/// Does work that may block.
///
/// # Errors
/// If the work panicked.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = spawn(work).join().await;
    done.ok_or_else(|| {
        Error::Plan("what the intake had done on another thread panicked: this is a bug".into())
    })
}

/// Waits until [`Clock::steady`] says so.
pub(crate) async fn sleep_until(clock: &Clock, steady: i64) {
    if Handle::try_current().is_ok() {
        let micros = u64::try_from(steady.saturating_sub(clock.steady())).unwrap_or(0);
        return tokio::time::sleep(Duration::from_micros(micros)).await;
    }
    poll_fn(|_| if clock.steady() >= steady { Poll::Ready(()) } else { Poll::Pending }).await;
}
