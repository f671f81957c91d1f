//! A `Batch`: the Arrow columns of many rows of one epoch, and for a changelog a weight column.

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};

use crate::error::Result;

/// The Arrow type of event time everywhere in the engine: microseconds, UTC, no zone.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Rows of one epoch on one edge of the dataflow.
///
/// Cloning shares the columns. A batch without weights is append-only: every row has weight `+1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    rows: RecordBatch,
    weights: Option<Int64Array>,
}

impl Batch {
    /// An append-only batch.
    pub fn new(rows: RecordBatch) -> Self {
        Self { rows, weights: None }
    }

    /// A batch of a changelog; `weights` has one entry per row (`+1` inserts, `-1` retracts).
    pub fn with_weights(rows: RecordBatch, weights: Int64Array) -> Self {
        assert_eq!(rows.num_rows(), weights.len(), "a weight for each row");
        Self { rows, weights: Some(weights) }
    }

    /// The columns.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The columns, without the weights.
    pub fn into_rows(self) -> RecordBatch {
        self.rows
    }

    /// The weights of a changelog; `None` if append-only.
    pub fn weights(&self) -> Option<&Int64Array> {
        self.weights.as_ref()
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Names and types of the columns.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// `length` rows from `offset` on; shares the columns.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let weights = self.weights.as_ref().map(|weights| weights.slice(offset, length));
        Self { rows: self.rows.slice(offset, length), weights }
    }

    /// All rows of batches of one schema, of which all or none have weights; `None` if there is no batch.
    ///
    /// # Errors
    /// If the columns differ.
    pub fn concat(batches: &[Self]) -> Result<Option<Self>> {
        let Some(first) = batches.first() else { return Ok(None) };
        if batches.len() == 1 {
            return Ok(Some(first.clone()));
        }
        let rows = concat_batches(&first.schema(), batches.iter().map(Self::rows))?;
        let weights = batches.iter().filter_map(Self::weights).map(|weights| weights as &dyn Array);
        let weights: Vec<&dyn Array> = weights.collect();
        let weights = match weights.is_empty() {
            true => None,
            false => Some(int64(concat(&weights)?.as_ref())),
        };
        Ok(Some(Self { rows, weights }))
    }

    /// The rows for which `keep` is true (NULL counts as false).
    ///
    /// # Errors
    /// If the lengths differ.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        let weights = match &self.weights {
            Some(weights) => Some(int64(filter(weights, keep)?.as_ref())),
            None => None,
        };
        Ok(Self { rows: filter_record_batch(&self.rows, keep)?, weights })
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Errors
    /// If an index is out of bounds.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let weights = match &self.weights {
            Some(weights) => Some(int64(take(weights, indices, None)?.as_ref())),
            None => None,
        };
        Ok(Self { rows: take_record_batch(&self.rows, indices)?, weights })
    }
}

impl From<RecordBatch> for Batch {
    fn from(rows: RecordBatch) -> Self {
        Self::new(rows)
    }
}

fn int64(array: &dyn Array) -> Int64Array {
    use arrow::array::AsArray;
    array.as_primitive::<arrow::datatypes::Int64Type>().clone()
}

/// A field of event time, not nullable.
pub fn event_time_field(name: &str) -> Field {
    Field::new(name, TIMESTAMP, false)
}
