//! The words of time: epoch, event time, watermark.

use std::fmt;

/// The number of an input round; the timely timestamp. Event time and wall clock are data inside an epoch.
pub type Epoch = u64;

/// When something happened at the machine: microseconds since the Unix epoch, UTC.
pub type EventTime = i64;

/// The event time that a stream promises is past: a row below it is late.
///
/// A watermark only moves forward. [`Watermark::END`] says that no row follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub EventTime);

impl Watermark {
    /// Nothing is known yet.
    pub const START: Self = Self(i64::MIN);
    /// The stream has ended: every window closes.
    pub const END: Self = Self(i64::MAX);

    /// The watermark of a stream that is so many microseconds behind this one.
    #[must_use]
    pub fn less(self, micros: i64) -> Self {
        match self {
            Self::START | Self::END => self,
            Self(at) => Self(at.saturating_sub(micros)),
        }
    }

    /// True if a span of event time that ends (exclusively) at `end` can get no more rows.
    pub fn passes(self, end: EventTime) -> bool {
        end <= self.0
    }
}

impl fmt::Debug for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::START => f.write_str("start"),
            Self::END => f.write_str("end"),
            Self(micros) => write!(f, "{micros}us"),
        }
    }
}

/// What is known of an epoch apart from its rows. Operators take the time from here, never from a clock, so a
/// replay sees the same times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochHeader {
    /// The epoch.
    pub epoch: Epoch,
    /// Wall clock when the epoch was formed, microseconds since the Unix epoch; never goes back.
    pub wall_clock: i64,
    /// The next epoch follows at once, since history is read as fast as it can be: what replaces a row that was given may wait for it. The
    /// same epochs say so at every run over the same files.
    pub more_follows: bool,
}

impl EpochHeader {
    /// The header of an epoch that stands for itself, as all of live input do.
    pub const fn new(epoch: Epoch, wall_clock: i64) -> Self {
        Self { epoch, wall_clock, more_follows: false }
    }
}
