//! `lineshaft journal`: what a journal has, whether it is whole, and what can be saved of it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use clap::Subcommand;
use lineshaft::Error;
use lineshaft::engine::journal::inspect::{self, SegmentReport};
use lineshaft::engine::journal::repair::{self, Lost};

use crate::table;

/// What is done with a journal.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the segments: epochs, commits, records, bytes, times, and whether they are whole.
    Ls {
        /// The folder of the journal.
        dir: PathBuf,
        /// How the rows are printed.
        #[arg(long, value_enum, default_value_t = table::Format::Table)]
        format: table::Format,
    },
    /// Reads every record, and compares counts and hashes with those of the commits.
    ///
    /// Exit code 1, with file and place, if something is damaged.
    Verify {
        /// The folder of the journal.
        dir: PathBuf,
    },
    /// Saves what is whole of a damaged journal.
    ///
    /// What lies before and behind the damage is kept if its commit is whole; the journal gets a record that tells of each
    /// loss. Damaged files stay beside it under names that end in `.damaged`. No engine may run on it.
    Repair {
        /// The folder of the journal.
        dir: PathBuf,
    },
}

/// Does it. Returns what is printed.
pub(crate) fn run(command: Command) -> Result<String, Error> {
    match command {
        Command::Ls { dir, format } => {
            let segments = segments(&inspect::list(&dir)?)?;
            table::show(&segments.schema(), &[segments], format)
        }
        Command::Verify { dir } => verify(&dir),
        Command::Repair { dir } => Ok(lost(&repair::repair(&dir)?)),
    }
}

fn segments(reports: &[SegmentReport]) -> Result<RecordBatch, Error> {
    let name = |report: &SegmentReport| {
        report.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let number = |of: fn(&SegmentReport) -> Option<u64>| -> ArrayRef {
        Arc::new(reports.iter().map(of).collect::<UInt64Array>())
    };
    let time = |of: fn(&SegmentReport) -> Option<i64>| -> ArrayRef {
        Arc::new(reports.iter().map(of).collect::<TimestampMicrosecondArray>())
    };
    let text = |of: &dyn Fn(&SegmentReport) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(reports.iter().map(of)))
    };
    let columns = [
        ("segment", text(&name)),
        ("first_epoch", number(|report| report.epochs.map(|(first, _)| first))),
        ("next_epoch", number(|report| report.epochs.map(|(_, next)| next))),
        ("commits", number(|report| Some(report.commits))),
        ("records", number(|report| Some(report.records))),
        ("bytes", number(|report| Some(report.bytes))),
        ("size", number(|report| Some(report.size))),
        ("from", time(|report| report.times.map(|(from, _)| from))),
        ("to", time(|report| report.times.map(|(_, to)| to))),
        ("state", text(&|report| report.state.clone())),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns).map_err(lineshaft::engine::Error::from)?)
}

fn verify(dir: &Path) -> Result<String, Error> {
    let found = inspect::verify(dir)?;
    let mut text = match found.first_epoch {
        Some(first) => {
            format!(
                "whole: {} commits from epoch {first}; epoch {} is next\n",
                found.commits, found.next_epoch
            )
        }
        None => "whole: no commits\n".to_owned(),
    };
    if found.torn_bytes > 0 {
        let note = "bytes at the end have no commit; the next start cuts them off";
        text.push_str(&format!("{} {note}\n", found.torn_bytes));
    }
    Ok(text)
}

fn lost(lost: &[Lost]) -> String {
    if lost.is_empty() {
        return "whole: there is nothing to repair\n".to_owned();
    }
    let mut text = String::new();
    for Lost { kept, what, first_epoch, .. } in lost {
        // Writing to a text does not fail.
        writeln!(text, "lost from epoch {first_epoch} on: {what}").ok();
        if let Some(kept) = kept {
            writeln!(text, "  the file as it was: {}", kept.display()).ok();
        }
    }
    text
}
