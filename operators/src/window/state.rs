//! The state of a window operator as a table: some numbers, the key, then columns of any type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::Int64Type;
use lineshaft_engine::{Error, Result};

/// A table of a snapshot, taken apart.
pub(crate) struct StateTable {
    /// Columns of numbers.
    pub(crate) numbers: Vec<Vec<i64>>,
    /// Columns of the key.
    pub(crate) keys: Vec<ArrayRef>,
    /// Whatever else is kept.
    pub(crate) values: Vec<ArrayRef>,
}

impl StateTable {
    pub(crate) fn rows(&self) -> usize {
        self.numbers.first().map_or(0, Vec::len)
    }

    /// As one batch. There is at least one column of numbers.
    pub(crate) fn into_batch(self) -> Result<RecordBatch> {
        let numbers = self.numbers.into_iter().map(|n| Arc::new(Int64Array::from(n)) as ArrayRef);
        let named = |name: &'static str| move |(i, column)| (format!("{name}_{i}"), column, true);
        let columns = (numbers.enumerate().map(named("number")))
            .chain(self.keys.into_iter().enumerate().map(named("key")))
            .chain(self.values.into_iter().enumerate().map(named("value")));
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    }

    /// Takes a table apart that has so many columns of numbers and of the key.
    pub(crate) fn from_batch(batch: &RecordBatch, numbers: usize, keys: usize) -> Result<Self> {
        let other_plan = || Error::operator("window", "a snapshot of another plan");
        let columns = batch.columns();
        let (number_columns, rest) = columns.split_at_checked(numbers).ok_or_else(other_plan)?;
        let (keys, values) = rest.split_at_checked(keys).ok_or_else(other_plan)?;
        let number = |column: &ArrayRef| {
            let column = column.as_primitive_opt::<Int64Type>().ok_or_else(other_plan)?;
            Ok(column.values().to_vec())
        };
        Ok(Self {
            numbers: number_columns.iter().map(number).collect::<Result<_>>()?,
            keys: keys.to_vec(),
            values: values.to_vec(),
        })
    }
}

/// The columns of several lists of columns below each other.
pub(crate) fn stack<'a>(parts: impl IntoIterator<Item = &'a [ArrayRef]>) -> Result<Vec<ArrayRef>> {
    let parts: Vec<_> = parts.into_iter().collect();
    let width = parts.first().map_or(0, |columns| columns.len());
    let column = |at: usize| {
        let column: Vec<&dyn Array> = parts.iter().map(|columns| columns[at].as_ref()).collect();
        Ok(concat(&column)?)
    };
    (0..width).map(column).collect()
}

/// Rows `start..start + len` of columns.
pub(crate) fn slice(columns: &[ArrayRef], start: usize, len: usize) -> Vec<ArrayRef> {
    columns.iter().map(|column| column.slice(start, len)).collect()
}
