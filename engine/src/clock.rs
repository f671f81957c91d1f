//! The one reader of the wall clock. Everything else takes the time from the header of its epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::time::EventTime;

/// Wall clock in microseconds since the Unix epoch, UTC; tests set it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    set: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `micros` until [`Clock::set`].
    pub fn fixed(micros: EventTime) -> Self {
        Self { set: Some(Arc::new(AtomicI64::new(micros))) }
    }

    /// Sets a fixed clock. No effect on the clock of the machine.
    pub fn set(&self, micros: EventTime) {
        if let Some(set) = &self.set {
            set.store(micros, Ordering::Relaxed);
        }
    }

    /// Now.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock")]
    pub fn now(&self) -> EventTime {
        if let Some(set) = &self.set {
            return set.load(Ordering::Relaxed);
        }
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
