//! What a table has given, and what is to be given so that it is as its files are now.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use lineshaft_engine::declaration::SourceDeclaration;
use lineshaft_engine::source::{Decoded, Rejected};
use lineshaft_engine::{Error, Result};

/// The rows of a table. Memory: each row once, as Arrow columns; while it changes also old and new rows as bytes.
pub(super) struct Content {
    name: String,
    schema: SchemaRef,
    /// Places of the primary key among the columns; empty: all rows count.
    key: Vec<usize>,
    /// Rows are versions: they are only added.
    keeps_versions: bool,
    rows: RecordBatch,
    /// What was bad: file, reason and record.
    rejected: HashSet<(String, &'static str, Vec<u8>)>,
}

impl Content {
    /// An empty table with the needed columns of `declaration`.
    pub(super) fn new(declaration: &SourceDeclaration, schema: SchemaRef) -> Result<Self> {
        let keeps_versions = declaration.table.as_ref().is_some_and(|table| table.keeps_versions);
        let primary_key = declaration.table.iter().flat_map(|table| &table.primary_key);
        let place = |column: &usize| {
            let place = declaration.needed.iter().position(|needed| needed == column);
            place.ok_or_else(|| Error::Plan(format!("{}: the primary key is not read", declaration.name)))
        };
        let key: Vec<usize> = primary_key.map(place).collect::<Result<_>>()?;
        Ok(Self {
            name: declaration.name.clone(),
            rows: RecordBatch::new_empty(Arc::clone(&schema)),
            schema,
            key: if keeps_versions { Vec::new() } else { key },
            keeps_versions,
            rejected: HashSet::new(),
        })
    }

    /// Puts new rows in the place of the old ones; gives the difference.
    pub(super) fn replace(&mut self, batches: &[RecordBatch], rejected: Vec<Rejected>) -> Result<Decoded> {
        let new = self.last_of_each_key(concat_batches(&self.schema, batches)?)?;
        let old = std::mem::replace(&mut self.rows, new);
        let (gone, added) = self.difference(&old)?;
        let rows = match self.keeps_versions {
            true => vec![take_record_batch(&self.rows, &added)?],
            false => vec![take_record_batch(&old, &gone)?, take_record_batch(&self.rows, &added)?],
        };
        let weights = (!self.keeps_versions).then(|| {
            let weights = [(gone.len(), -1), (added.len(), 1)];
            let weights = weights.into_iter().flat_map(|(rows, weight)| std::iter::repeat_n(weight, rows));
            weights.collect::<Vec<i64>>().into()
        });
        let rejected = self.not_told(rejected);
        Ok(Decoded { rows: concat_batches(&self.schema, &rows)?, weights, rejected })
    }

    /// The old rows that are gone and the new rows that were not there. Equal rows count as often as they are there.
    fn difference(&self, old: &RecordBatch) -> Result<(UInt32Array, UInt32Array)> {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let (before, now) = (self.encoded(old, &columns)?, self.encoded(&self.rows, &columns)?);
        let mut left: HashMap<&[u8], VecDeque<u32>> = HashMap::with_capacity(old.num_rows());
        for (number, row) in (0..).zip(&before) {
            left.entry(row.data()).or_default().push_back(number);
        }
        let mut added = Vec::new();
        for (number, row) in (0..).zip(&now) {
            if left.get_mut(row.data()).and_then(VecDeque::pop_front).is_none() {
                added.push(number);
            }
        }
        let mut gone: Vec<u32> = left.into_values().flatten().collect();
        gone.sort_unstable();
        Ok((gone.into(), added.into()))
    }

    /// Of rows with one key the last.
    fn last_of_each_key(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.key.is_empty() {
            return Ok(rows);
        }
        let keys = self.encoded(&rows, &self.key)?;
        let mut last: HashMap<&[u8], u32> = HashMap::with_capacity(rows.num_rows());
        for (number, key) in (0..).zip(&keys) {
            last.insert(key.data(), number);
        }
        let mut kept: Vec<u32> = last.into_values().collect();
        kept.sort_unstable();
        Ok(take_record_batch(&rows, &UInt32Array::from(kept))?)
    }

    fn encoded(&self, rows: &RecordBatch, columns: &[usize]) -> Result<Rows> {
        if u32::try_from(rows.num_rows()).is_err() {
            return Err(Error::connector(
                "file source",
                &self.name,
                "the table has more than 4 billion rows",
            ));
        }
        let field = |column: &usize| SortField::new(self.schema.field(*column).data_type().clone());
        let converter = RowConverter::new(columns.iter().map(field).collect())?;
        let columns: Vec<ArrayRef> = columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        Ok(converter.convert_columns(&columns)?)
    }

    /// Of what is bad now what was not before.
    fn not_told(&mut self, rejected: Vec<Rejected>) -> Vec<Rejected> {
        let name = |bad: &Rejected| (bad.origin.clone(), bad.reason, bad.raw.clone());
        let now = rejected.iter().map(name).collect();
        let before = std::mem::replace(&mut self.rejected, now);
        rejected.into_iter().filter(|bad| !before.contains(&name(bad))).collect()
    }
}
