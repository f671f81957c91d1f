//! `lineshaft history`: which files a history has, and whether they are as they were written.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use clap::Subcommand;
use lineshaft::Error;
use lineshaft::connectors::history::{HistoryFile, Listing, listing, verify};

use crate::table;

/// What is done with a history.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the files that count, oldest first: rows, bytes, event times, and how often they were merged.
    Ls {
        /// The folder of a Parquet sink or a view.
        dir: PathBuf,
        /// How the rows are printed.
        #[arg(long, value_enum, default_value_t = table::Format::Table)]
        format: table::Format,
    },
    /// Reads every byte of every file and compares it with the manifest.
    ///
    /// Exit code 1, with the file, if one is missing or differs.
    Verify {
        /// The folder of a Parquet sink or a view.
        dir: PathBuf,
    },
}

/// Does it. Returns what is printed.
pub(crate) fn run(command: Command) -> Result<String, Error> {
    match command {
        Command::Ls { dir, format } => {
            let files = files(&open(&dir)?.state.files)?;
            table::show(&files.schema(), &[files], format)
        }
        Command::Verify { dir } => {
            let (files, bytes) = verify(&open(&dir)?)?;
            Ok(format!("whole: {files} files, {bytes} bytes\n"))
        }
    }
}

fn open(dir: &std::path::Path) -> Result<Listing, Error> {
    let none = || {
        Error::Query(format!("there is no manifest in {}: it is no folder of a sink or view", dir.display()))
    };
    listing(dir)?.ok_or_else(none)
}

fn files(files: &[HistoryFile]) -> Result<RecordBatch, Error> {
    let text = |of: fn(&HistoryFile) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(files.iter().map(of)))
    };
    let number = |of: fn(&HistoryFile) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(files.iter().map(of)))
    };
    let time = |of: fn(&HistoryFile) -> Option<i64>| -> ArrayRef {
        Arc::new(files.iter().map(of).collect::<TimestampMicrosecondArray>())
    };
    let columns = [
        ("file", text(|file| &file.name)),
        ("rows", number(|file| file.rows)),
        ("bytes", number(|file| file.bytes)),
        ("from", time(|file| file.from)),
        ("to", time(|file| file.to)),
        ("merged", number(|file| file.level.into())),
        ("hash", text(|file| &file.hash)),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns).map_err(lineshaft::engine::Error::from)?)
}
