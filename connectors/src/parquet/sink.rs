//! Writes rows to files that appear whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{SchemaRef, UInt64Type};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::sink::{Sink, SinkFactory, Worker};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Batch, Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::options::ParquetOptions;

/// Rows are gathered to batches of this size, so that pages do not depend on the batches that come.
const BATCH_ROWS: usize = 8_192;
/// Rows of a row group: enough for readers to be quick, few enough for the memory of many open files.
const ROW_GROUP_ROWS: usize = 131_072;
/// Files that a worker has open at once; with more folders than this, the one least recently written is finished.
const MAX_OPEN_FILES: usize = 64;
/// The number of the next file, in checkpoints.
const NEXT: &str = "next";
/// The suffix of a file that is being written; its name also begins with a dot.
const UNFINISHED: &str = ".tmp";

/// Opens the sink on each worker.
pub(super) struct ParquetFactory {
    name: String,
    options: ParquetOptions,
    /// The first number of this run, once the folder has been looked at.
    first: Mutex<Option<u64>>,
}

impl ParquetFactory {
    pub(super) fn new(name: &str, options: ParquetOptions) -> Self {
        Self { name: name.to_owned(), options, first: Mutex::new(None) }
    }

    /// Makes the folder, removes what a crashed run left, and gives the first free number.
    fn prepare(&self) -> Result<u64> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = *first {
            return Ok(first);
        }
        let folder = &self.options.folder;
        fs::create_dir_all(folder).map_err(|error| Error::file("create the folder", folder, error))?;
        let number = first_free(folder).map_err(|error| Error::file("read the folder", folder, error))?;
        *first = Some(number);
        Ok(number)
    }
}

impl SinkFactory for ParquetFactory {
    fn open(&self, schema: SchemaRef, worker: Worker) -> Result<Box<dyn Sink>> {
        let properties = WriterProperties::builder()
            .set_compression(self.options.compression)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            // The version of the writer would change the bytes with every update.
            .set_created_by("lineshaft".to_owned())
            .build();
        Ok(Box::new(ParquetSink {
            name: self.name.clone(),
            options: self.options.clone(),
            next: self.prepare()?,
            properties,
            schema,
            worker: worker.index,
            files: BTreeMap::new(),
            writes: 0,
        }))
    }

    fn is_parallel(&self) -> bool {
        true
    }
}

/// Removes unfinished files below `folder`, and gives the number after the largest one there.
fn first_free(folder: &Path) -> io::Result<u64> {
    let mut first = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            first = first.max(first_free(&path)?);
        } else if name.starts_with(".part-") && name.ends_with(UNFINISHED) {
            fs::remove_file(&path)?;
        } else if let Some((_, number)) = part_of(&name) {
            first = first.max(number + 1);
        }
    }
    Ok(first)
}

/// Removes the files of a worker below `folder` that have the number `next` or a later one.
fn remove_later(folder: &Path, worker: usize, next: u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            remove_later(&path, worker, next)?;
        } else if part_of(&name).is_some_and(|(of, number)| of == worker && number >= next) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Worker and number of `part-<worker>-<number>.parquet`.
fn part_of(name: &str) -> Option<(usize, u64)> {
    let (worker, number) = name.strip_prefix("part-")?.strip_suffix(".parquet")?.split_once('-')?;
    Some((worker.parse().ok()?, number.parse().ok()?))
}

struct ParquetSink {
    name: String,
    options: ParquetOptions,
    properties: WriterProperties,
    schema: SchemaRef,
    worker: usize,
    next: u64,
    /// Files being written, by the folder below that of the sink.
    files: BTreeMap<String, OpenFile>,
    /// Counts writes, to know which file was written last.
    writes: u64,
}

impl ParquetSink {
    fn write_rows(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        self.writes += 1;
        let mut at = 0;
        while at < rows.num_rows() {
            if !self.files.contains_key(&folder) {
                self.make_room()?;
                let file = self.begin(&folder)?;
                self.files.insert(folder.clone(), file);
            }
            let Some(file) = self.files.get_mut(&folder) else {
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
        let folder = self.options.folder.join(folder);
        fs::create_dir_all(&folder).map_err(|error| Error::file("create the folder", &folder, error))?;
        let name = format!("part-{}-{:06}.parquet", self.worker, self.next);
        self.next += 1;
        OpenFile::create(&folder, &name, &self.schema, &self.properties)
    }

    fn make_room(&mut self) -> Result<()> {
        if self.files.len() < MAX_OPEN_FILES {
            return Ok(());
        }
        let oldest =
            self.files.iter().min_by_key(|(_, file)| file.last_write).map(|(folder, _)| folder.clone());
        oldest.map_or(Ok(()), |folder| self.end(&folder))
    }

    fn end(&mut self, folder: &str) -> Result<()> {
        self.files.remove(folder).map_or(Ok(()), OpenFile::finish)
    }

    fn end_all(&mut self) -> Result<()> {
        std::mem::take(&mut self.files).into_values().try_for_each(OpenFile::finish)
    }
}

impl Sink for ParquetSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.weights().is_some_and(|weights| weights.values().iter().any(|weight| *weight != 1)) {
            let reason = "rows of a changelog cannot be taken back from a file; write an append-only view";
            return Err(Error::connector("parquet sink", &self.name, reason));
        }
        for (folder, rows) in self.options.partitioning.split(batch.rows())? {
            self.write_rows(folder, &rows)?;
        }
        Ok(())
    }

    fn end_epoch(&mut self, header: EpochHeader) -> Result<()> {
        let interval = i64::try_from(self.options.flush_interval.as_micros()).unwrap_or(i64::MAX);
        let is_due = |file: &mut OpenFile| {
            header.wall_clock - *file.begun.get_or_insert(header.wall_clock) >= interval
        };
        let due: Vec<String> =
            self.files.iter_mut().filter_map(|(folder, file)| is_due(file).then(|| folder.clone())).collect();
        due.iter().try_for_each(|folder| self.end(folder))
    }

    fn commit(&mut self) -> Result<Snapshot> {
        self.end_all()?;
        let next: ArrayRef = Arc::new(UInt64Array::from(vec![self.next]));
        let mut snapshot = Snapshot::default();
        snapshot.put(NEXT, RecordBatch::try_from_iter([(NEXT, next)])?);
        Ok(snapshot)
    }

    /// Later files of this worker are of rows that come again.
    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let table = snapshot.take(NEXT);
        let numbers = table.as_ref().and_then(|table| table.column(0).as_primitive_opt::<UInt64Type>());
        let next = numbers.and_then(|numbers| numbers.values().first().copied());
        let Some(next) = next else {
            return Err(Error::connector(
                "parquet sink",
                &self.name,
                "its part of the checkpoint is damaged",
            ));
        };
        let folder = &self.options.folder;
        remove_later(folder, self.worker, next).map_err(|error| Error::file("clear", folder, error))?;
        self.next = next;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.end_all()
    }
}

/// A file that is being written under its hidden name.
struct OpenFile {
    writer: ArrowWriter<File>,
    rows: usize,
    gathered: BatchCoalescer,
    unfinished: PathBuf,
    path: PathBuf,
    /// Wall clock of the end of its first epoch.
    begun: Option<i64>,
    last_write: u64,
}

impl OpenFile {
    fn create(folder: &Path, name: &str, schema: &SchemaRef, properties: &WriterProperties) -> Result<Self> {
        let unfinished = folder.join(format!(".{name}{UNFINISHED}"));
        let file = File::create(&unfinished).map_err(|error| Error::file("create", &unfinished, error))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties.clone()))
            .map_err(|error| failed(&unfinished, error))?;
        Ok(Self {
            writer,
            rows: 0,
            gathered: BatchCoalescer::new(Arc::clone(schema), BATCH_ROWS),
            unfinished,
            path: folder.join(name),
            begun: None,
            last_write: 0,
        })
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows += rows.num_rows();
        self.gathered.push_batch(rows)?;
        self.write_gathered()
    }

    fn write_gathered(&mut self) -> Result<()> {
        while let Some(rows) = self.gathered.next_completed_batch() {
            self.writer.write(&rows).map_err(|error| failed(&self.unfinished, error))?;
        }
        Ok(())
    }

    /// Makes the file visible: all its bytes are on the disk before its name is.
    fn finish(mut self) -> Result<()> {
        self.gathered.finish_buffered_batch()?;
        self.write_gathered()?;
        let file = self.writer.into_inner().map_err(|error| failed(&self.unfinished, error))?;
        let failed = |error| Error::file("write", &self.path, error);
        file.sync_all().map_err(failed)?;
        fs::rename(&self.unfinished, &self.path).map_err(failed)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::file("write", folder, error))
    }
}

fn failed(path: &Path, error: ParquetError) -> Error {
    Error::file("write", path, io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use lineshaft_engine::declaration::SinkDeclaration;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn rows(range: std::ops::Range<i64>) -> Batch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap().into()
    }

    fn open(folder: &Path, options: &[(&str, &str)]) -> Box<dyn Sink> {
        let declaration = SinkDeclaration {
            name: "history".into(),
            schema: rows(0..1).schema(),
            options: [("path", "out")]
                .iter()
                .chain(options)
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect(),
            folder: folder.to_owned(),
        };
        let factory = super::super::sink(&declaration).unwrap_or_else(|errors| panic!("{errors:?}"));
        factory.open(declaration.schema, Worker { index: 0, count: 1 }).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder.join("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn count(path: &Path) -> i64 {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        reader.metadata().file_metadata().num_rows()
    }

    #[test]
    fn files_appear_whole_and_a_new_run_goes_on_with_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), &[("max_rows", "10")]);
        sink.write(&rows(0..25)).unwrap();
        assert_eq!(
            names(folder.path()),
            [".part-0-000002.parquet.tmp", "part-0-000000.parquet", "part-0-000001.parquet"]
        );
        drop(sink);
        let mut sink = open(folder.path(), &[]);
        sink.write(&rows(0..7)).unwrap();
        sink.finish().unwrap();
        assert_eq!(
            names(folder.path()),
            ["part-0-000000.parquet", "part-0-000001.parquet", "part-0-000002.parquet"]
        );
        assert_eq!(count(&folder.path().join("out/part-0-000001.parquet")), 10);
        assert_eq!(count(&folder.path().join("out/part-0-000002.parquet")), 7);
    }

    #[test]
    fn the_same_rows_give_the_same_bytes_whatever_their_batches() {
        let bytes = |step: i64| {
            let folder = tempfile::tempdir().unwrap();
            let mut sink = open(folder.path(), &[]);
            for start in (0..20_000).step_by(usize::try_from(step).unwrap()) {
                sink.write(&rows(start..(start + step).min(20_000))).unwrap();
            }
            sink.finish().unwrap();
            fs::read(folder.path().join("out/part-0-000000.parquet")).unwrap()
        };
        assert!(bytes(20_000) == bytes(777));
    }

    #[test]
    fn rows_are_visible_after_the_flush_interval() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), &[("flush_interval", "10s")]);
        for (epoch, wall_clock) in [(0, 0), (1, 9_999_999), (2, 10_000_000)] {
            sink.write(&rows(0..5)).unwrap();
            sink.end_epoch(EpochHeader { epoch, wall_clock }).unwrap();
            assert_eq!(names(folder.path())[0].starts_with('.'), epoch < 2);
        }
        assert_eq!(count(&folder.path().join("out/part-0-000000.parquet")), 15);
    }

    #[test]
    fn what_was_written_after_a_checkpoint_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), &[("max_rows", "5")]);
        sink.write(&rows(0..7)).unwrap();
        let snapshot = sink.commit().unwrap();
        sink.write(&rows(7..20)).unwrap();
        fs::write(folder.path().join("out/part-1-000009.parquet"), "of another worker").unwrap();
        fs::write(folder.path().join("out/copied.parquet"), "of somebody else").unwrap();
        drop(sink);
        let mut sink = open(folder.path(), &[("max_rows", "5")]);
        sink.restore(snapshot).unwrap();
        let kept =
            ["copied.parquet", "part-0-000000.parquet", "part-0-000001.parquet", "part-1-000009.parquet"];
        assert_eq!(names(folder.path()), kept);
        sink.write(&rows(7..20)).unwrap();
        sink.finish().unwrap();
        let counts = (0..5).map(|n| count(&folder.path().join(format!("out/part-0-{n:06}.parquet"))));
        assert_eq!(counts.collect::<Vec<_>>(), [5, 2, 5, 5, 3]);
    }

    #[test]
    fn a_retraction_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let batch = Batch::with_weights(rows(0..1).into_rows(), Int64Array::from(vec![-1]));
        let error = open(folder.path(), &[]).write(&batch).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}
