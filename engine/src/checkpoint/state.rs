//! A file with the state of one worker, or of the program: tables, each after the names of its owner and of itself.
//!
//! ```text
//! (0, length, owner, length, name, stream of Arrow IPC) ...             a small table
//! (1, length, owner, length, name, n, n hashes) ...                     a large one, in n files (parts.rs)
//! ```
//!
//! It is hashed while it is written, one table after the other, so that it is never in memory as a whole. A table may come in
//! several pieces, one after the other under the same names. Nothing of it is decoded before length and hash are right. In format 1
//! all tables are as the small ones, without the 0.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use xxhash_rust::xxh3::Xxh3;

use super::Parts;
use super::error::Damage;
use super::parts::{PartFiles, part_file};
use crate::disk::{Appending, Disk};
use crate::error::{Error, Result};

/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 20;
/// Rows that are encoded at once: what a large table takes in memory a second time.
const ROWS: usize = 65_536;
/// A table of fewer bytes is written with the others; a file of its own would be one more to sync. Tests have small ones.
const LARGE: usize = if cfg!(test) { 4_000 } else { 1 << 18 };
/// Bytes of a hash.
const HASH: usize = 16;
/// Kinds of tables.
const SMALL_TABLE: u8 = 0;
const LARGE_TABLE: u8 = 1;

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) length: u64,
    /// XXH3-128.
    pub(super) hash: u128,
}

/// A file that is being written.
pub(super) struct StateFile {
    name: String,
    path: PathBuf,
    out: BufWriter<Hashing>,
}

impl StateFile {
    pub(super) fn create(disk: &dyn Disk, folder: &Path, name: String) -> Result<Self> {
        let path = folder.join(&name);
        let file = Appending::create(disk, &path).map_err(|error| Error::file("write", &path, error))?;
        let out = BufWriter::with_capacity(BUFFER, Hashing { file, hash: Xxh3::new() });
        Ok(Self { name, path, out })
    }

    /// Adds a table; what is large of it goes into files of its own.
    pub(super) fn put(
        &mut self,
        owner: &str,
        name: &str,
        rows: &RecordBatch,
        parts: &mut PartFiles,
    ) -> Result<()> {
        let first = encode(&rows.slice(0, ROWS.min(rows.num_rows())))?;
        if rows.num_rows() <= ROWS && first.len() < LARGE {
            return self.write(SMALL_TABLE, owner, name, &first);
        }
        let mut hashes = parts.keep(&first)?.to_le_bytes().to_vec();
        for from in (ROWS..rows.num_rows()).step_by(ROWS) {
            let part = encode(&rows.slice(from, ROWS.min(rows.num_rows() - from)))?;
            hashes.extend(parts.keep(&part)?.to_le_bytes());
        }
        let count = (hashes.len() / HASH) as u64;
        self.write(LARGE_TABLE, owner, name, &[&count.to_le_bytes()[..], &hashes].concat())
    }

    fn write(&mut self, kind: u8, owner: &str, name: &str, content: &[u8]) -> Result<()> {
        let texts = [owner, name].map(|text| (text.len() as u64).to_le_bytes());
        let bytes = [&[kind][..], &texts[0], owner.as_bytes(), &texts[1], name.as_bytes(), content];
        let written = bytes.iter().try_for_each(|bytes| self.out.write_all(bytes));
        written.map_err(|error| Error::file("write", &self.path, error))
    }

    /// Makes its bytes durable.
    pub(super) fn finish(mut self) -> Result<Written> {
        let synced = self.out.flush().and_then(|()| self.out.get_mut().file.sync());
        synced.map_err(|error| Error::file("write", &self.path, error))?;
        let Hashing { hash, file } = self.out.get_ref();
        Ok(Written { name: self.name, length: file.length(), hash: hash.digest128() })
    }
}

/// Rows as a stream of Arrow IPC.
pub(crate) fn encode(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut stream = StreamWriter::try_new(Vec::new(), &rows.schema())?;
    stream.write(rows)?;
    Ok(stream.into_inner()?)
}

/// Tells whether a file is what was written, by its length and hash.
pub(super) fn check(disk: &dyn Disk, folder: &Path, written: &Written) -> Result<(), Damage> {
    let path = folder.join(&written.name);
    let checked = compare(disk, &path, written).unwrap_or_else(|error| Err(error.to_string()));
    checked.map_err(|what| Damage::new(&path, what))
}

/// Reads a file of `format`; it and those of parts were checked.
pub(super) fn read(disk: &dyn Disk, folder: &Path, name: &str, format: u32) -> Result<Parts, Damage> {
    let path = folder.join(name);
    decode(disk, folder, &path, format).map_err(|error| Damage::new(&path, error.to_string()))
}

fn compare(disk: &dyn Disk, path: &Path, written: &Written) -> io::Result<Result<(), String>> {
    let mut file = BufReader::with_capacity(BUFFER, disk.read(path)?);
    let (mut hash, mut length) = (Xxh3::new(), 0);
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        hash.update(bytes);
        let read = bytes.len();
        length += read as u64;
        file.consume(read);
    }
    if length != written.length {
        return Ok(Err(format!("it has {length} bytes, and {} were written", written.length)));
    }
    Ok(match hash.digest128() == written.hash {
        true => Ok(()),
        false => Err("the checksum does not match".into()),
    })
}

fn decode(disk: &dyn Disk, folder: &Path, path: &Path, format: u32) -> Result<Parts, ArrowError> {
    let mut file = BufReader::with_capacity(BUFFER, disk.read(path)?);
    let mut states = Parts::new();
    while !file.fill_buf()?.is_empty() {
        let kind = if format == 1 { SMALL_TABLE } else { bytes::<1>(&mut file)?[0] };
        let (owner, name) = (text(&mut file)?, text(&mut file)?);
        let mut batches = Vec::new();
        let schema = match kind {
            SMALL_TABLE => stream(&mut file, &mut batches)?,
            LARGE_TABLE => {
                let mut schema = None;
                for _ in 0..u64::from_le_bytes(bytes(&mut file)?) {
                    let part = folder.join(part_file(u128::from_le_bytes(bytes(&mut file)?)));
                    let mut part = BufReader::with_capacity(BUFFER, disk.read(&part)?);
                    schema = Some(stream(&mut part, &mut batches)?);
                }
                schema.ok_or_else(|| ArrowError::ParseError("a table without parts".into()))?
            }
            other => return Err(ArrowError::ParseError(format!("a table of kind {other}"))),
        };
        let rows = match batches.as_slice() {
            [only] => only.clone(),
            all => concat_batches(&schema, all)?,
        };
        states.entry(owner).or_default().put(&name, rows);
    }
    Ok(states)
}

/// Reads a stream to its end.
fn stream(file: &mut impl BufRead, batches: &mut Vec<RecordBatch>) -> Result<SchemaRef, ArrowError> {
    let mut stream = StreamReader::try_new(file, None)?;
    for batch in stream.by_ref() {
        batches.push(batch?);
    }
    Ok(stream.schema())
}

fn bytes<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn text(file: &mut impl Read) -> Result<String, ArrowError> {
    let length = u64::from_le_bytes(bytes(file)?);
    let mut text = String::new();
    file.take(length).read_to_string(&mut text)?;
    Ok(text)
}

/// A file that is hashed while it is written.
struct Hashing {
    file: Appending,
    hash: Xxh3,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
