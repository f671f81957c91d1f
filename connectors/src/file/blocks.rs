//! `Blocks`: the bytes of one file, decompressed and cut at ends of records.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lineshaft_engine::{Error, Result};
use serde::{Deserialize, Serialize};

use super::options::{Compression, compression};
use crate::format::TextFormat;
use crate::format::csv::line_end;

/// A record longer than this is handed over in parts, which the decoder rejects.
const MAX_RECORD: usize = 16 << 20;
/// The UTF-8 mark at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// Bytes by which a file is known again: its number in the file system may have been given to another one.
const TAIL_BYTES: usize = 64;

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    identity: u64,
    /// Bytes of the file that have been handed over.
    offset: u64,
    /// The line that comes next, from 1.
    line: u64,
    /// The last bytes before `offset`.
    tail: Vec<u8>,
}

/// Whole records of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) first_line: u64,
    /// True if nothing follows. False is no promise of the contrary.
    pub(super) last: bool,
}

/// A file that is being read.
pub(super) struct Blocks {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    /// Bytes of a block, about.
    size: usize,
    /// What has been read and not been handed over.
    rest: Vec<u8>,
    line: u64,
    /// Bytes read of the file, after decompression.
    position: u64,
    at_end: bool,
    failed: Option<io::Error>,
    /// True if bytes may be appended: then the last line counts when its newline is there.
    grows: bool,
    /// The file behind the name when it was opened.
    opened: u64,
    /// The last bytes that were handed over.
    tail: Vec<u8>,
}

impl Blocks {
    /// Opens a file.
    pub(super) fn open(path: &Path, size: usize, grows: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let opened = Self::identity(&file.metadata()?);
        let reader: Box<dyn Read + Send> = match compression(path) {
            None => Box::new(file),
            Some(Compression::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
            Some(Compression::Zstd) => Box::new(zstd::stream::read::Decoder::new(file)?),
        };
        let mut blocks = Self {
            path: path.to_owned(),
            reader,
            size,
            rest: Vec::new(),
            line: 1,
            position: 0,
            at_end: false,
            failed: None,
            grows,
            opened,
            tail: Vec::new(),
        };
        blocks.fill(size.clamp(BYTE_ORDER_MARK.len(), 1 << 16));
        if blocks.rest.starts_with(BYTE_ORDER_MARK) {
            blocks.rest.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(blocks)
    }

    /// Opens a file that grows where it was left; `None` if it is another one by now, or begun anew.
    pub(super) fn open_at(path: &Path, size: usize, place: &Place) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let tail_at = place.offset.checked_sub(place.tail.len() as u64);
        let (true, Some(tail_at)) =
            (Self::identity(&metadata) == place.identity && metadata.len() >= place.offset, tail_at)
        else {
            return Ok(None);
        };
        let mut tail = vec![0; place.tail.len()];
        file.seek(SeekFrom::Start(tail_at))?;
        file.read_exact(&mut tail)?;
        Ok((tail == place.tail).then(|| Self {
            path: path.to_owned(),
            reader: Box::new(file),
            size,
            rest: Vec::new(),
            line: place.line,
            position: place.offset,
            at_end: false,
            failed: None,
            grows: true,
            opened: place.identity,
            tail,
        }))
    }

    /// Behind the last record that was handed over.
    pub(super) fn place(&self) -> Place {
        let offset = self.position - self.rest.len() as u64;
        Place { identity: self.opened, offset, line: self.line, tail: self.tail.clone() }
    }

    /// What tells a file from another one with its name: the inode, where there are any.
    pub(super) fn identity(metadata: &Metadata) -> u64 {
        #[cfg(unix)]
        return std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        return metadata.len() & 0;
    }

    /// The identity of the file that is being read.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Bytes read of the file.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Takes the first record that is not blank, without its newline; `None` if there is none (yet).
    pub(super) fn header(&mut self, format: &TextFormat) -> Option<Vec<u8>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let first = line_end(&self.rest);
            let has_newline = self.rest[..first].ends_with(b"\n");
            if !has_newline && !self.at_end {
                self.fill(self.size);
                continue;
            }
            if !has_newline && self.grows {
                return None;
            }
            // A quoted name may hold a newline.
            let whole = format.first_record(&self.rest);
            let header: Vec<u8> = self.rest.drain(..whole).collect();
            self.passed(&header);
            if !header.trim_ascii().is_empty() {
                return Some(header);
            }
        }
    }

    /// The next records; `None` at the end, which for a growing file is the end so far.
    ///
    /// # Errors
    /// If the file cannot be read further; what came before has been handed over.
    pub(super) fn next(&mut self, format: &TextFormat) -> Result<Option<Block>> {
        if self.grows {
            self.at_end = false;
        }
        loop {
            if !self.at_end && self.rest.len() < self.size {
                self.fill(self.size - self.rest.len());
            }
            let is_whole = self.at_end && !self.grows && self.failed.is_none();
            let cut = if is_whole { self.rest.len() } else { format.cut(&self.rest) };
            if cut > 0 {
                return Ok(Some(self.take(cut)));
            }
            if let Some(error) = self.failed.take() {
                return Err(broken(&self.path, error));
            }
            if self.at_end {
                return Ok(None);
            }
            if self.rest.len() >= MAX_RECORD {
                return Ok(Some(self.take(self.rest.len())));
            }
            self.fill(self.size);
        }
    }

    /// What is left of a file that nothing is appended to any more.
    pub(super) fn finish(&mut self) -> Option<Block> {
        (!self.rest.is_empty()).then(|| self.take(self.rest.len()))
    }

    fn take(&mut self, cut: usize) -> Block {
        let mut rest = Vec::with_capacity(if self.at_end { 0 } else { self.size });
        rest.extend_from_slice(&self.rest[cut..]);
        let mut bytes = std::mem::replace(&mut self.rest, rest);
        bytes.truncate(cut);
        let first_line = self.line;
        self.passed(&bytes);
        let last = self.at_end && !self.grows && self.failed.is_none() && self.rest.is_empty();
        Block { bytes, first_line, last }
    }

    /// Notes bytes that are handed over.
    fn passed(&mut self, bytes: &[u8]) {
        self.line += newlines(bytes);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
    }

    fn fill(&mut self, bytes: usize) {
        let before = self.rest.len();
        let result = self.reader.by_ref().take(bytes as u64).read_to_end(&mut self.rest);
        let read = self.rest.len() - before;
        self.position += read as u64;
        self.at_end = read < bytes;
        self.failed = result.err();
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

fn broken(path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof && compression(path).is_some() {
        let reason = "the compressed data ends in the middle; the file is truncated, copy it again";
        return Error::file("read", path, io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    Error::file("read", path, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;

    use super::*;
    use crate::format::Encoding;
    use crate::format::testing::declaration;
    use crate::options::OptionReader;

    fn csv() -> TextFormat {
        let declaration = declaration("name TEXT, n INT");
        let mut read = OptionReader::new("source", "file", &declaration.options, super::super::OPTIONS);
        TextFormat::new(Encoding::Csv, &declaration, &mut read).0
    }

    fn all(path: &Path, size: usize) -> (Vec<u8>, Vec<u64>, Option<Error>) {
        let (mut bytes, mut lines) = (Vec::new(), Vec::new());
        let mut blocks = Blocks::open(path, size, false).unwrap();
        loop {
            match blocks.next(&csv()) {
                Ok(Some(block)) => {
                    bytes.extend_from_slice(&block.bytes);
                    lines.push(block.first_line);
                }
                Ok(None) => return (bytes, lines, None),
                Err(error) => return (bytes, lines, Some(error)),
            }
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn blocks_hold_whole_records_whatever_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "\u{feff}a,1\n\"two\nlines\",2\n\nb,3").unwrap();
        for size in 1..40 {
            let (bytes, lines, error) = all(&path, size);
            assert_eq!(String::from_utf8(bytes).unwrap(), "a,1\n\"two\nlines\",2\n\nb,3", "size {size}");
            assert!(lines.iter().all(|line| [1, 2, 4, 5].contains(line)), "{lines:?}");
            assert!(error.is_none());
        }
    }

    #[test]
    fn gzip_in_several_members_and_zstd_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv.gz");
        std::fs::write(&path, [gzip(b"a,1\n"), gzip(b"b,2\n")].concat()).unwrap();
        assert_eq!(all(&path, 100).0, b"a,1\nb,2\n");
        let path = folder.path().join("a.csv.zst");
        let frames =
            [zstd::encode_all(&b"a,1\n"[..], 1).unwrap(), zstd::encode_all(&b"b,2\n"[..], 1).unwrap()];
        std::fs::write(&path, frames.concat()).unwrap();
        assert_eq!(all(&path, 100).0, b"a,1\nb,2\n");
    }

    #[test]
    fn a_truncated_gzip_gives_its_rows_and_then_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.csv.gz");
        let text: String = (0..50_000).map(|n| format!("name-{},{n}\n", n * 7_919 % 10_007)).collect();
        let packed = gzip(text.as_bytes());
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let (bytes, _, error) = all(&path, 4_096);
        assert!(
            bytes.len() > text.len() / 4 && text.as_bytes().starts_with(&bytes) && bytes.ends_with(b"\n")
        );
        let Some(Error::File { path: named, source, .. }) = error else { panic!("{error:?}") };
        assert_eq!(named, path);
        assert!(source.to_string().contains("truncated"));
    }

    #[test]
    fn the_last_line_of_a_growing_file_waits_for_its_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        std::fs::write(&path, "a,1\nb,").unwrap();
        let mut blocks = Blocks::open(&path, 100, true).unwrap();
        assert_eq!(blocks.next(&csv()).unwrap().unwrap().bytes, b"a,1\n");
        assert_eq!(blocks.next(&csv()).unwrap(), None);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"2\n").unwrap();
        assert_eq!(
            blocks.next(&csv()).unwrap().unwrap(),
            Block { bytes: b"b,2\n".to_vec(), first_line: 2, last: false }
        );
    }
}
