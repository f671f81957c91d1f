//! A sink like one of files: what it has written stays when the program dies, and is taken back when the program goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use lineshaft::engine::operator::Snapshot;
use lineshaft::engine::sink::{Sink, SinkFactory, Worker};
use lineshaft::engine::testing::lines;
use lineshaft::engine::{Batch, Result};

/// Rows with their weights, in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<(String, i64)>>>);

impl Kept {
    /// The rows that are there, each as often as it is: none was taken back more often than it came.
    pub(super) fn rows(&self) -> BTreeMap<String, i64> {
        let mut rows = BTreeMap::new();
        for (row, weight) in self.0.lock().unwrap().iter() {
            *rows.entry(row.clone()).or_default() += weight;
        }
        rows.retain(|_, weight| *weight != 0);
        rows
    }
}

impl SinkFactory for Kept {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Open { kept: self.clone(), may_write: false }))
    }
}

struct Open {
    kept: Kept,
    /// It knows what of it counts: nothing, or what a checkpoint says.
    may_write: bool,
}

impl Sink for Open {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        assert!(self.may_write, "a program that begins anew takes a checkpoint before it writes");
        let weight = |row: usize| batch.weights().map_or(1, |weights| weights.value(row));
        let rows = lines([batch.rows()]).into_iter().enumerate().map(|(row, line)| (line, weight(row)));
        self.kept.0.lock().unwrap().extend(rows);
        Ok(())
    }

    fn commit(&mut self) -> Result<Snapshot> {
        let kept = self.kept.0.lock().unwrap();
        assert!(
            self.may_write || kept.is_empty(),
            "what was written before the first checkpoint would come twice"
        );
        self.may_write = true;
        let length = i64::try_from(kept.len()).unwrap();
        let mut snapshot = Snapshot::default();
        let table = RecordBatch::try_from_iter([("length", Arc::new(Int64Array::from(vec![length])) as _)])?;
        snapshot.put("kept", table);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let table = snapshot.take("kept").expect("what was given");
        let length = table.column(0).as_primitive::<Int64Type>().value(0);
        self.kept.0.lock().unwrap().truncate(usize::try_from(length).unwrap());
        self.may_write = true;
        Ok(())
    }
}
