//! Clocks that are set while the program runs and between its runs.

use serde_json::json;

use super::figures;
use super::plant::{Plant, assert_same};
use super::shim::Shim;

const HOUR: i64 = 3_600_000_000;
const YEARS: i64 = 87_660 * HOUR;
/// Back to 1970.
const EPOCH: i64 = -1_000 * YEARS;

/// Where the clock is during a run, one after the other, relative to the right time.
const RUNS: [&[i64]; 6] =
    [&[0, HOUR, 0], &[-HOUR, 0], &[YEARS, 0], &[0, -YEARS], &[EPOCH, 0, EPOCH], &[HOUR, YEARS, EPOCH, 0]];

#[test]
fn a_clock_that_is_set_changes_no_row_and_the_time_of_epochs_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return };
    let steps: u64 = RUNS.iter().map(|run| run.len() as u64).sum();
    let begun = Plant::new(&folder.path().join("plant"));
    begun.run(0, 100);
    let undisturbed = begun.copied(&folder.path().join("undisturbed"));
    undisturbed.run(100, 100 + 100 * steps);
    let (mut next, mut told) = (100, 0);
    for run in RUNS {
        shim.set_clock(run[0]);
        let mut live = begun.start_with(&shim.environment(&[]), &[]);
        for ahead in run {
            shim.set_clock(*ahead);
            assert_eq!(begun.deliver(&mut live, next, next + 100), next + 100, "{}", live.said());
            next += 100;
        }
        let said = live.stop();
        assert!(said.contains("CLOCK_STEP"), "{run:?}: {said}");
        told += said.matches("CLOCK_STEP").count();
    }
    assert_same(&begun.outcome(), &undisturbed.outcome(), "after the clock was set");
    let commits = begun.commits();
    let times: Vec<i64> = commits.iter().map(|commit| commit.epochs.wall_clock).collect();
    assert!(times.is_sorted(), "{times:?}");
    figures(
        "clock steps",
        json!({
            "steps": steps, "told": told, "commits": commits.len(), "epochs_back": 0, "rows_changed": 0,
        }),
    );
}
