//! Files of Parquet as they are written: under a hidden name, with hash and span of event time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result, TIMESTAMP};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::history::{HistoryFile, hidden};
use crate::room::Room;

/// Rows of a row group: enough for readers to be quick, few enough for the memory of many open files.
const ROW_GROUP_ROWS: usize = 131_072;

/// The column with the event time: the first one of type TIMESTAMP, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventColumn(Option<usize>);

impl EventColumn {
    pub(crate) fn of(schema: &Schema) -> Self {
        let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
        Self(schema.fields().iter().position(|field| is_time(field.data_type())))
    }

    pub(crate) fn index(self) -> Option<usize> {
        self.0
    }

    /// The event times of rows.
    pub(crate) fn times(self, rows: &RecordBatch) -> Option<PrimitiveArray<TimestampMicrosecondType>> {
        times(rows.column(self.0?))
    }

    /// Least and largest of some event times.
    pub(crate) fn span_of(self, values: &ArrayRef) -> Option<(EventTime, EventTime)> {
        let times = times(values)?;
        min(&times).zip(max(&times))
    }
}

fn times(values: &ArrayRef) -> Option<PrimitiveArray<TimestampMicrosecondType>> {
    let times = cast(values, &TIMESTAMP).ok()?;
    times.as_primitive_opt::<TimestampMicrosecondType>().cloned()
}

/// A number for names and types of columns.
pub(crate) fn schema_id(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| format!("{}\0{}\0", field.name(), field.data_type()));
    format!("{:016x}", xxh3_64(columns.collect::<String>().as_bytes()))
}

/// How the files of a folder are written.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    schema: SchemaRef,
    schema_id: String,
    event_time: EventColumn,
    properties: WriterProperties,
    room: Arc<Room>,
}

impl Files {
    pub(crate) fn new(folder: &Path, schema: SchemaRef, compression: Compression, room: Arc<Room>) -> Self {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            // The version of the writer would change the bytes with every update.
            .set_created_by("lineshaft".to_owned());
        Self {
            folder: folder.to_owned(),
            schema_id: schema_id(&schema),
            event_time: EventColumn::of(&schema),
            properties: properties.build(),
            schema: stored(&schema),
            room,
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Begins the file `name` below the folder, under its hidden name.
    pub(crate) fn create(&self, name: &str) -> Result<HashedFile> {
        let path = hidden(&self.folder.join(name));
        if let Some(folder) = path.parent() {
            let created = self.room.patiently(|| fs::create_dir_all(folder));
            created.map_err(|error| Error::file("create the folder", folder, error))?;
        }
        let file = self.room.patiently(|| File::create(&path));
        let file = file.map_err(|error| Error::file("create", &path, error))?;
        let output = Output { file, hash: Xxh3::new(), bytes: 0, room: Arc::clone(&self.room) };
        let properties = Some(self.properties.clone());
        let writer = ArrowWriter::try_new(output, Arc::clone(&self.schema), properties);
        Ok(HashedFile {
            writer: writer.map_err(|error| failed(&path, error))?,
            event_time: self.event_time,
            span: None,
            rows: 0,
            path,
            name: name.to_owned(),
            schema_id: self.schema_id.clone(),
        })
    }
}

/// The type in which a column is written, if it is another: Parquet has no times in whole seconds, and would keep bare numbers.
fn stored_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            Some(DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))
        }
        _ => None,
    }
}

fn stored(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match stored_type(field.data_type()) {
        Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type)),
        None => Arc::clone(field),
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// Rows as they are written.
pub(crate) fn in_stored_types(rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if rows.columns().iter().all(|column| stored_type(column.data_type()).is_none()) {
        return Ok(rows);
    }
    let columns = rows.columns().iter().map(|column| match stored_type(column.data_type()) {
        Some(data_type) => cast(column, &data_type),
        None => Ok(Arc::clone(column)),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(stored(&rows.schema()), columns, &count)
}

/// A file that is being written.
pub(crate) struct HashedFile {
    writer: ArrowWriter<Output>,
    event_time: EventColumn,
    span: Option<(EventTime, EventTime)>,
    rows: usize,
    path: PathBuf,
    name: String,
    schema_id: String,
}

impl HashedFile {
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.rows += rows.num_rows();
        let span = self.event_time.index().and_then(|at| self.event_time.span_of(rows.column(at)));
        self.span = match (self.span, span) {
            (Some((from, to)), Some((first, last))) => Some((from.min(first), to.max(last))),
            (known, new) => known.or(new),
        };
        self.writer.write(rows).map_err(|error| failed(&self.path, error))
    }

    /// All bytes are on the disk; the name is still the hidden one.
    pub(crate) fn finish(self) -> Result<HistoryFile> {
        let output = self.writer.into_inner().map_err(|error| failed(&self.path, error))?;
        output.file.sync_all().map_err(|error| Error::file("sync", &self.path, error))?;
        Ok(HistoryFile {
            name: self.name,
            bytes: output.bytes,
            rows: self.rows as u64,
            hash: format!("{:032x}", output.hash.digest128()),
            from: self.span.map(|(from, _)| from),
            to: self.span.map(|(_, to)| to),
            schema: self.schema_id,
            level: 0,
        })
    }
}

/// Where the bytes go.
struct Output {
    file: File,
    hash: Xxh3,
    bytes: u64,
    room: Arc<Room>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { file, room, .. } = self;
        let written = room.patiently(|| file.write(bytes))?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn failed(path: &Path, error: ParquetError) -> Error {
    let source = match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(other) => io::Error::other(other.to_string()),
        },
        other => io::Error::other(other.to_string()),
    };
    Error::file("write", path, source)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, TimestampMillisecondArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn whole_seconds_are_written_as_milliseconds_and_all_else_as_it_is() {
        let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(7), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let rows = RecordBatch::try_from_iter([("at", seconds), ("n", Arc::clone(&numbers))]).unwrap();
        let schema = stored(&rows.schema());
        let written = in_stored_types(rows).unwrap();
        assert_eq!(written.schema(), schema);
        let milliseconds: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(7000), None]));
        assert_eq!(written.columns(), [milliseconds, Arc::clone(&numbers)]);
        let plain = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        assert_eq!(in_stored_types(plain.clone()).unwrap(), plain);
    }
}
