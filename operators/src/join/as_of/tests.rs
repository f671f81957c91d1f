use std::sync::Arc;

use arrow::datatypes::Schema;
use lineshaft_engine::spill::SpillSettings;
use lineshaft_engine::testing::{Step, lines, run, run_restarted, state_files, whole_snapshot};
use proptest::prelude::*;

use super::*;
use crate::join::testing::{any_steps, fields, left, right, side};

fn join(nearest: Nearest, keeps_left: bool) -> AsOfJoin {
    let fields = [fields("l"), fields("r")].concat();
    let schema = Arc::new(Schema::new(fields));
    let (left, right) = (side("l"), side("r"));
    let right_is_complete = false;
    AsOfJoin::new(AsOfOptions { left, right, right_is_complete, nearest, keeps_left, schema }).unwrap()
}

/// The numbers of the rows that come out, sorted.
fn given(join: &mut AsOfJoin, steps: Vec<Step>) -> Vec<String> {
    let batches = run(join, 1, steps).unwrap();
    let mut ids = lines(&batches.iter().map(|batch| batch.project(&[2, 5]).unwrap()).collect::<Vec<_>>());
    ids.sort();
    ids
}

#[test]
fn a_row_waits_until_nothing_nearer_can_come() {
    let mut join = join(Nearest::AtOrBefore, false);
    assert_eq!(
        given(&mut join, vec![left("10 a 1 \n 12 a 2"), right("8 a 1"), Step::Watermark(10.0)]),
        [""; 0]
    );
    assert_eq!(given(&mut join, vec![right("10 a 2"), Step::Watermark(10.1)]), ["1 2"]);
    assert_eq!(given(&mut join, vec![right("11 a 3"), Step::Watermark(20.0)]), ["2 3"]);
    // What arrives behind the watermark of the other side is decided at once.
    assert_eq!(given(&mut join, vec![left("10.5 a 4")]), ["4 2"]);
}

#[test]
fn against_a_table_that_is_complete_no_row_waits() {
    for (nearest, expected) in [(Nearest::AtOrBefore, ["1 2", "2 -"]), (Nearest::After, ["1 3", "2 1"])] {
        let mut join = join(nearest, true);
        join.options.right_is_complete = true;
        let table = right("8 a 1 \n 10 a 2 \n 12 a 3");
        assert_eq!(given(&mut join, vec![table, left("10 a 1 \n 7 a 2")]), expected);
    }
}

#[test]
fn each_comparison_takes_its_row_and_of_equal_times_the_last() {
    let steps = || {
        let right = right("8 a 1 \n 10 a 2 \n 10 a 3 \n 10 b 9 \n 12 a 4 \n 12 a 5 \n - a 7 \n 11 - 8");
        vec![left("10 a 1 \n 11 a 2 \n 7 a 3 \n 13 a 4 \n 10 - 5"), right, Step::End]
    };
    let ids = |nearest| given(&mut join(nearest, true), steps());
    assert_eq!(ids(Nearest::AtOrBefore), ["1 3", "2 3", "3 -", "4 5", "5 -"]);
    assert_eq!(ids(Nearest::Before), ["1 1", "2 3", "3 -", "4 5", "5 -"]);
    assert_eq!(ids(Nearest::AtOrAfter), ["1 3", "2 5", "3 1", "4 -", "5 -"]);
    assert_eq!(ids(Nearest::After), ["1 5", "2 5", "3 1", "4 -", "5 -"]);
    assert_eq!(given(&mut join(Nearest::Before, false), steps()), ["1 1", "2 3", "4 5"]);
}

#[test]
fn a_row_that_looks_ahead_comes_out_once_the_watermark_has_passed_what_it_found() {
    let mut join = join(Nearest::AtOrAfter, true);
    assert_eq!(
        given(&mut join, vec![left("10 a 1 \n 14 a 2"), right("13 a 1"), Step::Watermark(12.0)]),
        [""; 0]
    );
    assert_eq!(given(&mut join, vec![right("12 a 2"), Step::Watermark(12.5)]), ["1 2"]);
    assert_eq!(given(&mut join, vec![Step::Watermark(20.0), Step::End]), ["2 -"]);
}

#[test]
fn rows_that_nothing_can_need_are_forgotten() {
    for nearest in [Nearest::AtOrBefore, Nearest::AtOrAfter] {
        let mut join = join(nearest, false);
        for second in 0..40 {
            let rows: String = (0..500).map(|n| format!("{second} key{} {n} \n ", n % 10)).collect();
            given(&mut join, vec![right(&rows), left(&rows), Step::Watermark(f64::from(second))]);
        }
        assert!(join.right.len() <= 2 * FEW_ROWS, "{}", join.right.len());
        assert!(join.waiting.len() <= 2);
    }
}

#[test]
fn a_snapshot_holds_both_sides_and_the_watermark() {
    let begin =
        || vec![left("10 a 1 \n 11 b 2"), right("9 a 1 \n 10 b 3 \n 10.5 b 4"), Step::Watermark(10.5)];
    let end = || vec![right("11 b 5"), left("14 b 5"), Step::Watermark(20.0)];
    let mut before = join(Nearest::AtOrBefore, true);
    given(&mut before, begin());
    let mut after = join(Nearest::AtOrBefore, true);
    after.restore(whole_snapshot(&mut before).unwrap()).unwrap();
    assert_eq!(given(&mut after, end()), given(&mut before, end()));
    assert_eq!(after.right.len(), 4);
}

/// A join whose rows of the right are on disk whenever there is a file for them, of which there may be `disk` bytes.
fn on_disk(nearest: Nearest, folder: &tempfile::TempDir, disk: u64) -> AsOfJoin {
    let mut join = join(nearest, true);
    let settings = SpillSettings { folder: folder.path().to_owned(), memory: 1, disk };
    join.use_spill(Spill::new(settings, Arc::default()));
    join
}

#[test]
fn a_row_that_stays_on_disk_for_long_does_not_keep_the_others_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut join = on_disk(Nearest::AtOrBefore, &folder, u64::MAX);
    let mut most = 0;
    for second in 0..300 {
        // Each second a key comes for the only time.
        let rows: String = (0..60).map(|n| format!("{second} key{n} {n} \n ")).collect();
        let steps =
            vec![right(&format!("{second} once{second} 1 \n {rows}")), Step::Watermark(f64::from(second))];
        given(&mut join, steps);
        most = most.max(join.right.blocks());
    }
    assert!(most < 100, "{most} blocks");
    let found = given(&mut join, vec![left("500 once3 1 \n 500 key4 2 \n 3.5 key4 3"), Step::End]);
    assert_eq!(found, ["1 1", "2 4", "3 -"]);
    drop(join);
    assert_eq!(state_files(folder.path()), (0, 0));
}

proptest! {
    #[test]
    fn rows_on_disk_give_what_rows_in_memory_give(
        steps in any_steps(),
        restart in prop::option::of(any::<prop::sample::Index>()),
        disk in prop_oneof![Just(u64::MAX), 0..20_000_u64],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let at = restart.map(|restart| restart.index(steps.len()));
        for nearest in [Nearest::AtOrBefore, Nearest::Before, Nearest::AtOrAfter, Nearest::After] {
            let expected = run_restarted(|| join(nearest, true), 1, &steps, None).unwrap();
            prop_assert_eq!(run_restarted(|| on_disk(nearest, &folder, disk), 1, &steps, at).unwrap(), expected);
        }
        prop_assert_eq!(state_files(folder.path()), (0, 0));
    }

    #[test]
    fn a_restart_at_any_step_changes_no_row(steps in any_steps(), restart in any::<prop::sample::Index>()) {
        let at = restart.index(steps.len());
        for nearest in [Nearest::AtOrBefore, Nearest::Before, Nearest::AtOrAfter, Nearest::After] {
            let given = |restart| run_restarted(|| join(nearest, true), 1, &steps, restart).unwrap();
            prop_assert_eq!(given(Some(at)), given(None));
        }
    }
}
