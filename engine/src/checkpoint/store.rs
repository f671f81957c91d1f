//! Checkpoints on the disk: whole or not at all, and two of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::ErrorKind;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::error::{CheckpointError, Damage};
use super::manifest::{self, FORMAT, Manifest, Unusable, hash_identity};
use super::parts::{Older, PartFiles, Parts};
use super::state::{self, StateFile, Written};
use super::{CheckpointSettings, Restored};
use crate::control::lock;
use crate::disk::{Disk, parent};
use crate::error::{Error, Result};
use crate::operator::Snapshot;
use crate::time::Epoch;

/// The file of sources and of the program as a whole.
pub(super) const PROGRAM: &str = "program";
/// Checkpoints that are kept: the newest, and the one that is used if the newest is damaged.
const KEPT: usize = 2;

/// The folder of the checkpoints of one program.
#[derive(Debug)]
pub(crate) struct Store {
    settings: CheckpointSettings,
    /// The last [`KEPT`] that are whole, the oldest first.
    kept: Mutex<Vec<Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    next_epoch: Epoch,
    /// Its parts, if we have read or written them; others may be damaged.
    parts: Arc<Parts>,
}

/// A checkpoint that is being written.
pub(super) struct Draft {
    number: u64,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    workers: usize,
    files: BTreeMap<Place, StateFile>,
    parts: PartFiles,
}

/// Whose file a table goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Program,
    Worker(usize),
}

impl Draft {
    pub(super) fn put(&mut self, place: Place, owner: &str, snapshot: &Snapshot) -> Result<()> {
        let file = file(&mut self.files, &*self.disk, &self.folder, place)?;
        snapshot.tables.iter().try_for_each(|(name, rows)| file.put(owner, name, rows, &mut self.parts))
    }

    /// Makes all files durable; also who has nothing has one. Gives them, and the parts.
    fn finish(mut self) -> Result<(Vec<Written>, Parts)> {
        for place in iter::once(Place::Program).chain((0..self.workers).map(Place::Worker)) {
            file(&mut self.files, &*self.disk, &self.folder, place)?;
        }
        let files = self.files.into_values().map(StateFile::finish).collect::<Result<_>>()?;
        Ok((files, self.parts.into_parts()))
    }
}

/// The file of `place`, which is made when the first table comes.
fn file<'a>(
    files: &'a mut BTreeMap<Place, StateFile>,
    disk: &dyn Disk,
    folder: &Path,
    place: Place,
) -> Result<&'a mut StateFile> {
    let name = match place {
        Place::Program => PROGRAM.to_owned(),
        Place::Worker(worker) => worker_file(worker),
    };
    Ok(match files.entry(place) {
        Entry::Occupied(file) => file.into_mut(),
        Entry::Vacant(new) => new.insert(StateFile::create(disk, folder, name)?),
    })
}

impl Store {
    /// Opens the folder; gives what is to be gone on from: the newest checkpoint of which all files are what was written.
    /// Nothing on the disk is changed.
    ///
    /// # Errors
    /// If the folder is of another program, if there are checkpoints and all are damaged, or if it cannot be read.
    pub(crate) fn open(settings: CheckpointSettings) -> Result<(Self, Option<Restored>)> {
        let found = Found::list(&*settings.disk, &settings.folder)?;
        let (mut kept, mut restored, mut damages) = (Vec::new(), None, Vec::new());
        for Found { number, .. } in found.iter().filter(|found| found.is_finished) {
            let folder = settings.folder.join(number.to_string());
            let read = read_manifest(&folder, *number, &settings).and_then(|manifest| {
                // The one before it is read when it is needed.
                let mut parts = Parts::new();
                if restored.is_none() {
                    restored =
                        Some(read_states(&*settings.disk, &folder, &manifest).map_err(Unusable::Damaged)?);
                    parts = manifest.parts().iter().map(|part| (part.hash, part.clone())).collect();
                }
                Ok(Kept { number: *number, next_epoch: manifest.next_epoch, parts: Arc::new(parts) })
            });
            match read {
                Ok(whole) => kept.insert(0, whole),
                Err(Unusable::Damaged(damage)) => damages.push(damage),
                Err(Unusable::Refused(error)) => return Err(error.into()),
            }
        }
        if restored.is_none() && Found::is_begun(&found) {
            damages.extend(found.iter().filter_map(|found| found.without_manifest(&settings.folder)));
            return Err(CheckpointError::Damaged { folder: settings.folder, damages }.into());
        }
        for damage in damages {
            tracing::warn!("{damage}; goes on with another checkpoint");
        }
        Ok((Self { settings, kept: Mutex::new(latest(kept)) }, restored))
    }

    /// How often a checkpoint is taken, microseconds.
    pub(crate) fn every_us(&self) -> i64 {
        i64::try_from(self.settings.every.as_micros()).unwrap_or(i64::MAX)
    }

    /// The first epoch after the oldest checkpoint that is kept: what came in before it is not needed any more. `None` if
    /// there is none.
    pub(crate) fn oldest_epoch(&self) -> Option<Epoch> {
        lock(&self.kept).first().map(|kept| kept.next_epoch)
    }

    /// Begins a checkpoint of so many workers. What is left of those that were not finished is deleted.
    pub(super) fn create(&self, workers: usize) -> Result<Draft> {
        let root = &self.settings.folder;
        self.remove(&self.ended())?;
        self.create_folder(root)?;
        self.discard()?;
        let newest = Found::list(self.disk(), root)?.first().map(|found| found.number);
        let number = newest.unwrap_or(0) + 1;
        let folder = root.join(number.to_string());
        self.create_folder(&folder)?;
        let older = lock(&self.kept).last().map(|older| Older {
            folder: root.join(older.number.to_string()),
            parts: Arc::clone(&older.parts),
        });
        let disk = Arc::clone(&self.settings.disk);
        let parts = PartFiles::new(Arc::clone(&disk), folder.clone(), older.unwrap_or_default());
        Ok(Draft { number, disk, folder, workers, files: BTreeMap::new(), parts })
    }

    /// All is written: the checkpoint becomes the newest one, after which `next_epoch` is the first, and all but it and the one
    /// before are deleted. Gives its number.
    pub(super) fn finish(&self, draft: Draft, next_epoch: Epoch) -> Result<u64> {
        let (number, folder, workers) = (draft.number, draft.folder.clone(), draft.workers);
        let (mut files, parts) = draft.finish()?;
        files.extend(parts.values().cloned());
        self.sync(&folder)?;
        let identity = hash_identity(&self.settings.identity);
        Manifest { format: FORMAT, number, workers, next_epoch, identity, files }
            .write(self.disk(), &folder)?;
        let kept = {
            let mut kept = lock(&self.kept);
            kept.push(Kept { number, next_epoch, parts: Arc::new(parts) });
            *kept = latest(std::mem::take(&mut *kept));
            kept.clone()
        };
        for found in Found::list(self.disk(), &self.settings.folder)? {
            if !kept.iter().any(|kept| kept.number == found.number) {
                self.remove(&self.settings.folder.join(found.number.to_string()))?;
            }
        }
        Ok(number)
    }

    /// Deletes what has not become a checkpoint.
    pub(super) fn discard(&self) -> Result<()> {
        let root = &self.settings.folder;
        for unfinished in Found::list(self.disk(), root)?.iter().filter(|found| !found.is_finished) {
            self.remove(&root.join(unfinished.number.to_string()))?;
        }
        Ok(())
    }

    /// The program has come to its end: nothing is to be gone on from.
    pub(crate) fn delete(&self) -> Result<()> {
        let (folder, ended) = (&self.settings.folder, self.ended());
        self.remove(&ended)?;
        // At once: half of the checkpoints would be damaged ones.
        self.disk().rename(folder, &ended).map_err(|error| Error::file("delete", folder, error))?;
        self.sync(parent(folder))?;
        self.remove(&ended)
    }

    fn disk(&self) -> &dyn Disk {
        &*self.settings.disk
    }

    /// Makes a folder that is durable.
    fn create_folder(&self, folder: &Path) -> Result<()> {
        self.disk().create_folder(folder).map_err(|error| Error::file("create", folder, error))
    }

    /// Makes durable which names a folder has.
    fn sync(&self, folder: &Path) -> Result<()> {
        self.disk().sync_folder(folder).map_err(|error| Error::file("write", folder, error))
    }

    /// Removes a folder if it is there; its manifest first, so that what is left of it is no damaged checkpoint.
    fn remove(&self, folder: &Path) -> Result<()> {
        let manifest = self.disk().remove(&folder.join(manifest::FILE));
        for removed in [manifest, self.disk().remove_folder(folder)] {
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::file("delete", folder, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The name of the folder while it is deleted.
    fn ended(&self) -> PathBuf {
        let mut name = self.settings.folder.clone().into_os_string();
        name.push(".ended");
        name.into()
    }
}

/// A folder that may be a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    number: u64,
    /// It has a manifest, which is written last.
    is_finished: bool,
}

impl Found {
    /// Those in `root`, the newest first.
    pub(super) fn list(disk: &dyn Disk, root: &Path) -> Result<Vec<Self>> {
        let failed = |error| Error::file("read", root, error);
        let entries = match disk.list(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for (name, _) in entries {
            // Others are not ours, such as `007`.
            if let Some(number) = name.parse::<u64>().ok().filter(|number| name == number.to_string()) {
                let files = disk.list(&root.join(&name)).map_err(failed)?;
                let is_finished = files.iter().any(|(file, _)| file == manifest::FILE);
                found.push(Self { number, is_finished });
            }
        }
        found.sort_unstable_by_key(|found| std::cmp::Reverse(found.number));
        Ok(found)
    }

    /// True if there was a whole checkpoint. The first one may have been left unfinished; for any other to be begun,
    /// there was one before it.
    pub(super) fn is_begun(found: &[Self]) -> bool {
        found.iter().any(|found| found.is_finished || found.number > 1)
    }

    fn without_manifest(self, root: &Path) -> Option<Damage> {
        let file = root.join(self.number.to_string()).join(manifest::FILE);
        (!self.is_finished).then(|| Damage::new(file, "it is missing"))
    }
}

/// The last ones.
fn latest(mut kept: Vec<Kept>) -> Vec<Kept> {
    kept.split_off(kept.len().saturating_sub(KEPT))
}

pub(super) fn worker_file(worker: usize) -> String {
    format!("worker-{worker}")
}

fn read_manifest(folder: &Path, number: u64, settings: &CheckpointSettings) -> Result<Manifest, Unusable> {
    let manifest = Manifest::read(&*settings.disk, folder, number)?;
    if manifest.identity != hash_identity(&settings.identity) {
        return Err(Unusable::Refused(CheckpointError::Other { folder: settings.folder.clone() }));
    }
    Ok(manifest)
}

fn read_states(disk: &dyn Disk, folder: &Path, manifest: &Manifest) -> Result<Restored, Damage> {
    manifest.files.iter().try_for_each(|file| state::check(disk, folder, file))?;
    let read = |name: &str| state::read(disk, folder, name, manifest.format);
    let program = read(PROGRAM)?;
    let workers = (0..manifest.workers).map(|worker| read(&worker_file(worker)).map(Mutex::new));
    Ok(Restored { workers: workers.collect::<Result<_, Damage>>()?, program })
}
