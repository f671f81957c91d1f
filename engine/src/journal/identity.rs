//! The file `incarnation`: which journal it is, and how often an engine has started on it.

use std::hash::{BuildHasher, RandomState};

use super::codec::Cursor;
use super::error::JournalError;
use super::folder::Folder;
use super::segment::VERSION;

/// The name of the file.
pub(super) const FILE: &str = "incarnation";
const MAGIC: [u8; 8] = *b"lineshI\n";
const LENGTH: usize = 40;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Which journal it is: no other has the same.
    pub(super) journal: u128,
    /// Starts of an engine on it. It is in every commit, so a writer of before can be told.
    pub(super) incarnation: u64,
}

impl Identity {
    /// A journal that has never been started.
    pub(super) fn new(journal: u128) -> Self {
        Self { journal, incarnation: 0 }
    }

    /// Reads the file; `None` if there is none.
    pub(super) fn read(folder: &Folder) -> Result<Option<Self>, JournalError> {
        let Some(bytes) = folder.read_if_there(FILE)? else { return Ok(None) };
        let damaged = |what: &str| JournalError::damaged(folder.path(FILE), 0, what);
        let Some((fields, sum)) = bytes.split_last_chunk::<4>().filter(|_| bytes.len() == LENGTH) else {
            return Err(damaged("it has another length"));
        };
        let mut from = Cursor(fields);
        let mut read = || Ok((from.array::<8>()?, from.u32()?, from.u128()?, from.u64()?));
        let (magic, version, journal, incarnation) =
            read().map_err(|error: super::codec::Malformed| damaged(error.0))?;
        if *sum != crc32c::crc32c(fields).to_le_bytes() || magic != MAGIC {
            return Err(damaged("the checksum does not match"));
        }
        if version != VERSION {
            return Err(JournalError::Format { file: folder.path(FILE), version, known: VERSION });
        }
        Ok(Some(Self { journal, incarnation }))
    }

    /// Makes it durable.
    pub(super) fn write(&self, folder: &Folder) -> Result<(), JournalError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.journal.to_le_bytes());
        bytes.extend(self.incarnation.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        folder.write_whole(FILE, &bytes)
    }
}

/// There are segments, and nothing says of which journal.
pub(super) fn missing(folder: &Folder) -> JournalError {
    JournalError::damaged(folder.path(FILE), 0, "it is missing")
}

/// A number for a journal that is new. The hashers of the standard library are seeded by the system.
pub(super) fn random() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(FILE));
    half() << 64 | half()
}
