//! Live and over history: a program runs and keeps its raw readings; then the same program runs over what was kept,
//! and gives the same rows.
//!
//! `cargo run --example backfill`

use std::error::Error;
use std::io::Write;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use lineshaft::backfill::Backfill;
use lineshaft::{Engine, history};

const PROGRAM: &str = include_str!("backfill.sql");

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("lineshaft-example-backfill");
    let (live, backfilled) = run(&folder)?;
    let same = if live == backfilled { "the same" } else { "other" };
    writeln!(std::io::stdout(), "{}\nthe backfill gives {same} rows", pretty_format_batches(&live)?)?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// The windows of the live run and of the backfill; both write below `folder`.
pub(crate) fn run(folder: &Path) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Box<dyn Error>> {
    let (live, again) = (folder.join("live"), folder.join("again"));
    let mut engine = Engine::from_sql(PROGRAM)?;
    engine.data(&live);
    engine.start()?.wait()?;

    // The same program: this time the source reads files, and every sink writes below `again`.
    let engine = Engine::from_sql(PROGRAM)?;
    let sources = vec![("readings".to_owned(), live.join("raw"))];
    engine.backfill(&Backfill { sources, output: again.clone(), ..Backfill::default() })?.wait()?;

    let windows = |data: &Path| history::query("SELECT * FROM windows ORDER BY window_start, machine", data);
    Ok((windows(&live)?.1, windows(&again)?.1))
}
