//! The sink's side of a history: what the workers have finished becomes one commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lineshaft_engine::sink::Run;
use lineshaft_engine::time::Epoch;

use super::error::{HistoryError, Result};
use super::log::{self, Draft, Log, MANIFEST};
use super::reader::{READERS, adopted};
use super::record::{Commit, Merge, Part, Record};
use super::state::State;
use super::{Merging, Retention, gone, hidden, is_hidden, is_ours, part_of, split, sync, walk};
use crate::room::Room;

/// Held by the sink that writes a folder.
const LOCK: &str = ".lock";

/// A manifest is written anew when it is so many times as long as the new one.
const MUCH: u64 = 4;

/// What is done with the files of a history.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) merging: Merging,
    pub(crate) retention: Retention,
    /// The least length of a manifest that is written anew.
    pub(crate) rewrite_at: u64,
}

/// The history that a sink writes; its workers share it.
#[derive(Debug)]
pub(crate) struct History {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) run: Run,
    pub(super) settings: Settings,
    room: Arc<Room>,
    inner: Mutex<Inner>,
    /// Something was committed, or it is closed.
    changed: Condvar,
    /// The system gives it back when the process ends, however it ends.
    _lock: File,
}

#[derive(Debug)]
pub(super) struct Inner {
    /// `None` before the first commit.
    log: Option<Log>,
    pub(super) state: State,
    /// What some workers have finished, and others have not yet, by the number of the cut.
    cuts: BTreeMap<u64, Vec<Part>>,
    /// The length of the manifest at which it is looked at whether a new one would be much shorter.
    pub(super) rewrite_at: u64,
    /// Files that no longer count and are still there.
    pub(super) trash: Vec<String>,
    pub(super) is_closed: bool,
    /// A commit has failed half way; the next start takes it back.
    is_broken: bool,
}

/// Where a worker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The number of its next file.
    pub(crate) next: u64,
    /// What it has committed since the checkpoint, and gets again.
    pub(crate) known: Option<Known>,
}

/// Rows that are committed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// All up to the end of this epoch.
    pub(crate) through: Epoch,
    /// So many in this life.
    pub(crate) rows: u64,
}

impl History {
    /// Opens the history in `folder`, and takes back what was not committed.
    ///
    /// # Errors
    /// If another sink writes it, if it is damaged, or if a file is missing that it names.
    pub(crate) fn open(name: &str, folder: &Path, run: Run, settings: Settings) -> Result<Arc<Self>> {
        let created = fs::create_dir_all(folder);
        created.map_err(|error| HistoryError::file("create the folder", folder, error))?;
        sync(folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        let lock = lock(folder)?;
        File::options()
            .create(true)
            .append(true)
            .open(folder.join(READERS))
            .map_err(|error| HistoryError::file("create", &folder.join(READERS), error))?;
        let mut inner = Inner {
            log: None,
            state: State::default(),
            cuts: BTreeMap::new(),
            rewrite_at: settings.rewrite_at,
            trash: Vec::new(),
            is_closed: false,
            is_broken: false,
        };
        match log::read(folder)? {
            Some(contents) => {
                inner.state = contents.state;
                let begun = inner.state.begun.take();
                clear(folder, begun.as_deref())?;
                inner.trash = check(folder, &inner.state)?;
                inner.state.removed.clear();
                inner.log = Some(Log::open(folder, contents.end)?);
            }
            None => {
                clear(folder, None)?;
                let numbers = walk(folder)?.into_iter().filter_map(|(name, _)| part_of(&name));
                inner.state.next = numbers.map(|(_, number)| number + 1).max().unwrap_or(0);
            }
        }
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            room: Arc::new(Room::new(name, folder, run.clone())),
            run,
            settings,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            _lock: lock,
        }))
    }

    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        time: std::time::Duration,
    ) -> MutexGuard<'a, Inner> {
        self.changed.wait_timeout(inner, time).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// The life and the number of the first file of a program that begins anew.
    pub(crate) fn begin(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.state.life + 1, inner.state.next)
    }

    /// Where a worker goes on that at a checkpoint had given `rows` in this life, up to the end of `epoch`.
    ///
    /// # Errors
    /// If what was there at the checkpoint is not there any more.
    pub(crate) fn resume(&self, worker: usize, life: u64, rows: u64, epoch: Option<Epoch>) -> Result<Resume> {
        let inner = self.lock();
        let unfit = |what: String| HistoryError::Unfit { manifest: self.folder.join(MANIFEST), what };
        let state = &inner.state;
        if state.life + 1 == life && rows == 0 {
            return Ok(Resume { next: state.next, known: None });
        }
        if state.life != life {
            return Err(unfit(format!("it ends in life {}, the checkpoint is of life {life}", state.life)));
        }
        let progress = state.progress.get(&worker).copied();
        let progress = progress.ok_or_else(|| unfit(format!("it has nothing of worker {worker}")))?;
        if progress.rows < rows {
            let has = progress.rows;
            return Err(unfit(format!("it has {has} rows of worker {worker}, the checkpoint has {rows}")));
        }
        let through = progress.through.filter(|through| epoch.is_none_or(|epoch| *through > epoch));
        let known = through.map(|through| Known { through, rows: progress.rows });
        Ok(Resume { next: progress.next, known })
    }

    /// Takes back the files of a worker from this number on, in a folder that has no manifest yet.
    pub(crate) fn take_back(&self, worker: usize, next: u64) -> Result<()> {
        let _inner = self.lock();
        for (name, _) in walk(&self.folder)? {
            if part_of(&name).is_some_and(|(of, number)| of == worker && number >= next) {
                remove(&self.folder.join(name))?;
            }
        }
        Ok(())
    }

    /// What a worker has finished at a cut. Once all `workers` have, it counts.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn deliver(&self, workers: usize, cut: u64, life: u64, part: Part) -> Result<()> {
        let mut inner = self.lock();
        let parts = inner.cuts.entry(cut).or_default();
        parts.push(part);
        if parts.len() < workers {
            return Ok(());
        }
        let mut parts = inner.cuts.remove(&cut).unwrap_or_default();
        parts.sort_by_key(|part| part.worker);
        if parts.iter().all(|part| part.files.is_empty()) {
            return Ok(());
        }
        self.settle(&mut inner, Record::Commit(Commit { incarnation: self.run.incarnation, life, parts }))
    }

    /// Gives new files their names, and makes them count.
    pub(super) fn settle(&self, inner: &mut Inner, record: Record) -> Result<()> {
        let names = new_names(&record);
        let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
        self.append(inner, record)?;
        inner.is_broken = true;
        for name in names {
            let path = self.folder.join(&name);
            let renamed = self.room.patiently(|| fs::rename(hidden(&path), &path));
            renamed.map_err(|error| HistoryError::file("rename", &hidden(&path), error))?;
            let above = path.ancestors().skip(1).take_while(|above| above.starts_with(&self.folder));
            folders.extend(above.map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| sync(folder))?;
        inner.is_broken = false;
        self.append(inner, Record::Done)?;
        self.changed.notify_all();
        Ok(())
    }

    /// Adds a line to the manifest; begins it if need be.
    pub(super) fn append(&self, inner: &mut Inner, record: Record) -> Result<()> {
        if inner.is_broken {
            let what = "an earlier commit has failed; start again".to_owned();
            return Err(HistoryError::Unfit { manifest: self.folder.join(MANIFEST), what });
        }
        inner.is_broken = true;
        if inner.log.is_none() {
            let files = adopted(&self.folder)?;
            let first = (!files.is_empty()).then_some(Record::Adopt(files));
            inner.log = Some(Log::create(&self.folder, first.as_ref(), &self.room)?);
            if let Some(first) = first {
                self.apply(inner, first)?;
            }
        }
        if let Some(log) = &mut inner.log {
            log.append(&record, &self.room)?;
        }
        self.apply(inner, record)?;
        inner.is_broken = false;
        Ok(())
    }

    /// Writes the manifest anew as one line that says what all lines add up to, if that is much shorter; true if it was.
    ///
    /// # Errors
    /// If the disk fails. As long as the new one has not replaced it, the old one goes on.
    pub(super) fn rewrite(&self, room: &Room) -> Result<bool> {
        let mut inner = self.lock();
        let Inner { log: Some(log), state, trash, is_broken: false, .. } = &*inner else { return Ok(false) };
        let length = log.end();
        if length < inner.rewrite_at {
            return Ok(false);
        }
        let removed = trash.iter().cloned().collect();
        let whole = Record::Whole(Box::new(State { removed, begun: None, ..state.clone() }));
        let draft = Draft::new(&self.folder, Some(&whole))?;
        inner.rewrite_at = self.settings.rewrite_at.max(MUCH * draft.end());
        if inner.rewrite_at > length {
            return Ok(false);
        }
        draft.write(&self.folder, room)?;
        inner.is_broken = true;
        sync(&self.folder)?;
        inner.log = Some(Log::open(&self.folder, draft.end())?);
        inner.is_broken = false;
        Ok(true)
    }

    fn apply(&self, inner: &mut Inner, record: Record) -> Result<()> {
        let applied = inner.state.apply(record);
        // Names that no longer count are files to delete.
        inner.trash.extend(std::mem::take(&mut inner.state.removed));
        applied.map_err(|what| HistoryError::Unfit {
            manifest: self.folder.join(MANIFEST),
            what: what.to_owned(),
        })
    }
}

/// The lock of the sink.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|error| HistoryError::file("create", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(HistoryError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(HistoryError::file("lock", &path, error)),
    }
}

/// The files that a record gives their names.
fn new_names(record: &Record) -> Vec<String> {
    match record {
        Record::Commit(Commit { parts, .. }) => {
            parts.iter().flat_map(|part| &part.files).map(|file| file.name.clone()).collect()
        }
        Record::Merge(Merge { file, .. }) => vec![file.name.clone()],
        Record::Whole(_) | Record::Adopt(_) | Record::Drop(_) | Record::Done => Vec::new(),
    }
}

/// Removes what does not count: files that were being written, and those of a commit that was not done.
fn clear(folder: &Path, begun: Option<&Record>) -> Result<()> {
    for name in begun.map(new_names).unwrap_or_default() {
        remove(&folder.join(name))?;
    }
    for (name, _) in walk(folder)? {
        if is_hidden(split(&name).1) {
            remove(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    gone(fs::remove_file(path)).map_err(|error| HistoryError::file("delete", path, error))?;
    Ok(())
}

/// Compares the files that are there with those that count; gives those that no longer do.
fn check(folder: &Path, state: &State) -> Result<Vec<String>> {
    let manifest = || folder.join(MANIFEST);
    let found: HashMap<String, u64> = walk(folder)?.into_iter().collect();
    for file in &state.files {
        let what = match found.get(&file.name) {
            Some(bytes) if *bytes == file.bytes => continue,
            Some(bytes) => format!("has {bytes} bytes instead of {}", file.bytes),
            None => "is missing".to_owned(),
        };
        return Err(HistoryError::Differs { path: folder.join(&file.name), what, manifest: manifest() });
    }
    let counts: BTreeSet<&str> = state.files.iter().map(|file| file.name.as_str()).collect();
    let mut trash = Vec::new();
    let mut strangers = Vec::new();
    for name in found.into_keys().filter(|name| name.ends_with(".parquet") && !counts.contains(name.as_str()))
    {
        if state.removed.contains(&name) {
            trash.push(name);
        } else if is_ours(split(&name).1) {
            return Err(HistoryError::Unnamed { path: folder.join(name), manifest: manifest() });
        } else {
            strangers.push(name);
        }
    }
    if let Some(first) = strangers.iter().min() {
        tracing::warn!(
            "{} files in {} are not of its sink, and are not read; {first:?} is one of them",
            strangers.len(),
            folder.display()
        );
    }
    trash.sort();
    Ok(trash)
}
