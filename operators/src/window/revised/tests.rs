use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};
use lineshaft_engine::spill::SpillSettings;
use lineshaft_engine::testing::{extend, state_files, table};
use proptest::prelude::*;

use super::super::fixed::FixedWindows;
use super::super::oracle::{Reading, Stream, batch, line, number, streams};
use super::*;
use crate::testing::{all_of, window_rows, window_schema};

const SECOND: i64 = 1_000_000;

fn revised(size: i64, slide: i64, grows: bool, lateness: i64, every: Option<i64>) -> RevisedAggregate {
    let windows = WindowOptions {
        time: 0,
        windows: FixedWindows { slide, size, offset: 0, grows },
        keys: vec![1],
        aggregates: all_of(2),
        schema: window_schema(&[Field::new("machine", DataType::Utf8, true)], 4),
    };
    let takes_changes = false;
    RevisedAggregate::new(RevisedOptions { windows, every, lateness, takes_changes }).unwrap()
}

/// One epoch: rows, then the watermark, then the end at a wall clock, both in seconds.
fn epoch(operator: &mut RevisedAggregate, rows: &str, watermark: i64, wall_clock: i64) -> Vec<String> {
    let mut output = Output::new(1);
    if !rows.is_empty() {
        operator.on_batch(0, table(&format!("ts:ts m:s x:f {rows}")).into(), &mut output).unwrap();
    }
    operator.on_watermark(Watermark(watermark * SECOND), &mut output).unwrap();
    let header = EpochHeader::new(0, wall_clock * SECOND);
    operator.on_epoch_end(header, &mut output).unwrap();
    changes(&output.take(0))
}

/// Each change as a line, its weight in front.
fn changes(batches: &[Batch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let weight = batch.weights().unwrap().value(row);
            let shown = window_rows([&batch.rows().slice(row, 1)]);
            lines.push(format!("{weight:+} {}", shown[0]));
        }
    }
    lines
}

#[test]
fn a_late_row_corrects_its_window_until_its_lateness_has_passed() {
    let mut operator = revised(10 * SECOND, 10 * SECOND, false, 20 * SECOND, None);
    assert_eq!(epoch(&mut operator, "\n 1 a 4 \n 2 b 1", 9, 0), [""; 0]);
    assert_eq!(epoch(&mut operator, "", 10, 0), ["+1 a 0 10 1 4 4 4", "+1 b 0 10 1 1 1 1"]);
    let corrected = epoch(&mut operator, "\n 3 a 2 \n 4 c 9", 25, 0);
    assert_eq!(corrected, ["-1 a 0 10 1 4 4 4", "+1 a 0 10 2 6 2 4", "+1 c 0 10 1 9 9 9"]);
    assert_eq!(epoch(&mut operator, "\n 5 a 1", 30, 0), ["-1 a 0 10 2 6 2 4", "+1 a 0 10 3 7 1 4"]);
    assert_eq!(epoch(&mut operator, "\n 6 a 1", 30, 0), [""; 0], "nothing is kept of it");
    assert_eq!(operator.ignored(), 1);
    assert!(operator.kept.is_empty() && operator.given.is_empty() && operator.changed.is_empty());
}

#[test]
fn rows_that_are_taken_back_leave_their_windows() {
    let mut operator = revised(10 * SECOND, 10 * SECOND, false, 20 * SECOND, None);
    operator.options.takes_changes = true;
    let changes = |rows: &str, weights: Vec<i64>| {
        Batch::with_weights(table(&format!("ts:ts m:s x:f {rows}")), Int64Array::from(weights))
    };
    let give = |operator: &mut RevisedAggregate, batch: Batch, watermark: i64| {
        operator.on_batch(0, batch, &mut Output::new(1)).unwrap();
        epoch(operator, "", watermark, 0)
    };
    let first = give(&mut operator, changes("\n 1 a 4 \n 2 b 1", vec![1, 1]), 10);
    assert_eq!(first, ["+1 a 0 10 1 4 4 4", "+1 b 0 10 1 1 1 1"]);
    let mut restored = revised(10 * SECOND, 10 * SECOND, false, 20 * SECOND, None);
    restored.options.takes_changes = true;
    let mut snapshot = operator.snapshot().unwrap();
    while extend(&mut snapshot, &mut operator).unwrap() {}
    restored.restore(snapshot).unwrap();
    let corrected = give(&mut restored, changes("\n 1 a 4 \n 1 a 6 \n 2 b 1", vec![-1, 1, -1]), 12);
    assert_eq!(corrected, ["-1 a 0 10 1 4 4 4", "-1 b 0 10 1 1 1 1", "+1 a 0 10 1 6 6 6"]);
    assert_eq!(give(&mut restored, changes("\n 1 a 6", vec![-1]), 30), ["-1 a 0 10 1 6 6 6"]);
    assert!(restored.kept.is_empty() && restored.given.is_empty());
}

#[test]
fn open_windows_are_given_at_each_tick_if_they_changed() {
    let mut operator = revised(10 * SECOND, 10 * SECOND, false, 0, Some(SECOND));
    assert_eq!(epoch(&mut operator, "\n 1 a 4", 0, 100), [""; 0], "the first tick is the next one");
    assert_eq!(epoch(&mut operator, "", 0, 101), ["+1 a 0 10 1 4 4 4"]);
    assert_eq!(epoch(&mut operator, "\n 2 b 1", 0, 101), [""; 0]);
    assert_eq!(
        epoch(&mut operator, "\n 3 a 1", 0, 102),
        ["-1 a 0 10 1 4 4 4", "+1 a 0 10 2 5 1 4", "+1 b 0 10 1 1 1 1"]
    );
    assert_eq!(epoch(&mut operator, "", 0, 103), [""; 0]);
    assert_eq!(epoch(&mut operator, "\n 4 b 1", 10, 103), ["-1 b 0 10 1 1 1 1", "+1 b 0 10 2 2 1 1"]);
    assert!(operator.kept.is_empty() && operator.given.is_empty());
}

#[test]
fn keys_without_state_are_forgotten() {
    let mut operator = revised(2 * SECOND, SECOND, false, SECOND, None);
    let mut given = 0;
    for second in 0..100 {
        let rows: String = (0..200).map(|key| format!("\n {second} k{}-{key} 1", second / 10)).collect();
        given += epoch(&mut operator, &rows, second, 0).len();
    }
    given += epoch(&mut operator, "", 200, 0).len();
    assert_eq!(given, 10 * 200 * 11);
    assert!(operator.interner.len() <= 2 * FEW_SLOTS, "{} slots", operator.interner.len());
}

fn work(
    operator: &mut RevisedAggregate,
    (batches, watermark): (&[Vec<Reading>], i64),
    wall_clock: i64,
    output: &mut Output,
) {
    for rows in batches.iter().filter(|rows| !rows.is_empty()) {
        operator.on_batch(0, batch(rows).into(), output).unwrap();
    }
    operator.on_watermark(Watermark(watermark), output).unwrap();
    operator.on_epoch_end(EpochHeader::new(0, wall_clock), output).unwrap();
}

/// What is there in the end, after all changes; an epoch a tick.
fn in_the_end(stream: &Stream, restart: Option<usize>, make: impl Fn() -> RevisedAggregate) -> Vec<String> {
    let mut operator = make();
    let mut output = Output::new(1);
    for (number, (batches, watermark)) in stream.epochs.iter().enumerate() {
        let wall_clock = i64::try_from(number).unwrap() * 400_000;
        work(&mut operator, (batches, *watermark), wall_clock, &mut output);
        if restart == Some(number) {
            let mut snapshot = operator.snapshot().unwrap();
            // Parts of it are given while the stream goes on.
            for (batches, watermark) in &stream.epochs[number + 1..] {
                work(&mut operator, (batches, *watermark), wall_clock, &mut Output::new(1));
                extend(&mut snapshot, &mut operator).unwrap();
            }
            while extend(&mut snapshot, &mut operator).unwrap() {}
            operator = make();
            operator.restore(snapshot).unwrap();
        }
    }
    operator.on_watermark(Watermark::END, &mut output).unwrap();
    operator.on_epoch_end(EpochHeader::new(0, 0), &mut output).unwrap();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for change in changes(&output.take(0)) {
        let (weight, row) = change.split_once(' ').unwrap();
        *counts.entry(row.to_owned()).or_default() += weight.parse::<i64>().unwrap();
    }
    assert!(counts.values().all(|count| (0..=1).contains(count)), "{counts:?}");
    counts.into_iter().filter(|(_, count)| *count == 1).map(|(row, _)| row).collect()
}

fn brute_force(stream: &Stream, size: i64, slide: i64, grows: bool) -> Vec<String> {
    let mut windows: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for (time, key, value) in stream.rows() {
        for step in 0..size / slide {
            let (start, end) = if grows {
                let start = time.div_euclid(size) * size;
                (start, start + (step + 1) * slide)
            } else {
                let start = (time.div_euclid(slide) - step) * slide;
                (start, start + size)
            };
            if end > time {
                windows.entry((key, start, end)).or_default().push(number(value));
            }
        }
    }
    let lines = windows.iter().map(|((key, start, end), values)| line(*key, *start, *end, values));
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// Sums that are merged from panes differ in the last bits from one that runs through.
fn rounded(lines: &[String]) -> Vec<String> {
    // What is left of a sum near zero has either sign.
    let round = |x: f64| format!("{:.7}", (x * 1e7).round() / 1e7 + 0.0);
    let round = |word: &str| word.parse().map_or(word.to_owned(), round);
    let line = |line: &String| line.split(' ').map(round).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = lines.iter().map(line).collect();
    lines.sort();
    lines
}

proptest! {
    #[test]
    fn what_is_there_in_the_end_is_what_brute_force_gives(
        stream in streams(60, 6, 15), slide in 1_i64..10, count in 1_i64..6, grows: bool, hurry in 0_i64..40, early: bool,
        restart in prop::option::of(0_usize..20),
    ) {
        // The watermark runs ahead, so that rows come below it.
        let mut hasty = stream.clone();
        hasty.epochs.iter_mut().for_each(|(_, watermark)| *watermark = watermark.saturating_add(hurry));
        let every = early.then_some(SECOND);
        let found = in_the_end(&hasty, restart, || revised(slide * count, slide, grows, hurry, every));
        prop_assert_eq!(rounded(&found), rounded(&brute_force(&stream, slide * count, slide, grows)));
    }

    #[test]
    fn windows_on_disk_are_the_same(
        stream in streams(60, 6, 15), slide in 1_i64..10, count in 1_i64..6, grows: bool, hurry in 0_i64..40, early: bool,
        restart in prop::option::of(0_usize..20),
        memory in prop_oneof![Just(1), 1..4_000_u64],
        disk in prop_oneof![Just(u64::MAX), 0..60_000_u64],
    ) {
        let mut hasty = stream.clone();
        hasty.epochs.iter_mut().for_each(|(_, watermark)| *watermark = watermark.saturating_add(hurry));
        let every = early.then_some(SECOND);
        let in_memory = || revised(slide * count, slide, grows, hurry, every);
        let folder = tempfile::tempdir().unwrap();
        let on_disk = || {
            let mut operator = in_memory();
            let settings = SpillSettings { folder: folder.path().to_owned(), memory, disk };
            operator.use_spill(Spill::new(settings, Arc::default()));
            operator
        };
        prop_assert_eq!(in_the_end(&hasty, restart, on_disk), in_the_end(&hasty, None, in_memory));
        prop_assert_eq!(state_files(folder.path()), (0, 0), "files go with the state that is in them");
    }
}
