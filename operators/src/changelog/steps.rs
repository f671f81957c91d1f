//! Filters and projections on encoded rows: a container of rows is decoded, computed by columns and encoded again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::{AsCollection, VecCollection};
use lineshaft_engine::changelog::{Failure, Row, RowCodec, Rows, encode_keys};
use lineshaft_engine::expression::Expression;
use lineshaft_engine::{Error, Result};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator as _;
use timely::progress::Timestamp;

/// The columns of encoded rows.
fn decoded(codec: &RowCodec, schema: &SchemaRef, rows: &[&[u8]]) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let columns = codec.decode(rows.iter().copied())?;
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Only the items for which `predicate` is true (not NULL) of their row.
pub(super) fn filter<'scope, T, D>(
    items: VecCollection<'scope, T, D, isize>,
    schema: &SchemaRef,
    predicate: Arc<dyn Expression>,
    row: impl Fn(&D) -> Row + 'static,
    failure: Failure,
) -> Result<VecCollection<'scope, T, D, isize>>
where
    T: Timestamp + Lattice,
    D: Clone + 'static,
{
    let (codec, schema) = (RowCodec::new(schema)?, Arc::clone(schema));
    let keep = move |items: &[(D, T, isize)]| -> Result<Vec<bool>> {
        let rows: Vec<Row> = items.iter().map(|(item, _, _)| row(item)).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let keep = predicate.evaluate(&decoded(&codec, &schema, &rows)?)?;
        let keep = keep
            .as_boolean_opt()
            .ok_or_else(|| Error::operator("filter", "the condition is not a boolean"))?;
        Ok(keep.iter().map(|keep| keep == Some(true)).collect())
    };
    let filtered = items.inner.unary(Pipeline, "filter", move |_, _| {
        move |input, output| {
            input.for_each(|time, items| match keep(items) {
                Ok(keep) => {
                    let mut keep = keep.into_iter();
                    items.retain(|_| keep.next().unwrap_or(false));
                    output.session(&time).give_container(items);
                }
                Err(error) => failure(error),
            });
        }
    });
    Ok(filtered.as_collection())
}

/// Each row as something else, computed from its columns.
pub(super) fn computed<'scope, T, D>(
    rows: Rows<'scope, T>,
    schema: &SchemaRef,
    mut compute: impl FnMut(&RecordBatch) -> Result<Vec<D>> + 'static,
    failure: Failure,
) -> Result<VecCollection<'scope, T, D, isize>>
where
    T: Timestamp + Lattice,
    D: Clone + 'static,
{
    let (codec, schema) = (RowCodec::new(schema)?, Arc::clone(schema));
    let mapped = rows.inner.unary(Pipeline, "map", move |_, _| {
        move |input, output| {
            input.for_each(|time, rows| {
                let bytes: Vec<&[u8]> = rows.iter().map(|(row, _, _)| row.as_slice()).collect();
                match decoded(&codec, &schema, &bytes).and_then(|batch| compute(&batch)) {
                    Ok(items) => {
                        let times = rows.drain(..).map(|(_, time, weight)| (time, weight));
                        let mut items = items.into_iter().zip(times);
                        let mut items: Vec<_> = items.by_ref().map(|(item, (t, w))| (item, t, w)).collect();
                        output.session(&time).give_container(&mut items);
                    }
                    Err(error) => failure(error),
                }
            });
        }
    });
    Ok(mapped.as_collection())
}

/// Computes columns; the output has one row for each of the input.
pub(super) fn map<'scope, T>(
    rows: Rows<'scope, T>,
    input: &SchemaRef,
    columns: Vec<Arc<dyn Expression>>,
    output: &SchemaRef,
    failure: Failure,
) -> Result<Rows<'scope, T>>
where
    T: Timestamp + Lattice,
{
    let codec = RowCodec::new(output)?;
    let encode = move |batch: &RecordBatch| {
        let columns: Result<Vec<_>> = columns.iter().map(|column| column.evaluate(batch)).collect();
        codec.encode(&columns?, batch.num_rows())
    };
    computed(rows, input, encode, failure)
}

/// Each row with its key, encoded as the keys of an index are.
pub(super) fn keyed<'scope, T>(
    rows: Rows<'scope, T>,
    schema: &SchemaRef,
    key: &[usize],
    failure: Failure,
) -> Result<VecCollection<'scope, T, (Row, Row), isize>>
where
    T: Timestamp + Lattice,
{
    let key_schema: SchemaRef = Arc::new(schema.project(key)?);
    let (keys, codec, key) = (RowCodec::new(&key_schema)?, RowCodec::new(schema)?, key.to_vec());
    let encode = move |batch: &RecordBatch| {
        let columns: Vec<ArrayRef> = key.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        let keys = encode_keys(&keys, &columns, batch.num_rows())?;
        Ok(keys.into_iter().zip(codec.encode(batch.columns(), batch.num_rows())?).collect())
    };
    computed(rows, schema, encode, failure)
}

/// The encoded row of which every column is NULL.
pub(super) fn null_row(schema: &SchemaRef) -> Result<Row> {
    let columns: Vec<ArrayRef> =
        schema.fields().iter().map(|field| arrow::array::new_null_array(field.data_type(), 1)).collect();
    debug_assert!(columns.iter().all(|column| column.is_null(0)));
    Ok(RowCodec::new(schema)?.encode(&columns, 1)?.pop().unwrap_or_default())
}
