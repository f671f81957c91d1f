//! Which files of a history a reader sees.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use xxhash_rust::xxh3::xxh3_128;

use super::error::{HistoryError, Result};
use super::log::{self, MANIFEST};
use super::record::HistoryFile;
use super::state::State;
use super::{part_of, split, walk};
use crate::parquet::{EventColumn, schema_id};

/// Held by all readers together, and by the sink alone while it deletes.
pub(super) const READERS: &str = ".readers";

/// The files of a history. As long as this lives, none of them is deleted.
#[derive(Debug)]
pub struct Listing {
    /// The files, oldest first.
    pub files: Vec<PathBuf>,
    /// What the manifest says.
    pub state: State,
    _lease: Option<File>,
}

/// The files of the history in `folder`; `None` if it has no manifest, so that all files count.
///
/// # Errors
/// If the manifest is damaged, or a file is missing that it names.
pub fn listing(folder: &Path) -> Result<Option<Listing>> {
    if !folder.join(MANIFEST).exists() {
        return Ok(None);
    }
    // First: what counts from now on stays.
    let lease = lease(folder)?;
    let Some(log::Contents { state, .. }) = log::read(folder)? else { return Ok(None) };
    for file in &state.files {
        let path = folder.join(&file.name);
        let what = match fs::metadata(&path) {
            Ok(facts) if facts.len() == file.bytes => continue,
            Ok(facts) => format!("has {} bytes instead of {}", facts.len(), file.bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => "is missing".to_owned(),
            Err(error) => return Err(HistoryError::file("read", &path, error)),
        };
        return Err(HistoryError::Differs { path, what, manifest: folder.join(MANIFEST) });
    }
    let files = state.files.iter().map(|file| folder.join(&file.name)).collect();
    Ok(Some(Listing { files, state, _lease: lease }))
}

/// Compares every byte of a history with its manifest; gives the number of files and their bytes.
///
/// # Errors
/// The first thing that is not as it was written.
pub fn verify(listing: &Listing) -> Result<(usize, u64)> {
    for (path, file) in listing.files.iter().zip(&listing.state.files) {
        let bytes = fs::read(path).map_err(|error| HistoryError::file("read", path, error))?;
        if hash(&bytes) != file.hash {
            let (path, what) = (path.clone(), "is not as it was written: its checksum differs".to_owned());
            let manifest = path.ancestors().map(|above| above.join(MANIFEST)).find(|above| above.exists());
            return Err(HistoryError::Differs { path, what, manifest: manifest.unwrap_or_default() });
        }
    }
    Ok((listing.files.len(), listing.state.files.iter().map(|file| file.bytes).sum()))
}

pub(super) fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// Keeps the sink of a history from deleting files, as long as it lives. `None` where there is no sink.
fn lease(folder: &Path) -> Result<Option<File>> {
    let path = folder.join(READERS);
    let failed = |error| HistoryError::file("lock", &path, error);
    match File::open(&path) {
        Ok(file) => {
            file.lock_shared().map_err(failed)?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Leases of the histories that these files belong to. Which of them still count must be asked again afterwards.
///
/// # Errors
/// If a lock cannot be taken.
pub fn leases(files: &[PathBuf]) -> Result<Vec<File>> {
    let mut homes = Homes::default();
    let folders: BTreeSet<PathBuf> = files.iter().filter_map(|file| homes.of(file)).collect();
    Ok(folders
        .iter()
        .map(|folder| lease(folder))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// Those of the files that count: all that belong to no history, and of a history those that its manifest names.
///
/// # Errors
/// As for [`listing`].
pub fn named(files: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut homes = Homes::default();
    let mut known: HashMap<PathBuf, HashSet<PathBuf>> = HashMap::new();
    let mut counting = Vec::with_capacity(files.len());
    for file in files {
        let Some(home) = homes.of(&file) else {
            counting.push(file);
            continue;
        };
        if !known.contains_key(&home) {
            let files = listing(&home)?.map(|listing| listing.files.into_iter().collect());
            known.insert(home.clone(), files.unwrap_or_default());
        }
        if known[&home].contains(&file) {
            counting.push(file);
        }
    }
    Ok(counting)
}

/// The folders that have a manifest, by the folders in them.
#[derive(Default)]
struct Homes(HashMap<PathBuf, Option<PathBuf>>);

impl Homes {
    /// The folder of the history that a file belongs to.
    fn of(&mut self, file: &Path) -> Option<PathBuf> {
        let folder = file.parent()?;
        if !self.0.contains_key(folder) {
            let home = folder.ancestors().find(|above| above.join(MANIFEST).is_file()).map(Path::to_owned);
            self.0.insert(folder.to_owned(), home);
        }
        self.0[folder].clone()
    }
}

/// The Parquet files of a folder that had no manifest, as they are.
pub(super) fn adopted(folder: &Path) -> Result<Vec<HistoryFile>> {
    let names = walk(folder)?.into_iter().map(|(name, _)| name);
    let names = names.filter(|name| name.ends_with(".parquet") && !split(name).1.starts_with('.'));
    let mut files: Vec<HistoryFile> = names.map(|name| adopt(folder, name)).collect::<Result<_>>()?;
    files.sort_by_cached_key(|file| part_of(&file.name).map(|(worker, number)| (number, worker)));
    Ok(files)
}

fn adopt(folder: &Path, name: String) -> Result<HistoryFile> {
    let path = folder.join(&name);
    let bytes = fs::read(&path).map_err(|error| HistoryError::file("read", &path, error))?;
    let (hash, length) = (hash(&bytes), bytes.len() as u64);
    let broken = |error: String| HistoryError::Parquet {
        action: "take in",
        path: path.clone(),
        reason: format!("{error}; move it elsewhere"),
    };
    let file = File::open(&path).map_err(|error| HistoryError::file("open", &path, error))?;
    let facts = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
    let facts = facts.map_err(|error| broken(error.to_string()))?;
    let span = span(&facts, facts.schema());
    Ok(HistoryFile {
        name,
        bytes: length,
        rows: u64::try_from(facts.metadata().file_metadata().num_rows()).unwrap_or(0),
        hash,
        from: span.map(|(from, _)| from),
        to: span.map(|(_, to)| to),
        schema: schema_id(facts.schema()),
        level: 0,
    })
}

/// Least and largest event time by the statistics; `None` if they do not tell.
fn span(facts: &ArrowReaderMetadata, schema: &SchemaRef) -> Option<(i64, i64)> {
    let column = EventColumn::of(schema);
    let name = schema.field(column.index()?).name();
    let converter = StatisticsConverter::try_new(name, schema, facts.parquet_schema()).ok()?;
    let groups = facts.metadata().row_groups();
    let (least, largest) = (converter.row_group_mins(groups).ok()?, converter.row_group_maxes(groups).ok()?);
    Some((column.span_of(&least)?.0, column.span_of(&largest)?.1))
}
