use lineshaft_engine::spill::SpillSettings;
use lineshaft_engine::testing::{Step, lines, run, run_restarted, state_files, whole_snapshot};
use proptest::prelude::*;

use super::*;
use crate::join::testing::{any_steps, fields, left, right, side};

fn options(kind: JoinKind) -> IntervalOptions {
    let mut output = fields("l");
    if let JoinKind::Pairs { .. } = kind {
        output.extend(fields("r"));
    }
    IntervalOptions {
        left: side("l"),
        right: side("r"),
        lower: -1_000_000,
        upper: 2_000_000,
        kind,
        residual: None,
        schema: Arc::new(Schema::new(output)),
    }
}

/// The numbers of the rows that come out.
fn given(join: &mut IntervalJoin, steps: Vec<Step>) -> Vec<String> {
    let batches = run(join, 1, steps).unwrap();
    let ids = |batch: &RecordBatch| {
        let ids: Vec<usize> = (0..batch.num_columns()).filter(|column| column % 3 == 2).collect();
        batch.project(&ids).unwrap()
    };
    lines(&batches.iter().map(ids).collect::<Vec<_>>())
}

const INNER: JoinKind = JoinKind::Pairs { keeps: [false, false] };
const FULL: JoinKind = JoinKind::Pairs { keeps: [true, true] };

fn join(kind: JoinKind) -> IntervalJoin {
    IntervalJoin::new(options(kind)).unwrap()
}

#[test]
fn a_pair_comes_out_as_soon_as_both_rows_are_there_and_lie_within_the_bounds() {
    let mut join = join(INNER);
    // Left minus right must be -1 to 2 seconds.
    assert_eq!(given(&mut join, vec![left("10 a 1 \n 12 a 2 \n 12 b 3")]), [""; 0]);
    assert_eq!(
        given(&mut join, vec![right("10 a 1 \n 11 a 2 \n 13 a 3 \n 14 a 4")]),
        ["1 1", "2 1", "1 2", "2 2", "2 3"]
    );
    assert_eq!(
        given(&mut join, vec![left("15 a 5 \n 12 b 6"), right("13 b 9")]),
        ["5 3", "5 4", "3 9", "6 9"]
    );
}

#[test]
fn a_row_is_forgotten_when_the_watermark_has_passed_all_that_it_could_meet() {
    let mut join = join(FULL);
    assert_eq!(
        given(&mut join, vec![left("10 a 1"), right("10 a 1 \n 4 a 2"), Step::Watermark(6.0)]),
        ["1 1"]
    );
    // A left row could still come at 6, so the right row at 4 waits.
    assert_eq!(given(&mut join, vec![Step::Watermark(6.1)]), ["- 2"]);
    assert_eq!(join.held[LEFT].len() + join.held[RIGHT].len(), 2);
    assert_eq!(given(&mut join, vec![Step::Watermark(11.0)]), [""; 0]);
    assert_eq!([join.held[LEFT].len(), join.held[RIGHT].len()], [1, 1]);
    assert_eq!(given(&mut join, vec![Step::Watermark(12.1)]), [""; 0]);
    assert_eq!([join.held[LEFT].len(), join.held[RIGHT].len()], [0, 0]);
}

#[test]
fn each_kind_of_join_keeps_what_it_should() {
    let steps =
        || vec![left("10 a 1 \n 10 b 2 \n 10 - 3"), right("11 a 1 \n 10 a 4 \n 30 b 5 \n 10 - 6"), Step::End];
    assert_eq!(given(&mut join(FULL), steps()), ["3 -", "1 1", "1 4", "- 6", "2 -", "- 5"]);
    let keeps = JoinKind::Pairs { keeps: [true, false] };
    assert_eq!(given(&mut join(keeps), steps()), ["3 -", "1 1", "1 4", "2 -"]);
    assert_eq!(given(&mut join(JoinKind::Semi), steps()), ["1"]);
    assert_eq!(given(&mut join(JoinKind::Anti), steps()), ["3", "2"]);
    let other_way = || vec![right("11 a 1 \n 10 a 4"), left("10 a 1 \n 10 b 2"), left("11 a 3"), Step::End];
    assert_eq!(given(&mut join(JoinKind::Semi), other_way()), ["1", "3"]);
    assert_eq!(given(&mut join(JoinKind::Anti), other_way()), ["2"]);
}

#[test]
fn times_that_stay_behind_the_watermark_wait_longer() {
    let mut options = options(FULL);
    options.right.lag = 5_000_000;
    let mut join = IntervalJoin::new(options).unwrap();
    assert_eq!(given(&mut join, vec![left("10 a 1"), Step::Watermark(16.0)]), [""; 0]);
    assert_eq!(given(&mut join, vec![Step::Watermark(16.1)]), ["1 -"]);
}

#[test]
fn a_snapshot_holds_the_rows_their_marks_and_the_watermark() {
    let begin = || vec![left("10 a 1 \n 11 b 2"), right("10 a 1 \n 12 c 3"), Step::Watermark(9.0)];
    let end = || vec![right("11 b 4"), left("14 c 5"), Step::Watermark(20.0), left("1 a 9")];
    let mut before = join(FULL);
    given(&mut before, begin());
    let mut after = join(FULL);
    after.restore(whole_snapshot(&mut before).unwrap()).unwrap();
    assert_eq!(whole_snapshot(&mut after).unwrap(), whole_snapshot(&mut before).unwrap());
    assert_eq!(given(&mut after, end()), given(&mut before, end()));
}

#[test]
fn many_keys_that_come_and_go_leave_nothing_behind() {
    let mut join = join(INNER);
    for second in 0..300 {
        let text: String = (0..20).map(|n| format!("{second} key{second}_{n} {n} \n ")).collect();
        let steps = vec![left(&text), right(&text), Step::Watermark(f64::from(second))];
        assert_eq!(given(&mut join, steps).len(), 20);
    }
    assert!(join.held[LEFT].slots().end < 3000, "{:?}", join.held[LEFT].slots());
    assert!(join.held[LEFT].len() < 100);
}

/// A join whose rows are on disk whenever there is a file for them, of which there may be `disk` bytes.
fn on_disk(kind: JoinKind, folder: &tempfile::TempDir, disk: u64) -> IntervalJoin {
    let mut join = join(kind);
    let settings = SpillSettings { folder: folder.path().to_owned(), memory: 1, disk };
    join.use_spill(Spill::new(settings, Arc::default()));
    join
}

#[test]
fn rows_on_disk_come_and_go_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut join = on_disk(INNER, &folder, u64::MAX);
    for second in 0..100 {
        let text: String = (0..20).map(|n| format!("{second} key{second}_{n} {n} \n ")).collect();
        let steps = vec![left(&text), right(&text), Step::Watermark(f64::from(second))];
        assert_eq!(given(&mut join, steps).len(), 20);
        assert!(join.held.iter().map(Held::size).sum::<usize>() < 8_000, "only what is known of the rows");
    }
    assert!(join.held[LEFT].blocks() < 20, "{} blocks", join.held[LEFT].blocks());
    given(&mut join, vec![Step::End]);
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
        for kind in [INNER, FULL, JoinKind::Semi, JoinKind::Anti] {
            let expected = run_restarted(|| join(kind), 1, &steps, None).unwrap();
            prop_assert_eq!(run_restarted(|| on_disk(kind, &folder, disk), 1, &steps, at).unwrap(), expected);
        }
    }

    #[test]
    fn a_restart_at_any_step_changes_no_row(steps in any_steps(), restart in any::<prop::sample::Index>()) {
        let at = restart.index(steps.len());
        for kind in [INNER, FULL, JoinKind::Semi, JoinKind::Anti] {
            let given = |restart| run_restarted(|| join(kind), 1, &steps, restart).unwrap();
            prop_assert_eq!(given(Some(at)), given(None));
        }
    }
}
