//! A disk in memory that can lose its power: what was synced is kept apart from what was only written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile, DiskLock, parent};
use crate::control::lock;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `limit`, which is not zero.
    ///
    /// # Panics
    /// If it is zero.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies in it: it may be half done, and all later calls fail.
    Crash,
    /// It fails with this error. A write may be half done.
    Error(ErrorKind),
}

#[derive(Debug, Default)]
struct Contents {
    /// What the system shows.
    seen: Vec<u8>,
    /// What is on the disk.
    durable: Vec<u8>,
    /// Sectors that differ and may be written at any time.
    dirty: BTreeSet<usize>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

type Names = BTreeMap<PathBuf, Node>;

/// A change of the names: in the order they were made, some of them are durable.
#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Change {
    fn is_in(&self, folder: &Path) -> bool {
        let (Self::Link(path, _) | Self::Remove(path) | Self::Rename(_, path)) = self;
        parent(path) == folder
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            // With all that is in it, if it is a folder.
            Self::Rename(from, to) => {
                let moved = names.extract_if(.., |path, _| path.starts_with(from));
                let moved: Vec<_> = moved.collect();
                names.extend(moved.into_iter().map(|(path, node)| {
                    let rest = path.strip_prefix(from).expect("it begins with it");
                    (if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) }, node)
                }));
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    names: Names,
    durable_names: Names,
    changes: Vec<Change>,
    /// Calls that change or sync something, so far.
    calls: usize,
    fault: Option<(usize, Fault)>,
    is_crashed: bool,
    is_full: bool,
}

/// The disk. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Calls so far that change or sync something.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// The call with this number will go wrong; they count from 0.
    pub fn fail_at(&self, call: usize, fault: Fault) {
        self.state().fault = Some((call, fault));
    }

    /// True if the process has died in a call.
    pub fn is_crashed(&self) -> bool {
        self.state().is_crashed
    }

    /// From now on there is no room for anything, or there is again.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// The process has died, and the machine goes on: all that was written is there.
    pub fn restart(&self) {
        let state = &mut *self.state();
        (state.is_crashed, state.fault) = (false, None);
        let mut used = BTreeSet::new();
        used.extend(state.names.values().chain(state.durable_names.values()).copied().filter_map(Node::file));
        for change in &state.changes {
            used.extend(if let Change::Link(_, node) = change { node.file() } else { None });
        }
        for (number, file) in state.files.iter_mut().enumerate() {
            if !used.contains(&number) {
                *file = Contents::default();
            }
        }
    }

    /// The power fails and comes back: of what was not synced, some sectors and some names are there.
    pub fn power_cut(&self, seed: u64) {
        self.restart();
        let (mut random, state) = (Random(seed), &mut *self.state());
        for file in &mut state.files {
            // The size is written before, with or after the bytes.
            if file.durable.len() != file.seen.len() && random.below(2) == 0 {
                file.durable.resize(file.seen.len(), 0);
            }
            for sector in std::mem::take(&mut file.dirty) {
                if random.below(2) == 0 {
                    file.keep(sector);
                }
            }
            file.seen.clone_from(&file.durable);
        }
        let kept = random.below(state.changes.len() + 1);
        for change in state.changes.drain(..).take(kept) {
            change.apply(&mut state.durable_names);
        }
        // What is in a folder that is not there is not there.
        let folders = state.durable_names.clone();
        let is_there = |path: &Path| parent(path) == Path::new(".") || folders.contains_key(parent(path));
        state
            .durable_names
            .retain(|path, _| path.ancestors().all(|path| path.parent().is_none() || is_there(path)));
        state.names.clone_from(&state.durable_names);
    }

    /// The file as it is now, to be changed behind the back of everybody.
    ///
    /// # Panics
    /// If it is not there.
    pub fn edit<T>(&self, path: impl AsRef<Path>, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let state = &mut *self.state();
        let file = state.names[path.as_ref()].file().expect("a file");
        let file = &mut state.files[file];
        let changed = change(&mut file.seen);
        file.durable.clone_from(&file.seen);
        changed
    }

    /// Counts a call. `Err` if it fails; `Ok(true)` if the process dies in it.
    fn call(&self) -> io::Result<bool> {
        let state = &mut *self.state();
        if state.is_crashed {
            return Err(io::Error::other("the process is dead"));
        }
        let call = state.calls;
        state.calls += 1;
        match state.fault {
            Some((at, Fault::Crash)) if at == call => {
                state.is_crashed = true;
                Ok(true)
            }
            Some((at, Fault::Error(kind))) if at == call => Err(kind.into()),
            _ => Ok(false),
        }
    }

    /// Fails if there is no room.
    fn reserve(&self) -> io::Result<()> {
        if self.state().is_full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        Ok(*self.state().names.get(path).ok_or(ErrorKind::NotFound)?)
    }

    fn file_at(&self, path: &Path) -> io::Result<usize> {
        Ok(self.node(path)?.file().ok_or(ErrorKind::IsADirectory)?)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let dies = self.call()?;
        let state = &mut *self.state();
        change.apply(&mut state.names);
        state.changes.push(change);
        if dies { Err(io::Error::other("the process died")) } else { Ok(()) }
    }

    fn file(&self, file: usize) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile { disk: self.clone(), file })
    }
}

impl Node {
    fn file(self) -> Option<usize> {
        if let Self::File(file) = self { Some(file) } else { None }
    }
}

impl Contents {
    /// Brings a sector to the disk, as far as the file there is long enough.
    fn keep(&mut self, sector: usize) {
        let end = (sector + SECTOR).min(self.seen.len()).min(self.durable.len());
        if sector < end {
            self.durable[sector..end].copy_from_slice(&self.seen[sector..end]);
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.seen.resize(self.seen.len().max(end), 0);
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty.extend((offset - offset % SECTOR..end).step_by(SECTOR));
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
}

impl SimulatedFile {
    fn contents<T>(&self, work: impl FnOnce(&mut Contents) -> T) -> T {
        work(&mut self.disk.state().files[self.file])
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("a place in memory");
        if offset + bytes.len() > self.contents(|file| file.seen.len()) {
            self.disk.reserve()?;
        }
        let half = &bytes[..bytes.len() / 2];
        match self.disk.call() {
            Ok(false) => {
                self.contents(|file| file.write(offset, bytes));
                return Ok(());
            }
            Err(error) if self.disk.state().is_crashed => return Err(error),
            Ok(true) => {}
            Err(error) => {
                self.contents(|file| file.write(offset, half));
                return Err(error);
            }
        }
        self.contents(|file| file.write(offset, half));
        Err(io::Error::other("the process died"))
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.disk.call() {
            Ok(false) => {
                self.contents(|file| {
                    file.durable.resize(file.seen.len(), 0);
                    for sector in std::mem::take(&mut file.dirty) {
                        file.keep(sector);
                    }
                });
                Ok(())
            }
            Ok(true) => Err(io::Error::other("the process died")),
            Err(error) => {
                // As Linux does: the pages count as clean, are shown, and never come to the disk.
                self.contents(|file| file.dirty.clear());
                Err(error)
            }
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        self.sync()?;
        self.contents(|file| file.seen.clone_from(&file.durable));
        Ok(())
    }
}

/// Who dies holds no lock.
#[derive(Debug)]
struct Unlocked;

impl DiskLock for Unlocked {}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        self.reserve()?;
        if parent(path) != Path::new(".") {
            self.node(parent(path))?;
        }
        let file = {
            let state = &mut *self.state();
            let seen = vec![0; usize::try_from(bytes).map_err(|_| ErrorKind::FileTooLarge)?];
            state.files.push(Contents { seen, ..Contents::default() });
            state.files.len() - 1
        };
        self.change(Change::Link(path.to_owned(), Node::File(file)))?;
        Ok(self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.file_at(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let file = self.file_at(path)?;
        Ok(Box::new(Cursor::new(self.state().files[file].seen.clone())))
    }

    fn read_part(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.file_at(path)?;
        let bytes = &self.state().files[file].seen;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..bytes.len().min(start.saturating_add(length))].to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.node(from)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file_at(path)?;
        self.change(Change::Remove(path.to_owned()))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let missing = path.ancestors().take_while(|folder| self.node(folder).is_err());
        let mut missing: Vec<&Path> = missing.filter(|folder| !folder.as_os_str().is_empty()).collect();
        missing.reverse();
        for folder in missing {
            self.reserve()?;
            self.change(Change::Link(folder.to_owned(), Node::Folder))?;
            self.sync_folder(parent(folder))?;
        }
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.node(path)?;
        let in_it = |name: &&PathBuf| name.starts_with(path);
        let names: Vec<PathBuf> = self.state().names.keys().filter(in_it).cloned().collect();
        // What is in it comes after it in the order of the names.
        names.into_iter().rev().try_for_each(|name| self.change(Change::Remove(name)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>> {
        if self.node(folder)? != Node::Folder {
            return Err(ErrorKind::NotADirectory.into());
        }
        let state = self.state();
        let in_it = state.names.iter().filter(|(path, _)| parent(path) == folder);
        let name =
            |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let length = |node: &Node| node.file().map_or(0, |file| state.files[file].seen.len() as u64);
        Ok(in_it.map(|(path, node)| (name(path), length(node))).collect())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if self.call()? {
            return Err(io::Error::other("the process died"));
        }
        let state = &mut *self.state();
        for change in state.changes.extract_if(.., |change| change.is_in(path)) {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn free(&self, _folder: &Path) -> io::Result<u64> {
        Ok(if self.state().is_full { 0 } else { u64::MAX })
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        Ok(Some(Box::new(Unlocked)))
    }
}
