use arrow::datatypes::{DataType, Field};
use lineshaft_engine::spill::SpillSettings;
use lineshaft_engine::testing::{Step, run, state_files, table};
use proptest::prelude::*;

use super::super::FOLD_ROWS;
use super::super::oracle::{Stream, batch, line, results, streams};

use super::*;
use crate::testing::{all_of, window_rows, window_schema};

const SECOND: i64 = 1_000_000;

fn sessions(gap: i64) -> SessionAggregate {
    SessionAggregate::new(SessionOptions {
        time: 0,
        gap,
        keys: vec![1],
        aggregates: all_of(2),
        schema: window_schema(&[Field::new("machine", DataType::Utf8, true)], 4),
    })
    .unwrap()
}

fn given(operator: &mut SessionAggregate, steps: Vec<Step>) -> Vec<String> {
    window_rows(&run(operator, 1, steps).unwrap())
}

#[test]
fn rows_at_most_the_gap_apart_are_one_session() {
    let mut operator = sessions(5 * SECOND);
    let rows = table("ts:ts m:s x:f \n 6 a 2 \n 1 a 1 \n 11.1 a 4 \n 3 b 8");
    assert_eq!(given(&mut operator, vec![Step::Rows(0, rows), Step::Watermark(8.0)]), [""; 0]);
    assert_eq!(given(&mut operator, vec![Step::Watermark(8.1)]), ["b 3 8 1 8 8 8"]);
    assert_eq!(given(&mut operator, vec![Step::Watermark(11.0)]), [""; 0], "a row at 11 s would join");
    assert_eq!(given(&mut operator, vec![Step::Watermark(11.01)]), ["a 1 11 2 3 1 2"]);
    assert_eq!(given(&mut operator, vec![Step::End]), ["a 11.1 16.1 1 4 4 4"]);
}

#[test]
fn a_row_below_the_watermark_is_counted_and_left_out() {
    let mut operator = sessions(5 * SECOND);
    let rows = table("ts:ts m:s x:f \n 1 a 1 \n 20 a 2");
    let closed = given(&mut operator, vec![Step::Watermark(10.0), Step::Rows(0, rows), Step::End]);
    assert_eq!(closed, ["a 20 25 1 2 2 2"]);
    assert_eq!(operator.ignored(), 1);
}

fn sessions_of(stream: &Stream, gap: i64) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, rows) in stream.by_key() {
        for session in rows.chunk_by(|a, b| b.0 - a.0 <= gap) {
            let values: Vec<f64> = session.iter().map(|row| row.1).collect();
            lines.push(line(key, session[0].0, session[session.len() - 1].0 + gap, &values));
        }
    }
    lines.sort();
    lines
}

proptest! {
    #[test]
    fn sessions_are_those_of_brute_force(
        stream in streams(80, 8, 15), gap in 1_i64..40, restart in prop::option::of(0_usize..20),
    ) {
        let found = results(&stream, restart, || sessions(gap));
        prop_assert_eq!(found, sessions_of(&stream, gap));
    }

    #[test]
    fn sessions_on_disk_are_the_same(
        stream in streams(80, 8, 15), gap in 1_i64..40, restart in prop::option::of(0_usize..20),
        memory in prop_oneof![Just(1), 1..4_000_u64],
        disk in prop_oneof![Just(u64::MAX), 0..60_000_u64],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let found = results(&stream, restart, || on_disk(sessions(gap), &folder, memory, disk));
        prop_assert_eq!(found, sessions_of(&stream, gap));
        prop_assert_eq!(state_files(folder.path()), (0, 0), "files go with the state that is in them");
    }
}

/// An operator that may have so many bytes in memory, and on disk.
fn on_disk(
    mut operator: SessionAggregate,
    folder: &tempfile::TempDir,
    memory: u64,
    disk: u64,
) -> SessionAggregate {
    let settings = SpillSettings { folder: folder.path().to_owned(), memory, disk };
    operator.use_spill(Spill::new(settings, Arc::default()));
    operator
}

/// Two keys, one row each a microsecond.
fn long_sessions(rows: i64) -> Vec<(i64, Option<u8>, i32)> {
    (0..rows)
        .flat_map(|time| [0, 1].map(|key| (time, Some(key), i32::try_from(time % 1000).unwrap())))
        .collect()
}

#[test]
fn a_session_that_does_not_end_keeps_a_bounded_number_of_rows() {
    let mut operator = sessions(10);
    let mut output = Output::new(1);
    for rows in long_sessions(40_000).chunks(700) {
        operator.on_batch(0, batch(rows).into(), &mut output).unwrap();
        operator.on_watermark(Watermark(rows[0].0), &mut output).unwrap();
        assert!(operator.spans.live_rows < 2 * FOLD_ROWS, "{} rows", operator.spans.live_rows);
        assert!(!operator.spans.rows.is_sparse(operator.spans.live_rows));
        assert!(!operator.spans.partials.is_sparse(2));
    }
    operator.on_watermark(Watermark::END, &mut output).unwrap();
    let closed: Vec<_> = output.take(0).into_iter().map(Batch::into_rows).collect();
    assert_eq!(closed.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert!(window_rows(&closed)[0].starts_with("k0 0 0.040009 40000 "));
}

#[test]
fn the_bits_of_a_long_session_do_not_depend_on_batches_or_restarts() {
    let rows = long_sessions(3000);
    let at_once = Stream { epochs: vec![(vec![rows.clone()], i64::MIN)] };
    let expected = results(&at_once, None, || sessions(10));
    for size in [1, 100, 512, 700] {
        let epochs = rows.chunks(size).map(|rows| (vec![rows.to_vec()], rows[0].0)).collect();
        let stream = Stream { epochs };
        assert_eq!(results(&stream, Some(2000 / size), || sessions(10)), expected);
        let folder = tempfile::tempdir().unwrap();
        let on_disk = || on_disk(sessions(10), &folder, 1, u64::MAX);
        assert_eq!(results(&stream, Some(2000 / size), on_disk), expected, "on disk");
    }
}

#[test]
fn keys_whose_session_has_ended_are_forgotten() {
    let mut operator = sessions(SECOND);
    let mut closed = 0;
    for second in 0..50 {
        let rows: String = (0..100).map(|key| format!("\n {second} k{}-{key} 1", second / 2)).collect();
        let rows = table(&format!("ts:ts m:s x:f {rows}"));
        let steps = vec![Step::Rows(0, rows), Step::Watermark(f64::from(second))];
        closed += run(&mut operator, 1, steps).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    assert!(operator.arrivals.interner.len() <= 1024, "{} slots", operator.arrivals.interner.len());
    closed += given(&mut operator, vec![Step::End]).len();
    assert_eq!(closed, 25 * 100);
}

#[test]
fn few_bytes_are_in_memory_while_sessions_are_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = on_disk(sessions(100 * SECOND), &folder, 10_000, u64::MAX);
    let mut closed = Vec::new();
    for second in 0..100 {
        let rows: String = (0..20).map(|key| format!("\n {second} k{second}-{key} {key}")).collect();
        let again: String = (0..5).map(|key| format!("\n {second} k{}-{key} 1", second / 2)).collect();
        let rows = table(&format!("ts:ts m:s x:f {rows} {again}"));
        closed.extend(given(&mut operator, vec![Step::Rows(0, rows), Step::Watermark(f64::from(second))]));
        assert!(operator.size() < 15_000, "{} bytes in memory", operator.size());
    }
    assert!(state_files(folder.path()).1 > 100_000);
    assert_eq!(closed, [""; 0]);
    closed.extend(given(&mut operator, vec![Step::End]));
    assert_eq!(closed.len(), 2000);
    assert!(closed.contains(&"k7-3 7 115 3 5 1 3".to_owned()), "{closed:?}");
    assert_eq!(state_files(folder.path()), (0, 0));
}
