//! What the sources that make their own rows share: columns by name, and a decoder that has nothing to decode; and the
//! rows that sinks of messages send.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::compute::kernels::cmp::gt;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{Chunk, Decoded, Decoder, Payload};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Batch, Error, Result};

/// Passes [`Payload::Rows`] on as they are.
pub(crate) struct RowsDecoder {
    pub(crate) schema: SchemaRef,
}

impl Decoder for RowsDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        let rows = match chunk.payload {
            Payload::Rows(rows) => Some(rows),
            Payload::Gap(_) | Payload::Empty => None,
            other => {
                return Err(Error::Plan(format!("rows were expected, not {} bytes", other.bytes())));
            }
        };
        Ok(Box::new(rows.into_iter().map(|rows| Ok(Decoded::new(rows, Vec::new())))))
    }
}

/// The columns that the program uses.
///
/// # Errors
/// If an index is not one of a column: a bug of the planner.
pub(crate) fn needed_schema(declaration: &SourceDeclaration) -> Result<SchemaRef> {
    Ok(Arc::new(declaration.schema.project(&declaration.needed)?))
}

/// A batch of `schema`; columns of another type (`REAL` for `DOUBLE`) are cast.
///
/// # Errors
/// If a column cannot be cast.
pub(crate) fn batch(schema: &SchemaRef, rows: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let cast_columns: Result<Vec<ArrayRef>, _> =
        columns.iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type())).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), cast_columns?, &options)?)
}

/// Of a changelog only what is new: a message cannot be taken back.
pub(crate) fn insertions(batch: &Batch) -> Result<Batch> {
    match batch.weights() {
        Some(weights) => batch.filter(&gt(weights, &Int64Array::new_scalar(0))?),
        None => Ok(batch.clone()),
    }
}

/// The time of an option such as `start = '2026-01-01 06:00:00'`, microseconds; UTC unless it says otherwise.
pub(crate) fn parse_time(name: &str, text: &str) -> Result<EventTime, OptionError> {
    match arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text) {
        Ok(nanos) => Ok(nanos.div_euclid(1_000)),
        Err(_) => {
            Err(crate::options::wrong_value(name, text, "a time such as '2026-01-01T06:00:00Z', or 'now'"))
        }
    }
}
