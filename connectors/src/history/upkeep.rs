//! The thread that looks after the files of a history: it drops what is past, merges what is small, writes a manifest anew that has
//! become long, and deletes what no longer counts once nobody reads.

use std::fs::{File, TryLockError};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::error::{HistoryError, Result};
use super::reader::READERS;
use super::record::{Drop as Dropped, Limit, Record};
use super::store::{History, Inner, remove};
use crate::room::Room;

/// Until it looks again whether somebody still reads.
const AGAIN: Duration = Duration::from_secs(1);
/// Until it looks again at what has failed, and at nothing in particular.
const LATER: Duration = Duration::from_secs(60);

/// One merge of the process at a time: each holds its rows in memory.
static MERGES: Mutex<()> = Mutex::new(());

/// The thread. It ends with this.
#[derive(Debug)]
pub(crate) struct Upkeep {
    history: Arc<History>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    pub(crate) fn start(history: Arc<History>) -> io::Result<Self> {
        let worker = Arc::clone(&history);
        let thread = Builder::new().name(format!("history-{}", history.name)).spawn(move || run(&worker))?;
        Ok(Self { history, thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.history.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the upkeep of history {:?} panicked", self.history.name);
        }
    }
}

fn run(history: &History) {
    let mut told = String::new();
    loop {
        let pause = match history.look_after() {
            Ok(pause) => pause,
            Err(error) => {
                let error = error.to_string();
                if told != error {
                    tracing::error!("history {:?} could not be tidied, and grows: {error}", history.name);
                    told = error;
                }
                Some(LATER)
            }
        };
        let inner = history.lock();
        if inner.is_closed {
            return;
        }
        if let Some(pause) = pause {
            drop(history.wait(inner, pause));
        }
    }
}

impl History {
    /// Does one thing; gives how long there is nothing to do, unless something is committed.
    pub(super) fn look_after(&self) -> Result<Option<Duration>> {
        if self.drop_past()? || self.merge_small()? || self.shorten()? {
            return Ok(None);
        }
        Ok(Some(if self.delete_removed()? { LATER } else { AGAIN }))
    }

    /// True if something was past.
    fn drop_past(&self) -> Result<bool> {
        let mut inner = self.lock();
        let Some(past) = self.settings.retention.plan(&inner.state, self.run.clock.now()) else {
            return Ok(false);
        };
        let Dropped { limit, rows, bytes, ref removed } = past;
        let why = match limit {
            Limit::Age => "older than retain",
            Limit::Size => "beyond its size (retain_size, quarantine_size)",
        };
        let files = removed.len();
        self.append(&mut inner, Record::Drop(past))?;
        let all = inner.state.dropped_rows;
        tracing::info!(
            "history {:?}: dropped {files} files that are {why}: {rows} rows, {bytes} bytes ({all} rows so far)",
            self.name
        );
        Ok(true)
    }

    /// True if something was merged.
    fn merge_small(&self) -> Result<bool> {
        let merging = &self.settings.merging;
        let group = {
            let inner = self.lock();
            if inner.is_closed {
                return Ok(false);
            }
            let Some(group) = merging.plan(&inner.state) else { return Ok(false) };
            group.into_iter().cloned().collect::<Vec<_>>()
        };
        let _one_at_a_time = MERGES.lock().unwrap_or_else(PoisonError::into_inner);
        // What is merged does not wait for room: there is more when it does not.
        let room = Arc::new(Room::impatient(&self.name, &self.folder));
        let group: Vec<_> = group.iter().collect();
        let Some(merge) = merging.merge(&self.folder, &group, &room, || self.lock().is_closed)? else {
            return Ok(false);
        };
        tracing::debug!("history {:?}: merged {} files to {}", self.name, group.len(), merge.file.name);
        self.settle(&mut self.lock(), Record::Merge(merge))?;
        Ok(true)
    }

    /// True if the manifest was written anew.
    fn shorten(&self) -> Result<bool> {
        // As a merge, it does not wait for room.
        self.rewrite(&Room::impatient(&self.name, &self.folder))
    }

    /// Deletes what no longer counts, unless somebody reads; true if nothing is left of it.
    fn delete_removed(&self) -> Result<bool> {
        if self.lock().trash.is_empty() {
            return Ok(true);
        }
        let path = self.folder.join(READERS);
        let readers = File::open(&path).map_err(|error| HistoryError::file("open", &path, error))?;
        match readers.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(HistoryError::file("lock", &path, error)),
        }
        let Inner { trash, .. } = &mut *self.lock();
        while let Some(name) = trash.last() {
            let path = self.folder.join(name);
            remove(&path)?;
            trash.pop();
        }
        Ok(true)
    }
}
