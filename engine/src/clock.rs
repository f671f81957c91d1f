//! The one reader of the clocks of the machine. Everything else takes the time from the header of its epoch.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::time::EventTime;

/// Wall clock in microseconds since the Unix epoch, UTC; tests set it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    set: Option<Arc<Set>>,
}

/// A clock that was set.
#[derive(Debug)]
struct Set {
    steady: AtomicI64,
    /// How far the wall clock is ahead of it.
    ahead: AtomicI64,
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `micros` until [`Clock::set`].
    pub fn fixed(micros: EventTime) -> Self {
        Self { set: Some(Arc::new(Set { steady: AtomicI64::new(micros), ahead: AtomicI64::new(0) })) }
    }

    /// Sets a fixed clock: so much time has passed. No effect on the clock of the machine.
    pub fn set(&self, micros: EventTime) {
        if let Some(set) = &self.set {
            set.steady.store(micros, Ordering::Relaxed);
        }
    }

    /// Somebody sets the wall clock by so much, though no time has passed. No effect on the clock of the machine.
    pub fn step(&self, by: i64) {
        if let Some(set) = &self.set {
            set.ahead.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Now, as somebody may have set it.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock")]
    pub fn now(&self) -> EventTime {
        if let Some(set) = &self.set {
            return set.steady.load(Ordering::Relaxed).saturating_add(set.ahead.load(Ordering::Relaxed));
        }
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// Microseconds since some moment: whatever is done to the wall clock, these pass.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock")]
    pub fn steady(&self) -> i64 {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        if let Some(set) = &self.set {
            return set.steady.load(Ordering::Relaxed);
        }
        let passed = BEGIN.get_or_init(Instant::now).elapsed();
        i64::try_from(passed.as_micros()).unwrap_or(i64::MAX)
    }
}
