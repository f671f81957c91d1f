//! Reads text files in step.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoder, Partition, Payload, Source};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};

use super::blocks::{Block, Blocks, Place};
use super::decoder::{FileFacts, TextDecoder, received_at, shown};
use super::follow;
use super::options::{FileOptions, OPTIONS, compression, unreadable};
use crate::format::csv::{Mapping, missing_columns};
use crate::format::{Encoding, TextFormat};
use crate::options::{OptionReader, in_quotes};

/// Bytes of a block, about; less when many files share [`MAX_OPEN_BYTES`].
const BLOCK_BYTES: usize = 1 << 20;
const MIN_BLOCK_BYTES: usize = 64 << 10;
/// Bytes that the blocks of all files may take together, about.
const MAX_OPEN_BYTES: usize = 64 << 20;
/// Bytes at the end of a block in which its last event time is looked for.
const TAIL_BYTES: usize = 4 << 10;

/// A source of text files.
pub(super) struct TextSource {
    pub(super) decoder: Arc<TextDecoder>,
    pub(super) files: Vec<TextFile>,
    pub(super) header: bool,
    pub(super) block_bytes: usize,
    /// Where new files may appear: path and folder. `None` if the source ends.
    pub(super) follow: Option<(String, PathBuf)>,
    /// The files that were there when the program was started for the first time.
    pub(super) at_start: usize,
    total_bytes: Option<u64>,
}

/// A file of the source.
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    /// Its first event time.
    pub(super) earliest: Option<EventTime>,
    /// The last event time that has been read, or the first one; by it files are read in step.
    pub(super) near: Option<EventTime>,
    pub(super) reader: Reader,
    /// Behind what has been handed over of it. `None` if that is nothing, or of a file that had its name before.
    pub(super) place: Option<Place>,
}

/// How far a file has been read.
pub(super) enum Reader {
    NotBegun,
    Open(Box<Blocks>),
    /// At its end so far; `None` if it has not even its header, or is not there. Only in a source that follows.
    Waiting(Option<Box<Blocks>>),
    Done,
}

impl TextSource {
    /// Looks into each file: its header and its first event time.
    pub(super) fn open(
        declaration: &SourceDeclaration,
        options: &FileOptions,
        encoding: Encoding,
        paths: Vec<PathBuf>,
    ) -> Result<Self, Vec<OptionError>> {
        let mut read = OptionReader::new("source", "file", &declaration.options, OPTIONS);
        let (format, layout) = TextFormat::new(encoding, declaration, &mut read);
        let (format, layout) = read.finish((format, layout))?;
        if options.follow
            && let Some(path) = paths.iter().find(|path| compression(path).is_some())
        {
            return Err(vec![unreadable(path, "a compressed file cannot be followed")]);
        }
        let block_bytes = (MAX_OPEN_BYTES / paths.len().max(1)).clamp(MIN_BLOCK_BYTES, BLOCK_BYTES);
        let mut source = Self {
            decoder: Arc::new(TextDecoder::new(&declaration.name, format, layout)),
            files: Vec::new(),
            header: options.header && encoding == Encoding::Csv,
            block_bytes,
            follow: options.follow.then(|| (options.path.clone(), declaration.folder.clone())),
            at_start: paths.len(),
            total_bytes: total_bytes(&paths),
        };
        let errors: Vec<OptionError> = paths.iter().filter_map(|path| source.add(path).err()).collect();
        if errors.is_empty() { Ok(source) } else { Err(errors) }
    }

    /// Adds a file as the next partition.
    pub(super) fn add(&mut self, path: &Path) -> Result<(), OptionError> {
        let partition = self.files.len();
        let mut file = TextFile::new(path.to_owned(), Reader::NotBegun);
        let blocks = self.begin(partition, path)?;
        // An error further on is told when the file is read, after the rows before it.
        if let Some(Ok(Some(block))) = blocks.map(|mut blocks| blocks.next(&self.decoder.format)) {
            let times = self.decoder.event_times(partition, &block.bytes);
            file.earliest = times.and_then(|times| times.first().copied());
            file.near = file.earliest;
        }
        self.files.push(file);
        Ok(())
    }

    /// Opens a file, behind its header, and tells the decoder of it; `None` if its header is still to come.
    fn begin(&self, partition: usize, path: &Path) -> Result<Option<Blocks>, OptionError> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
        let follows = self.follow.is_some();
        let mut blocks =
            Blocks::open(path, self.block_bytes, follows).map_err(|error| unreadable(path, error))?;
        let header = if self.header { blocks.header(&self.decoder.format) } else { None };
        let waits = self.header && header.is_none() && follows;
        let mapping = self.mapping(partition, path, header.as_deref())?.map(Arc::new);
        let (name, received_at) = (shown(path), received_at(&metadata));
        let facts = FileFacts { name, received_at, header: header.map(Arc::from), mapping };
        self.decoder.set_file(partition, facts);
        Ok((!waits).then_some(blocks))
    }

    fn mapping(
        &self,
        partition: usize,
        path: &Path,
        header: Option<&[u8]>,
    ) -> Result<Option<Mapping>, OptionError> {
        let (TextFormat::Csv(csv), Some(header)) = (&self.decoder.format, header) else {
            return Ok(None);
        };
        let layout = &self.decoder.layout;
        if let Some((what, help)) = other_text(header) {
            let message = format!("{} {what}", path.display());
            return Err(OptionError::of("path", message).help(help));
        }
        let (mapping, missing) = csv.mapping(header, layout);
        let name = |column: &usize| layout.columns[*column].field.name().clone();
        let (nullable, required): (Vec<usize>, Vec<usize>) =
            missing.into_iter().partition(|column| layout.columns[*column].field.is_nullable());
        let shown = path.display().to_string();
        if !required.is_empty() {
            let required: Vec<String> = required.iter().map(name).collect();
            return Err(missing_columns(&shown, &csv.names(header), &required));
        }
        // Told at the first look at a file, not again when it is read.
        for column in nullable.iter().filter(|_| partition == self.files.len()) {
            let name = name(column);
            let hint = in_quotes(&name, &csv.names(header)).map_or(String::new(), |hint| format!("; {hint}"));
            tracing::warn!("source {}: {shown} has no column {name:?}: it is NULL{hint}", self.decoder.name);
        }
        Ok(Some(mapping))
    }

    /// Reads all files to their ends (so far), always the one that is furthest behind. One that cannot be read to its
    /// end does not keep the others from it; its error comes last.
    pub(super) fn read_in_step(&mut self, chunks: &ChunkSender) -> Result<()> {
        let mut failure = None;
        while let Some(partition) = self.furthest_behind() {
            let block = match self.next_block(partition) {
                Ok(block) => block,
                Err(error) => {
                    failure.get_or_insert(error);
                    self.files[partition].reader = Reader::Done;
                    chunks.send(Chunk { partition, last: true, ..Chunk::new(Payload::Empty) })?;
                    continue;
                }
            };
            let is_end = block.as_ref().is_none_or(|block| block.last);
            let last = is_end && self.follow.is_none();
            if let Some(block) = block {
                self.send(partition, block, last, chunks)?;
            } else if last {
                chunks.send(Chunk { partition, last, ..Chunk::new(Payload::Empty) })?;
            }
            if last {
                self.files[partition].reader = Reader::Done;
            } else if is_end {
                self.files[partition].wait();
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Hands over a block.
    pub(super) fn send(
        &mut self,
        partition: usize,
        block: Block,
        last: bool,
        chunks: &ChunkSender,
    ) -> Result<()> {
        let near = self.near(partition, &block.bytes);
        let file = &mut self.files[partition];
        file.near = near;
        if let Reader::Open(blocks) | Reader::Waiting(Some(blocks)) = &file.reader {
            file.place = Some(blocks.place());
        }
        let position = self.follow.as_ref().map(|_| self.position()).transpose()?;
        let payload = Payload::Bytes { bytes: block.bytes, first_line: block.first_line };
        Ok(chunks.send(Chunk { partition, near, last, position, ..Chunk::new(payload) })?)
    }

    /// The file to read next.
    fn furthest_behind(&self) -> Option<usize> {
        let is_open = |file: &TextFile| matches!(file.reader, Reader::NotBegun | Reader::Open(_));
        let open = self.files.iter().enumerate().filter(|(_, file)| is_open(file));
        open.min_by_key(|(partition, file)| (file.near, *partition)).map(|(partition, _)| partition)
    }

    fn next_block(&mut self, partition: usize) -> Result<Option<Block>> {
        if let Reader::NotBegun = self.files[partition].reader {
            let opened = self.opened(partition);
            let file = &mut self.files[partition];
            file.reader = match opened {
                Ok(Some(blocks)) => Reader::Open(Box::new(blocks)),
                Ok(None) => Reader::Waiting(None),
                // Just now gone, as in a rotation of logs: another one will have its name.
                Err(_) if self.follow.is_some() && !file.path.exists() => Reader::Waiting(None),
                Err(error) => return Err(error),
            };
        }
        match &mut self.files[partition].reader {
            Reader::Open(blocks) => blocks.next(&self.decoder.format),
            Reader::NotBegun | Reader::Waiting(_) | Reader::Done => Ok(None),
        }
    }

    /// Opens a file where it was left, or at its beginning.
    fn opened(&mut self, partition: usize) -> Result<Option<Blocks>> {
        let TextFile { path, place, .. } = &self.files[partition];
        if let Some(place) = place {
            let opened = Blocks::open_at(path, self.block_bytes, place);
            match opened.map_err(|error| Error::file("open", path, error))? {
                Some(blocks) => return Ok(Some(blocks)),
                None => self.files[partition].begin_anew(),
            }
        }
        let path = &self.files[partition].path;
        self.begin(partition, path).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: OptionError) -> Error {
        Error::connector("file source", &self.decoder.name, error)
    }

    /// The last event time of a block, at least that of the block before.
    fn near(&self, partition: usize, bytes: &[u8]) -> Option<EventTime> {
        let before = self.files[partition].near;
        let tail = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        // Without the line that the cut went through, unless it is the only one.
        let begin = memchr::memchr(b'\n', tail).filter(|at| at + 1 < tail.len()).map_or(0, |at| at + 1);
        let times = self.decoder.event_times(partition, &tail[begin..]).unwrap_or_default();
        times.last().copied().max(before)
    }
}

impl TextFile {
    /// A file of which nothing is known.
    pub(super) fn new(path: PathBuf, reader: Reader) -> Self {
        Self { path, earliest: None, near: None, reader, place: None }
    }

    /// Nothing more to read for now.
    fn wait(&mut self) {
        self.reader = match std::mem::replace(&mut self.reader, Reader::Waiting(None)) {
            Reader::Open(blocks) => Reader::Waiting(Some(blocks)),
            other => other,
        };
    }
}

impl Source for TextSource {
    fn run(mut self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        self.read_in_step(&chunks)?;
        match self.follow.clone() {
            Some((path, folder)) => follow::go_on(&mut self, &path, &folder, &chunks, &runtime),
            None => Ok(()),
        }
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::clone(&self.decoder) as Arc<dyn Decoder>
    }

    fn is_bounded(&self) -> bool {
        self.follow.is_none()
    }

    fn partitions(&self) -> Vec<Partition> {
        let partition = |file: &TextFile| Partition {
            name: shown(&file.path).to_string(),
            earliest: file.earliest,
            rest: None,
        };
        self.files.iter().take(self.at_start).map(partition).collect()
    }

    fn go_on(&mut self, position: &[u8]) -> Result<()> {
        self.go_on_from(position)
    }

    fn total_bytes(&self) -> Option<u64> {
        self.total_bytes.filter(|_| self.follow.is_none())
    }
}

/// Bytes of all files, unless one is compressed: then how many come out is not known.
fn total_bytes(paths: &[PathBuf]) -> Option<u64> {
    paths
        .iter()
        .map(|path| fs::metadata(path).ok().filter(|_| compression(path).is_none()))
        .map(|file| Some(file?.len()))
        .sum()
}

/// What a file is, and what to do, if its first line shows that it is no text of ours: each row would be wrong.
fn other_text(header: &[u8]) -> Option<(&'static str, &'static str)> {
    match header {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Some(("is UTF-16", "save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 FILE > NEW"))
        }
        _ if header.trim_ascii().array_windows().any(|[a, b]| *a == b'\r' && *b != b'\n') => {
            Some(("has lines that end with CR alone", "end them with LF: tr '\\r' '\\n' < FILE > NEW"))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::testing::{declaration, lines, reasons};

    const COLUMNS: &str = "ts TIMESTAMP NOT NULL, name TEXT, n INT, line BIGINT METADATA";

    /// A source of files with the option `path = ''`: the whole folder.
    pub(crate) fn source(
        folder: &Path,
        columns: &str,
        options: &[(&str, &str)],
    ) -> Result<Box<dyn Source>, Vec<OptionError>> {
        let mut declaration = declaration(columns);
        declaration.folder = folder.to_owned();
        declaration.options = [("path", "."), ("connector", "file")]
            .iter()
            .chain(options)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        super::super::source(&declaration)
    }

    /// Rows and rejections of a whole source, and the error it ended with.
    fn run(source: Box<dyn Source>) -> (Vec<String>, Vec<String>, Result<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (sender, mut receiver) = ChunkSender::channel();
        let decoder = source.decoder();
        let handle = runtime.handle().clone();
        let thread = std::thread::spawn(move || source.run(sender, handle));
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        while let Some(chunk) = receiver.blocking_recv() {
            for decoded in decoder.decode(chunk).unwrap() {
                let decoded = decoded.unwrap();
                rows.extend(lines(&decoded.rows));
                rejected.extend(reasons(&decoded.rejected));
            }
        }
        (rows, rejected, thread.join().unwrap())
    }

    #[test]
    fn several_files_are_read_in_step_of_their_event_time() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.csv"), "ts,name,n\n2020-01-02,a,1\n").unwrap();
        fs::write(folder.path().join("b.csv"), "n,ts\r\n2,2020-01-01\r\nx,2020-01-03\r\n").unwrap();
        fs::write(folder.path().join("c.csv"), "ts,name,n").unwrap();
        fs::write(folder.path().join("d.csv"), "").unwrap();
        let source = source(folder.path(), COLUMNS, &[]).unwrap();
        let earliest: Vec<_> = source.partitions().into_iter().map(|partition| partition.earliest).collect();
        assert_eq!(earliest, [Some(1_577_923_200_000_000), Some(1_577_836_800_000_000), None, None]);
        assert!(source.is_bounded() && source.total_bytes() == Some(68));
        let (rows, rejected, end) = run(source);
        assert_eq!(rows, ["2020-01-01T00:00:00Z||2|2", "2020-01-02T00:00:00Z|a|1|2"]);
        assert_eq!(rejected, ["3 type: column \"n\": found \"x\", expected INT"]);
        end.unwrap();
    }

    #[test]
    fn blocks_decode_to_all_rows_with_their_line_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..100_000).map(|n| format!("2020-01-01 00:00:00.{n:06},name,{n}\n")).collect();
        fs::write(folder.path().join("a.csv"), text).unwrap();
        let (rows, rejected, end) = run(source(folder.path(), COLUMNS, &[("header", "false")]).unwrap());
        assert_eq!((rows.len(), rejected.len()), (100_000, 0));
        assert!(rows.iter().enumerate().all(|(n, row)| row.ends_with(&format!("|{n}|{}", n + 1))));
        end.unwrap();
    }

    #[test]
    fn a_truncated_gzip_fails_after_its_rows() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..50_000).map(|n| format!("2020-01-01,x{},{n}\n", n * 7_919 % 10_007)).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        fs::write(folder.path().join("a.csv.gz"), &packed[..packed.len() / 2]).unwrap();
        let (rows, rejected, end) = run(source(folder.path(), COLUMNS, &[("header", "false")]).unwrap());
        assert!(rows.len() > 10_000 && rejected.is_empty());
        assert!(end.unwrap_err().to_string().contains("a.csv.gz"));
    }

    #[test]
    fn a_header_without_a_required_column_is_an_error_with_its_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.csv"), "TS,n\n2020-01-01,1\n").unwrap();
        let errors = source(folder.path(), COLUMNS, &[]).err().unwrap();
        assert!(errors[0].message.ends_with("a.csv has no column \"ts\", declared NOT NULL"), "{errors:?}");
        assert_eq!(
            errors[0].help.as_deref(),
            Some("write the column as \"TS\", with quotes, in the query file")
        );
    }

    #[test]
    fn what_is_wrong_with_files_is_told_with_their_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.xyz"), "").unwrap();
        let message = |options: &[(&str, &str)]| {
            source(folder.path(), COLUMNS, options).err().unwrap()[0].message.clone()
        };
        assert!(message(&[]).ends_with("a.xyz does not tell its format"));
        assert!(message(&[("path", "b.csv")]).ends_with("b.csv"));
        assert_eq!(message(&[("format", "xml")]), "option \"format\" cannot be \"xml\"");
        assert_eq!(
            message(&[("path", "a.csv.gz"), ("follow", "true")]),
            "a compressed file cannot be followed"
        );
    }
}
