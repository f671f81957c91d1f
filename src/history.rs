//! What a data directory keeps, and SQL over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::SinkDeclaration;
use lineshaft_operators::model::{Artifact, artifact};
use lineshaft_queries::batch::{self, History, Recorded};
use lineshaft_queries::plan::CHANGES;

use crate::embed::new_runtime;
use crate::error::Error;
use crate::train::block_on;

/// In the data directory: the folder of each table by its name.
const CATALOG: &str = "catalog.json";

/// Notes the tables of Parquet that a program writes, so that [`query`] finds them by name.
pub(crate) fn record(data: &Path, sinks: &[SinkDeclaration]) -> Result<(), Error> {
    let tables: Vec<&SinkDeclaration> = sinks
        .iter()
        .filter(|sink| sink.options.get("connector").map(String::as_str) == Some("parquet"))
        .collect();
    if tables.is_empty() {
        return Ok(());
    }
    let mut catalog = catalog(data)?;
    for sink in tables {
        let path = sink.options.get("path").map_or(sink.name.as_str(), String::as_str);
        catalog.insert(sink.name.clone(), PathBuf::from(path));
    }
    std::fs::create_dir_all(data).map_err(|error| Error::file("create", data, error))?;
    let path = data.join(CATALOG);
    let text = serde_json::to_string_pretty(&catalog).map_err(|error| Error::Query(error.to_string()))?;
    // Whole or not at all: a reader never sees half of it.
    let temporary = data.join(".catalog.json.tmp");
    std::fs::write(&temporary, text).map_err(|error| Error::file("write", &temporary, error))?;
    std::fs::rename(&temporary, &path).map_err(|error| Error::file("write", &path, error))
}

fn catalog(data: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let path = data.join(CATALOG);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            Error::Query(format!(
                "{} is damaged: {error}; delete it and run the program again",
                path.display()
            ))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(Error::file("read", &path, error)),
    }
}

/// Runs SQL over the tables of a data directory: its Parquet sinks, materialised views, late and bad rows and logs of
/// commands by their names, and `lineshaft.models`.
///
/// # Errors
/// If the query is wrong or a file cannot be read.
pub fn query(sql: &str, data: &Path) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
    if !data.is_dir() {
        let message =
            format!("there is no data directory {}; run a program with --data first", data.display());
        return Err(Error::Query(message));
    }
    let (mut history, mut empty) = (History::new(), Vec::new());
    for (name, folder) in catalog(data)? {
        let files = parquet_files(&data.join(&folder))?;
        // A table without a row yet has no file, and so no columns.
        if files.is_empty() {
            empty.push(name);
        } else {
            history.insert(name, Recorded { files, is_changelog: folder.starts_with(CHANGES) });
        }
    }
    let models = ("lineshaft.models".to_owned(), models(data)?);
    let runtime = new_runtime()?;
    let found = block_on(runtime.handle(), batch::query(sql, &history, vec![models]));
    found.map_err(|error| {
        let tables: Vec<&str> = history.keys().map(String::as_str).chain(["lineshaft.models"]).collect();
        // Without DataFusion's own catalog and schema, which nobody wrote.
        let error = error.strip_backtrace().replace("Error during planning: ", "");
        let error = error.replace("datafusion.public.", "").replace("'datafusion.", "'");
        let mut help = String::new();
        if error.contains("not found") {
            help = format!("\n  = help: the tables are {}", tables.join(", "));
            if !empty.is_empty() {
                help += &format!("; without a row yet: {}", empty.join(", "));
            }
        }
        Error::Query(format!("{error}{help}"))
    })
}

/// The files of a table that are complete, in all partitions, in order.
fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::file("read", &folder, error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| Error::file("read", &folder, error))?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_hidden {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// `lineshaft.models`: a row per version.
fn models(data: &Path) -> Result<RecordBatch, Error> {
    let mut artifacts = Vec::new();
    for stored in artifact::list(data)? {
        let artifact = Artifact::load(&stored.path)?;
        artifacts.push((stored, artifact));
    }
    let text = |of: &dyn Fn(&Artifact) -> String| -> ArrayRef {
        Arc::new(artifacts.iter().map(|(_, artifact)| Some(of(artifact))).collect::<StringArray>())
    };
    let count = |of: &dyn Fn(&Artifact) -> usize| -> ArrayRef {
        let counts = artifacts.iter().map(|(_, artifact)| i64::try_from(of(artifact)).ok());
        Arc::new(counts.collect::<Int64Array>())
    };
    let metrics = |artifact: &Artifact| {
        let metrics =
            artifact.trained.metrics.iter().map(|metric| format!("{}={:.6}", metric.name, metric.value));
        metrics.collect::<Vec<_>>().join(" ")
    };
    let hashes: Vec<String> = artifacts.iter().map(|(_, a)| a.hash()).collect::<Result<_, _>>()?;
    let versions = artifacts.iter().map(|(stored, _)| Some(i64::from(stored.version)));
    let created = artifacts.iter().map(|(_, artifact)| Some(artifact.created_at));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", text(&|artifact| artifact.trained.training.name.clone())),
        ("version", Arc::new(versions.collect::<Int64Array>())),
        ("algorithm", text(&|artifact| artifact.trained.training.algorithm.name().to_owned())),
        ("target", text(&|artifact| artifact.trained.training.target.clone().unwrap_or_default())),
        ("features", text(&|artifact| artifact.trained.features.join(", "))),
        ("rows", count(&|artifact| artifact.trained.rows)),
        ("test_rows", count(&|artifact| artifact.trained.test_rows)),
        ("dropped_rows", count(&|artifact| artifact.trained.dropped_rows)),
        ("metrics", text(&metrics)),
        ("created_at", Arc::new(created.collect::<TimestampMicrosecondArray>())),
        ("hash", Arc::new(hashes.into_iter().map(Some).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter(columns).map_err(|error| Error::Query(error.to_string()))
}
