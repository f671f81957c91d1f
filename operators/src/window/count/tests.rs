use arrow::datatypes::{DataType, Field};
use lineshaft_engine::spill::SpillSettings;
use lineshaft_engine::testing::{Step, run, state_files, table};
use proptest::prelude::*;

use super::super::oracle::{Stream, line, results, streams};
use super::*;
use crate::testing::{all_of, window_rows, window_schema};

fn counting(size: usize, slide: usize) -> CountAggregate {
    CountAggregate::new(CountOptions {
        time: 0,
        slide,
        size,
        keys: vec![1],
        aggregates: all_of(2),
        schema: window_schema(&[Field::new("machine", DataType::Utf8, true)], 4),
    })
    .unwrap()
}

#[test]
fn a_window_comes_when_its_last_row_is_final_and_an_incomplete_one_never() {
    let mut operator = counting(2, 2);
    let rows = table("ts:ts m:s x:f \n 3 a 4 \n 1 a 1 \n 2 b 9 \n 5 a 7 \n 4 b 2");
    let early = run(&mut operator, 1, vec![Step::Rows(0, rows), Step::Watermark(3.0)]).unwrap();
    assert!(early.is_empty(), "a row at 3 s may still come");
    let closed = run(&mut operator, 1, vec![Step::Watermark(3.5)]).unwrap();
    assert_eq!(window_rows(&closed), ["a 1 3 2 5 1 4"]);
    let rest = run(&mut operator, 1, vec![Step::End]).unwrap();
    assert_eq!(window_rows(&rest), ["b 2 4 2 11 2 9"]);
}

fn brute_force(stream: &Stream, size: usize, slide: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, rows) in stream.by_key() {
        for window in (0..rows.len()).step_by(slide).filter_map(|start| rows.get(start..start + size)) {
            let values: Vec<f64> = window.iter().map(|row| row.1).collect();
            lines.push(line(key, window[0].0, window[size - 1].0, &values));
        }
    }
    lines.sort();
    lines
}

proptest! {
    #[test]
    fn count_windows_are_those_of_brute_force(
        stream in streams(80, 4, 15), size in 1_usize..6, slide in 1_usize..8, restart in prop::option::of(0_usize..20),
    ) {
        let found = results(&stream, restart, || counting(size, slide));
        prop_assert_eq!(found, brute_force(&stream, size, slide));
    }

    #[test]
    fn count_windows_on_disk_are_the_same(
        stream in streams(80, 4, 15), size in 1_usize..9, slide in 1_usize..12, restart in prop::option::of(0_usize..20),
        memory in prop_oneof![Just(1), 1..4_000_u64],
        disk in prop_oneof![Just(u64::MAX), 0..60_000_u64],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let found = results(&stream, restart, || on_disk(counting(size, slide), &folder, memory, disk));
        prop_assert_eq!(found, brute_force(&stream, size, slide));
        prop_assert_eq!(state_files(folder.path()), (0, 0), "files go with the state that is in them");
    }
}

/// An operator that may have so many bytes in memory, and on disk.
fn on_disk(
    mut operator: CountAggregate,
    folder: &tempfile::TempDir,
    memory: u64,
    disk: u64,
) -> CountAggregate {
    let settings = SpillSettings { folder: folder.path().to_owned(), memory, disk };
    operator.use_spill(Spill::new(settings, Arc::default()));
    operator
}

#[test]
fn few_bytes_are_in_memory_while_rows_are_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = on_disk(counting(5, 2), &folder, 10_000, u64::MAX);
    let mut closed = 0;
    for second in 0..100 {
        let rows: String = (0..20).map(|n| format!("\n {second} k{} 1", (second * 20 + n) % 400)).collect();
        let rows = table(&format!("ts:ts m:s x:f {rows}"));
        let steps = vec![Step::Rows(0, rows), Step::Watermark(f64::from(second))];
        closed += window_rows(&run(&mut operator, 1, steps).unwrap()).len();
        assert!(operator.size() < 15_000, "{} bytes in memory", operator.size());
    }
    assert!(state_files(folder.path()).1 > 20_000);
    closed += window_rows(&run(&mut operator, 1, vec![Step::End]).unwrap()).len();
    assert_eq!(closed, 400);
}

#[test]
fn memory_does_not_grow_with_rows_that_are_done() {
    let mut operator = counting(4, 4);
    let mut closed = 0;
    for second in 0..300 {
        let rows: String = (0..100).map(|key| format!("\n {second} k{key} 1")).collect();
        let rows = table(&format!("ts:ts m:s x:f {rows}"));
        let steps = vec![Step::Rows(0, rows), Step::Watermark(f64::from(second))];
        closed += run(&mut operator, 1, steps).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    closed +=
        run(&mut operator, 1, vec![Step::End]).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(closed, 75 * 100);
    assert!(!operator.rows.is_sparse(operator.live_rows));
    assert_eq!(operator.live_rows, 0);
}
