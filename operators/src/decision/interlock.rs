//! Interlocks: keys that must not be commanded now.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::error::Result;

use super::keys::{Key, Keys};
use std::sync::Arc;

/// A set of keys with weights: a key is locked while the sum of its weights is greater than zero. Rows without
/// weights lock for good.
#[derive(Debug, Default)]
pub struct Interlock {
    weights: BTreeMap<Key, i64>,
}

impl Interlock {
    /// Adds the rows of a changelog whose key is in `columns`.
    pub(crate) fn apply(&mut self, keys: &Keys, columns: &[usize], batch: &Batch) -> Result<()> {
        for (row, key) in keys.encode(batch.rows(), columns)?.into_iter().enumerate() {
            let weight = batch.weights().map_or(1, |weights| weights.value(row));
            let sum = self.weights.entry(key).or_default();
            *sum = sum.saturating_add(weight);
        }
        // A key below zero is kept: its insertion may come later in the epoch.
        self.weights.retain(|_, weight| *weight != 0);
        Ok(())
    }

    /// True if the key must not be commanded.
    pub(crate) fn is_locked(&self, key: &Key) -> bool {
        self.weights.get(key).is_some_and(|weight| *weight > 0)
    }

    /// Key columns and `weight`.
    pub(crate) fn snapshot(&self, keys: &Keys) -> Result<RecordBatch> {
        let mut fields: Vec<Field> = keys.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new("weight", DataType::Int64, false));
        let mut columns = keys.decode(self.weights.keys())?;
        let weights: ArrayRef = Arc::new(Int64Array::from_iter_values(self.weights.values().copied()));
        columns.push(weights);
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// What [`Interlock::snapshot`] gave.
    pub(crate) fn restore(keys: &Keys, rows: &RecordBatch) -> Result<Self> {
        let width = keys.fields().len();
        let encoded = keys.encode(rows, &(0..width).collect::<Vec<_>>())?;
        let weights = rows.column(width).as_primitive::<Int64Type>();
        debug_assert_eq!(weights.null_count(), 0, "weights are never NULL");
        Ok(Self { weights: encoded.into_iter().zip(weights.values().iter().copied()).collect() })
    }
}
