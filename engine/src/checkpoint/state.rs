//! A file with the state of one worker, or of the program: tables, each after the names of its owner and of itself.
//!
//! ```text
//! (length, owner, length, name, stream of Arrow IPC) ...
//! ```
//!
//! It is hashed while it is written, one operator after the other, so that it is never in memory as a whole. Nothing of
//! it is decoded before length and hash are right.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use xxhash_rust::xxh3::Xxh3;

use super::Parts;
use super::error::Damage;
use crate::disk::{Appending, Disk};
use crate::error::{Error, Result};
use crate::operator::Snapshot;

/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 20;
/// Rows that are encoded at once: what a large table takes in memory a second time.
const ROWS: usize = 65_536;

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) length: u64,
    /// XXH3-128.
    pub(super) hash: u128,
}

/// Writes the file `name`, and makes its bytes durable. Each snapshot is taken when the one before is written.
pub(super) fn write(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
    snapshots: impl IntoIterator<Item = Result<(String, Snapshot)>>,
) -> Result<Written> {
    let path = folder.join(name);
    let failed = |error: ArrowError| match error {
        ArrowError::IoError(_, error) => Error::file("write", &path, error),
        other => other.into(),
    };
    let file = Appending::create(disk, &path).map_err(|error| failed(error.into()))?;
    let mut out = BufWriter::with_capacity(BUFFER, Hashing { file, hash: Xxh3::new() });
    for snapshot in snapshots {
        let (owner, snapshot) = snapshot?;
        for (name, table) in &snapshot.tables {
            put(&mut out, &owner, name, table).map_err(failed)?;
        }
    }
    let synced = out.flush().and_then(|()| out.get_mut().file.sync());
    synced.map_err(|error| failed(error.into()))?;
    let Hashing { hash, file } = out.get_ref();
    Ok(Written { name: name.to_owned(), length: file.length(), hash: hash.digest128() })
}

fn put(out: &mut impl Write, owner: &str, name: &str, table: &RecordBatch) -> Result<(), ArrowError> {
    for text in [owner, name] {
        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(text.as_bytes())?;
    }
    let mut stream = StreamWriter::try_new(out, &table.schema())?;
    for from in (0..table.num_rows()).step_by(ROWS) {
        stream.write(&table.slice(from, ROWS.min(table.num_rows() - from)))?;
    }
    stream.finish()
}

/// Tells whether a file is what was written, by its length and hash.
pub(super) fn check(disk: &dyn Disk, folder: &Path, written: &Written) -> Result<(), Damage> {
    let path = folder.join(&written.name);
    let checked = compare(disk, &path, written).unwrap_or_else(|error| Err(error.to_string()));
    checked.map_err(|what| Damage::new(&path, what))
}

/// Reads a file that was checked.
pub(super) fn read(disk: &dyn Disk, folder: &Path, name: &str) -> Result<Parts, Damage> {
    let path = folder.join(name);
    decode(disk, &path).map_err(|error| Damage::new(&path, error.to_string()))
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

fn decode(disk: &dyn Disk, path: &Path) -> Result<Parts, ArrowError> {
    let mut file = BufReader::with_capacity(BUFFER, disk.read(path)?);
    let mut parts = Parts::new();
    while !file.fill_buf()?.is_empty() {
        let (owner, name) = (text(&mut file)?, text(&mut file)?);
        let mut stream = StreamReader::try_new(&mut file, None)?;
        let batches = stream.by_ref().collect::<Result<Vec<_>, _>>()?;
        parts.entry(owner).or_default().put(&name, concat_batches(&stream.schema(), &batches)?);
    }
    Ok(parts)
}

fn text(file: &mut impl Read) -> Result<String, ArrowError> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut text = String::new();
    file.take(u64::from_le_bytes(length)).read_to_string(&mut text)?;
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
