//! What a data directory keeps, and SQL over it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use lineshaft_connectors::history::listing;
use lineshaft_engine::declaration::SinkDeclaration;
use lineshaft_queries::alter::parse_alter;
use lineshaft_queries::batch::{self, History, Recorded};
use lineshaft_queries::error::in_sql;
use lineshaft_queries::plan::CHANGES;
use lineshaft_queries::span::SourceFile;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::alter;
use crate::error::{Error, ProgramErrors};
use crate::memory::Memory;
use crate::model_tables;
use crate::train::block_on;

/// In the data directory: folder and columns of each table by its name.
const CATALOG: &str = "catalog.json";

/// A table of the catalog.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Table {
    Known {
        path: PathBuf,
        /// Name and Arrow type.
        columns: Vec<(String, String)>,
    },
    /// Of an earlier version.
    Path(PathBuf),
}

impl Table {
    fn new(path: PathBuf, schema: &SchemaRef) -> Self {
        let column = |field: &Arc<Field>| (field.name().clone(), field.data_type().to_string());
        Self::Known { path, columns: schema.fields().iter().map(column).collect() }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Known { path, .. } | Self::Path(path) => path,
        }
    }

    /// The table without a row; `None` if its columns are not known.
    fn empty(&self) -> Option<RecordBatch> {
        let Self::Known { columns, .. } = self else { return None };
        let field = |(name, kind): &(String, String)| Some(Field::new(name, kind.parse().ok()?, true));
        let fields: Option<Vec<Field>> = columns.iter().map(field).collect();
        Some(RecordBatch::new_empty(Arc::new(Schema::new(fields?))))
    }
}

/// Removes the changes that an earlier run kept of the views of this one: a run begins such a view anew, and the changes
/// of both would be added up.
pub(crate) fn forget_changes(data: &Path, sinks: &[SinkDeclaration]) -> Result<(), Error> {
    for sink in sinks {
        let path = format!("{CHANGES}{}", sink.name);
        if sink.options.get("path") != Some(&path) {
            continue;
        }
        let folder = data.join(path);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("clear", &folder, error));
            }
            _ => {}
        }
    }
    Ok(())
}

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
        catalog.insert(sink.name.clone(), Table::new(PathBuf::from(path), &sink.schema));
    }
    std::fs::create_dir_all(data).map_err(|error| Error::file("create", data, error))?;
    let path = data.join(CATALOG);
    let text = serde_json::to_string_pretty(&catalog).map_err(|error| Error::Query(error.to_string()))?;
    // A start on a full disk need not fail for what is there already.
    if std::fs::read_to_string(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    write_whole(data, &path, text.as_bytes()).map_err(|error| Error::file("write", &path, error))
}

/// Writes a file of `folder` whole or not at all: neither a reader nor a power cut sees half of it.
fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = folder.join(".catalog.json.tmp");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()
}

fn catalog(data: &Path) -> Result<BTreeMap<String, Table>, Error> {
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

/// What a query may use. It runs beside the live program, which must not wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Half of it is for what the query sorts, groups, joins and gives back, the rest for reading. What is sorted or grouped is
    /// put aside on the disk, up to twice as much, before the query is given up.
    pub memory: Memory,
    /// How long it may run.
    pub timeout: Duration,
}

impl Default for Limits {
    /// 512 MiB and a minute.
    fn default() -> Self {
        Self { memory: Memory::default(), timeout: Duration::from_secs(60) }
    }
}

/// Runs SQL over the tables of a data directory: its Parquet sinks, materialised views, late and bad rows and logs of
/// commands by their names, `lineshaft.models`, `lineshaft.metrics` and `lineshaft.runs`; or does what an `ALTER MODEL` says. With the default [`Limits`].
///
/// # Errors
/// If the query is wrong, needs more than the limits, or a file cannot be read.
pub fn query(sql: &str, data: &Path) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
    let mut rows = Vec::new();
    let schema = query_each(sql, data, Limits::default(), |batch| {
        rows.push(batch.clone());
        Ok(batch.get_array_memory_size())
    })?;
    Ok((schema, rows))
}

/// Runs SQL as [`query`] does, and gives its rows to `take` batch by batch, which says how many bytes of memory it keeps for
/// each of them.
///
/// # Errors
/// As for [`query`]; and what `take` says.
pub fn query_each(
    sql: &str,
    data: &Path,
    limits: Limits,
    mut take: impl FnMut(&RecordBatch) -> Result<usize, Error> + Send,
) -> Result<SchemaRef, Error> {
    if !data.is_dir() {
        let message =
            format!("there is no data directory {}; run a program with --data first", data.display());
        return Err(Error::Query(message));
    }
    if let Some(statement) = parse_alter(&SourceFile::new("query", sql)) {
        let files = [SourceFile::new("query", sql)];
        let statement = statement.map_err(|errors| ProgramErrors::new(&files, errors))?;
        let chosen = alter::row(&statement.name.value, &alter::alter(data, &statement)?)?;
        take(&chosen)?;
        return Ok(chosen.schema());
    }
    let (mut history, mut empty) = (History::new(), Vec::new());
    // As long as they are held, no file of the history is deleted.
    let (mut listings, mut unreadable) = (Vec::new(), Vec::new());
    let mut in_memory = model_tables::all(data)?;
    for (name, table) in catalog(data)? {
        let folder = data.join(table.path());
        let files = match listing(&folder) {
            Ok(Some(listing)) => {
                let files = listing.files.clone();
                listings.push(listing);
                files
            }
            Ok(None) => parquet_files(&folder)?,
            Err(error) => {
                unreadable.push(format!("{name} cannot be read: {error}"));
                continue;
            }
        };
        // A table without a row yet has no file.
        if !files.is_empty() {
            let is_changelog = table.path().starts_with(CHANGES);
            history.insert(name, Recorded { files, is_changelog });
        } else if let Some(rows) = table.empty() {
            in_memory.push((name, rows));
        } else {
            empty.push(name);
        }
    }
    let in_memory_names: Vec<String> = in_memory.iter().map(|(name, _)| name.clone()).collect();
    let runtime = query_runtime()?;
    let mut refused = None;
    let keep = |rows: &RecordBatch| take(rows).map_err(|error| refused = Some(error)).ok();
    let memory = usize::try_from(limits.memory.query()).unwrap_or(usize::MAX);
    let found = batch::query(sql, &history, in_memory, memory, query_threads(), keep);
    // A sleep needs the runtime when it is made.
    let found = block_on(runtime.handle(), async { tokio::time::timeout(limits.timeout, found).await });
    // A query that was given up may still be at work.
    runtime.shutdown_background();
    if let Some(error) = refused {
        return Err(error);
    }
    let Ok(found) = found else { return Err(limits.out_of_time()) };
    found.map_err(|error| {
        if batch::is_out_of_memory(&error) {
            return limits.out_of_memory();
        }
        let mut tables: Vec<&str> = history.keys().chain(&in_memory_names).map(String::as_str).collect();
        tables.sort_unstable();
        // Without DataFusion's own catalog and schema, which nobody wrote.
        let error = error.strip_backtrace().replace("Error during planning: ", "");
        let error = in_sql(&error.replace("datafusion.public.", "").replace("'datafusion.", "'"));
        let mut help = String::new();
        if let Some(window) = window_of(sql).filter(|_| error.contains("not found")) {
            help = format!(
                "\n  = help: {window} is for query files; in a query group by date_bin(INTERVAL '10' SECOND, ts)"
            );
        } else if error.contains("not found") {
            help = format!("\n  = help: the tables are {}", tables.join(", "));
            for reason in &unreadable {
                help += &format!("; {reason}");
            }
            if !empty.is_empty() {
                help += &format!("; without a row yet: {}", empty.join(", "));
            }
        }
        Error::Query(format!("{error}{help}"))
    })
}

/// A window function in `FROM`, which a query over history does not have.
fn window_of(sql: &str) -> Option<&'static str> {
    const WINDOWS: [&str; 7] =
        ["TUMBLE", "HOP", "SESSION", "COUNT_WINDOW", "CUMULATE", "STATE_WINDOW", "RESAMPLE"];
    let mut words = sql.split_whitespace().map(str::to_uppercase);
    words.find_map(|word| {
        WINDOWS.into_iter().find(|window| word.strip_prefix(window).is_some_and(|rest| rest.starts_with('(')))
    })
}

/// Half of the cores: the rest is left to the program that runs beside it.
fn query_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 2).max(1)
}

fn query_runtime() -> Result<Runtime, Error> {
    let threads = query_threads();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).max_blocking_threads(2 * threads).enable_all().build();
    runtime.map_err(|error| Error::Query(format!("could not start the query: {error}")))
}

impl Limits {
    /// The query has reached its limit of memory.
    pub fn out_of_memory(&self) -> Error {
        let limit = self.memory;
        Error::Query(format!(
            "the query needs more than its {limit} of memory\n  = help: allow more with --memory {}, or ask for less: fewer \
             columns, a condition on the time, GROUP BY, LIMIT; rows for a program need less with --format csv",
            Memory::new(4 * limit.bytes())
        ))
    }

    /// The query has taken all of its time.
    pub fn out_of_time(&self) -> Error {
        let seconds = self.timeout.as_secs();
        Error::Query(format!(
            "the query did not end within {seconds} s\n  = help: allow more with --timeout {}, or ask for less: a condition on \
             the time, fewer columns, LIMIT",
            4 * seconds.max(1)
        ))
    }
}

/// The files of a table without a manifest, in all partitions, in order.
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, TimeUnit};

    use super::*;

    #[test]
    fn the_catalog_gives_back_the_columns_of_a_table() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Float64, true)));
        let types = [
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Utf8,
            DataType::Float64,
            DataType::Boolean,
            DataType::Decimal128(10, 2),
            DataType::Date32,
            list,
        ];
        let fields =
            types.iter().enumerate().map(|(n, kind)| Field::new(format!("c{n}"), kind.clone(), true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let text = serde_json::to_string(&Table::new("x".into(), &schema)).unwrap();
        let table: Table = serde_json::from_str(&text).unwrap();
        assert_eq!(table.empty().unwrap().schema(), schema);
        let earlier: Table = serde_json::from_str("\"history/x\"").unwrap();
        assert_eq!(earlier.path(), Path::new("history/x"));
        assert!(earlier.empty().is_none());
    }
}
