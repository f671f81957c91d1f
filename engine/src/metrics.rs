//! Counts of what went where. For every source, received = processed + late + quarantined + deduplicated + shed,
//! exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::time::{EventTime, Watermark};

/// The metrics of a running program; cheap to share and to read while it runs.
#[derive(Debug, Default)]
pub struct Metrics {
    /// One entry per source, in the order of the plan.
    pub sources: Vec<SourceMetrics>,
    /// One entry per sink, in the order of the plan.
    pub sinks: Vec<SinkMetrics>,
    /// Rows that an expression had no value for, in `lineshaft.failed`.
    pub failed: Arc<Counter>,
    /// How far the workers are behind the input.
    pub lag: Lag,
    /// How much state there is that can go to disk.
    pub state: Arc<StateSize>,
}

impl Metrics {
    /// Metrics for sources and sinks of these names, all zero; `failed` is what the operators count on.
    pub fn new(
        sources: impl IntoIterator<Item = String>,
        sinks: impl IntoIterator<Item = String>,
        failed: Arc<Counter>,
    ) -> Arc<Self> {
        Arc::new(Self {
            sources: sources.into_iter().map(SourceMetrics::new).collect(),
            sinks: sinks.into_iter().map(SinkMetrics::new).collect(),
            failed,
            lag: Lag::default(),
            state: Arc::default(),
        })
    }
}

/// The state of windows and joins that goes to disk if there is too much. These figures rise and fall.
#[derive(Debug, Default)]
pub struct StateSize {
    /// Bytes of it in memory, about; half of `--memory` limits them.
    pub in_memory: AtomicU64,
    /// Bytes of it in files; `--spill` limits them.
    pub on_disk: AtomicU64,
}

/// How far the workers are behind the input. These figures rise and fall; all are 0 when nothing waits.
#[derive(Debug, Default)]
pub struct Lag {
    /// Epochs that are kept and not complete.
    pub epochs: AtomicU64,
    /// Bytes of the journal that wait there until the workers have time.
    pub journal_bytes: AtomicU64,
    /// Bytes of raw input that the workers have and have not finished; `--memory` limits them.
    pub open_bytes: AtomicU64,
    /// When the oldest input came that is not worked on, microseconds since the Unix epoch; see `Lag::age`.
    pub oldest: AtomicI64,
}

impl Lag {
    /// `oldest` is the wall clock at which the first input came that is not worked on.
    pub(crate) fn set(&self, epochs: u64, journal_bytes: u64, open_bytes: u64, oldest: Option<i64>) {
        self.epochs.store(epochs, Ordering::Relaxed);
        self.journal_bytes.store(journal_bytes, Ordering::Relaxed);
        self.open_bytes.store(open_bytes, Ordering::Relaxed);
        self.oldest.store(oldest.unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Age of the oldest input that is not worked on, microseconds; 0 if there is none.
    pub fn age(&self, now: i64) -> i64 {
        match self.oldest.load(Ordering::Relaxed) {
            0 | i64::MAX => 0,
            oldest => now.saturating_sub(oldest).max(0),
        }
    }
}

/// A count that only grows, in rows unless it says otherwise.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of one source.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    /// Its name.
    pub name: String,
    /// Records that came in.
    pub received: Counter,
    /// Rows that went on into the program.
    pub processed: Counter,
    /// Rows below the watermark, in `<source>.late`.
    pub late: Counter,
    /// Records in `<source>.quarantine`.
    pub quarantined: Counter,
    /// Rows that repeat one before, dropped by `DEDUPLICATE BY`, and messages that a broker sent again.
    pub deduplicated: Counter,
    /// Given up under overload: rows if `on_overload` is `latest`, messages if it is `sample` or `drop_oldest`.
    pub shed: Counter,
    /// Times that a broker had forgotten us: what was published meanwhile is lost.
    pub gaps: Counter,
    /// Raw input read, bytes.
    pub bytes: Counter,
    /// Rows expected in all, 0 if not known.
    pub total_rows: AtomicU64,
    /// Raw input expected in all, bytes, 0 if not known.
    pub total_bytes: AtomicU64,
    watermark: AtomicI64,
}

impl SourceMetrics {
    fn new(name: String) -> Self {
        Self { name, watermark: AtomicI64::new(Watermark::START.0), ..Self::default() }
    }

    /// The counts that a checkpoint keeps.
    pub(crate) fn counters(&self) -> [(&'static str, &Counter); 8] {
        [
            ("received", &self.received),
            ("processed", &self.processed),
            ("late", &self.late),
            ("quarantined", &self.quarantined),
            ("deduplicated", &self.deduplicated),
            ("shed", &self.shed),
            ("gaps", &self.gaps),
            ("bytes", &self.bytes),
        ]
    }

    /// The watermark has moved.
    pub(crate) fn set_watermark(&self, watermark: Watermark) {
        self.watermark.store(watermark.0, Ordering::Relaxed);
    }

    /// The watermark.
    pub fn watermark(&self) -> Watermark {
        Watermark(self.watermark.load(Ordering::Relaxed))
    }

    /// How far the watermark is behind `now`, microseconds; `None` before the first row and after the end.
    pub fn lag(&self, now: EventTime) -> Option<i64> {
        match self.watermark() {
            Watermark::START | Watermark::END => None,
            Watermark(at) => Some(now.saturating_sub(at)),
        }
    }
}

/// Counts of one sink.
#[derive(Debug, Default)]
pub struct SinkMetrics {
    /// Its name.
    pub name: String,
    /// Rows handed to the connector.
    pub rows: Counter,
}

impl SinkMetrics {
    fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}
