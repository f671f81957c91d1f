//! What a version was trained on: which rows, from when to when, and how long it took.

use arrow::array::{Array, RecordBatch};
use arrow::compute::{SortOptions, sort_to_indices};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::options::hex;

/// The rows of a training query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingData {
    /// SHA-256 of all values in the order of the rows; empty for the model of a file.
    pub hash: String,
    /// The least value of the column `time`, as text; `None` without one.
    pub from: Option<String>,
    /// The greatest value of the column `time`.
    pub to: Option<String>,
    /// How long the training took, in microseconds of the wall clock.
    pub duration_us: i64,
}

impl TrainingData {
    /// The data of a table, whose rows are ordered by the column `time`.
    ///
    /// # Errors
    /// If a column is of a type that has no order.
    pub fn of(table: &RecordBatch, time: Option<&str>, duration_us: i64) -> Result<Self, ArrowError> {
        let ends = |descending: bool| -> Result<Option<String>, ArrowError> {
            let Some(column) = time.and_then(|name| table.column_by_name(name)) else { return Ok(None) };
            let options = SortOptions { descending, nulls_first: false };
            let first = sort_to_indices(column, Some(options), Some(1))?;
            if first.is_empty() || column.null_count() == column.len() {
                return Ok(None);
            }
            let shown = ArrayFormatter::try_new(column, &FormatOptions::default())?;
            Ok(Some(shown.value(first.value(0) as usize).to_string()))
        };
        Ok(Self { hash: hash(table)?, from: ends(false)?, to: ends(true)?, duration_us })
    }
}

/// Rows that are hashed at a time.
const ROWS: usize = 65_536;

/// Equal for equal values in equal order, whatever their batches were and however text is kept.
fn hash(table: &RecordBatch) -> Result<String, ArrowError> {
    let schema = table.schema();
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let mut hash = Sha256::new();
    // Some at a time: they are in memory a second time.
    for start in (0..table.num_rows()).step_by(ROWS) {
        let some = table.slice(start, ROWS.min(table.num_rows() - start));
        for row in &converter.convert_columns(some.columns())? {
            hash.update(row.as_ref());
        }
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, TimestampMicrosecondArray};

    use super::*;

    fn table(times: &[i64], values: &[f64]) -> RecordBatch {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("ts", times), ("x", values)]).unwrap()
    }

    #[test]
    fn the_span_is_that_of_the_time_and_the_hash_that_of_the_values() {
        let day = 86_400_000_000;
        let of =
            |times: &[i64], values: &[f64]| TrainingData::of(&table(times, values), Some("ts"), 7).unwrap();
        let data = of(&[day, 0, 2 * day], &[1.0, 2.0, 3.0]);
        assert_eq!(data.from.as_deref(), Some("1970-01-01T00:00:00"));
        assert_eq!(data.to.as_deref(), Some("1970-01-03T00:00:00"));
        assert_eq!((data.hash.len(), data.duration_us), (64, 7));
        assert_eq!(data, of(&[day, 0, 2 * day], &[1.0, 2.0, 3.0]));
        assert_ne!(data.hash, of(&[day, 0, 2 * day], &[1.0, 2.0, 3.5]).hash);
    }

    #[test]
    fn without_a_time_or_rows_there_is_no_span() {
        let data = TrainingData::of(&table(&[0], &[1.0]), None, 0).unwrap();
        assert_eq!((data.from, data.to), (None, None));
        let data = TrainingData::of(&table(&[], &[]), Some("ts"), 0).unwrap();
        assert_eq!((data.from, data.to), (None, None));
    }
}
