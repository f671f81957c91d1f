//! Aggregates of the rows of each key while a state stays the same: `STATE_WINDOW`.
//!
//! Neighbouring rows of a key, in event-time order and ties in order of arrival, are in the same window if their states
//! are equal. `window_start` is the time of its first row and `window_end` the time of its last one. A row whose state is
//! NULL says nothing: it is in no window and ends none. A window is emitted when the watermark has passed the first row
//! of the next one, or when the input ends.
//!
//! - Rows: append-only in and out. Output: the key, the state, `window_start`, `window_end`, the results.
//! - State: the rows above the watermark; per open window at most [`super::FOLD_ROWS`] rows and a partial result, also of
//!   a key that is silent.

use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::Watermark;

use super::arguments::Aggregates;
use super::arrivals::Arrivals;
use super::send_all;
use super::spans::{Span, Spans};
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
}

/// Fewer states than this are not worth taking back.
const FEW_STATES: usize = 1024;

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
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.arrivals.ignored
    }

    /// Puts rows into the windows of their keys; gives those that are closed by a later one.
    fn assign(&mut self, mut rows: Rows) -> Result<Vec<(u32, Span)>> {
        let Some(state) = rows.columns.pop() else { return Ok(Vec::new()) };
        let mut states = Vec::new();
        self.states.intern(&[state], rows.times.len(), &mut states)?;
        let slots = self.arrivals.interner.len();
        self.spans.add(rows, slots, |row, _, open| open.state == states[row], |row, _, _| states[row])
    }

    fn emit(&mut self, closed: &[(u32, Span)], output: &mut Output) -> Result<()> {
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

    /// Forgets states in which no window is.
    fn forget_states(&mut self) -> Result<()> {
        if self.spans.is_saving() || self.states.len() < self.reclaim_at {
            return Ok(());
        }
        let mut live = vec![false; self.states.len()];
        self.spans.iter().for_each(|(_, window)| live[window.state as usize] = true);
        let moved = self.states.retain(|state| live[state as usize])?;
        for window in self.spans.iter_mut() {
            window.state = moved[window.state as usize].unwrap_or_default();
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
        let mut closed = if rows.times.is_empty() { Vec::new() } else { self.assign(rows)? };
        if watermark == Watermark::END {
            closed.extend(self.spans.take_all());
        }
        if !closed.is_empty() {
            self.emit(&closed, output)?;
        }
        self.spans.tidy(&mut self.arrivals)?;
        self.forget_states()
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.spans.save(&mut self.arrivals)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.spans.next_saved(&mut self.arrivals, |states| self.states.columns(states))
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        let interner = &mut self.states;
        self.spans.load(&mut self.arrivals, snapshot, |columns, spans| {
            let mut states = Vec::new();
            interner.intern(columns, spans, &mut states)?;
            Ok(states)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use lineshaft_engine::testing::{Step, lines, run, table};
    use proptest::prelude::*;

    use super::super::oracle::{Stream, number, streams};
    use super::*;
    use crate::testing::{all_of, window_schema};

    fn windows(keys: Vec<usize>) -> StateAggregate {
        let mut fields: Vec<Field> =
            keys.iter().map(|_| Field::new("machine", DataType::Utf8, true)).collect();
        fields.push(Field::new("state", DataType::Utf8, true));
        let schema = window_schema(&fields, 4);
        StateAggregate::new(StateOptions { time: 0, state: 1, keys, aggregates: all_of(2), schema }).unwrap()
    }

    fn given(operator: &mut StateAggregate, steps: Vec<Step>) -> Vec<String> {
        let mut shown = lines(&run(operator, 1, steps).unwrap());
        shown.sort();
        shown.into_iter().map(|line| line.replace("1970-01-01T00:00:", "")).collect()
    }

    #[test]
    fn a_window_comes_when_the_watermark_has_passed_the_first_row_of_the_next() {
        let mut operator = windows(vec![3]);
        let rows = table(
            "ts:ts s:s x:f m:s \n 3 on 4 a \n 1 on 1 a \n 2 - 9 a \n 5 off 7 a \n 4 on 2 b \n 6 off 1 a",
        );
        assert_eq!(given(&mut operator, vec![Step::Rows(0, rows), Step::Watermark(5.0)]), [""; 0]);
        let closed = given(&mut operator, vec![Step::Watermark(5.5)]);
        assert_eq!(closed, ["a on 01 03 2.0 5.0 1.0 4.0"]);
        let rest = given(&mut operator, vec![Step::End]);
        assert_eq!(rest, ["a off 05 06 2.0 8.0 1.0 7.0", "b on 04 04 1.0 2.0 2.0 2.0"]);
    }

    #[test]
    fn memory_does_not_grow_with_states_that_are_over() {
        let mut operator = windows(vec![]);
        let mut closed = 0;
        for second in 0..40 {
            let rows: String = (0..100).map(|state| format!("\n {second} s{second}-{state} 1")).collect();
            let rows = table(&format!("ts:ts s:s x:f {rows}"));
            let steps = vec![Step::Rows(0, rows), Step::Watermark(f64::from(second))];
            closed += run(&mut operator, 1, steps).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
        }
        closed += given(&mut operator, vec![Step::End]).len();
        assert_eq!(closed, 4000);
        assert!(operator.states.len() <= FEW_STATES + 100, "{} states", operator.states.len());
        assert_eq!(operator.spans.live_rows, 0);
    }

    /// Runs of equal key over all rows, the key being the state.
    fn brute_force(stream: &Stream) -> Vec<String> {
        let mut rows: Vec<_> = stream.rows().filter(|row| row.1.is_some()).collect();
        rows.sort_by_key(|row| row.0);
        let runs = rows.chunk_by(|a, b| a.1 == b.1);
        let line = |run: &[super::super::oracle::Reading]| {
            let values: Vec<f64> = run.iter().map(|row| number(row.2)).collect();
            super::super::oracle::line(run[0].1, run[0].0, run[run.len() - 1].0, &values)
        };
        let mut lines: Vec<String> = runs.map(line).collect();
        lines.sort();
        lines
    }

    proptest! {
        #[test]
        fn windows_are_the_runs_of_brute_force(
            stream in streams(80, 4, 15), restart in prop::option::of(0_usize..20),
        ) {
            let found = super::super::oracle::results(&stream, restart, || windows(vec![]));
            prop_assert_eq!(found, brute_force(&stream));
        }
    }
}
