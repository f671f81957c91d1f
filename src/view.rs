//! `View`: the rows of a view as they are now, while the program runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::changelog::{Row, RowCodec};
use lineshaft_engine::sink::{Sink, SinkFactory, Worker};
use lineshaft_engine::time::{Epoch, EpochHeader};
use lineshaft_engine::{Batch, Error, Result};

/// The rows of a view, readable from any thread. Cloning shares them.
///
/// All rows are kept in memory: of a stream all that came, of a changelog those that were not taken back.
#[derive(Clone, Default)]
pub struct View(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    codec: Option<(SchemaRef, RowCodec)>,
    counts: BTreeMap<Row, i64>,
    /// What came in the epoch that is not complete.
    waiting: Vec<(Row, i64)>,
    epoch: Option<Epoch>,
}

impl View {
    /// The rows as of the last epoch in which one of them changed, sorted; `None` before the program has started.
    ///
    /// # Errors
    /// Never for rows that the program wrote.
    pub fn rows(&self) -> Result<Option<(Option<Epoch>, RecordBatch)>> {
        let rows = self.lock();
        let Some((schema, codec)) = &rows.codec else { return Ok(None) };
        let times = |count: &i64| usize::try_from(*count).unwrap_or(0);
        let all: Vec<&[u8]> = rows
            .counts
            .iter()
            .flat_map(|(row, count)| std::iter::repeat_n(row.as_slice(), times(count)))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(all.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), codec.decode(all)?, &options)?;
        Ok(Some((rows.epoch, batch)))
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SinkFactory for View {
    fn open(&self, schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        let codec = RowCodec::new(&schema)?;
        self.lock().codec = Some((schema, codec));
        Ok(Box::new(self.clone()))
    }
}

impl Sink for View {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut rows = self.lock();
        let Some((_, codec)) = &rows.codec else { return Err(Error::Plan("a view is not open".into())) };
        let encoded = codec.encode(batch.rows().columns(), batch.num_rows())?;
        let weight = |row: usize| batch.weights().map_or(1, |weights| weights.value(row));
        rows.waiting.extend(encoded.into_iter().enumerate().map(|(number, row)| (row, weight(number))));
        Ok(())
    }

    fn end_epoch(&mut self, header: EpochHeader) -> Result<()> {
        let mut rows = self.lock();
        for (row, weight) in std::mem::take(&mut rows.waiting) {
            let count = rows.counts.entry(row.clone()).or_default();
            *count += weight;
            if *count == 0 {
                rows.counts.remove(&row);
            }
        }
        rows.epoch = Some(header.epoch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{lines, table};

    use crate::Engine;

    #[test]
    fn a_view_is_read_while_the_program_runs_and_shows_only_whole_epochs() {
        let mut engine = Engine::from_sql(
            "CREATE SOURCE readings (machine TEXT, x DOUBLE) WITH (connector = 'memory', bounded = true);
             CREATE VIEW largest AS SELECT machine, x FROM readings ORDER BY x DESC LIMIT 2;",
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (view, input) = (engine.data(folder.path()).read("largest"), engine.input("readings").unwrap());
        assert!(view.rows().unwrap().is_none());
        let running = engine.start().unwrap();
        let wait_for = |expected: [&str; 2]| {
            for _ in 0..1000 {
                if let Some((Some(_), rows)) = view.rows().unwrap()
                    && lines([&rows]) == expected
                {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            panic!("{expected:?} never came: {:?}", view.rows());
        };
        input.send(table("machine:s x:f \n a 1 \n b 2")).unwrap();
        wait_for(["a 1.0", "b 2.0"]);
        input.send(table("machine:s x:f \n c 3")).unwrap();
        wait_for(["b 2.0", "c 3.0"]);
        drop(input);
        running.wait().unwrap();
    }
}
