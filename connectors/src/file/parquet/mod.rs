//! Parquet files: a chunk is a part of a row group, which a worker reads and decodes itself, needed columns only.
//!
//! The footer of each file is read once; row groups that by their statistics have no row that the program wants (its
//! conditions on columns, or the span of a backfill) are not read. A column that the file has not may stand in the name of
//! its folder (`line=a/part-0.parquet`), and a file whose folder does not meet a condition is not read either. Types that differ from the declared ones are cast where every value has its
//! place: whole numbers to wider ones and to `TIMESTAMP` (by `timestamp_format`), floats to `DOUBLE`, any text to `TEXT`.

mod convert;
mod folders;
mod groups;
mod rows;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoded, Decoder, Partition, Payload, Source};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result, TIMESTAMP};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;

use super::decoder::{received_at, shown};
use super::options::{FileOptions, unreadable};
use crate::format::layout::{ColumnSpec, Layout};
use crate::options::{in_quotes, suggestion};
use convert::{convert, fits};
use groups::wanted_groups;
use rows::{Batches, Place, Shape};

/// Rows of a batch; each batch is an epoch.
const BATCH_ROWS: usize = 32_768;
/// Rows of a chunk, at most. A worker keeps a chunk decoded until its turn comes, so this bounds its memory.
const CHUNK_ROWS: u64 = 8 * BATCH_ROWS as u64;
/// The same of the last chunks of all, so that no worker works long after the others.
const LAST_CHUNK_ROWS: u64 = 2 * BATCH_ROWS as u64;

/// A source of Parquet files.
pub(super) struct ParquetSource {
    decoder: Arc<ParquetDecoder>,
}

/// What all workers share.
struct ParquetDecoder {
    layout: Layout,
    files: Vec<ParquetFile>,
    /// As long as they are held, none of the files is deleted.
    _leases: Vec<File>,
}

/// A file whose footer has been read.
struct ParquetFile {
    path: PathBuf,
    name: Arc<str>,
    received_at: EventTime,
    metadata: ArrowReaderMetadata,
    /// The columns to read.
    mask: ProjectionMask,
    /// Each needed column of the record; a place in the file is one among the columns that are read.
    places: Vec<(ColumnSpec, Place)>,
    pieces: Vec<Piece>,
}

/// The rows of a chunk.
#[derive(Clone, Copy, Debug)]
struct Piece {
    row_group: usize,
    /// Rows of the row group before it.
    offset: usize,
    rows: u64,
    /// That of the row group.
    span: Span,
}

/// Least and largest event time of a row group, where the statistics have them.
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
        leases: Vec<File>,
    ) -> Result<Self, Vec<OptionError>> {
        let layout = Layout::new(declaration, options.timestamp.clone());
        let (files, errors): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .map(|path| ParquetFile::open(path, &layout, declaration))
            .partition(Result::is_ok);
        let errors: Vec<OptionError> = errors.into_iter().filter_map(Result::err).flatten().collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut files: Vec<_> = files.into_iter().filter_map(Result::ok).collect();
        let last = files.iter_mut().max_by_key(|file| file.pieces.last().map(|piece| piece.span.earliest));
        last.into_iter().for_each(|file| taper(&mut file.pieces));
        Ok(Self { decoder: Arc::new(ParquetDecoder { layout, files, _leases: leases }) })
    }
}

/// The columns of a file; none if it cannot be read, which is told when it is opened.
pub(super) fn column_names(path: &Path) -> Vec<String> {
    let options = ArrowReaderOptions::new();
    let metadata = File::open(path).ok().and_then(|file| ArrowReaderMetadata::load(&file, options).ok());
    metadata.iter().flat_map(|file| file.schema().fields()).map(|field| field.name().clone()).collect()
}

impl ParquetFile {
    fn open(
        path: PathBuf,
        layout: &Layout,
        declaration: &SourceDeclaration,
    ) -> Result<Self, Vec<OptionError>> {
        let one = |error: OptionError| vec![error];
        let file = File::open(&path).map_err(|error| one(unreadable(&path, error)))?;
        let facts = file.metadata().map_err(|error| one(unreadable(&path, error)))?;
        let metadata = metadata(&file, layout).map_err(|error| {
            let error = unreadable(&path, format!("it is no whole Parquet file ({error})"));
            one(error.help("the file is truncated or of another format; copy it again or set format"))
        })?;
        let columns = columns(&path, layout, &metadata)?;
        let needed = columns.iter().filter(|(spec, _)| spec.output.is_some());
        let mut roots: Vec<usize> = needed.filter_map(|(_, place)| place.root()).collect();
        roots.sort_unstable();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied());
        let among_read = |place: Place| match place {
            Place::File(root) => roots.binary_search(&root).map_or(Place::Nowhere, Place::File),
            other => other,
        };
        let wanted = wanted_groups(declaration, &layout.timestamp, &metadata, &columns);
        let pieces = pieces(&metadata, &spans(layout, &columns, &metadata), &wanted);
        Ok(Self {
            name: shown(&path),
            received_at: received_at(&facts),
            places: columns
                .into_iter()
                .filter(|(spec, _)| spec.output.is_some())
                .map(|(spec, place)| (spec, among_read(place)))
                .collect(),
            path,
            metadata,
            mask,
            pieces,
        })
    }

    fn span(&self, piece: usize) -> Span {
        self.pieces.get(piece).map(|piece| piece.span).unwrap_or_default()
    }

    /// The least event time from a piece on, if the statistics of all of them have it.
    fn rest(&self, from: usize) -> Option<EventTime> {
        self.pieces.get(from..)?.iter().map(|piece| piece.span.earliest).min().flatten()
    }

    /// The chunk of a piece; `near` is that of the one before. A file without rows is one empty chunk.
    fn chunk(&self, partition: usize, index: usize, near: Option<EventTime>) -> Chunk {
        let rows = self.pieces.get(index).map_or(0, |piece| piece.rows);
        let batches = rows.div_ceil(BATCH_ROWS as u64).max(1);
        Chunk {
            partition,
            payload: if index < self.pieces.len() { Payload::Part { index, rows } } else { Payload::Empty },
            batches: u32::try_from(batches).unwrap_or(u32::MAX),
            near: self.span(index).latest.max(near),
            rest: self.rest(index + 1),
            last: index + 1 >= self.pieces.len(),
            is_loaded: false,
            position: None,
            receipts: Vec::new(),
        }
    }

    fn reader(&self, piece: Piece) -> Result<ParquetRecordBatchReader> {
        let file = File::open(&self.path).map_err(|error| Error::file("open", &self.path, error))?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![piece.row_group])
            .with_offset(piece.offset)
            .with_limit(usize::try_from(piece.rows).unwrap_or(usize::MAX))
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| self.broken(error))
    }

    fn broken(&self, error: impl std::fmt::Display) -> Error {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
        Error::file("read", &self.path, source)
    }
}

/// The footer; text columns that are declared as dictionaries are read as such.
fn metadata(file: &File, layout: &Layout) -> parquet::errors::Result<ArrowReaderMetadata> {
    // With the places of the pages the rows before a piece need not be read.
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load(file, options.clone())?;
    let compact = |field: &Arc<Field>| {
        let declared = layout.columns.iter().find(|spec| spec.field.name() == field.name());
        let declared = declared.map(|spec| spec.field.data_type());
        match (field.data_type(), declared) {
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, Some(DataType::Dictionary(..))) => {
                declared
            }
            _ => None,
        }
    };
    let fields = metadata.schema().fields();
    if fields.iter().all(|field| compact(field).is_none()) {
        return Ok(metadata);
    }
    let fields = fields.iter().map(|field| match compact(field) {
        Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type.clone())),
        None => Arc::clone(field),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(schema))
}

/// The wanted row groups in pieces of at most [`CHUNK_ROWS`].
fn pieces(metadata: &ArrowReaderMetadata, spans: &[Span], wanted: &[bool]) -> Vec<Piece> {
    let groups = metadata.metadata().row_groups().iter().zip(spans).enumerate();
    let groups = groups.zip(wanted).filter_map(|(group, wanted)| wanted.then_some(group));
    let pieces = groups.flat_map(|(row_group, (group, span))| {
        let total = u64::try_from(group.num_rows()).unwrap_or(0);
        (0..total.div_ceil(CHUNK_ROWS)).map(move |number| {
            let offset = number * CHUNK_ROWS;
            let rows = CHUNK_ROWS.min(total - offset);
            Piece { row_group, offset: usize::try_from(offset).unwrap_or(usize::MAX), rows, span: *span }
        })
    });
    pieces.collect()
}

/// Cuts the last two pieces into small ones.
fn taper(pieces: &mut Vec<Piece>) {
    for piece in pieces.split_off(pieces.len().saturating_sub(2)) {
        let offsets = (0..piece.rows).step_by(usize::try_from(LAST_CHUNK_ROWS).unwrap_or(usize::MAX));
        pieces.extend(offsets.map(|offset| Piece {
            offset: piece.offset + usize::try_from(offset).unwrap_or(usize::MAX),
            rows: LAST_CHUNK_ROWS.min(piece.rows - offset),
            ..piece
        }));
    }
}

/// Where each declared column is, by its name.
fn columns(
    path: &Path,
    layout: &Layout,
    metadata: &ArrowReaderMetadata,
) -> Result<Vec<(ColumnSpec, Place)>, Vec<OptionError>> {
    let fields = metadata.schema().fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let mut errors = Vec::new();
    let mut columns = Vec::new();
    for spec in &layout.columns {
        let name = spec.field.name();
        let found = fields.iter().position(|field| field.name() == name);
        if found.is_none() {
            match folders::value(path, &spec.field, &layout.timestamp) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    columns.push((spec.clone(), Place::Folder(value)));
                    continue;
                }
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            }
        }
        match found.map(|at| fields[at].data_type()) {
            Some(data_type) if !fits(data_type, spec.field.data_type(), &layout.timestamp) => {
                let message = format!(
                    "column {name:?} of {} is {data_type}, which does not become the declared {}",
                    path.display(),
                    spec.field.data_type()
                );
                let help = match spec.field.data_type() {
                    time if *time == TIMESTAMP => {
                        "add timestamp_format = 'unix_s', 'unix_ms', 'unix_us' or 'unix_ns'"
                    }
                    _ => "declare the column with the type of the file, or leave it out",
                };
                errors.push(OptionError::of("path", message).help(help));
            }
            None if !spec.field.is_nullable() => {
                let message = format!("{} has no column {name:?}, declared NOT NULL", path.display());
                let help = in_quotes(name, &names).unwrap_or_else(|| suggestion(name, &names));
                errors.push(OptionError::of("path", message).help(help));
            }
            None => {
                let hint = in_quotes(name, &names).map_or(String::new(), |hint| format!("; {hint}"));
                tracing::warn!("{} has no column {name:?}: it is NULL{hint}", path.display());
            }
            Some(_) => {}
        }
        columns.push((spec.clone(), found.map_or(Place::Nowhere, Place::File)));
    }
    if errors.is_empty() { Ok(columns) } else { Err(errors) }
}

/// The spans of event time of the row groups.
fn spans(layout: &Layout, columns: &[(ColumnSpec, Place)], metadata: &ArrowReaderMetadata) -> Vec<Span> {
    let groups = metadata.metadata().row_groups();
    let column = columns.iter().find(|(spec, place)| spec.is_event_time && place.root().is_some());
    let statistics = column.and_then(|(spec, _)| {
        let converter =
            StatisticsConverter::try_new(spec.field.name(), metadata.schema(), metadata.parquet_schema())
                .ok()?;
        let least = convert(&converter.row_group_mins(groups).ok()?, &TIMESTAMP, &layout.timestamp).ok()?;
        let largest =
            convert(&converter.row_group_maxes(groups).ok()?, &TIMESTAMP, &layout.timestamp).ok()?;
        Some((least, largest))
    });
    let Some((least, largest)) = statistics else {
        return vec![Span::default(); groups.len()];
    };
    (0..groups.len())
        .map(|group| Span { earliest: time_at(&least, group), latest: time_at(&largest, group) })
        .collect()
}

fn time_at(times: &ArrayRef, row: usize) -> Option<EventTime> {
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    (row < times.len() && times.is_valid(row)).then(|| times.value(row))
}

impl Source for ParquetSource {
    fn run(self: Box<Self>, chunks: ChunkSender, _runtime: tokio::runtime::Handle) -> Result<()> {
        let files = &self.decoder.files;
        let mut next = vec![0; files.len()];
        let mut near: Vec<Option<EventTime>> = vec![None; files.len()];
        let mut open: Vec<usize> = (0..files.len()).collect();
        // The piece that begins first; without statistics, that of the file that is furthest behind.
        let begins =
            |file: usize, index: usize, near: Option<EventTime>| files[file].span(index).earliest.or(near);
        while let Some(partition) =
            open.iter().copied().min_by_key(|file| (begins(*file, next[*file], near[*file]), *file))
        {
            let chunk = files[partition].chunk(partition, next[partition], near[partition]);
            near[partition] = chunk.near;
            next[partition] += 1;
            if chunk.last {
                open.retain(|file| *file != partition);
            }
            chunks.send(chunk)?;
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
        let earliest =
            |file: &ParquetFile| file.pieces.iter().map(|piece| piece.span.earliest).min().flatten();
        let partition = |file: &ParquetFile| Partition {
            name: file.name.to_string(),
            earliest: earliest(file),
            rest: file.rest(0),
        };
        self.decoder.files.iter().map(partition).collect()
    }

    fn total_rows(&self) -> Option<u64> {
        Some(self.decoder.files.iter().flat_map(|file| &file.pieces).map(|piece| piece.rows).sum())
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
        let file = self.files.get(chunk.partition);
        let Some((file, piece)) = file.and_then(|file| Some((file, *file.pieces.get(index)?))) else {
            return Err(Error::Plan(format!("there is no part {index} of Parquet file {}", chunk.partition)));
        };
        Ok(Box::new(Batches {
            reader: file.reader(piece)?,
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

#[cfg(test)]
mod tests {
    use arrow::array::{
        Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
        TimestampNanosecondArray,
    };
    use lineshaft_engine::declaration::{Comparison, Condition};
    use lineshaft_engine::source::ChunkSender;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::file::source::tests::source;
    use crate::format::testing::{declaration, lines, reasons};

    fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, row_group: usize) {
        let rows = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(row_group)).build();
        let mut writer =
            ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    }

    /// The upper limit of batches and the rows of a chunk.
    type Decoded = (u32, Vec<String>);

    /// All chunks, and what was rejected.
    fn run(source: Box<dyn Source>) -> (Vec<Decoded>, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (sender, mut receiver) = ChunkSender::channel();
        let (decoder, handle) = (source.decoder(), runtime.handle().clone());
        let thread = std::thread::spawn(move || source.run(sender, handle));
        let (mut chunks, mut rejected) = (Vec::new(), Vec::new());
        while let Some(chunk) = receiver.blocking_recv() {
            let batches = chunk.batches;
            let mut rows = Vec::new();
            for decoded in decoder.decode(chunk).unwrap() {
                let decoded = decoded.unwrap();
                rows.extend(lines(&decoded.rows));
                rejected.extend(reasons(&decoded.rejected));
            }
            chunks.push((batches, rows));
        }
        thread.join().unwrap().unwrap();
        (chunks, rejected)
    }

    fn seconds(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn row_groups_of_several_files_come_in_step_and_are_cast() {
        let folder = tempfile::tempdir().unwrap();
        let other: ArrayRef = Arc::new(Int32Array::from(vec![7; 4]));
        write(
            &folder.path().join("a.parquet"),
            vec![
                ("ts", seconds(&[0, 1, 10, 11])),
                ("x", other),
                ("n", Arc::new(Int32Array::from(vec![1, 2, 3, 4]))),
            ],
            2,
        );
        let names: ArrayRef = Arc::new(StringViewArray::from(vec!["p", "q"]));
        write(&folder.path().join("b.parquet"), vec![("name", names), ("ts", seconds(&[2, 3]))], 2);
        let columns = "ts TIMESTAMP NOT NULL, n BIGINT, name TEXT, file TEXT METADATA";
        let source = source(folder.path(), columns, &[("timestamp_format", "unix_s")]).unwrap();
        assert_eq!(source.total_rows(), Some(6));
        let earliest: Vec<_> = source.partitions().iter().map(|partition| partition.earliest).collect();
        assert_eq!(earliest, [Some(0), Some(2_000_000)]);
        let (chunks, rejected) = run(source);
        let place = format!("{}/./", folder.path().display());
        let rows: Vec<String> = chunks
            .iter()
            .flat_map(|(_, rows)| rows.clone())
            .map(|row| row.replace(&place, "").replace(&format!("{}/", folder.path().display()), ""))
            .collect();
        assert_eq!(
            rows,
            [
                "1970-01-01T00:00:00Z|1||a.parquet",
                "1970-01-01T00:00:01Z|2||a.parquet",
                "1970-01-01T00:00:02Z||p|b.parquet",
                "1970-01-01T00:00:03Z||q|b.parquet",
                "1970-01-01T00:00:10Z|3||a.parquet",
                "1970-01-01T00:00:11Z|4||a.parquet",
            ]
        );
        assert_eq!(rejected, Vec::<String>::new());
    }

    #[test]
    fn a_large_row_group_is_several_batches_and_null_rows_are_rejected_alone() {
        let folder = tempfile::tempdir().unwrap();
        let times = TimestampNanosecondArray::from_iter((0..40_000).map(|n| (n != 5).then_some(n * 1_000)));
        let values = Float32Array::from_iter_values((0_u16..70).cycle().take(40_000).map(f32::from));
        write(
            &folder.path().join("a.parquet"),
            vec![("ts", Arc::new(times)), ("bar", Arc::new(values))],
            1_000_000,
        );
        let (chunks, rejected) =
            run(source(folder.path(), "ts TIMESTAMP NOT NULL, bar DOUBLE", &[]).unwrap());
        assert_eq!((chunks.len(), chunks[0].0, chunks[0].1.len()), (1, 2, 39_999));
        assert_eq!(chunks[0].1[5], "1970-01-01T00:00:00.000006Z|6.0");
        assert_eq!(rejected, ["null_time: column \"ts\" is NULL, but declared NOT NULL"]);
    }

    #[test]
    fn the_last_pieces_are_cut_and_have_the_same_rows() {
        let piece = |offset: u64, rows| Piece {
            row_group: 0,
            offset: usize::try_from(offset).unwrap(),
            rows,
            span: Span::default(),
        };
        let mut pieces: Vec<Piece> = (0..3).map(|number| piece(number * CHUNK_ROWS, CHUNK_ROWS)).collect();
        pieces.push(piece(3 * CHUNK_ROWS, LAST_CHUNK_ROWS + 1));
        taper(&mut pieces);
        let rows: Vec<u64> = pieces.iter().map(|piece| piece.rows).collect();
        let quarters = [LAST_CHUNK_ROWS; 4];
        assert_eq!(rows, [&[CHUNK_ROWS; 2], quarters.as_slice(), &[LAST_CHUNK_ROWS, 1]].concat());
        for (one, next) in pieces.iter().zip(&pieces[1..]) {
            assert_eq!(one.offset as u64 + one.rows, next.offset as u64);
        }
    }

    #[test]
    fn only_needed_columns_are_read_and_none_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.parquet"), vec![("n", seconds(&[1, 2])), ("m", seconds(&[3, 4]))], 10);
        for (needed, expected) in [(vec![0], ["3", "4"]), (vec![], ["", ""])] {
            let mut declaration = declaration("m BIGINT, n BIGINT");
            declaration.folder = folder.path().to_owned();
            declaration.options.insert("path".into(), "a.parquet".into());
            declaration.needed = needed;
            let (chunks, _) = run(crate::file::source(&declaration).unwrap());
            assert_eq!(chunks[0].1, expected);
        }
    }

    #[test]
    fn columns_of_folders_have_their_value_and_files_in_others_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        for (place, n) in [("line=a/day=1", 1), ("line=b/day=1", 2), ("line=a/day=2", 3)] {
            let place = folder.path().join(place);
            std::fs::create_dir_all(&place).unwrap();
            write(&place.join("part.parquet"), vec![("n", seconds(&[n, n + 10]))], 10);
        }
        let read = |column: usize, comparison, value: ArrayRef| {
            let mut declaration = declaration("n BIGINT, line TEXT, day INT");
            declaration.folder = folder.path().to_owned();
            declaration.options.extend([("path".into(), ".".into()), ("format".into(), "parquet".into())]);
            declaration.wanted = vec![vec![Condition { column, comparison, value }]];
            let (chunks, _) = run(crate::file::source(&declaration).unwrap());
            chunks.into_iter().flat_map(|(_, rows)| rows).collect::<Vec<_>>()
        };
        let of_a = read(1, Comparison::Equal, Arc::new(StringArray::from(vec!["a"])));
        assert_eq!(of_a, ["1|a|1", "11|a|1", "3|a|2", "13|a|2"]);
        let first_day = read(2, Comparison::Less, Arc::new(Int32Array::from(vec![2])));
        assert_eq!(first_day, ["1|a|1", "11|a|1", "2|b|1", "12|b|1"]);
        assert_eq!(read(1, Comparison::Equal, Arc::new(StringArray::from(vec!["c"]))), [""; 0]);
        let error = source(folder.path(), "n BIGINT, line INT", &[("format", "parquet")]).err().unwrap();
        assert!(error[0].message.contains("the folder \"line=a\""), "{error:?}");
    }

    #[test]
    fn types_that_do_not_fit_and_truncated_files_are_errors_with_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write(&path, vec![("ts", seconds(&[1])), ("n", Arc::new(Float32Array::from(vec![1.5])))], 10);
        let errors = source(folder.path(), "ts TIMESTAMP, n BIGINT, m INT NOT NULL", &[]).err().unwrap();
        let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        assert!(
            messages[0].starts_with("column \"ts\" of ")
                && messages[0].contains("is Int64, which does not become")
        );
        assert!(errors[0].help.as_ref().unwrap().contains("timestamp_format"));
        assert!(messages[1].starts_with("column \"n\" of ") && messages[1].contains("is Float32"));
        assert!(messages[2].ends_with("a.parquet has no column \"m\", declared NOT NULL"), "{messages:?}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = &source(folder.path(), "n REAL", &[]).err().unwrap()[0];
        assert!(error.message.contains("a.parquet: it is no whole Parquet file"), "{error}");
    }
}
