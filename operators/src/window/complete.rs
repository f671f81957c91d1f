//! Computes something of all rows of a window together: ranks, running sums, anything that SQL's `OVER` gives for
//! `PARTITION BY window_start, window_end`.
//!
//! Rows with one value of the time column belong together. They wait until the watermark is above that time, which is
//! when the last of them has come, and are then computed at once.
//!
//! - Rows: append-only in and out. Output: the columns of the input, then what is computed of them.
//! - State: the rows of the windows that are not complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::RowsFunction;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EventTime, Watermark};
use lineshaft_engine::{Error, Result};

use super::state::StateTable;
use super::{send_all, timed_rows, times};

/// Arguments of [`CompleteWindows`].
#[derive(Clone, Debug)]
pub struct CompleteOptions {
    /// The column whose value the rows of a window share, a bound of it.
    pub time: usize,
    /// What is computed of the rows of a window.
    pub function: Arc<dyn RowsFunction>,
    /// Columns of the input.
    pub input: SchemaRef,
    /// Columns of the output.
    pub schema: SchemaRef,
}

/// `OVER (PARTITION BY window_start, window_end ...)`.
#[derive(Debug)]
pub struct CompleteWindows {
    options: CompleteOptions,
    /// The rows of each window, in order of arrival.
    open: BTreeMap<EventTime, Vec<RecordBatch>>,
    watermark: Watermark,
    ignored: u64,
}

impl CompleteWindows {
    /// The operator.
    pub fn new(options: CompleteOptions) -> Self {
        Self { options, open: BTreeMap::new(), watermark: Watermark::START, ignored: 0 }
    }

    /// Rows whose window was complete.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn is_complete(&self, time: EventTime) -> bool {
        time < self.watermark.0 || self.watermark == Watermark::END
    }

    fn keep(&mut self, time: EventTime, rows: RecordBatch) {
        if self.is_complete(time) {
            self.ignored += rows.num_rows() as u64;
        } else {
            self.open.entry(time).or_default().push(rows);
        }
    }

    fn add(&mut self, rows: RecordBatch) -> Result<()> {
        let times = times(&rows, self.options.time)?;
        let Some(first) = times.first().copied() else { return Ok(()) };
        if times.iter().all(|time| *time == first) {
            self.keep(first, rows);
            return Ok(());
        }
        let mut of_time: BTreeMap<EventTime, Vec<u32>> = BTreeMap::new();
        for (row, time) in (0..).zip(times) {
            of_time.entry(*time).or_default().push(row);
        }
        for (time, places) in of_time {
            self.keep(time, take_record_batch(&rows, &UInt32Array::from(places))?);
        }
        Ok(())
    }
}

impl Operator for CompleteWindows {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.add(timed_rows(batch, self.options.time)?)
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        self.watermark = self.watermark.max(watermark);
        let mut results = Vec::new();
        while let Some(window) = self
            .open
            .first_entry()
            .filter(|window| *window.key() < self.watermark.0 || self.watermark == Watermark::END)
        {
            let rows = concat_batches(&self.options.input, &window.remove())?;
            results.push(self.options.function.compute(rows)?);
        }
        send_all(&self.options.schema, results, output)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        let progress =
            StateTable { numbers: vec![vec![self.watermark.0]], keys: Vec::new(), values: Vec::new() };
        snapshot.put("progress", progress.into_batch()?);
        let rows = concat_batches(&self.options.input, self.open.values().flatten())?;
        snapshot.put("rows", rows);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let (Some(progress), Some(rows)) = (snapshot.take("progress"), snapshot.take("rows")) else {
            return Err(Error::operator("window", "a snapshot of another operator"));
        };
        self.watermark = Watermark(StateTable::from_batch(&progress, 1, 0)?.numbers[0][0]);
        self.add(rows)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use lineshaft_engine::testing::{Step, lines, run, run_restarted, table};
    use proptest::prelude::*;

    use super::*;

    /// Adds the number of rows that were given together.
    #[derive(Debug)]
    struct Together(SchemaRef);

    impl RowsFunction for Together {
        fn compute(&self, rows: RecordBatch) -> Result<RecordBatch> {
            let count = i64::try_from(rows.num_rows()).unwrap();
            let counts: ArrayRef = Arc::new(Int64Array::from(vec![count; rows.num_rows()]));
            let columns = rows.columns().iter().cloned().chain([counts]).collect();
            Ok(RecordBatch::try_new(Arc::clone(&self.0), columns)?)
        }
    }

    fn counting(input: &RecordBatch) -> CompleteWindows {
        let mut fields = input.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("together", DataType::Int64, false)));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let function = Arc::new(Together(Arc::clone(&schema)));
        CompleteWindows::new(CompleteOptions { time: 0, function, input: input.schema(), schema })
    }

    fn given(operator: &mut CompleteWindows, steps: Vec<Step>) -> Vec<String> {
        let shown = lines(&run(operator, 1, steps).unwrap());
        shown.into_iter().map(|line| line.replace("1970-01-01T00:00:", "")).collect()
    }

    #[test]
    fn rows_of_a_window_come_together_once_the_watermark_is_above_it() {
        let rows = table("ts:ts x:i \n 10 1 \n 20 2 \n 10 3");
        let mut operator = counting(&rows);
        assert_eq!(given(&mut operator, vec![Step::Rows(0, rows), Step::Watermark(10.0)]), [""; 0]);
        let more = table("ts:ts x:i \n 10 4 \n 20 5");
        let closed = given(&mut operator, vec![Step::Rows(0, more), Step::Watermark(10.5)]);
        assert_eq!(closed, ["10 1 3", "10 3 3", "10 4 3"]);
        assert_eq!(given(&mut operator, vec![Step::End]), ["20 2 2", "20 5 2"]);
    }

    #[test]
    fn a_restored_operator_goes_on_where_the_old_one_was() {
        let rows = table("ts:ts x:i \n 10 1 \n 20 2");
        let mut operator = counting(&rows);
        assert_eq!(
            given(&mut operator, vec![Step::Rows(0, rows.clone()), Step::Watermark(15.0)]),
            ["10 1 1"]
        );
        let mut restored = counting(&rows);
        restored.restore(operator.snapshot().unwrap()).unwrap();
        let late = table("ts:ts x:i \n 14 7 \n 20 8");
        assert_eq!(given(&mut restored, vec![Step::Rows(0, late), Step::End]), ["20 2 2", "20 8 2"]);
        assert_eq!(restored.ignored(), 1);
    }

    proptest! {
        #[test]
        fn a_restart_at_any_step_changes_no_window(
            epochs in prop::collection::vec((prop::collection::vec((0..9, 0..5), 0..6), 0..3), 1..9),
            restart in any::<prop::sample::Index>(),
        ) {
            let (mut now, mut steps) = (0, Vec::new());
            for (rows, pause) in epochs {
                let text: String = rows.iter().map(|(ahead, x)| format!("{} {x}\n", now + ahead)).collect();
                steps.push(Step::Rows(0, table(&format!("ts:ts x:i\n{text}"))));
                now += pause;
                steps.push(Step::Watermark(f64::from(now)));
            }
            steps.push(Step::End);
            let columns = table("ts:ts x:i");
            let given = |restart| run_restarted(|| counting(&columns), 1, &steps, restart).unwrap();
            prop_assert_eq!(given(Some(restart.index(steps.len()))), given(None));
        }
    }
}
