//! Aggregates of the rows of each key in sessions: `SESSION`.
//!
//! Two neighbouring rows of a key, in event-time order, are in the same session if they are at most `gap` apart. A
//! session is `[first row, last row + gap)` and is emitted when the watermark is above its end.
//!
//! Rows wait until the watermark passes them. So they come in event-time order, and sessions never merge.
//!
//! - Rows: append-only in and out. Output: the key, `window_start`, `window_end`, the results.
//! - State: the rows above the watermark; per open session at most [`super::FOLD_ROWS`] rows and a partial result.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EventTime, Watermark};
use lineshaft_engine::{Error, Result};

use super::arguments::Aggregates;
use super::arrivals::Arrivals;
use super::send_all;
use super::spans::{Span, Spans};

/// Arguments of `SESSION` with `GROUP BY`.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The column of event time.
    pub time: usize,
    /// How far apart rows of one session may be, microseconds.
    pub gap: i64,
    /// Columns of the key.
    pub keys: Vec<usize>,
    /// What is computed; arguments that are one object are computed once.
    pub aggregates: Vec<Arc<dyn Aggregate>>,
    /// The key columns, `window_start`, `window_end`, the results.
    pub schema: SchemaRef,
}

/// `GROUP BY window, key` over `SESSION`.
pub struct SessionAggregate {
    options: SessionOptions,
    arrivals: Arrivals,
    /// The open sessions.
    spans: Spans,
    /// When an open session ends at the earliest, with its slot and start.
    ends: BinaryHeap<Reverse<(EventTime, u32, EventTime)>>,
}

impl SessionAggregate {
    /// The operator.
    ///
    /// # Errors
    /// If the gap is not greater than zero, or an aggregate or key is of a type that is not supported.
    pub fn new(options: SessionOptions) -> Result<Self> {
        if options.gap <= 0 {
            let reason = format!("a session gap of {} us is not longer than zero", options.gap);
            return Err(Error::Plan(reason));
        }
        Ok(Self {
            arrivals: Arrivals::new(options.time, &options.keys, &options.schema)?,
            spans: Spans::new(Aggregates::new(&options.aggregates))?,
            options,
            ends: BinaryHeap::new(),
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.arrivals.ignored
    }

    fn end(&self, last: EventTime) -> EventTime {
        last.saturating_add(self.options.gap)
    }

    /// Takes out the sessions that end below the watermark.
    fn expire(&mut self, watermark: Watermark, closed: &mut Vec<(u32, Span)>) {
        let passed = |end: EventTime| end < watermark.0 || watermark == Watermark::END;
        while let Some(Reverse((end, slot, start))) = self.ends.peek().copied()
            && passed(end)
        {
            self.ends.pop();
            let open = self.spans.get(slot).filter(|open| open.start == start);
            let Some(last) = open.map(|open| open.last) else {
                continue;
            };
            let end = self.end(last);
            if passed(end) {
                closed.extend(self.spans.take(slot).map(|session| (slot, session)));
            } else {
                self.ends.push(Reverse((end, slot, start)));
            }
        }
    }

    fn emit(&mut self, closed: &[(u32, Span)], output: &mut Output) -> Result<()> {
        let results = self.spans.evaluate(closed)?;
        let slots: Vec<u32> = closed.iter().map(|(slot, _)| *slot).collect();
        let mut columns = self.arrivals.interner.columns(&slots)?;
        let starts = closed.iter().map(|(_, session)| session.start);
        columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(starts)));
        let ends = closed.iter().map(|(_, session)| self.end(session.last));
        columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(ends)));
        columns.extend(results);
        let rows = RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?;
        send_all(&self.options.schema, vec![rows], output)
    }

    /// Finds the ends of all open sessions anew.
    fn schedule(&mut self) {
        let end = |(slot, session): (u32, &Span)| Reverse((self.end(session.last), slot, session.start));
        self.ends = self.spans.iter().map(end).collect();
    }
}

impl Operator for SessionAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.arrivals.add(batch, &self.spans.aggregates, None)
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let rows = self.arrivals.settle(watermark)?;
        let mut closed = Vec::new();
        if !rows.times.is_empty() {
            let (gap, ends) = (self.options.gap, &mut self.ends);
            let continues = |_, time: EventTime, session: &Span| time.saturating_sub(session.last) <= gap;
            let begin = |_, slot, time: EventTime| {
                ends.push(Reverse((time.saturating_add(gap), slot, time)));
                0
            };
            closed = self.spans.add(rows, self.arrivals.interner.len(), continues, begin)?;
        }
        self.expire(watermark, &mut closed);
        if !closed.is_empty() {
            self.emit(&closed, output)?;
        }
        if self.spans.tidy(&mut self.arrivals)? {
            self.schedule();
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.spans.save(&mut self.arrivals)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.spans.next_saved(&mut self.arrivals, |_| Ok(Vec::new()))
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.spans.load(&mut self.arrivals, snapshot, |_, spans| Ok(vec![0; spans]))?;
        self.schedule();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
