//! Counts of what went where. For every source, received = processed + late + quarantined + deduplicated,
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
        })
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
    pub(crate) fn counters(&self) -> [(&'static str, &Counter); 7] {
        [
            ("received", &self.received),
            ("processed", &self.processed),
            ("late", &self.late),
            ("quarantined", &self.quarantined),
            ("deduplicated", &self.deduplicated),
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
