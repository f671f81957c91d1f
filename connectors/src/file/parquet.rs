//! Parquet files: a chunk is a row group, which a worker reads and decodes itself, needed columns only.
//!
//! The footer of each file is read once. Types that differ from the declared ones are cast where every value has its
//! place: whole numbers to wider ones and to `TIMESTAMP` (by `timestamp_format`), floats to `DOUBLE`, any text to `TEXT`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoded, Decoder, Partition, Payload, Rejected, Source};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result, TIMESTAMP};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;

use super::decoder::{file_column, received_at, shown};
use super::options::{FileOptions, unreadable};
use crate::format::layout::{ColumnSpec, Layout};
use crate::format::timestamp::{TimestampFormat, Unit};

/// Rows of a batch; each batch is an epoch.
const BATCH_ROWS: usize = 65_536;

/// A source of Parquet files.
pub(super) struct ParquetSource {
    decoder: Arc<ParquetDecoder>,
}

/// What all workers share.
struct ParquetDecoder {
    layout: Layout,
    files: Vec<ParquetFile>,
}

/// A file whose footer has been read.
struct ParquetFile {
    path: PathBuf,
    name: Arc<str>,
    received_at: EventTime,
    metadata: ArrowReaderMetadata,
    /// The columns to read.
    mask: ProjectionMask,
    /// For each needed column of the record its place among the columns that are read; `None` if the file has it not.
    places: Vec<(ColumnSpec, Option<usize>)>,
    /// Least and largest event time of each row group, where the statistics have them.
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    earliest: Option<EventTime>,
    latest: Option<EventTime>,
}

impl ParquetSource {
    /// Reads the footers and compares the columns.
    pub(super) fn open(
        declaration: &SourceDeclaration,
        options: &FileOptions,
        paths: Vec<PathBuf>,
    ) -> Result<Self, Vec<OptionError>> {
        let layout = Layout::new(declaration, options.timestamp.clone());
        let (files, errors): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .map(|path| ParquetFile::open(path, &layout))
            .partition(Result::is_ok);
        let errors: Vec<OptionError> = errors.into_iter().filter_map(Result::err).flatten().collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let files = files.into_iter().filter_map(Result::ok).collect();
        Ok(Self {
            decoder: Arc::new(ParquetDecoder { layout, files }),
        })
    }
}

impl ParquetFile {
    fn open(path: PathBuf, layout: &Layout) -> Result<Self, Vec<OptionError>> {
        let one = |error: OptionError| vec![error];
        let file = File::open(&path).map_err(|error| one(unreadable(&path, error)))?;
        let facts = file.metadata().map_err(|error| one(unreadable(&path, error)))?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| {
            let error = unreadable(&path, format!("it is no whole Parquet file ({error})"));
            one(error.help("the file is truncated or of another format; copy it again or set format"))
        })?;
        let columns = columns(&path, layout, &metadata)?;
        let leaves = |root: &usize| *root;
        let mut roots: Vec<usize> = columns
            .iter()
            .filter_map(|(spec, root)| spec.output.and(*root))
            .collect();
        roots.sort_unstable();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().map(leaves));
        let place = |root: Option<usize>| root.and_then(|root| roots.binary_search(&root).ok());
        let spans = spans(layout, &columns, &metadata);
        Ok(Self {
            name: shown(&path),
            received_at: received_at(&facts),
            places: columns
                .into_iter()
                .filter(|(spec, _)| spec.output.is_some())
                .map(|(spec, root)| (spec, place(root)))
                .collect(),
            path,
            metadata,
            mask,
            spans,
        })
    }

    fn row_groups(&self) -> &[RowGroupMetaData] {
        self.metadata.metadata().row_groups()
    }

    fn rows(&self, row_group: usize) -> u64 {
        self.row_groups()
            .get(row_group)
            .map_or(0, |group| u64::try_from(group.num_rows()).unwrap_or(0))
    }

    fn reader(&self, row_group: usize) -> Result<ParquetRecordBatchReader> {
        let file = File::open(&self.path).map_err(|error| Error::file("open", &self.path, error))?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![row_group])
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| self.broken(error))
    }

    fn broken(&self, error: impl std::fmt::Display) -> Error {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
        Error::file("read", &self.path, source)
    }
}

/// The column of the file for each declared one, by name.
fn columns(
    path: &Path,
    layout: &Layout,
    metadata: &ArrowReaderMetadata,
) -> Result<Vec<(ColumnSpec, Option<usize>)>, Vec<OptionError>> {
    let fields = metadata.schema().fields();
    let mut errors = Vec::new();
    let mut columns = Vec::new();
    for spec in &layout.columns {
        let name = spec.field.name();
        let found = fields.iter().position(|field| field.name() == name);
        match found.map(|at| fields[at].data_type()) {
            Some(data_type) if !fits(data_type, spec.field.data_type(), &layout.timestamp) => {
                let message = format!(
                    "column {name:?} of {} is {data_type}, which does not become the declared {}",
                    path.display(),
                    spec.field.data_type()
                );
                errors.push(
                    OptionError::of("path", message).help("declare the column with the type of the file"),
                );
            }
            None if !spec.field.is_nullable() => {
                let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                let message = format!("{} has no column {name:?}, declared NOT NULL", path.display());
                errors.push(OptionError::of("path", message).help(crate::options::suggestion(name, &names)));
            }
            None => tracing::warn!("{} has no column {name:?}: it is NULL", path.display()),
            Some(_) => {}
        }
        columns.push((spec.clone(), found));
    }
    if errors.is_empty() {
        Ok(columns)
    } else {
        Err(errors)
    }
}

/// True if every value of the type `from` has its place in `to`, or is rejected row by row.
fn fits(from: &DataType, to: &DataType, timestamp: &TimestampFormat) -> bool {
    use DataType::{Dictionary, Float32, Float64, LargeList, LargeUtf8, List, Timestamp, Utf8, Utf8View};
    let is_text = |data_type: &DataType| matches!(data_type, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (from, to) if from == to => true,
        (Dictionary(_, value), to) => fits(value, to, timestamp),
        (Timestamp(..), Timestamp(..)) | (DataType::Date32, Timestamp(..)) => true,
        (from, Timestamp(..)) if from.is_integer() || is_text(from) => {
            is_text(from) || matches!(timestamp, TimestampFormat::Unix(_))
        }
        (from, Float64) => from.is_numeric(),
        (DataType::Float16, Float32) => true,
        (from, to) if from.is_integer() && to.is_integer() => from.primitive_width() <= to.primitive_width(),
        (from, to) if is_text(to) => {
            is_text(from) || matches!(from, DataType::Binary | DataType::LargeBinary)
        }
        (List(from) | LargeList(from), List(to)) => fits(from.data_type(), to.data_type(), timestamp),
        (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
        _ => false,
    }
}

/// A column with the declared type; a value that has no place in it becomes NULL.
fn convert(array: &ArrayRef, to: &DataType, timestamp: &TimestampFormat) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), timestamp) {
        (from, TimestampFormat::Unix(unit)) if *to == TIMESTAMP && from.is_integer() => {
            from_integers(array, *unit)
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, format) if *to == TIMESTAMP => {
            let texts = cast(array, &DataType::Utf8)?;
            let times = texts
                .as_string::<i32>()
                .iter()
                .map(|text| format.parse_text(text?.as_bytes()));
            Ok(Arc::new(times.collect::<TimestampMicrosecondArray>()))
        }
        (DataType::Dictionary(_, value), _) => convert(&cast(array, value)?, to, timestamp),
        _ => cast(array, to),
    }
}

fn from_integers(array: &ArrayRef, unit: Unit) -> Result<ArrayRef, ArrowError> {
    let numbers = cast(array, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(Arc::new(
        numbers.unary_opt::<_, arrow::datatypes::TimestampMicrosecondType>(|number| unit.micros(number)),
    ))
}

/// The spans of event time of the row groups.
fn spans(
    layout: &Layout,
    columns: &[(ColumnSpec, Option<usize>)],
    metadata: &ArrowReaderMetadata,
) -> Vec<Span> {
    let groups = metadata.metadata().row_groups();
    let column = columns
        .iter()
        .find(|(spec, root)| spec.is_event_time && root.is_some());
    let statistics = column.and_then(|(spec, _)| {
        let converter =
            StatisticsConverter::try_new(spec.field.name(), metadata.schema(), metadata.parquet_schema())
                .ok()?;
        let least = convert(
            &converter.row_group_mins(groups).ok()?,
            &TIMESTAMP,
            &layout.timestamp,
        )
        .ok()?;
        let largest = convert(
            &converter.row_group_maxes(groups).ok()?,
            &TIMESTAMP,
            &layout.timestamp,
        )
        .ok()?;
        Some((least, largest))
    });
    let Some((least, largest)) = statistics else {
        return vec![Span::default(); groups.len()];
    };
    (0..groups.len())
        .map(|group| Span {
            earliest: time_at(&least, group),
            latest: time_at(&largest, group),
        })
        .collect()
}

fn time_at(times: &ArrayRef, row: usize) -> Option<EventTime> {
    let times = times.as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>()?;
    (row < times.len() && times.is_valid(row)).then(|| times.value(row))
}

impl Source for ParquetSource {
    fn run(self: Box<Self>, chunks: ChunkSender, _runtime: tokio::runtime::Handle) -> Result<()> {
        let files = &self.decoder.files;
        let mut next = vec![0; files.len()];
        // The file to read next is the one whose last row group ended first; before that, it counts by its beginning.
        let mut near: Vec<Option<EventTime>> = files
            .iter()
            .map(|file| file.spans.first().and_then(|span| span.earliest))
            .collect();
        let mut open: Vec<usize> = (0..files.len()).collect();
        while let Some(partition) = open.iter().copied().min_by_key(|file| (near[*file], *file)) {
            let (file, index) = (&files[partition], next[partition]);
            let last = index + 1 >= file.row_groups().len();
            let rows = file.rows(index);
            let latest = file.spans.get(index).and_then(|span| span.latest);
            near[partition] = latest.max(near[partition]);
            let payload = if file.row_groups().is_empty() {
                Payload::Empty
            } else {
                Payload::Part { index, rows }
            };
            let batches = u32::try_from(rows.div_ceil(BATCH_ROWS as u64)).unwrap_or(u32::MAX);
            chunks.send(Chunk {
                partition,
                payload,
                batches,
                near: near[partition],
                last,
            })?;
            next[partition] += 1;
            if last {
                open.retain(|file| *file != partition);
            }
        }
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::clone(&self.decoder) as Arc<dyn Decoder>
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn partitions(&self) -> Vec<Partition> {
        let earliest = |file: &ParquetFile| file.spans.iter().map(|span| span.earliest).min().flatten();
        let partition = |file: &ParquetFile| Partition {
            name: file.name.to_string(),
            earliest: earliest(file),
        };
        self.decoder.files.iter().map(partition).collect()
    }

    fn total_rows(&self) -> Option<u64> {
        Some(
            self.decoder
                .files
                .iter()
                .map(|file| {
                    (0..file.row_groups().len())
                        .map(|group| file.rows(group))
                        .sum::<u64>()
                })
                .sum(),
        )
    }
}

impl Decoder for ParquetDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.output)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        let Payload::Part { index, .. } = chunk.payload else {
            return Ok(Box::new(std::iter::empty()));
        };
        let Some(file) = self.files.get(chunk.partition) else {
            return Err(Error::Plan(format!(
                "there is no Parquet file {}",
                chunk.partition
            )));
        };
        Ok(Box::new(Batches {
            reader: file.reader(index)?,
            shape: Shape {
                layout: self.layout.clone(),
                places: file.places.clone(),
                file: Arc::clone(&file.name),
                path: file.path.clone(),
                received_at: file.received_at,
            },
        }))
    }
}

/// The batches of a row group.
struct Batches {
    reader: ParquetRecordBatchReader,
    shape: Shape,
}

/// How a batch of a file becomes a batch of the source.
struct Shape {
    layout: Layout,
    places: Vec<(ColumnSpec, Option<usize>)>,
    file: Arc<str>,
    path: PathBuf,
    received_at: EventTime,
}

impl Iterator for Batches {
    type Item = Result<Decoded>;

    fn next(&mut self) -> Option<Self::Item> {
        let decoded = self.reader.next()?.and_then(|batch| self.shape.decode(&batch));
        Some(decoded.map_err(|error| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
            Error::file("read", &self.shape.path, source)
        }))
    }
}

impl Shape {
    fn decode(&self, batch: &RecordBatch) -> Result<Decoded, ArrowError> {
        let rows = batch.num_rows();
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; self.layout.output.fields().len()];
        let mut bad = Bad::default();
        for (spec, place) in &self.places {
            let data_type = spec.field.data_type();
            let array = match place {
                Some(place) => {
                    let found = batch.column(*place);
                    let array = convert(found, data_type, &self.layout.timestamp)?;
                    bad.look(spec, found, &array);
                    array
                }
                None => arrow::array::new_null_array(data_type, rows),
            };
            if let Some(output) = spec.output {
                arrays[output] = Some(array);
            }
        }
        for (output, name) in &self.layout.metadata {
            let array: ArrayRef = match name.as_str() {
                "file" => file_column(&self.file, rows),
                _ => Arc::new(TimestampMicrosecondArray::from_value(self.received_at, rows)),
            };
            arrays[*output] = Some(cast(&array, self.layout.output.field(*output).data_type())?);
        }
        self.without_bad(arrays.into_iter().flatten().collect(), rows, bad)
    }

    /// Takes the bad rows out, and says that all others are as declared.
    fn without_bad(&self, mut arrays: Vec<ArrayRef>, rows: usize, bad: Bad) -> Result<Decoded, ArrowError> {
        let mut kept = rows;
        if !bad.reasons.is_empty() {
            let keep: BooleanArray = (0..rows)
                .map(|row| Some(!bad.reasons.contains_key(&row)))
                .collect();
            let nullable = arrays
                .iter()
                .enumerate()
                .map(|(at, array)| (at.to_string(), Arc::clone(array), true));
            let filtered = filter_record_batch(&RecordBatch::try_from_iter_with_nullable(nullable)?, &keep)?;
            kept = filtered.num_rows();
            arrays = filtered.columns().to_vec();
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept));
        let rejected = bad.reasons.into_values().map(|(reason, detail)| Rejected {
            origin: self.file.to_string(),
            line: None,
            reason,
            detail,
            raw: Vec::new(),
        });
        Ok(Decoded {
            rows: RecordBatch::try_new_with_options(Arc::clone(&self.layout.output), arrays, &options)?,
            rejected: rejected.collect(),
        })
    }
}

/// The bad rows of a batch, with reason and detail.
#[derive(Default)]
struct Bad {
    reasons: std::collections::BTreeMap<usize, (&'static str, String)>,
}

impl Bad {
    /// A row is bad if a value did not fit, or if it is NULL where it may not be.
    fn look(&mut self, spec: &ColumnSpec, found: &ArrayRef, array: &ArrayRef) {
        let name = spec.field.name();
        let lost = array.null_count() > found.logical_null_count();
        if !lost && (spec.field.is_nullable() || array.null_count() == 0) {
            return;
        }
        for row in (0..array.len()).filter(|row| array.is_null(*row)) {
            if !found.is_null(row) && lost {
                let detail = format!(
                    "column {name:?}: a value of {} does not fit {}",
                    found.data_type(),
                    spec.field.data_type()
                );
                self.reasons.entry(row).or_insert(("type", detail));
            } else if !spec.field.is_nullable() {
                let reason = if spec.is_event_time { "null_time" } else { "null" };
                let detail = format!("column {name:?} is NULL, but declared NOT NULL");
                self.reasons.entry(row).or_insert((reason, detail));
            }
        }
    }
}
