//! The history of a sink: a folder of Parquet files, and a manifest that says which of them count.
//!
//! ```text
//! folder/.manifest                      a line for each change, the sync of which is the commit; see `record`
//! folder/part-<worker>-<n>.parquet      as a worker wrote it, also below day=2020-03-09/ and the like
//! folder/merged-<level>-<n>.parquet     small ones that became one
//! folder/.part-0-000007.parquet.tmp     being written, or not committed yet
//! folder/.lock, .readers                held by the sink; held together by all who read
//! ```
//!
//! - `log` and `state`: the manifest as a file, and what its lines add up to
//! - `store`: the sink's side: commits, and what is done at a start
//! - `reader`: which files a reader sees; while it reads, none of them is deleted
//! - `upkeep`: a thread that merges small files (`merge`) and drops what is past (`retention`)
//!
//! Files get their names between two lines: the first says which, the second that it is done. What a crash left between them is
//! taken back at the next start, so what counts is always whole, and all that is there is known to the manifest.

mod error;
mod log;
mod merge;
mod reader;
mod record;
mod retention;
mod state;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use error::HistoryError;
pub use reader::{Listing, leases, listing, named, verify};
pub use record::{Commit, Drop, HistoryFile, Limit, Merge, Part, Record};
pub use state::{Progress, State};

pub(crate) use merge::Merging;
pub(crate) use retention::Retention;
pub(crate) use store::{History, Known, Settings};
pub(crate) use upkeep::Upkeep;

use error::Result;

/// The suffix of a file that does not count yet; its name also begins with a dot.
const UNFINISHED: &str = ".tmp";
/// What the names of files begin with that a sink has written.
pub(crate) const WRITTEN: &str = "part-";
/// What the names of files begin with that are merged of others.
const MERGED: &str = "merged-";

/// Where a file is until it counts.
pub(crate) fn hidden(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{UNFINISHED}"))
}

/// True if the name is one that [`hidden`] gives to a file of ours.
fn is_hidden(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED));
    inner.is_some_and(is_ours)
}

/// True if the last part of a path is a name that only a sink gives.
fn is_ours(name: &str) -> bool {
    name.starts_with(WRITTEN) || name.starts_with(MERGED)
}

/// The last part of a name, and the folder before it.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').map_or(("", name), |(folder, last)| (folder, last))
}

/// Worker and number of `part-<worker>-<number>.parquet`.
fn part_of(name: &str) -> Option<(usize, u64)> {
    let (worker, number) = split(name).1.strip_prefix(WRITTEN)?.strip_suffix(".parquet")?.split_once('-')?;
    Some((worker.parse().ok()?, number.parse().ok()?))
}

/// Makes durable which names a folder has.
fn sync(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| HistoryError::file("sync", folder, error))
}

/// Name and length of all files below a folder, but for folders that are hidden.
fn walk(folder: &Path) -> Result<Vec<(String, u64)>> {
    let (mut found, mut folders) = (Vec::new(), vec![(folder.to_owned(), String::new())]);
    while let Some((path, prefix)) = folders.pop() {
        let failed = |error| HistoryError::file("read", &path, error);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(facts) = gone(entry.metadata()).map_err(failed)? else { continue };
            if !facts.is_dir() {
                found.push((format!("{prefix}{name}"), facts.len()));
            } else if !name.starts_with('.') {
                folders.push((path.join(&name), format!("{prefix}{name}/")));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `None` of what is no longer there.
fn gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
