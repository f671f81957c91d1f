//! The rows of a table in memory, found by the columns of a join.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::Result;

use crate::keys::{ABSENT, KeyInterner};

/// Rows in order of arrival. With a primary key a newer row takes the place of the one with the same key.
pub(super) struct Table {
    schema: SchemaRef,
    primary_key: Vec<usize>,
    join_key: Vec<usize>,
    /// Rows that have come since the index was built; the index has the others.
    new: Vec<RecordBatch>,
    index: Index,
}

/// All rows, and by slot of the join key where they are.
struct Index {
    rows: RecordBatch,
    keys: KeyInterner,
    /// `by_key[ends[slot - 1]..ends[slot]]` are the rows of a slot, ascending.
    ends: Vec<usize>,
    by_key: Vec<u32>,
}

impl Table {
    pub(super) fn new(schema: SchemaRef, primary_key: Vec<usize>, join_key: Vec<usize>) -> Result<Self> {
        let rows = RecordBatch::new_empty(Arc::clone(&schema));
        Ok(Self { index: Index::new(rows, &join_key)?, schema, primary_key, join_key, new: Vec::new() })
    }

    pub(super) fn push(&mut self, rows: RecordBatch) {
        self.new.push(rows);
    }

    /// Takes new rows into the index, at a cost of all rows of the table.
    pub(super) fn update(&mut self) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let old = std::iter::once(&self.index.rows);
        let all = concat_batches(&self.schema, old.chain(&self.new))?;
        let all = self.newest(all)?;
        self.index = Index::new(all, &self.join_key)?;
        self.new.clear();
        Ok(())
    }

    /// The last row of each primary key, in order of arrival.
    fn newest(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.primary_key.is_empty() {
            return Ok(rows);
        }
        let (slots, count) = slots_of(&rows, &self.primary_key)?;
        if count == rows.num_rows() {
            return Ok(rows);
        }
        let mut last = vec![0; count];
        for (row, slot) in (0_u32..).zip(&slots.0) {
            last[*slot as usize] = row;
        }
        last.sort_unstable();
        Ok(take_record_batch(&rows, &UInt32Array::from(last))?)
    }

    /// All rows, as of the last update.
    pub(super) fn rows(&self) -> &RecordBatch {
        &self.index.rows
    }

    /// For each row of `stream` and each row of the table with the same key, the numbers of both. A key with a NULL
    /// in it is the same as no other.
    pub(super) fn matches(&self, stream: &RecordBatch, key: &[usize]) -> Result<Vec<(u32, u32)>> {
        let columns: Vec<_> = key.iter().map(|column| Arc::clone(stream.column(*column))).collect();
        let mut slots = Vec::new();
        self.index.keys.find(&columns, stream.num_rows(), &mut slots)?;
        for column in &columns {
            if let Some(nulls) = column.logical_nulls() {
                let rows = slots.iter_mut().zip(nulls.iter());
                rows.filter(|(_, valid)| !valid).for_each(|(slot, _)| *slot = ABSENT);
            }
        }
        let mut matches = Vec::with_capacity(slots.len());
        for (row, slot) in (0..).zip(slots) {
            matches.extend(self.index.rows_of(slot).iter().map(|found| (row, *found)));
        }
        Ok(matches)
    }
}

impl Index {
    fn new(rows: RecordBatch, key: &[usize]) -> Result<Self> {
        let ((slots, keys), count) = slots_of(&rows, key)?;
        let mut ends = vec![0; count + 1];
        for slot in &slots {
            ends[*slot as usize + 1] += 1;
        }
        for slot in 0..count {
            ends[slot + 1] += ends[slot];
        }
        // Counting sort: `ends` are the starts while the rows are laid out, and move to the ends.
        let mut by_key = vec![0; slots.len()];
        for (row, slot) in (0..).zip(&slots) {
            let place = &mut ends[*slot as usize];
            by_key[*place] = row;
            *place += 1;
        }
        Ok(Self { rows, keys, ends, by_key })
    }

    fn rows_of(&self, slot: u32) -> &[u32] {
        if slot == ABSENT || self.by_key.is_empty() {
            return &[];
        }
        let slot = slot as usize;
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        &self.by_key[start..self.ends[slot]]
    }
}

/// The slot of each row, who gave them, and how many there are.
fn slots_of(rows: &RecordBatch, key: &[usize]) -> Result<((Vec<u32>, KeyInterner), usize)> {
    let columns: Vec<_> = key.iter().map(|column| Arc::clone(rows.column(*column))).collect();
    let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
    let mut keys = KeyInterner::new(&types)?;
    let mut slots = Vec::new();
    keys.intern(&columns, rows.num_rows(), &mut slots)?;
    let count = keys.len();
    Ok(((slots, keys), count))
}
