//! Checkpoints on the disk: whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::{CheckpointSettings, Parts, Restored, damaged, number, numbers, text_values, texts};
use crate::error::{Error, Result};
use crate::operator::Snapshot;

/// The file with the number of the newest checkpoint.
pub(super) const CURRENT: &str = "current";
const PROGRAM: &str = "program";
/// The owner of what the store itself keeps.
const STORE: &str = "store";

/// The folder of the checkpoints of one program.
#[derive(Debug)]
pub(crate) struct Store {
    settings: CheckpointSettings,
}

impl Store {
    /// Opens the folder; gives what is to be gone on from.
    ///
    /// # Errors
    /// If the folder is of another program, or it cannot be read or written.
    pub(crate) fn open(settings: CheckpointSettings) -> Result<(Self, Option<Restored>)> {
        let store = Self { settings };
        let restored = store.current()?.map(|newest| store.read(newest)).transpose()?;
        Ok((store, restored))
    }

    /// How often a checkpoint is taken, microseconds.
    pub(crate) fn every_us(&self) -> i64 {
        i64::try_from(self.settings.every.as_micros()).unwrap_or(i64::MAX)
    }

    /// The folder of a new checkpoint.
    pub(crate) fn create(&self, number: u64) -> Result<PathBuf> {
        let folder = self.settings.folder.join(number.to_string());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| Error::file("delete", &folder, error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| Error::file("create", &folder, error))?;
        Ok(folder)
    }

    /// The workers have written theirs: the checkpoint becomes the newest one, and older ones are deleted.
    pub(crate) fn finish(&self, number: u64, workers: usize, mut program: Parts) -> Result<()> {
        let folder = self.settings.folder.join(number.to_string());
        let mut own = Snapshot::default();
        own.put("workers", numbers([("workers", vec![i64::try_from(workers).unwrap_or(i64::MAX)])])?);
        own.put("identity", texts([self.settings.identity.clone()])?);
        program.insert(STORE.to_owned(), own);
        write(&folder.join(PROGRAM), &program)?;
        let (temporary, current) =
            (self.settings.folder.join("current.new"), self.settings.folder.join(CURRENT));
        write_bytes(&temporary, number.to_string().as_bytes())?;
        fs::rename(&temporary, &current).map_err(|error| Error::file("write", &current, error))?;
        sync(&self.settings.folder)?;
        self.delete_others(number)
    }

    /// The program has come to its end: nothing is to be gone on from.
    pub(crate) fn delete(&self) -> Result<()> {
        let folder = &self.settings.folder;
        fs::remove_dir_all(folder).map_err(|error| Error::file("delete", folder, error))
    }

    /// The number of the newest checkpoint.
    pub(crate) fn current(&self) -> Result<Option<u64>> {
        let path = self.settings.folder.join(CURRENT);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| damaged()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    fn delete_others(&self, keep: u64) -> Result<()> {
        let failed = |error| Error::file("delete", &self.settings.folder, error);
        for entry in fs::read_dir(&self.settings.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_kept = path.file_name().is_some_and(|name| *name == *keep.to_string());
            if path.is_dir() && !is_kept {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn read(&self, newest: u64) -> Result<Restored> {
        let folder = self.settings.folder.join(newest.to_string());
        let mut program = read(&folder.join(PROGRAM))?;
        let mut own = program.remove(STORE).ok_or_else(damaged)?;
        let mut table = |name: &str| own.take(name).ok_or_else(damaged);
        if text_values(&table("identity")?)? != [self.settings.identity.as_str()] {
            let folder = self.settings.folder.display();
            let message = format!(
                "{folder} is of a run with other statements, options or files that was not finished; \
                 take another output folder, or delete this one to begin anew"
            );
            return Err(Error::Plan(message));
        }
        let workers = number(&table("workers")?, "workers")?;
        let worker = |index: i64| Ok(Mutex::new(read(&folder.join(format!("worker-{index}")))?));
        Ok(Restored { workers: (0..workers).map(worker).collect::<Result<_>>()?, program })
    }
}

/// Writes what one worker has.
pub(super) fn write_worker(folder: &Path, worker: usize, parts: &Parts) -> Result<()> {
    write(&folder.join(format!("worker-{worker}")), parts)
}

/// Each table as owner, name and length, and then an Arrow IPC stream.
fn write(path: &Path, parts: &Parts) -> Result<()> {
    let mut bytes = Vec::new();
    for (owner, snapshot) in parts {
        for (name, table) in &snapshot.tables {
            let mut writer = StreamWriter::try_new(Vec::new(), &table.schema())?;
            writer.write(table)?;
            let stream = writer.into_inner()?;
            for part in [owner.as_bytes(), name.as_bytes(), &stream] {
                bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
    }
    write_bytes(path, &bytes)
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| Error::file("write", path, error))
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|error| Error::file("write", folder, error))
}

fn read(path: &Path) -> Result<Parts> {
    let bytes = fs::read(path).map_err(|error| Error::file("read", path, error))?;
    let (mut rest, mut parts) = (bytes.as_slice(), Parts::new());
    while !rest.is_empty() {
        let owner = text(&mut rest)?;
        let name = text(&mut rest)?;
        let stream = next(&mut rest)?;
        let table: Option<RecordBatch> = StreamReader::try_new(stream, None)?.next().transpose()?;
        parts.entry(owner).or_default().put(&name, table.ok_or_else(damaged)?);
    }
    Ok(parts)
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (length, after) = rest.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (part, after) = after.split_at_checked(length).ok_or_else(damaged)?;
    *rest = after;
    Ok(part)
}

fn text(rest: &mut &[u8]) -> Result<String> {
    String::from_utf8(next(rest)?.to_vec()).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::table;

    fn settings(root: &Path, identity: &str) -> CheckpointSettings {
        CheckpointSettings {
            folder: root.join("checkpoint"),
            every: Duration::from_secs(1),
            identity: identity.into(),
        }
    }

    #[test]
    fn a_checkpoint_gives_back_what_was_put_in() {
        let root = tempfile_folder();
        assert!(!settings(&root, "a").is_begun());
        let (store, restored) = Store::open(settings(&root, "a")).unwrap();
        assert!(restored.is_none());
        let mut parts = Parts::new();
        let mut snapshot = Snapshot::default();
        snapshot.put("rows", table("n:i m:s \n 1 a \n 2 -"));
        snapshot.put("none", table("n:i"));
        parts.insert("node 3".into(), snapshot);
        let folder = store.create(1).unwrap();
        write_worker(&folder, 0, &parts).unwrap();
        write_worker(&folder, 1, &Parts::new()).unwrap();
        assert!(Store::open(settings(&root, "a")).unwrap().1.is_none(), "it is not whole");
        store.finish(1, 2, Parts::new()).unwrap();
        let restored = Store::open(settings(&root, "a")).unwrap().1.unwrap();
        assert_eq!(restored.workers.len(), 2);
        assert_eq!(restored.worker(0), parts);
        let other = Store::open(settings(&root, "b")).unwrap_err();
        assert!(other.to_string().contains("other statements"), "{other}");
        store.delete().unwrap();
        assert!(!root.join("checkpoint").exists());
        fs::remove_dir_all(root).unwrap();
    }

    /// The engine has no crate for temporary folders.
    fn tempfile_folder() -> PathBuf {
        let root = std::env::temp_dir().join(format!("lineshaft-checkpoint-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        root
    }
}
