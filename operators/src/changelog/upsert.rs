//! A table with a primary key: a row takes the place of the one that had its key.
//!
//! - Rows: append-only or a changelog in, a changelog out, same columns. State: the row of each key. A retraction in the
//!   input takes the row away if it is the one that is there.
//! - Within an epoch only the last row of a key counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::changelog::{Row, RowCodec};
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::EpochHeader;

/// Keeps one row per key.
#[derive(Debug)]
pub struct Upsert {
    schema: SchemaRef,
    key: Vec<usize>,
    keys: RowCodec,
    codec: RowCodec,
    rows: BTreeMap<Row, Row>,
    /// The row that each key that changed in this epoch had before it.
    before: BTreeMap<Row, Option<Row>>,
}

impl Upsert {
    /// Rows of `schema` with a key of these columns.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    pub fn new(schema: SchemaRef, key: Vec<usize>) -> Result<Self> {
        let keys = RowCodec::new(&Arc::new(schema.project(&key)?))?;
        let codec = RowCodec::new(&schema)?;
        Ok(Self { schema, key, keys, codec, rows: BTreeMap::new(), before: BTreeMap::new() })
    }

    fn put(&mut self, batch: &RecordBatch, weights: Option<&Int64Array>) -> Result<()> {
        let columns: Vec<ArrayRef> =
            self.key.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        let keys = self.keys.encode(&columns, batch.num_rows())?;
        let rows = self.codec.encode(batch.columns(), batch.num_rows())?;
        for (number, (key, row)) in keys.into_iter().zip(rows).enumerate() {
            let is_added = weights.is_none_or(|weights| weights.value(number) > 0);
            let old = self.rows.get(&key);
            if !is_added && old != Some(&row) {
                continue;
            }
            self.before.entry(key.clone()).or_insert_with(|| old.cloned());
            if is_added {
                self.rows.insert(key, row);
            } else {
                self.rows.remove(&key);
            }
        }
        Ok(())
    }
}

impl Operator for Upsert {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.put(batch.rows(), batch.weights())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        let (mut rows, mut weights): (Vec<&Row>, Vec<i64>) = (Vec::new(), Vec::new());
        let changed = || self.before.iter().map(|(key, old)| (old.as_ref(), self.rows.get(key)));
        for (old, new) in changed().filter(|(old, new)| old != new) {
            let both = old.map(|old| (old, -1)).into_iter().chain(new.map(|new| (new, 1)));
            for (row, weight) in both {
                rows.push(row);
                weights.push(weight);
            }
        }
        if !rows.is_empty() {
            let columns = self.codec.decode(rows.into_iter().map(Vec::as_slice))?;
            let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
            output.send(Batch::with_weights(rows, Int64Array::from(weights)));
        }
        self.before.clear();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let columns = self.codec.decode(self.rows.values().map(Vec::as_slice))?;
        let mut snapshot = Snapshot::default();
        snapshot.put("rows", RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        if let Some(rows) = snapshot.take("rows") {
            self.put(&rows, None)?;
            self.before.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{lines, table};

    use super::*;

    fn changes(upsert: &mut Upsert, batch: Batch) -> Vec<String> {
        let mut output = Output::new(1);
        upsert.on_batch(0, batch, &mut output).unwrap();
        upsert.on_epoch_end(EpochHeader::new(0, 0), &mut output).unwrap();
        let batches = output.take(0);
        let weights = batches.iter().flat_map(|batch| batch.weights().unwrap().values().to_vec());
        let rows = lines(batches.iter().map(Batch::rows));
        weights.zip(rows).map(|(weight, row)| format!("{weight:+} {row}")).collect()
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_with_its_key_and_can_be_taken_back() {
        let rows = |text: &str| Batch::new(table(&format!("machine:s limit:f\n{text}")));
        let mut upsert = Upsert::new(rows("a 1").schema(), vec![0]).unwrap();
        assert_eq!(changes(&mut upsert, rows("a 1\nb 2\na 3")), ["+1 a 3.0", "+1 b 2.0"]);
        let snapshot = upsert.snapshot().unwrap();
        let mut upsert = Upsert::new(rows("a 1").schema(), vec![0]).unwrap();
        upsert.restore(snapshot).unwrap();
        assert_eq!(changes(&mut upsert, rows("a 4\nb 2")), ["-1 a 3.0", "+1 a 4.0"]);
        let gone = Batch::with_weights(rows("a 4\nb 9").into_rows(), Int64Array::from(vec![-1, -1]));
        assert_eq!(changes(&mut upsert, gone), ["-1 a 4.0"]);
    }
}
