//! Aggregates of the rows of each key in sessions: `SESSION`.
//!
//! Two neighbouring rows of a key, in event-time order, are in the same session if they are at most `gap` apart. A
//! session is `[first row, last row + gap)` and is emitted when the watermark is above its end.
//!
//! Rows wait until the watermark passes them. So they come in event-time order, and sessions never merge.
//!
//! - Rows: append-only in and out. Output: the key, `window_start`, `window_end`, the results.
//! - State: the rows above the watermark; per open session at most [`FOLD_ROWS`] rows and a partial result.

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

use super::arguments::{Accumulators, Aggregates};
use super::arrivals::Arrivals;
use super::row_store::{Place, RowStore};
use super::send_all;
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
    aggregates: Aggregates,
    arrivals: Arrivals,
    /// The open session of each slot.
    open: Vec<Option<Session>>,
    /// When an open session ends at the earliest, with its slot and start.
    ends: BinaryHeap<Reverse<(EventTime, u32, EventTime)>>,
    /// Final rows of open sessions that are in no partial result yet.
    rows: RowStore,
    live_rows: usize,
    partials: RowStore,
    /// Has no groups between two calls.
    accumulators: Accumulators,
}

/// A span of rows of a key.
#[derive(Debug)]
struct Session {
    start: EventTime,
    last: EventTime,
    /// Rows that are in no partial result yet.
    rows: Vec<Place>,
    /// The rows before those.
    partial: Option<Place>,
}

/// So many rows of a session are folded to a partial result. It is always exactly so many: when they come in does
/// not change the order in which floats are added.
pub const FOLD_ROWS: usize = 256;

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
        let aggregates = Aggregates::new(&options.aggregates);
        Ok(Self {
            arrivals: Arrivals::new(options.time, &options.keys, &options.schema)?,
            accumulators: aggregates.accumulators()?,
            aggregates,
            options,
            open: Vec::new(),
            ends: BinaryHeap::new(),
            rows: RowStore::default(),
            live_rows: 0,
            partials: RowStore::default(),
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.arrivals.ignored
    }

    /// Puts final rows into their sessions; gives the sessions that are closed by a later one of their key.
    fn assign(&mut self, rows: Rows) -> Vec<(u32, Session)> {
        self.open.resize_with(self.arrivals.interner.len(), || None);
        let mut closed = Vec::new();
        self.live_rows += rows.times.len();
        let places = self.rows.push(rows.columns, rows.times.len());
        for ((slot, time), place) in rows.slots.into_iter().zip(rows.times).zip(places) {
            let open = &mut self.open[slot as usize];
            match open {
                Some(session) if time.saturating_sub(session.last) <= self.options.gap => {
                    session.last = time;
                    session.rows.push(place);
                }
                _ => {
                    let started =
                        open.replace(Session { start: time, last: time, rows: vec![place], partial: None });
                    closed.extend(started.map(|session| (slot, session)));
                    self.ends.push(Reverse((self.end(time), slot, time)));
                }
            }
        }
        closed
    }

    fn end(&self, last: EventTime) -> EventTime {
        last.saturating_add(self.options.gap)
    }

    /// Takes out the sessions that end below the watermark.
    fn expire(&mut self, watermark: Watermark, closed: &mut Vec<(u32, Session)>) {
        let passed = |end: EventTime| end < watermark.0 || watermark == Watermark::END;
        while let Some(Reverse((end, slot, start))) = self.ends.peek().copied()
            && passed(end)
        {
            self.ends.pop();
            let open = &mut self.open[slot as usize];
            let Some(last) = open.as_ref().filter(|open| open.start == start).map(|open| open.last) else {
                continue;
            };
            let end = last.saturating_add(self.options.gap);
            if passed(end) {
                closed.extend(open.take().map(|session| (slot, session)));
            } else {
                self.ends.push(Reverse((end, slot, start)));
            }
        }
    }

    /// Folds the rows of long sessions, some rows of all of them at a time.
    fn fold(&mut self, mut sessions: Vec<&mut Session>) -> Result<()> {
        sessions.retain(|session| session.rows.len() >= FOLD_ROWS);
        let mut from = 0;
        while !sessions.is_empty() {
            self.fold_round(&mut sessions, from)?;
            from += FOLD_ROWS;
            let mut longer = Vec::new();
            for session in sessions {
                if session.rows.len() >= from + FOLD_ROWS {
                    longer.push(session);
                } else {
                    session.rows.drain(..from);
                    self.live_rows -= from;
                }
            }
            sessions = longer;
        }
        Ok(())
    }

    fn fold_round(&mut self, sessions: &mut [&mut Session], from: usize) -> Result<()> {
        let partials = sessions.iter().map(|session| session.partial);
        let rows = sessions.iter().map(|session| &session.rows[from..from + FOLD_ROWS]);
        accumulate(&mut self.accumulators, &self.aggregates, (&self.partials, partials), (&self.rows, rows))?;
        let folded = self.partials.push(self.accumulators.state()?, sessions.len());
        for (session, place) in sessions.iter_mut().zip(folded) {
            session.partial = Some(place);
        }
        Ok(())
    }

    fn emit(&mut self, closed: &[(u32, Session)], output: &mut Output) -> Result<()> {
        let partials = closed.iter().map(|(_, session)| session.partial);
        let rows = closed.iter().map(|(_, session)| session.rows.as_slice());
        accumulate(&mut self.accumulators, &self.aggregates, (&self.partials, partials), (&self.rows, rows))?;
        self.live_rows -= closed.iter().map(|(_, session)| session.rows.len()).sum::<usize>();
        let slots: Vec<u32> = closed.iter().map(|(slot, _)| *slot).collect();
        let mut columns = self.arrivals.interner.columns(&slots)?;
        let starts = closed.iter().map(|(_, session)| session.start);
        columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(starts)));
        let ends = closed.iter().map(|(_, session)| self.end(session.last));
        columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(ends)));
        columns.extend(self.accumulators.evaluate(&self.aggregates)?);
        let rows = RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?;
        send_all(&self.options.schema, vec![rows], output)
    }

    /// Gives back the memory of what is closed.
    fn tidy(&mut self) -> Result<()> {
        let open = self.open.iter_mut().flatten();
        if self.rows.is_sparse(self.live_rows) {
            self.rows.compact(open.flat_map(|session| &mut session.rows))?;
        }
        let open = || self.open.iter().flatten();
        if self.partials.is_sparse(open().filter(|session| session.partial.is_some()).count()) {
            let open = self.open.iter_mut().flatten();
            self.partials.compact(open.filter_map(|session| session.partial.as_mut()))?;
        }
        let open = &self.open;
        let is_open = |slot: u32| open.get(slot as usize).is_some_and(Option::is_some);
        if let Some(moved) = self.arrivals.reclaim(is_open)? {
            let old = std::mem::take(&mut self.open);
            let kept = old.into_iter().zip(&moved).filter(|(_, moved)| moved.is_some());
            // The order of slots stays, so the kept ones are numbered from 0.
            self.open = kept.map(|(session, _)| session).collect();
            self.schedule();
        }
        Ok(())
    }

    /// Finds the ends of all open sessions anew.
    fn schedule(&mut self) {
        let open = (0..).zip(&self.open).filter_map(|(slot, session)| Some((slot, session.as_ref()?)));
        let end = |(slot, session): (u32, &Session)| Reverse((self.end(session.last), slot, session.start));
        self.ends = open.map(end).collect();
    }
}

/// Adds to group `i` the `i`th partial result, if there is one, and the `i`th rows.
fn accumulate<'a>(
    accumulators: &mut Accumulators,
    aggregates: &Aggregates,
    (partial_store, partials): (&RowStore, impl Iterator<Item = Option<Place>>),
    (row_store, rows): (&RowStore, impl ExactSizeIterator<Item = &'a [Place]>),
) -> Result<()> {
    let total = rows.len();
    let (mut places, mut groups) = (Vec::new(), Vec::new());
    for (group, place) in partials.enumerate().filter_map(|(group, place)| Some((group, place?))) {
        groups.push(group);
        places.push(place);
    }
    if !places.is_empty() {
        accumulators.merge(aggregates, &partial_store.pick(&places)?, &groups, total)?;
    }
    groups.clear();
    places.clear();
    for (group, rows) in rows.enumerate() {
        groups.resize(groups.len() + rows.len(), group);
        places.extend_from_slice(rows);
    }
    if places.is_empty() {
        return Ok(());
    }
    accumulators.update(aggregates, &row_store.pick(&places)?, &groups, total)
}

impl Operator for SessionAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.arrivals.add(batch, &self.aggregates)
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let rows = self.arrivals.settle(watermark)?;
        let mut closed = Vec::new();
        if !rows.times.is_empty() {
            let touched = distinct(&rows.slots);
            closed = self.assign(rows);
            let mut long: Vec<_> =
                touched.filter_map(|slot| Some((slot, self.open[slot as usize].take_if(is_long)?))).collect();
            let sessions = long.iter_mut().chain(&mut closed).map(|(_, session)| session);
            self.fold(sessions.collect())?;
            for (slot, session) in long {
                self.open[slot as usize] = Some(session);
            }
        }
        self.expire(watermark, &mut closed);
        if !closed.is_empty() {
            self.emit(&closed, output)?;
        }
        self.tidy()
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.save()
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.load(snapshot)
    }
}

fn is_long(session: &mut Session) -> bool {
    session.rows.len() >= FOLD_ROWS
}

/// Each slot of a sorted list once.
fn distinct(sorted: &[u32]) -> impl Iterator<Item = u32> + use<> {
    let mut slots = sorted.to_vec();
    slots.dedup();
    slots.into_iter()
}

mod saved;
#[cfg(test)]
mod tests;
