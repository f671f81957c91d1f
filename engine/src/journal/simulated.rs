//! A disk in memory that can lose its power: what was synced is kept apart from what was only written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
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

/// A change of the names: in the order they were made, some of them are durable.
#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Remove(String),
    Rename(String, String),
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, file) => {
            names.insert(name.clone(), *file);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    /// Calls that change or sync something, so far.
    calls: usize,
    fault: Option<(usize, Fault)>,
    is_crashed: bool,
}

/// The disk. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Calls so far that change or sync something.
    pub(super) fn calls(&self) -> usize {
        self.state().calls
    }

    /// The call with this number will go wrong; they count from 0.
    pub(super) fn fail_at(&self, call: usize, fault: Fault) {
        self.state().fault = Some((call, fault));
    }

    /// The process has died, and the machine goes on: all that was written is there.
    pub(super) fn restart(&self) {
        let mut state = self.state();
        (state.is_crashed, state.fault) = (false, None);
    }

    /// The power fails and comes back: of what was not synced, some sectors and some names are there.
    pub(super) fn power_cut(&self, seed: u64) {
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
            apply(&mut state.durable_names, &change);
        }
        state.names.clone_from(&state.durable_names);
    }

    /// The file as it is now, to be changed behind the back of everybody.
    pub(super) fn edit<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let state = &mut *self.state();
        let file = &mut state.files[state.names[name]];
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

    fn change(&self, change: Change) -> io::Result<()> {
        let dies = self.call()?;
        let state = &mut *self.state();
        apply(&mut state.names, &change);
        state.changes.push(change);
        if dies { Err(io::Error::other("the process died")) } else { Ok(()) }
    }

    fn file(&self, file: usize) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile { disk: self.clone(), file })
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
        let offset = usize::try_from(offset).unwrap();
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

impl Disk for SimulatedDisk {
    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("simulated").join(name)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = {
            let state = &mut *self.state();
            let seen = vec![0; usize::try_from(bytes).unwrap()];
            state.files.push(Contents { seen, ..Contents::default() });
            state.files.len() - 1
        };
        self.change(Change::Link(name.to_owned(), file))?;
        Ok(self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.state().names.get(name).copied();
        Ok(self.file(file.ok_or(ErrorKind::NotFound)?))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = state.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(state.files[*file].seen.clone())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.state().names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        self.change(Change::Remove(name.to_owned()))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let file = |(name, file): (&String, &usize)| (name.clone(), state.files[*file].seen.len() as u64);
        Ok(state.names.iter().map(file).collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        if self.call()? {
            return Err(io::Error::other("the process died"));
        }
        let state = &mut *self.state();
        state.changes.clear();
        state.durable_names.clone_from(&state.names);
        Ok(())
    }
}
