use arrow::datatypes::{DataType, Field};
use lineshaft_engine::spill::SpillSettings;
use lineshaft_engine::testing::{Step, lines, run, run_restarted, state_files, table};
use proptest::prelude::*;

use super::super::oracle::{Stream, number, streams};
use super::*;
use crate::testing::{all_of, window_schema};

fn windows(keys: Vec<usize>) -> StateAggregate {
    let mut fields: Vec<Field> = keys.iter().map(|_| Field::new("machine", DataType::Utf8, true)).collect();
    fields.push(Field::new("state", DataType::Utf8, true));
    let schema = window_schema(&fields, 4);
    StateAggregate::new(StateOptions { time: 0, state: 1, keys, aggregates: all_of(2), schema }).unwrap()
}

fn given(operator: &mut StateAggregate, steps: Vec<Step>) -> Vec<String> {
    let mut shown = lines(&run(operator, 1, steps).unwrap());
    shown.sort();
    shown.into_iter().map(|line| line.replace("1970-01-01T00:00:", "")).collect()
}

#[test]
fn a_window_comes_when_the_watermark_has_passed_the_first_row_of_the_next() {
    let mut operator = windows(vec![3]);
    let rows =
        table("ts:ts s:s x:f m:s \n 3 on 4 a \n 1 on 1 a \n 2 - 9 a \n 5 off 7 a \n 4 on 2 b \n 6 off 1 a");
    assert_eq!(given(&mut operator, vec![Step::Rows(0, rows), Step::Watermark(5.0)]), [""; 0]);
    let closed = given(&mut operator, vec![Step::Watermark(5.5)]);
    assert_eq!(closed, ["a on 01 03 2.0 5.0 1.0 4.0"]);
    let rest = given(&mut operator, vec![Step::End]);
    assert_eq!(rest, ["a off 05 06 2.0 8.0 1.0 7.0", "b on 04 04 1.0 2.0 2.0 2.0"]);
}

#[test]
fn memory_does_not_grow_with_states_that_are_over() {
    let mut operator = windows(vec![]);
    let mut closed = 0;
    for second in 0..40 {
        let rows: String = (0..100).map(|state| format!("\n {second} s{second}-{state} 1")).collect();
        let rows = table(&format!("ts:ts s:s x:f {rows}"));
        let steps = vec![Step::Rows(0, rows), Step::Watermark(f64::from(second))];
        closed += run(&mut operator, 1, steps).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    closed += given(&mut operator, vec![Step::End]).len();
    assert_eq!(closed, 4000);
    assert!(operator.states.len() <= FEW_STATES + 100, "{} states", operator.states.len());
    assert_eq!(operator.spans.live_rows, 0);
}

/// Runs of equal key over all rows, the key being the state.
fn brute_force(stream: &Stream) -> Vec<String> {
    let mut rows: Vec<_> = stream.rows().filter(|row| row.1.is_some()).collect();
    rows.sort_by_key(|row| row.0);
    let runs = rows.chunk_by(|a, b| a.1 == b.1);
    let line = |run: &[super::super::oracle::Reading]| {
        let values: Vec<f64> = run.iter().map(|row| number(row.2)).collect();
        super::super::oracle::line(run[0].1, run[0].0, run[run.len() - 1].0, &values)
    };
    let mut lines: Vec<String> = runs.map(line).collect();
    lines.sort();
    lines
}

proptest! {
    #[test]
    fn windows_are_the_runs_of_brute_force(
        stream in streams(80, 4, 15), restart in prop::option::of(0_usize..20),
    ) {
        let found = super::super::oracle::results(&stream, restart, || windows(vec![]));
        prop_assert_eq!(found, brute_force(&stream));
    }

    #[test]
    fn windows_on_disk_are_the_same(
        epochs in prop::collection::vec((prop::collection::vec((0..9, 0..4, 0..5, 0..99), 0..8), 0..3), 1..12),
        restart in prop::option::of(any::<prop::sample::Index>()),
        memory in prop_oneof![Just(1), 1..2_000_u64],
        disk in prop_oneof![Just(u64::MAX), 0..60_000_u64],
    ) {
        let (mut now, mut steps) = (0, Vec::new());
        for (rows, pause) in epochs {
            let row = |(ahead, state, key, x)| {
                let state = if state == 3 { "-".to_owned() } else { format!("s{state}") };
                format!("{} {state} {} k{key} \n", now + ahead, f64::from(x) / 7.0)
            };
            let rows: String = rows.into_iter().map(row).collect();
            steps.push(Step::Rows(0, table(&format!("ts:ts s:s x:f m:s \n {rows}"))));
            now += pause;
            steps.push(Step::Watermark(f64::from(now)));
        }
        steps.push(Step::End);
        let at = restart.map(|restart| restart.index(steps.len()));
        let expected = run_restarted(|| windows(vec![3]), 1, &steps, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let make = || {
            let mut operator = windows(vec![3]);
            let settings = SpillSettings { folder: folder.path().to_owned(), memory, disk };
            operator.use_spill(Spill::new(settings, Arc::default()));
            operator
        };
        prop_assert_eq!(run_restarted(make, 1, &steps, at).unwrap(), expected);
        prop_assert_eq!(state_files(folder.path()), (0, 0), "files go with the state that is in them");
    }
}
