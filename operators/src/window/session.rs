//! Aggregates of the rows of each key in sessions: `SESSION`.
//!
//! Two neighbouring rows of a key, in event-time order, are in the same session if they are at most `gap` apart. A
//! session is `[first row, last row + gap)` and is emitted when the watermark is above its end.
//!
//! Rows wait until the watermark passes them. So they come in event-time order, and sessions never merge.
//!
//! - Rows: append-only in and out. Output: the key, `window_start`, `window_end`, the results.
//! - State: the rows above the watermark; per open session at most [`super::FOLD_ROWS`] rows and a partial result. Sessions that
//!   have had no row for longest may be on disk until one of them may end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::{EventTime, Watermark};
use lineshaft_engine::{Error, Result};

use super::arguments::Aggregates;
use super::arrivals::Arrivals;
use super::send_all;
use super::spans::{Closed, Parking, Span, Spans};
use super::waiting::Rows;

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
    spill: Spill,
    /// Sessions that came back from disk since room was last made for them.
    woken: usize,
}

/// Room is made again when one in so many of all keys has come back: each time looks through all of them.
const WOKEN_SHARE: usize = 16;
/// Sessions that go to disk together, at most: they come back when the first of them may end. Tests have few.
const PARCEL: usize = if cfg!(test) { 2 } else { 16_384 };

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
            spill: Spill::default(),
            woken: 0,
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.arrivals.ignored
    }

    fn end(&self, last: EventTime) -> EventTime {
        last.saturating_add(self.options.gap)
    }

    /// Puts final rows into sessions; gives those that are closed by a later one.
    fn assign(&mut self, rows: Rows) -> Result<Vec<Closed>> {
        let Some(latest) = rows.times.iter().max().copied() else { return Ok(Vec::new()) };
        // A session on disk that ends at the time of a row or later goes on with it, for all its rows are near enough.
        while self.spans.first_due().is_some_and(|due| due < latest) {
            self.wake(Watermark(latest))?;
        }
        let (gap, ends) = (self.options.gap, &mut self.ends);
        let continues = |_, time: EventTime, session: &Span| time.saturating_sub(session.last) <= gap;
        let begin = |_, slot, time: EventTime| {
            ends.push(Reverse((time.saturating_add(gap), slot, time)));
            0
        };
        let closed = self.spans.add(rows, self.arrivals.interner.len(), continues, begin)?;
        self.schedule_woken();
        Ok(closed)
    }

    /// Takes out the sessions in memory that end below the watermark.
    fn expire(&mut self, watermark: Watermark, closed: &mut Vec<Closed>) {
        while let Some(Reverse((end, slot, start))) = self.ends.peek().copied()
            && is_passed(end, watermark)
        {
            self.ends.pop();
            let open = self.spans.get(slot).filter(|open| open.start == start);
            let Some(last) = open.map(|open| open.last) else {
                continue;
            };
            let end = self.end(last);
            if is_passed(end, watermark) {
                closed.extend(self.spans.take(slot).map(|session| (slot, session)));
            } else {
                self.ends.push(Reverse((end, slot, start)));
            }
        }
    }

    /// Gives the sessions that end below the watermark; one parcel after the other of those on disk is in memory.
    fn close(&mut self, watermark: Watermark, mut closed: Vec<Closed>, output: &mut Output) -> Result<()> {
        loop {
            self.expire(watermark, &mut closed);
            self.emit(&std::mem::take(&mut closed), output)?;
            self.tidy()?;
            if !self.spans.first_due().is_some_and(|due| is_passed(due, watermark)) {
                return Ok(());
            }
            self.wake(watermark)?;
        }
    }

    /// Brings back the sessions on disk of which one ends first, to end those that do below the watermark.
    fn wake(&mut self, watermark: Watermark) -> Result<()> {
        self.spans.wake_first()?;
        self.schedule_woken();
        if self.woken * WOKEN_SHARE < self.arrivals.interner.len() {
            return Ok(());
        }
        self.make_room(watermark)
    }

    /// Finds the ends of sessions that have come back.
    fn schedule_woken(&mut self) {
        let woken = self.spans.take_woken();
        self.woken += woken.len();
        for slot in woken {
            let session = self.spans.get(slot);
            self.ends.extend(session.map(|open| Reverse((self.end(open.last), slot, open.start))));
        }
    }

    fn tidy(&mut self) -> Result<()> {
        if self.spans.tidy(&mut self.arrivals)? {
            self.schedule();
        }
        Ok(())
    }

    /// Moves sessions that do not end below the watermark to disk if the program has too much in memory.
    fn make_room(&mut self, watermark: Watermark) -> Result<()> {
        if self.spill.is_unlimited() {
            return Ok(());
        }
        self.woken = 0;
        let excess = self.spill.report(self.size());
        if excess > 0 {
            self.spans.park(
                &self.spill,
                excess,
                Parking { parcel: PARCEL, gap: self.options.gap, from: watermark.0 },
            )?;
            self.schedule();
            self.spill.report(self.size());
        }
        Ok(())
    }

    /// Bytes in memory, about.
    fn size(&self) -> u64 {
        let ends = self.ends.len() * size_of::<(EventTime, u32, EventTime)>();
        (self.spans.size() + ends) as u64
    }

    fn emit(&mut self, closed: &[Closed], output: &mut Output) -> Result<()> {
        if closed.is_empty() {
            return Ok(());
        }
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

    /// Finds the ends of all open sessions in memory anew.
    fn schedule(&mut self) {
        let end = |(slot, session): (u32, &Span)| Reverse((self.end(session.last), slot, session.start));
        self.ends = self.spans.whole().map(end).collect();
    }
}

fn is_passed(end: EventTime, watermark: Watermark) -> bool {
    end < watermark.0 || watermark == Watermark::END
}

impl Operator for SessionAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.arrivals.add(batch, &self.spans.aggregates, None)
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let rows = self.arrivals.settle(watermark)?;
        let closed = self.assign(rows)?;
        self.close(watermark, closed, output)?;
        self.make_room(watermark)
    }

    fn use_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.spans.save(&mut self.arrivals)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.spans.next_saved(&mut self.arrivals, |_| Ok(Vec::new()))
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.spans.load(&mut self.arrivals, snapshot, 0, |_, spans| Ok(vec![0; spans]))?;
        self.schedule();
        self.make_room(Watermark::START)
    }
}

#[cfg(test)]
mod tests;
