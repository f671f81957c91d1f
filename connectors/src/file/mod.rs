//! `connector = 'file'`: files of CSV, JSON lines, SenML or Parquet, one or many, ended or growing.
//!
//! - Partitions: each file is one, in the natural order of the names (`run_2` before `run_10`). Several files are read
//!   in step, always the one whose event time is the least, so that they never make each other late.
//! - Position: a line of a file, or a row group; of files that are followed the place in each, see `position.rs`. Guarantee: every record exactly once, in the order of its file.
//! - Event time: the declared column. Metadata: `file`, `line` (not in Parquet) and `received_at`, which is the time of
//!   the last change of the file when it was opened, so that reading it again gives the same rows.
//! - Ends with the files; with `follow = true` it goes on with what is appended, with files that are replaced or cut
//!   off, and with new files.
//! - A file that cannot be read to its end (a truncated `.gz`) ends the program, after the rows before the break.
//! - The files of a table, in a program that runs on, are read again when they change; `table.rs` says how.

mod blocks;
mod decoder;
mod follow;
mod options;
mod parquet;
mod paths;
mod position;
mod source;
mod table;

use arrow::datatypes::DataType;
use lineshaft_engine::TIMESTAMP;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::Source;

use crate::{MetadataColumn, history};
pub use options::OPTIONS;
use options::{FileFormat, FileOptions};

/// The columns that the connector gives.
pub const METADATA: &[MetadataColumn] = &[
    MetadataColumn { name: "file", data_type: DataType::Utf8 },
    MetadataColumn { name: "line", data_type: DataType::Int64 },
    MetadataColumn { name: "received_at", data_type: TIMESTAMP },
];

/// What is wrong with the options of a source; opens nothing.
pub fn check(declaration: &SourceDeclaration) -> Vec<OptionError> {
    match FileOptions::read(declaration) {
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    }
}

/// The files that a declaration names, if it is of this connector; none if there are none.
pub fn inputs(declaration: &SourceDeclaration) -> Vec<std::path::PathBuf> {
    match FileOptions::read(declaration) {
        Ok(options) if declaration.options.get("connector").is_some_and(|name| name == "file") => {
            paths::find_again(&options.path, &declaration.folder)
        }
        _ => Vec::new(),
    }
}

/// True if the text columns of a declaration may be declared as dictionaries: those of Parquet, and of streams of other files
/// that are read to their end.
pub fn has_dictionaries(declaration: &SourceDeclaration) -> bool {
    let Ok(options) = FileOptions::read(declaration) else { return false };
    let is_ours = declaration.options.get("connector").is_some_and(|name| name == "file");
    let paths = paths::find_again(&options.path, &declaration.folder);
    let format = options.format(&paths);
    is_ours
        && match format {
            Ok(FileFormat::Parquet) => true,
            Ok(FileFormat::Text(_)) => declaration.table.is_none() && !options.follow,
            Err(_) => false,
        }
}

/// The columns that the first Parquet file of a declaration has; none for other formats.
pub fn parquet_columns(declaration: &SourceDeclaration) -> Vec<String> {
    let Ok(options) = FileOptions::read(declaration) else { return Vec::new() };
    let paths = paths::find_again(&options.path, &declaration.folder);
    match (options.format(&paths), paths.first()) {
        (Ok(FileFormat::Parquet), Some(first)) => parquet::column_names(first),
        _ => Vec::new(),
    }
}

/// The source: finds its files and looks into each.
///
/// # Errors
/// What is wrong with the options, or with the files.
pub fn source(declaration: &SourceDeclaration) -> Result<Box<dyn Source>, Vec<OptionError>> {
    if declaration.table.as_ref().is_some_and(|table| table.reads_again) {
        return Ok(Box::new(table::TableSource::open(declaration)?));
    }
    read_once(declaration)
}

/// The source of the files as they are.
fn read_once(declaration: &SourceDeclaration) -> Result<Box<dyn Source>, Vec<OptionError>> {
    let options = FileOptions::read(declaration)?;
    let find = || paths::find(&options.path, &declaration.folder).map_err(|error| vec![error]);
    // Files of a history stay as long as it is read; those that were replaced meanwhile are left out.
    let leases =
        history::leases(&find()?).map_err(|error| vec![OptionError::of("path", error.to_string())])?;
    let paths = find()?;
    match options.format(&paths).map_err(|error| vec![error])? {
        FileFormat::Parquet => {
            Ok(Box::new(parquet::ParquetSource::open(declaration, &options, paths, leases)?))
        }
        FileFormat::Text(encoding) => {
            Ok(Box::new(source::TextSource::open(declaration, &options, encoding, paths)?))
        }
    }
}
