//! What tests share: data that stands beside the checkout, and a program run to its end.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use lineshaft::Engine;
use lineshaft::engine::testing::lines;

/// The file or folder `name` of the real industrial data; `None`, with a message, where it is not on this machine.
pub(crate) fn shared_data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: the data set {name:?} is not here ({})", path.display());
    None
}

/// Runs a program of bounded sources to its end; gives the rows of `view` as sorted lines.
pub(crate) fn run(sql: &str, view: &str, workers: usize) -> Vec<String> {
    let mut found = lines(&run_batches(sql, view, workers));
    found.sort();
    found
}

/// The same as batches.
pub(crate) fn run_batches(sql: &str, view: &str, workers: usize) -> Vec<RecordBatch> {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::from_sql(sql).unwrap();
    engine.data(folder.path()).workers(workers);
    let mut rows = engine.subscribe(view);
    let running = engine.start().unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = rows.blocking_recv() {
        batches.push(batch.into_rows());
    }
    running.wait().unwrap();
    batches
}
