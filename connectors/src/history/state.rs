//! What the lines of a manifest add up to.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lineshaft_engine::time::Epoch;
use serde::{Deserialize, Serialize};

use super::part_of;
use super::record::{Commit, Drop, HistoryFile, Merge, Part, Record};

/// The history as of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The files that count, oldest first.
    pub files: Vec<HistoryFile>,
    /// The life of the last commit; 0 before the first one.
    pub life: u64,
    /// How far each worker was at the last commit.
    pub progress: BTreeMap<usize, Progress>,
    /// The number after that of every file so far.
    pub next: u64,
    /// Names that no longer count.
    pub removed: BTreeSet<String>,
    /// Rows that were dropped so far.
    pub dropped_rows: u64,
    /// Bytes that were dropped so far.
    pub dropped_bytes: u64,
    /// What was begun and is not [`Record::Done`].
    #[serde(skip)]
    pub(super) begun: Option<Box<Record>>,
}

/// How far a worker has committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Up to the end of this epoch.
    pub through: Option<Epoch>,
    /// So many rows in this life.
    pub rows: u64,
    /// The number of its next file.
    pub next: u64,
}

impl State {
    /// Adds a record.
    ///
    /// # Errors
    /// What it contradicts.
    pub(super) fn apply(&mut self, record: Record) -> Result<(), &'static str> {
        match (record, self.begun.take()) {
            (Record::Done, Some(begun)) => self.settle(*begun),
            (Record::Done, None) => Err("nothing was begun that could be done"),
            (_, Some(_)) => Err("something was begun and is not done"),
            (record @ (Record::Commit(_) | Record::Merge(_)), None) => {
                self.begun = Some(Box::new(record));
                Ok(())
            }
            (record, None) => self.settle(record),
        }
    }

    fn settle(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::Whole(whole) => {
                if *self != Self::default() {
                    return Err("the whole is not its first line");
                }
                *self = *whole;
            }
            Record::Adopt(files) => {
                let numbers = files.iter().filter_map(|file| part_of(&file.name));
                self.next = numbers.map(|(_, number)| number + 1).max().unwrap_or(0).max(self.next);
                self.files.extend(files);
            }
            Record::Commit(commit) => self.commit(commit),
            Record::Merge(Merge { removed, file }) => {
                let at = self.remove(&removed)?;
                self.files.insert(at, file);
            }
            Record::Drop(Drop { removed, rows, bytes, .. }) => {
                self.remove(&removed)?;
                self.dropped_rows += rows;
                self.dropped_bytes += bytes;
            }
            Record::Done => {}
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit) {
        self.life = commit.life;
        self.progress.clear();
        for Part { worker, through, rows, next, files, .. } in commit.parts {
            self.next = self.next.max(next);
            self.progress.insert(worker, Progress { through, rows, next });
            self.files.extend(files);
        }
    }

    /// Removes files; gives the place of the first.
    fn remove(&mut self, names: &[String]) -> Result<usize, &'static str> {
        let gone: HashSet<&str> = names.iter().map(String::as_str).collect();
        let at = self.files.iter().position(|file| gone.contains(file.name.as_str()));
        let before = self.files.len();
        self.files.retain(|file| !gone.contains(file.name.as_str()));
        if before - self.files.len() != names.len() {
            return Err("a file is removed that is not there");
        }
        self.removed.extend(names.iter().cloned());
        Ok(at.unwrap_or_default())
    }
}
