//! Parts of large tables, each in a file of its own, whose name is the hash of what it has. One that a checkpoint has in common
//! with the one before is not written again: it gets a second name there, by a hard link.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::state::Written;
use crate::disk::Disk;
use crate::error::{Error, Result};

/// Parts by their hash.
pub(super) type Parts = BTreeMap<u128, Written>;

/// Where the parts of the checkpoint before are. All of them are whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Older {
    pub(super) folder: PathBuf,
    pub(super) parts: Arc<Parts>,
}

/// The parts of a checkpoint that is being written.
pub(super) struct PartFiles {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    older: Older,
    parts: Parts,
}

pub(super) fn part_file(hash: u128) -> String {
    format!("part-{hash:032x}")
}

impl PartFiles {
    pub(super) fn new(disk: Arc<dyn Disk>, folder: PathBuf, older: Older) -> Self {
        Self { disk, folder, older, parts: Parts::new() }
    }

    /// Keeps a part; gives its hash, which is its name.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<u128> {
        let (hash, length) = (xxh3_128(bytes), bytes.len() as u64);
        let written = Written { name: part_file(hash), length, hash };
        if !self.parts.contains_key(&hash) {
            if !self.link(&written) {
                self.write(&written.name, bytes)?;
            }
            self.parts.insert(hash, written);
        }
        Ok(hash)
    }

    /// False if the checkpoint before has no such part, or the disk has no hard links.
    fn link(&self, part: &Written) -> bool {
        let name = &part.name;
        self.older.parts.get(&part.hash) == Some(part)
            && self.disk.link(&self.older.folder.join(name), &self.folder.join(name)).is_ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        let written = self.disk.create(&path, 0).and_then(|mut file| {
            file.write_at(0, bytes)?;
            file.sync()
        });
        written.map_err(|error| Error::file("write", &path, error))
    }

    /// All of them; they are durable.
    pub(super) fn into_parts(self) -> Parts {
        self.parts
    }
}
