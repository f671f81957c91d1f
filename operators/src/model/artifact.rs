//! Artefacts: trained models as versioned files, `models/<name>/v<N>.model` in the data directory.
//!
//! ```text
//! magic "LSMODEL\0" | format u32 | length of the crate version u64 | crate version | SHA-256 of the body | body
//! ```
//!
//! Numbers are little-endian; the body is postcard, which keeps every bit of a float. A file appears whole or not at
//! all: it is written beside its place, synced, renamed, and the folder is synced.

mod choice;
mod data;
mod event_file;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lineshaft_engine::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::options::hex;
use super::{Trained, Training};
pub use choice::Choice;
pub use data::TrainingData;

const MAGIC: &[u8; 8] = b"LSMODEL\0";
/// Raised when the body changes: an older file is then trained again.
const FORMAT: u32 = 6;
const HASH: usize = 32;

/// A trained model with where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The model.
    pub trained: Trained,
    /// The text of the training query.
    pub query: String,
    /// [`Training::definition_hash`] of training and query.
    pub definition_hash: String,
    /// When it was trained, microseconds since the Unix epoch.
    pub created_at: i64,
    /// What it was trained on.
    pub data: TrainingData,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredModel {
    /// The name of the model.
    pub name: String,
    /// Its version, from 1.
    pub version: u32,
    /// The file.
    pub path: PathBuf,
}

impl Artifact {
    /// An artefact of a model that was just trained.
    pub fn new(trained: Trained, query: &str, created_at: i64) -> Self {
        let definition_hash = trained.training.definition_hash(query);
        let data = TrainingData::default();
        Self { trained, query: query.to_owned(), definition_hash, created_at, data }
    }

    /// With what it was trained on.
    #[must_use]
    pub fn with_data(self, data: TrainingData) -> Self {
        Self { data, ..self }
    }

    /// Stores it as the next version of its name under the data directory `folder`, and returns the version.
    ///
    /// # Errors
    /// If the name cannot be that of a folder, or a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<u32> {
        let name = &self.trained.training.name;
        let models = folder_of(folder, name)?;
        fs::create_dir_all(&models).map_err(|source| Error::file("create", &models, source))?;
        let version = versions(&models, name)?.last().map_or(1, |newest| newest.version + 1);
        let path = models.join(format!("v{version}.model"));
        // What others read comes first: a version is there when its own file is.
        if let Some(net) = self.trained.to_safetensors()? {
            let beside = path.with_extension("safetensors");
            write_whole(&beside, &net).map_err(|source| Error::file("write", &beside, source))?;
        }
        write_whole(&path, &self.encode()?).map_err(|source| Error::file("write", &path, source))?;
        Ok(version)
    }

    /// Reads an artefact.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or is of another format.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|source| Error::file("read", path, source))?;
        Self::decode(&bytes)
            .map_err(|reason| Error::file("read", path, io::Error::new(io::ErrorKind::InvalidData, reason)))
    }

    /// Reads an artefact; `None` if it is of another format, which another version of the program has written.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn load_if_current(path: &Path) -> Result<Option<Self>> {
        let bytes = fs::read(path).map_err(|source| Error::file("read", path, source))?;
        let format = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk::<4>());
        if format.is_some_and(|format| u32::from_le_bytes(*format) != FORMAT) {
            return Ok(None);
        }
        Self::load(path).map(Some)
    }

    /// The SHA-256 of the stored body, in hexadecimal digits: the identity of the model.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn hash(&self) -> Result<String> {
        Ok(hex(&Sha256::digest(self.body()?)))
    }

    fn body(&self) -> Result<Vec<u8>> {
        let name = &self.trained.training.name;
        postcard::to_allocvec(self).map_err(|error| Error::operator(format!("model {name:?}"), error))
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let body = self.body()?;
        let crate_version = env!("CARGO_PKG_VERSION").as_bytes();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend((crate_version.len() as u64).to_le_bytes());
        bytes.extend(crate_version);
        bytes.extend(Sha256::digest(&body));
        bytes.extend(body);
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("not a model file of lineshaft")?;
        let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(format!("model format {format}, this program reads {FORMAT}; train the model again"));
        }
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
        let rest = rest.get(length..).ok_or_else(damaged)?;
        let (hash, body) = rest.split_first_chunk::<HASH>().ok_or_else(damaged)?;
        if Sha256::digest(body).as_slice() != hash {
            return Err(damaged());
        }
        postcard::from_bytes(body).map_err(|error| format!("{}: {error}", damaged()))
    }
}

fn damaged() -> String {
    "the model file is damaged or cut short; delete it and train the model again".to_owned()
}

/// All stored models, by name and version.
///
/// # Errors
/// If a folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<StoredModel>> {
    let root = folder.join("models");
    let mut stored = Vec::new();
    for entry in entries(&root)? {
        if entry.path().is_dir() {
            stored.extend(versions(&entry.path(), &entry.file_name().to_string_lossy())?);
        }
    }
    stored.sort();
    Ok(stored)
}

/// A stored version of a model; `None` if there is no such file, or it is of another format.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn version(folder: &Path, name: &str, version: u32) -> Result<Option<Artifact>> {
    let stored = versions(&folder_of(folder, name)?, name)?;
    match stored.into_iter().find(|stored| stored.version == version) {
        Some(stored) => Artifact::load_if_current(&stored.path),
        None => Ok(None),
    }
}

/// The newest version of a model that was trained by this definition, if there is one. Files of another format are
/// passed over: the model is then trained again.
///
/// # Errors
/// If a file cannot be read or is damaged.
pub fn newest(folder: &Path, training: &Training, query: &str) -> Result<Option<(StoredModel, Artifact)>> {
    let hash = training.definition_hash(query);
    for stored in versions(&folder_of(folder, &training.name)?, &training.name)?.into_iter().rev() {
        let Some(artifact) = Artifact::load_if_current(&stored.path)? else { continue };
        if artifact.definition_hash == hash {
            return Ok(Some((stored, artifact)));
        }
    }
    Ok(None)
}

/// What is wrong with the name of a model, if anything is.
pub fn name_fault(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let is_plain = !name.is_empty() && name.chars().all(plain);
    (!is_plain).then_some("its name becomes a folder: use letters, digits, `_` and `-`")
}

fn folder_of(folder: &Path, name: &str) -> Result<PathBuf> {
    match name_fault(name) {
        Some(fault) => Err(Error::operator(format!("model {name:?}"), fault)),
        None => Ok(folder.join("models").join(name)),
    }
}

/// The stored versions in one folder, ascending. A file with another name is none.
fn versions(models: &Path, name: &str) -> Result<Vec<StoredModel>> {
    let mut stored = Vec::new();
    for entry in entries(models)? {
        let file_name = entry.file_name();
        let number =
            file_name.to_str().and_then(|n| n.strip_prefix('v')?.strip_suffix(".model")?.parse().ok());
        if let Some(version) = number {
            stored.push(StoredModel { name: name.to_owned(), version, path: entry.path() });
        }
    }
    stored.sort();
    Ok(stored)
}

/// What is in a folder; nothing if there is no folder.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other,
    };
    read.and_then(Iterator::collect).map_err(|source| Error::file("read", folder, source))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests;
