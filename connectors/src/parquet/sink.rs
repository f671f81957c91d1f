//! Writes rows to files, and hands what is finished to the history.
//!
//! The rows of a worker become visible together, at a **cut**: when `flush_interval` has passed by the clocks of the epochs, at a
//! checkpoint, and at the end. All workers cut behind the same epochs, and the history commits their files as one. Where files
//! end is decided by the input and its epochs alone, so whoever works on the same journal again writes the same bytes.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{SchemaRef, UInt64Type};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::sink::{Run, Sink, SinkFactory, Worker};
use lineshaft_engine::time::{Epoch, EpochHeader};
use lineshaft_engine::{Batch, Error, Result};

use super::file::{Files, HashedFile, in_stored_types};
use super::options::ParquetOptions;
use crate::history::{History, HistoryError, HistoryFile, Known, Part, Upkeep};

/// Rows are gathered to batches of this size, so that pages do not depend on the batches that come.
const BATCH_ROWS: usize = 8_192;
/// Files that a worker has open at once; with more folders than this, the one least recently written is finished.
const MAX_OPEN_FILES: usize = 64;
/// The table of a checkpoint: life, rows of it so far, and the epoch after the last one.
const HISTORY: &str = "history";
/// The table of checkpoints of earlier versions: the number of the next file.
const NEXT: &str = "next";

/// Opens the sink on each worker.
pub(super) struct ParquetFactory {
    name: String,
    options: ParquetOptions,
    run: Mutex<Run>,
    /// What the workers share, once the first has opened it.
    shared: Mutex<Option<Shared>>,
}

/// What the workers of a sink share. The upkeep ends with the last of them.
#[derive(Clone)]
struct Shared {
    history: Arc<History>,
    _upkeep: Arc<Upkeep>,
}

impl ParquetFactory {
    pub(super) fn new(name: &str, options: ParquetOptions) -> Self {
        Self { name: name.to_owned(), options, run: Mutex::default(), shared: Mutex::new(None) }
    }

    fn shared(&self) -> Result<Shared> {
        let mut shared = lock(&self.shared);
        if let Some(shared) = &*shared {
            return Ok(shared.clone());
        }
        let failed = |error: HistoryError| failed(&self.name, error);
        let run = lock(&self.run).clone();
        let history = History::open(&self.name, &self.options.folder, run, self.options.upkeep());
        let history = history.map_err(failed)?;
        let upkeep = Upkeep::start(Arc::clone(&history));
        let upkeep = upkeep.map_err(|error| Error::connector("parquet sink", &self.name, error))?;
        Ok(shared.insert(Shared { history, _upkeep: Arc::new(upkeep) }).clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(sink: &str, error: HistoryError) -> Error {
    Error::connector("parquet sink", sink, error)
}

impl SinkFactory for ParquetFactory {
    fn begin(&self, run: &Run) {
        *lock(&self.run) = run.clone();
    }

    fn open(&self, schema: SchemaRef, worker: Worker) -> Result<Box<dyn Sink>> {
        let shared = self.shared()?;
        let (life, next) = shared.history.begin();
        let (folder, room) = (&self.options.folder, Arc::clone(shared.history.room()));
        Ok(Box::new(ParquetSink {
            name: self.name.clone(),
            files: Files::new(folder, schema, self.options.compression, room),
            options: self.options.clone(),
            is_live: lock(&self.run).is_live,
            shared,
            worker,
            life,
            next,
            rows: 0,
            after: None,
            epoch: None,
            cut: 0,
            begun: None,
            known: None,
            held: Vec::new(),
            open: BTreeMap::new(),
            finished: Vec::new(),
            writes: 0,
        }))
    }

    fn is_parallel(&self) -> bool {
        true
    }
}

struct ParquetSink {
    name: String,
    options: ParquetOptions,
    is_live: bool,
    shared: Shared,
    files: Files,
    worker: Worker,
    /// A program that goes on from a checkpoint goes on with its life.
    life: u64,
    /// The number of the next file.
    next: u64,
    /// Rows in this life.
    rows: u64,
    /// The last epoch of the last cut.
    after: Option<Epoch>,
    /// The last epoch.
    epoch: Option<Epoch>,
    /// Cuts since the start, by which the workers know which parts belong together.
    cut: u64,
    /// Wall clock of the first epoch since the last cut.
    begun: Option<i64>,
    /// What was committed after the checkpoint comes again, and is not written again.
    known: Option<Known>,
    /// The rows of an epoch of which it is not known yet whether they are committed.
    held: Vec<Batch>,
    /// Files being written, by the folder below that of the sink.
    open: BTreeMap<String, OpenFile>,
    /// Files since the last cut.
    finished: Vec<HistoryFile>,
    /// Counts writes, to know which file was written last.
    writes: u64,
}

impl ParquetSink {
    fn write_batch(&mut self, batch: &Batch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (folder, rows) in self.options.partitioning.split(batch.rows())? {
            self.write_rows(folder, &rows)?;
        }
        Ok(())
    }

    fn write_rows(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        self.writes += 1;
        let mut at = 0;
        while at < rows.num_rows() {
            if !self.open.contains_key(&folder) {
                self.make_room()?;
                let file = self.begin(&folder)?;
                self.open.insert(folder.clone(), file);
            }
            let Some(file) = self.open.get_mut(&folder) else {
                break;
            };
            let length = (rows.num_rows() - at).min(self.options.max_rows - file.rows);
            file.last_write = self.writes;
            file.write(rows.slice(at, length))?;
            at += length;
            if file.rows >= self.options.max_rows {
                self.end(&folder)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, folder: &str) -> Result<OpenFile> {
        let name = format!("part-{}-{:06}.parquet", self.worker.index, self.next);
        self.next += 1;
        let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        Ok(OpenFile {
            file: self.files.create(&name)?,
            rows: 0,
            gathered: BatchCoalescer::new(Arc::clone(self.files.schema()), BATCH_ROWS),
            last_write: 0,
        })
    }

    fn make_room(&mut self) -> Result<()> {
        if self.open.len() < MAX_OPEN_FILES {
            return Ok(());
        }
        let oldest =
            self.open.iter().min_by_key(|(_, file)| file.last_write).map(|(folder, _)| folder.clone());
        oldest.map_or(Ok(()), |folder| self.end(&folder))
    }

    fn end(&mut self, folder: &str) -> Result<()> {
        if let Some(file) = self.open.remove(folder) {
            self.finished.push(file.finish()?);
        }
        Ok(())
    }

    /// Finishes all files, and hands them to the history. They count once the other workers have done the same.
    fn cut(&mut self) -> Result<()> {
        for (_, file) in take(&mut self.open) {
            self.finished.push(file.finish()?);
        }
        self.begun = None;
        let part = Part {
            worker: self.worker.index,
            after: self.after,
            through: self.epoch,
            rows: self.rows,
            next: self.next,
            files: take(&mut self.finished),
        };
        (self.after, self.cut) = (self.epoch, self.cut + 1);
        let delivered = self.shared.history.deliver(self.worker.count, self.cut, self.life, part);
        delivered.map_err(|error| failed(&self.name, error))
    }

    /// The rows of an epoch that may be committed already. All of them must be those that were.
    fn end_known_epoch(&mut self, known: Known, epoch: Epoch) -> Result<()> {
        let held = take(&mut self.held);
        if epoch <= known.through {
            self.rows += held.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            if epoch < known.through {
                return Ok(());
            }
        }
        if self.rows != known.rows {
            let reason = format!(
                "up to epoch {} there were {} rows, and now there are {}: the same input gives other rows; begin anew with --new-state",
                known.through, known.rows, self.rows
            );
            return Err(Error::connector("parquet sink", &self.name, reason));
        }
        (self.known, self.after, self.begun) = (None, Some(known.through), None);
        if epoch > known.through { held.iter().try_for_each(|batch| self.write_batch(batch)) } else { Ok(()) }
    }

    fn damaged(&self) -> Error {
        Error::connector("parquet sink", &self.name, "its part of the checkpoint is damaged")
    }
}

impl Sink for ParquetSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.weights().is_some_and(|weights| weights.values().iter().any(|weight| *weight != 1)) {
            let reason = "rows of a changelog cannot be taken back from a file; write an append-only view";
            return Err(Error::connector("parquet sink", &self.name, reason));
        }
        if self.known.is_some() {
            self.held.push(batch.clone());
            return Ok(());
        }
        self.write_batch(batch)
    }

    fn end_epoch(&mut self, header: EpochHeader) -> Result<()> {
        self.epoch = Some(header.epoch);
        if let Some(known) = self.known {
            self.end_known_epoch(known, header.epoch)?;
            if header.epoch <= known.through {
                return Ok(());
            }
        }
        let interval = i64::try_from(self.options.flush_interval.as_micros()).unwrap_or(i64::MAX);
        let begun = *self.begun.get_or_insert(header.wall_clock);
        if self.is_live && header.wall_clock.saturating_sub(begun) >= interval { self.cut() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<Snapshot> {
        self.cut()?;
        let next_epoch = self.epoch.map_or(0, |epoch| epoch + 1);
        let column = |value: u64| -> ArrayRef { Arc::new(UInt64Array::from(vec![value])) };
        let columns =
            [("life", column(self.life)), ("rows", column(self.rows)), ("next_epoch", column(next_epoch))];
        let mut snapshot = Snapshot::default();
        snapshot.put(HISTORY, RecordBatch::try_from_iter(columns)?);
        Ok(snapshot)
    }

    /// What was committed after the checkpoint stays; its rows come again, and are counted only.
    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        if let Some(table) = snapshot.take(NEXT) {
            // Of an earlier version, which kept no manifest.
            let next = first(table.column(0)).ok_or_else(|| self.damaged())?;
            self.next = next;
            let taken = self.shared.history.take_back(self.worker.index, next);
            return taken.map_err(|error| failed(&self.name, error));
        }
        let table = snapshot.take(HISTORY).ok_or_else(|| self.damaged())?;
        let value = |name: &str| table.column_by_name(name).and_then(first).ok_or_else(|| self.damaged());
        let (life, rows, epoch) = (value("life")?, value("rows")?, value("next_epoch")?.checked_sub(1));
        let resume = self.shared.history.resume(self.worker.index, life, rows, epoch);
        let resume = resume.map_err(|error| failed(&self.name, error))?;
        (self.life, self.rows, self.epoch, self.after) = (life, rows, epoch, epoch);
        (self.next, self.known) = (resume.next, resume.known);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.cut()
    }
}

fn first(column: &ArrayRef) -> Option<u64> {
    column.as_primitive_opt::<UInt64Type>().filter(|values| !values.is_empty()).map(|values| values.value(0))
}

/// A file that is being written.
struct OpenFile {
    file: HashedFile,
    rows: usize,
    gathered: BatchCoalescer,
    last_write: u64,
}

impl OpenFile {
    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows += rows.num_rows();
        self.gathered.push_batch(in_stored_types(rows)?)?;
        self.write_gathered()
    }

    fn write_gathered(&mut self) -> Result<()> {
        while let Some(rows) = self.gathered.next_completed_batch() {
            self.file.write(&rows)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<HistoryFile> {
        self.gathered.finish_buffered_batch()?;
        self.write_gathered()?;
        self.file.finish()
    }
}
