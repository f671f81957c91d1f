//! `DISTINCT` of rows that are only added: each row passes when it first comes.
//!
//! - Rows: append-only in and out, same columns; the order stays.
//! - State: every distinct row once; with a column of event time until the watermark has passed it, else for good.

use std::ops::Range;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EventTime, Watermark};
use lineshaft_engine::{Error, Result};

use crate::keys::KeyInterner;

/// `SELECT DISTINCT`.
#[derive(Debug)]
pub struct DistinctRows {
    schema: SchemaRef,
    /// The column of event time.
    time: Option<usize>,
    interner: KeyInterner,
    /// The event time of each row that is known, if there is such a column.
    times: Vec<EventTime>,
    slots: Vec<u32>,
    /// Rows after the last time that some were forgotten.
    remembered: usize,
    /// What a snapshot that has begun is still to give: the rows from one slot to another.
    saved: Option<Range<usize>>,
}

/// Rows of a part of a snapshot. Tests have few.
const PART: usize = if cfg!(test) { 3 } else { 65_536 };

/// So many rows may come before it is worth looking for some to forget.
const FEW_ROWS: usize = 4096;

impl DistinctRows {
    /// The operator for rows with the columns of `schema`, of which `time` has no NULL and is event time.
    ///
    /// # Errors
    /// If a column is of a type that cannot be compared.
    pub fn new(schema: SchemaRef, time: Option<usize>) -> Result<Self> {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let interner = KeyInterner::new(&types)?;
        Ok(Self { schema, time, interner, times: Vec::new(), slots: Vec::new(), remembered: 0, saved: None })
    }

    /// The rows that were not known before.
    fn remember(&mut self, rows: &RecordBatch) -> Result<UInt32Array> {
        let mut next = self.interner.len();
        self.interner.intern(rows.columns(), rows.num_rows(), &mut self.slots)?;
        let mut new = Vec::new();
        for (row, slot) in (0..).zip(&self.slots) {
            if *slot as usize == next {
                next += 1;
                new.push(row);
            }
        }
        if let Some(time) = self.time {
            let times = rows.column(time).as_primitive_opt::<TimestampMicrosecondType>();
            let times = times.ok_or_else(|| Error::operator("distinct", "event time is no TIMESTAMP"))?;
            self.times.extend(new.iter().map(|row: &u32| times.value(*row as usize)));
        }
        Ok(UInt32Array::from(new))
    }
}

impl Operator for DistinctRows {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let new = self.remember(batch.rows())?;
        output.send(batch.take(&new)?);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _output: &mut Output) -> Result<()> {
        // What is saved has the numbers of slots.
        if self.saved.is_some() || self.time.is_none() || self.interner.len() < FEW_ROWS + 2 * self.remembered
        {
            return Ok(());
        }
        let may_come = |time: EventTime| Watermark(time) >= watermark;
        self.interner.retain(|slot| may_come(self.times[slot as usize]))?;
        self.times.retain(|time| may_come(*time));
        self.remembered = self.times.len();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.saved = Some(0..self.interner.len());
        Ok(Snapshot::default())
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        let slots: Vec<u32> = match &mut self.saved {
            Some(slots) => slots.take(PART).filter_map(|slot| u32::try_from(slot).ok()).collect(),
            None => Vec::new(),
        };
        if slots.is_empty() {
            self.saved = None;
            return Ok(None);
        }
        let rows = RecordBatch::try_new(SchemaRef::clone(&self.schema), self.interner.columns(&slots)?)?;
        let mut snapshot = Snapshot::default();
        snapshot.put("rows", rows);
        Ok(Some(snapshot))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        for rows in snapshot.take_parts("rows") {
            self.remember(&rows)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lineshaft_engine::testing::{Step, lines, run, run_restarted, table, whole_snapshot};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_restart_at_any_step_changes_no_row(
            epochs in prop::collection::vec(prop::collection::vec(0..6_i64, 1..6), 1..9),
            restart in any::<prop::sample::Index>(),
        ) {
            let mut steps = Vec::new();
            for (epoch, ids) in (0_u32..).zip(&epochs) {
                let text: String = ids.iter().map(|id| format!("{} {id}\n", i64::from(epoch) + id % 2)).collect();
                steps.push(Step::Rows(0, table(&format!("ts:ts n:i\n{text}"))));
                steps.push(Step::Watermark(f64::from(epoch)));
            }
            let schema = table("ts:ts n:i").schema();
            for time in [None, Some(0)] {
                let make = || DistinctRows::new(Arc::clone(&schema), time).unwrap();
                let given = |restart| run_restarted(make, 1, &steps, restart).unwrap();
                prop_assert_eq!(given(Some(restart.index(steps.len()))), given(None));
            }
        }
    }

    #[test]
    fn a_row_passes_once_also_after_a_restart() {
        let rows = table("k:s n:i \n a 1 \n b 1 \n a 1 \n - - \n - -");
        let mut distinct = DistinctRows::new(rows.schema(), None).unwrap();
        let passed = run(&mut distinct, 1, vec![Step::Rows(0, rows.clone())]).unwrap();
        assert_eq!(lines(&passed), ["a 1", "b 1", "- -"]);
        let mut restored = DistinctRows::new(rows.schema(), None).unwrap();
        restored.restore(whole_snapshot(&mut distinct).unwrap()).unwrap();
        let more = table("k:s n:i \n b 1 \n b 2");
        let passed = run(&mut restored, 1, vec![Step::Rows(0, rows), Step::Rows(0, more)]).unwrap();
        assert_eq!(lines(&passed), ["b 2"]);
    }
    #[test]
    fn rows_that_the_watermark_has_passed_are_forgotten() {
        let times = |from: usize| {
            let rows: String = (from..from + FEW_ROWS).map(|second| format!("{second}\n")).collect();
            table(&format!("ts:ts\n{rows}"))
        };
        let mut distinct = DistinctRows::new(times(0).schema(), Some(0)).unwrap();
        let steps = vec![Step::Rows(0, times(0)), Step::Watermark(4000.0), Step::Rows(0, times(4000))];
        let passed = run(&mut distinct, 1, steps).unwrap();
        let passed: usize = passed.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(passed, 4000 + FEW_ROWS, "a row at the watermark may come again");
        assert_eq!(distinct.interner.len(), FEW_ROWS);
    }
}
