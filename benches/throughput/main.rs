//! Rows per second beside plain DataFusion batch SQL and the bare Arrow readers, on the same files, in one run.
//!
//! ```text
//! cargo bench --bench throughput                    # all cases, 10 million rows, 3 runs of each
//! cargo bench --bench throughput -- tumbling 1e6 5  # cases whose name has that word, rows, runs
//! ```
//!
//! Every run is a process of its own, ours and theirs in turn, so that memory is that of one run and a machine whose
//! speed drifts hurts both alike. Reading and writing the result count; starting the process does not. Ratios are of
//! medians.

mod cases;
mod data;
mod measure;

use std::path::PathBuf;

/// The allocator of the `lineshaft` command, for both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "child") {
        return cases::child(&arguments[1..]);
    }
    let wanted = arguments.first().cloned().unwrap_or_default();
    let rows = arguments.get(1).and_then(|rows| rows.parse::<f64>().ok()).unwrap_or(1e7);
    let runs = arguments.get(2).and_then(|runs| runs.parse().ok()).unwrap_or(3);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of rows")]
    let rows = rows as usize;
    let folder = std::env::temp_dir().join("lineshaft-bench");
    let data = data::prepare(&folder, rows);
    measure::print_head();
    for case in cases::CASES.iter().filter(|case| case.name.contains(wanted.as_str())) {
        measure::compare(case, &data, rows, runs);
    }
}

/// The files of one set of rows.
pub(crate) struct Data {
    folder: PathBuf,
}
