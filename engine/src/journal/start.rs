//! What a start does with the folder before the journal is written again.

use std::io::ErrorKind;

use super::error::JournalError;
use super::folder::{Folder, TEMPORARY};
use super::identity::{self, Identity};
use super::recovery::{self, Known};
use super::segment::Tail;
use super::{Active, Result};

/// Which journal the disk has; `fresh` if there is none.
pub(super) fn identity_of(folder: &Folder, fresh: u128) -> Result<Identity> {
    match Identity::read(folder)? {
        Some(identity) => Ok(identity),
        None if recovery::names(folder)?.is_empty() => Ok(Identity::new(fresh)),
        None => Err(identity::missing(folder)),
    }
}

/// Makes sure that what is read of the last segment is on the disk: an engine that was killed may have written it and
/// not synced it. Those before were synced before the next one was made.
pub(super) fn settle_last(folder: &Folder) -> Result<()> {
    let Some((name, _)) = recovery::names(folder)?.pop() else { return Ok(()) };
    let settled = folder.open(&name).and_then(|mut file| file.settle());
    settled.map_err(|error| JournalError::io("sync", folder.path(&name), error))
}

/// Files that were being written when an engine died.
pub(super) fn temporaries(folder: &Folder) -> Result<Vec<String>> {
    let files = folder.list().map_err(|error| JournalError::io("read", folder.path(""), error))?;
    Ok(files.into_iter().map(|(name, _)| name).filter(|name| name.ends_with(TEMPORARY)).collect())
}

/// Removes files, the first ones first, and makes that durable.
pub(super) fn remove(folder: &Folder, names: impl IntoIterator<Item = String>) -> Result<()> {
    let mut removed = false;
    for name in names {
        match folder.remove(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(JournalError::io("remove", folder.path(&name), error)),
            Ok(()) => removed = true,
        }
    }
    if removed {
        folder.sync().map_err(|error| JournalError::io("sync", folder.path(""), error))?;
    }
    Ok(())
}

/// Opens the last segment for writing, and clears what has no commit.
pub(super) fn activate(folder: &Folder, last: &Known) -> Result<Active> {
    let opened = folder.open(&last.name).and_then(|mut file| {
        if let Tail::Torn { end } = last.tail {
            file.write_at(last.end as u64, &vec![0; end.saturating_sub(last.end)])?;
            file.sync()?;
        }
        Ok(file)
    });
    let file = opened.map_err(|error| JournalError::io("write", folder.path(&last.name), error))?;
    Ok(Active { file, dirty: 0, filled: 0 })
}
