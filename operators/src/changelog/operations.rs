//! A changelog as rows that are only added, for a sink: each with what is to be done, in the column `operation`.
//!
//! - `rows`: `insert` and `delete`, a row for each change; a row that comes twice is written twice.
//! - `upsert`: per key and epoch one row at most: `upsert` with the row that the key has now, or `delete` with the one that
//!   it had. State: the rows of each key.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::changelog::{Row, RowCodec};
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::EpochHeader;

/// The column that says what is to be done with a row.
pub const OPERATION: &str = "operation";

/// The columns of `schema`, and then `operation`.
pub fn with_operation(schema: &SchemaRef) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(OPERATION, DataType::Utf8, false)));
    Arc::new(Schema::new(fields))
}

fn add_operation(rows: &RecordBatch, operations: Vec<&str>) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(StringArray::from(operations)));
    Ok(RecordBatch::try_new(with_operation(&rows.schema()), columns)?)
}

/// `changelog = 'rows'`.
#[derive(Debug, Default)]
pub struct ChangeRows;

impl Operator for ChangeRows {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let count = batch.num_rows();
        let weight = |row: usize| batch.weights().map_or(1, |weights| weights.value(row));
        let times = |row: usize| usize::try_from(weight(row).unsigned_abs()).unwrap_or(0);
        let places = (0..count).flat_map(|row| std::iter::repeat_n(row, times(row)));
        let places: Vec<usize> = places.collect();
        let operations = places.iter().map(|row| if weight(*row) > 0 { "insert" } else { "delete" });
        let operations = operations.collect();
        let indices = UInt32Array::from_iter_values(places.iter().filter_map(|row| u32::try_from(*row).ok()));
        output.send(add_operation(&take_record_batch(batch.rows(), &indices)?, operations)?);
        Ok(())
    }
}

/// `changelog = 'upsert'`.
#[derive(Debug)]
pub struct Upserts {
    schema: SchemaRef,
    key: Vec<usize>,
    keys: RowCodec,
    codec: RowCodec,
    rows: HashMap<Row, OfKey, FixedState>,
    /// The keys that changed in this epoch.
    changed: Vec<Row>,
}

/// What is known of a key.
#[derive(Debug, Default)]
struct OfKey {
    /// Its rows with their weights, in order. There is one, unless the key does not tell the rows apart.
    rows: Vec<(Row, i64)>,
    /// If it changed in this epoch, the row that was written last.
    before: Option<Option<Row>>,
}

impl OfKey {
    fn add(&mut self, row: Row, weight: i64) {
        match self.rows.binary_search_by(|(known, _)| known.cmp(&row)) {
            Ok(at) => {
                self.rows[at].1 += weight;
                if self.rows[at].1 == 0 {
                    self.rows.remove(at);
                }
            }
            Err(at) if weight != 0 => self.rows.insert(at, (row, weight)),
            Err(_) => {}
        }
    }

    /// The row that stands for the key.
    fn shown(&self) -> Option<&Row> {
        self.rows.iter().rfind(|(_, weight)| *weight > 0).map(|(row, _)| row)
    }
}

impl Upserts {
    /// Rows of `schema` with a key of these columns.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    pub fn new(schema: SchemaRef, key: Vec<usize>) -> Result<Self> {
        let keys = RowCodec::new(&Arc::new(schema.project(&key)?))?;
        let codec = RowCodec::new(&schema)?;
        Ok(Self { schema, key, keys, codec, rows: HashMap::default(), changed: Vec::new() })
    }

    fn put(&mut self, batch: &RecordBatch, weights: Option<&Int64Array>) -> Result<()> {
        let columns: Vec<ArrayRef> =
            self.key.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        let keys = self.keys.encode(&columns, batch.num_rows())?;
        let rows = self.codec.encode(batch.columns(), batch.num_rows())?;
        for (number, (key, row)) in keys.into_iter().zip(rows).enumerate() {
            let of_key = self.rows.entry_ref(key.as_slice()).or_default();
            if of_key.before.is_none() {
                of_key.before = Some(of_key.shown().cloned());
                self.changed.push(key);
            }
            of_key.add(row, weights.map_or(1, |weights| weights.value(number)));
        }
        Ok(())
    }

    /// Ends the epoch of the keys that changed.
    fn settle(&mut self) {
        for key in self.changed.drain(..) {
            if let EntryRef::Occupied(mut entry) = self.rows.entry_ref(key.as_slice()) {
                entry.get_mut().before = None;
                if entry.get().rows.is_empty() {
                    entry.remove();
                }
            }
        }
    }
}

impl Operator for Upserts {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.put(batch.rows(), batch.weights())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        let (mut rows, mut operations): (Vec<&Row>, Vec<&str>) = (Vec::new(), Vec::new());
        self.changed.sort_unstable();
        for of_key in self.changed.iter().filter_map(|key| self.rows.get(key)) {
            let old = of_key.before.as_ref().and_then(Option::as_ref);
            let (row, operation) = match (old, of_key.shown()) {
                (old, Some(new)) if old != Some(new) => (new, "upsert"),
                (Some(old), None) => (old, "delete"),
                _ => continue,
            };
            rows.push(row);
            operations.push(operation);
        }
        if !rows.is_empty() {
            let columns = self.codec.decode(rows.into_iter().map(Vec::as_slice))?;
            let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
            output.send(add_operation(&rows, operations)?);
        }
        self.settle();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut keys: Vec<&Row> = self.rows.keys().collect();
        keys.sort_unstable();
        let rows = || keys.iter().flat_map(|key| &self.rows[*key].rows);
        let mut columns = self.codec.decode(rows().map(|(row, _)| row.as_slice()))?;
        let weights: ArrayRef = Arc::new(Int64Array::from_iter_values(rows().map(|(_, weight)| *weight)));
        columns.push(weights);
        let mut fields = self.schema.fields().to_vec();
        fields.push(Arc::new(Field::new("weight", DataType::Int64, false)));
        let mut snapshot = Snapshot::default();
        snapshot.put("rows", RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        if let Some(rows) = snapshot.take("rows") {
            let last = rows.num_columns() - 1;
            let weights = arrow::array::AsArray::as_primitive(rows.column(last)).clone();
            let columns: Vec<usize> = (0..last).collect();
            self.put(&rows.project(&columns)?, Some(&weights))?;
            self.settle();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{lines, table};

    use super::*;

    fn run(operator: &mut dyn Operator, text: &str, weights: &[i64]) -> Vec<String> {
        let rows = table(&format!("machine:s limit:f\n{text}"));
        let mut output = Output::new(1);
        let batch = Batch::with_weights(rows, Int64Array::from(weights.to_vec()));
        operator.on_batch(0, batch, &mut output).unwrap();
        operator.on_epoch_end(EpochHeader::new(0, 0), &mut output).unwrap();
        lines(output.take(0).iter().map(Batch::rows))
    }

    #[test]
    fn every_change_is_a_row_as_often_as_it_happens() {
        let rows = run(&mut ChangeRows, "a 1\na 2", &[-1, 2]);
        assert_eq!(rows, ["a 1.0 delete", "a 2.0 insert", "a 2.0 insert"]);
    }

    #[test]
    fn a_key_has_one_row_an_epoch() {
        let schema = table("machine:s limit:f\na 1").schema();
        let mut upserts = Upserts::new(Arc::clone(&schema), vec![0]).unwrap();
        assert_eq!(run(&mut upserts, "a 1\nb 1", &[1, 1]), ["a 1.0 upsert", "b 1.0 upsert"]);
        let snapshot = upserts.snapshot().unwrap();
        let mut upserts = Upserts::new(schema, vec![0]).unwrap();
        upserts.restore(snapshot).unwrap();
        assert_eq!(run(&mut upserts, "a 1\na 2\nb 1", &[-1, 1, -1]), ["a 2.0 upsert", "b 1.0 delete"]);
        assert_eq!(run(&mut upserts, "a 2\na 2", &[-1, 1]), Vec::<String>::new());
    }
}
