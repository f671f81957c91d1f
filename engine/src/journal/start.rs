//! What a start does with the folder before the journal is written again.

use std::io::ErrorKind;

use super::disk::{Disk, TEMPORARY};
use super::error::JournalError;
use super::identity::{self, Identity};
use super::recovery::{self, Known};
use super::segment::Tail;
use super::{Active, Result};

/// Which journal the disk has; `fresh` if there is none.
pub(super) fn identity_of(disk: &dyn Disk, fresh: u128) -> Result<Identity> {
    match Identity::read(disk)? {
        Some(identity) => Ok(identity),
        None if recovery::names(disk)?.is_empty() => Ok(Identity::new(fresh)),
        None => Err(identity::missing(disk)),
    }
}

/// Makes sure that what is read of the last segment is on the disk: an engine that was killed may have written it and
/// not synced it. Those before were synced before the next one was made.
pub(super) fn settle_last(disk: &dyn Disk) -> Result<()> {
    let Some((name, _)) = recovery::names(disk)?.pop() else { return Ok(()) };
    let settled = disk.open(&name).and_then(|mut file| file.settle());
    settled.map_err(|error| JournalError::io("sync", disk.path(&name), error))
}

/// Files that were being written when an engine died.
pub(super) fn temporaries(disk: &dyn Disk) -> Result<Vec<String>> {
    let files = disk.list().map_err(|error| JournalError::io("read", disk.path(""), error))?;
    Ok(files.into_iter().map(|(name, _)| name).filter(|name| name.ends_with(TEMPORARY)).collect())
}

/// Removes files, the first ones first, and makes that durable.
pub(super) fn remove(disk: &dyn Disk, names: impl IntoIterator<Item = String>) -> Result<()> {
    let mut removed = false;
    for name in names {
        match disk.remove(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(JournalError::io("remove", disk.path(&name), error)),
            Ok(()) => removed = true,
        }
    }
    if removed {
        disk.sync_folder().map_err(|error| JournalError::io("sync", disk.path(""), error))?;
    }
    Ok(())
}

/// Opens the last segment for writing, and clears what has no commit.
pub(super) fn activate(disk: &dyn Disk, last: &Known) -> Result<Active> {
    let opened = disk.open(&last.name).and_then(|mut file| {
        if let Tail::Torn { end } = last.tail {
            file.write_at(last.end as u64, &vec![0; end.saturating_sub(last.end)])?;
            file.sync()?;
        }
        Ok(file)
    });
    let file = opened.map_err(|error| JournalError::io("write", disk.path(&last.name), error))?;
    Ok(Active { file, dirty: 0, filled: 0 })
}
