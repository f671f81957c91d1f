//! `DISTINCT` of rows that are only added: each row passes when it first comes.
//!
//! - Rows: append-only in and out, same columns; the order stays. State: every distinct row once, for good.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::{Error, Result};

use crate::keys::KeyInterner;

/// `SELECT DISTINCT`.
#[derive(Debug)]
pub struct DistinctRows {
    schema: SchemaRef,
    interner: KeyInterner,
    slots: Vec<u32>,
}

impl DistinctRows {
    /// The operator for rows with the columns of `schema`.
    ///
    /// # Errors
    /// If a column is of a type that cannot be compared.
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(Self { interner: KeyInterner::new(&types)?, schema, slots: Vec::new() })
    }

    fn intern(&mut self, rows: &RecordBatch) -> Result<()> {
        self.interner.intern(rows.columns(), rows.num_rows(), &mut self.slots)
    }
}

impl Operator for DistinctRows {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let mut next = self.interner.len();
        self.intern(batch.rows())?;
        let mut is_new = |slot: u32| {
            let is_new = slot as usize == next;
            next += usize::from(is_new);
            is_new
        };
        let new: Vec<u32> =
            (0..).zip(&self.slots).filter(|(_, slot)| is_new(**slot)).map(|(row, _)| row).collect();
        output.send(batch.take(&UInt32Array::from(new))?);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let all: Vec<u32> = (0..).take(self.interner.len()).collect();
        let mut snapshot = Snapshot::default();
        let rows = RecordBatch::try_new(SchemaRef::clone(&self.schema), self.interner.columns(&all)?)?;
        snapshot.put("rows", rows);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let rows = snapshot.take("rows");
        self.intern(&rows.ok_or_else(|| Error::operator("distinct", "a snapshot of another operator"))?)
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    #[test]
    fn a_row_passes_once_also_after_a_restart() {
        let rows = table("k:s n:i \n a 1 \n b 1 \n a 1 \n - - \n - -");
        let mut distinct = DistinctRows::new(rows.schema()).unwrap();
        let passed = run(&mut distinct, 1, vec![Step::Rows(0, rows.clone())]).unwrap();
        assert_eq!(lines(&passed), ["a 1", "b 1", "- -"]);
        let mut restored = DistinctRows::new(rows.schema()).unwrap();
        restored.restore(distinct.snapshot().unwrap()).unwrap();
        let more = table("k:s n:i \n b 1 \n b 2");
        let passed = run(&mut restored, 1, vec![Step::Rows(0, rows), Step::Rows(0, more)]).unwrap();
        assert_eq!(lines(&passed), ["b 2"]);
    }
}
