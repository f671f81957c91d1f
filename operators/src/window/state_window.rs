//! Aggregates of the rows of each key while a state stays the same: `STATE_WINDOW`.
//!
//! Neighbouring rows of a key, in event-time order and ties in order of arrival, are in the same window if their states
//! are equal. `window_start` is the time of its first row and `window_end` the time of its last one. A row whose state is
//! NULL says nothing: it is in no window and ends none. A window is emitted when the watermark has passed the first row
//! of the next one, or when the input ends.
//!
//! - Rows: append-only in and out. Output: the key, the state, `window_start`, `window_end`, the results.
//! - State: the rows above the watermark; per open window at most [`super::FOLD_ROWS`] rows and a partial result, also of
//!   a key that is silent. Windows that have had no row for longest may be on disk until one of them closes.

use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::{EventTime, Watermark};

use super::arguments::Aggregates;
use super::arrivals::Arrivals;
use super::send_all;
use super::spans::{Closed, Parking, Spans};
use super::waiting::Rows;
use crate::keys::KeyInterner;

/// Arguments of `STATE_WINDOW` with `GROUP BY`.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// The column of event time.
    pub time: usize,
    /// The column that is equal in all rows of a window.
    pub state: usize,
    /// Columns of the key.
    pub keys: Vec<usize>,
    /// What is computed; arguments that are one object are computed once.
    pub aggregates: Vec<Arc<dyn Aggregate>>,
    /// The key columns, the state, `window_start`, `window_end`, the results.
    pub schema: SchemaRef,
}

/// `GROUP BY window, state, key` over `STATE_WINDOW`.
pub struct StateAggregate {
    options: StateOptions,
    arrivals: Arrivals,
    /// The open windows.
    spans: Spans,
    /// Numbers the states.
    states: KeyInterner,
    reclaim_at: usize,
    spill: Spill,
}

/// Fewer states than this are not worth taking back.
const FEW_STATES: usize = 1024;
/// Windows that go to disk together, at most: they come back when one of them closes, and it may be any. Tests have few.
const PARCEL: usize = if cfg!(test) { 2 } else { 256 };

impl StateAggregate {
    /// The operator.
    ///
    /// # Errors
    /// If an aggregate, key or state is of a type that is not supported.
    pub fn new(options: StateOptions) -> Result<Self> {
        let state = options.schema.field(options.keys.len()).data_type().clone();
        Ok(Self {
            arrivals: Arrivals::new(options.time, &options.keys, &options.schema)?,
            spans: Spans::new(Aggregates::new(&options.aggregates))?,
            states: KeyInterner::new(&[state])?,
            options,
            reclaim_at: FEW_STATES,
            spill: Spill::default(),
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.arrivals.ignored
    }

    /// Puts rows into the windows of their keys; gives those that are closed by a later one.
    fn assign(&mut self, mut rows: Rows) -> Result<Vec<Closed>> {
        let Some(state) = rows.columns.pop() else { return Ok(Vec::new()) };
        let mut states = Vec::new();
        self.states.intern(&[state], rows.times.len(), &mut states)?;
        let slots = self.arrivals.interner.len();
        self.spans.add(rows, slots, |row, _, open| open.state == states[row], |row, _, _| states[row])
    }

    fn emit(&mut self, closed: &[Closed], output: &mut Output) -> Result<()> {
        if closed.is_empty() {
            return Ok(());
        }
        let results = self.spans.evaluate(closed)?;
        let (slots, states): (Vec<u32>, Vec<u32>) =
            closed.iter().map(|(slot, window)| (*slot, window.state)).unzip();
        let mut columns = self.arrivals.interner.columns(&slots)?;
        columns.extend(self.states.columns(&states)?);
        let starts = closed.iter().map(|(_, window)| window.start);
        columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(starts)));
        let ends = closed.iter().map(|(_, window)| window.last);
        columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(ends)));
        columns.extend(results);
        let rows = RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?;
        send_all(&self.options.schema, vec![rows], output)
    }

    /// One parcel after the other is in memory.
    fn close_those_on_disk(&mut self, output: &mut Output) -> Result<()> {
        while self.spans.wake_first()? {
            let woken = self.spans.take_woken();
            let closed: Vec<Closed> =
                woken.into_iter().filter_map(|slot| Some((slot, self.spans.take(slot)?))).collect();
            self.emit(&closed, output)?;
            self.spans.tidy(&mut self.arrivals)?;
        }
        Ok(())
    }

    /// Moves windows to disk if the program has too much in memory.
    fn make_room(&mut self) -> Result<()> {
        if self.spill.is_unlimited() {
            return Ok(());
        }
        let excess = self.spill.report(self.spans.size() as u64);
        if excess > 0 {
            self.spans.park(
                &self.spill,
                excess,
                Parking { parcel: PARCEL, gap: EventTime::MAX, from: EventTime::MIN },
            )?;
            self.spill.report(self.spans.size() as u64);
        }
        Ok(())
    }

    /// Forgets states in which no window is.
    fn forget_states(&mut self) -> Result<()> {
        if self.spans.is_saving() || self.states.len() < self.reclaim_at {
            return Ok(());
        }
        let mut live = vec![false; self.states.len()];
        self.spans.states().for_each(|state| live[*state as usize] = true);
        let moved = self.states.retain(|state| live[state as usize])?;
        for state in self.spans.states() {
            *state = moved[*state as usize].unwrap_or_default();
        }
        self.reclaim_at = FEW_STATES.max(self.states.len() * 2);
        Ok(())
    }
}

impl Operator for StateAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.arrivals.add(batch, &self.spans.aggregates, Some(self.options.state))
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let rows = self.arrivals.settle(watermark)?;
        for rows in self.spans.steps(rows)? {
            let closed = self.assign(rows)?;
            self.emit(&closed, output)?;
            self.make_room()?;
        }
        if watermark == Watermark::END {
            let closed = self.spans.take_all();
            self.emit(&closed, output)?;
        }
        self.spans.tidy(&mut self.arrivals)?;
        if watermark == Watermark::END {
            self.close_those_on_disk(output)?;
        }
        self.forget_states()?;
        self.make_room()
    }

    fn use_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.spans.save(&mut self.arrivals)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.spans.next_saved(&mut self.arrivals, |states| self.states.columns(states))
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        let interner = &mut self.states;
        self.spans.load(&mut self.arrivals, snapshot, 1, |columns, spans| {
            let mut states = Vec::new();
            interner.intern(columns, spans, &mut states)?;
            Ok(states)
        })?;
        self.make_room()
    }
}

#[cfg(test)]
mod tests;
