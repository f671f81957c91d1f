//! The sink: when rows become visible, and that nothing comes twice or is missing whenever it crashes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use lineshaft_engine::declaration::SinkDeclaration;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::sink::{Sink, Worker};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Batch, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::history;
use crate::history::tests::in_memory;
use crate::room::crash;

fn rows(range: std::ops::Range<i64>) -> Batch {
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(range.clone()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    RecordBatch::try_from_iter([("ts", times), ("n", numbers)]).unwrap().into()
}

/// A sink into `out`, on as many workers.
fn open_on(workers: usize, folder: &Path, options: &[(&str, &str)]) -> Result<Vec<Box<dyn Sink>>> {
    let declaration = SinkDeclaration {
        name: "history".into(),
        schema: rows(0..1).schema(),
        options: [("path", "out"), ("compact_files", "0")]
            .iter()
            .chain(options)
            .map(|(n, v)| ((*n).into(), (*v).into()))
            .collect(),
        folder: folder.to_owned(),
    };
    let factory = super::sink(&declaration).unwrap_or_else(|errors| panic!("{errors:?}"));
    let worker = |index| factory.open(Arc::clone(&declaration.schema), Worker { index, count: workers });
    (0..workers).map(worker).collect()
}

fn open(folder: &Path, options: &[(&str, &str)]) -> Box<dyn Sink> {
    open_on(1, folder, options).unwrap().remove(0)
}

/// The Parquet files, and those that are being written.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".parquet"))
        .collect();
    names.sort();
    names
}

/// The numbers in some files.
fn numbers(files: &[std::path::PathBuf]) -> Vec<i64> {
    let read = |path: &std::path::PathBuf| {
        let file = File::open(path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batches = reader.map(|batch| batch.unwrap());
        batches
            .flat_map(|batch| {
                let numbers = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap().clone();
                numbers.values().to_vec()
            })
            .collect::<Vec<i64>>()
    };
    files.iter().flat_map(read).collect()
}

/// What a reader sees.
fn visible(folder: &Path) -> Vec<i64> {
    let listing = history::listing(&folder.join("out")).unwrap();
    listing.map(|listing| numbers(&listing.files)).unwrap_or_default()
}

fn header(epoch: u64, wall_clock: i64) -> EpochHeader {
    EpochHeader::new(epoch, wall_clock)
}

#[test]
fn files_appear_together_and_a_new_run_goes_on_with_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), &[("max_rows", "10")]);
    sink.write(&rows(0..25)).unwrap();
    let hidden = [0, 1, 2].map(|n| format!(".part-0-{n:06}.parquet.tmp"));
    assert_eq!(names(folder.path()), hidden);
    assert!(visible(folder.path()).is_empty());
    sink.finish().unwrap();
    assert_eq!(names(folder.path()), [0, 1, 2].map(|n| format!("part-0-{n:06}.parquet")));
    assert_eq!(visible(folder.path()), (0..25).collect::<Vec<_>>());
    drop(sink);
    // One that crashes leaves nothing.
    let mut sink = open(folder.path(), &[]);
    sink.write(&rows(0..7)).unwrap();
    drop(sink);
    let mut sink = open(folder.path(), &[]);
    sink.write(&rows(25..32)).unwrap();
    sink.finish().unwrap();
    assert_eq!(names(folder.path()), [0, 1, 2, 3].map(|n| format!("part-0-{n:06}.parquet")));
    assert_eq!(visible(folder.path()), (0..32).collect::<Vec<_>>());
}

#[test]
fn the_same_rows_give_the_same_bytes_whatever_their_batches() {
    let bytes = |step: i64| {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), &[]);
        for start in (0..20_000).step_by(usize::try_from(step).unwrap()) {
            sink.write(&rows(start..(start + step).min(20_000))).unwrap();
        }
        sink.finish().unwrap();
        ["part-0-000000.parquet", ".manifest"]
            .map(|name| fs::read(folder.path().join("out").join(name)).unwrap())
    };
    assert!(bytes(20_000) == bytes(777));
}

#[test]
fn rows_are_visible_after_the_flush_interval() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), &[("flush_interval", "10s")]);
    for (epoch, wall_clock) in [(0, 0), (1, 9_999_999), (2, 10_000_000)] {
        sink.write(&rows(0..5)).unwrap();
        sink.end_epoch(header(epoch, wall_clock)).unwrap();
        assert_eq!(visible(folder.path()).len(), if epoch < 2 { 0 } else { 15 });
    }
}

#[test]
fn rows_of_all_workers_become_visible_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut sinks = open_on(2, folder.path(), &[("flush_interval", "1s")]).unwrap();
    let (mut second, mut first) = (sinks.pop().unwrap(), sinks.pop().unwrap());
    for epoch in 0_u32..4 {
        first.write(&rows(i64::from(epoch) * 10..i64::from(epoch) * 10 + 5)).unwrap();
        first.end_epoch(header(epoch.into(), i64::from(epoch) * 1_000_000)).unwrap();
        assert!(visible(folder.path()).is_empty());
    }
    // The second one had no rows and is behind: now it comes to the end of the first cut, behind the second epoch.
    second.end_epoch(header(0, 0)).unwrap();
    second.end_epoch(header(1, 1_000_000)).unwrap();
    assert_eq!(visible(folder.path()), [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]);
}

#[test]
fn a_retraction_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let batch = Batch::with_weights(rows(0..1).into_rows(), Int64Array::from(vec![-1]));
    let error = open(folder.path(), &[]).write(&batch).unwrap_err();
    assert!(error.to_string().contains("append-only"), "{error}");
}

#[test]
fn a_folder_has_one_sink() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), &[]);
    let error = open_on(1, folder.path(), &[]).err().unwrap();
    assert!(error.to_string().contains("give each sink a folder of its own"), "{error}");
    drop(first);
    open(folder.path(), &[]);
}

#[test]
fn retain_needs_a_time() {
    let schema = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)])
        .unwrap()
        .schema();
    let options = [("path", "out"), ("retain", "30 days")].map(|(n, v)| (n.into(), v.into())).into();
    let declaration = SinkDeclaration { name: "h".into(), schema, options, folder: "x".into() };
    assert_eq!(super::check(&declaration)[0].message, "option \"retain\" needs a TIMESTAMP column");
}

/// Epochs of the runs that crash.
const EPOCHS: u64 = 8;
/// A checkpoint is taken behind each of these.
const CHECKPOINTS: [u64; 2] = [2, 5];
const OPTIONS: [(&str, &str); 3] = [("flush_interval", "2s"), ("max_rows", "7"), ("partition_by", "n")];

/// The last checkpoint that was whole: the epoch after it, and the snapshot of each worker.
#[derive(Clone, Default)]
struct Checkpoint {
    next_epoch: u64,
    snapshots: Vec<Snapshot>,
}

/// Three numbers an epoch and worker. They are of few folders.
fn batch(epoch: u64, worker: usize) -> Batch {
    let start = i64::try_from(epoch).unwrap() * 10 + i64::try_from(worker).unwrap() * 5;
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((start..start + 3).map(|n| n % 2)));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(start..start + 3));
    RecordBatch::try_from_iter([("ts", times), ("n", numbers)]).unwrap().into()
}

/// Runs to the end or to the crash, from the checkpoint on; keeps what a reader saw last.
fn run(folder: &Path, checkpoint: &mut Checkpoint, seen: &mut Vec<(i64, usize)>) -> Result<()> {
    let mut sinks = open_on(2, folder, &OPTIONS)?;
    for (sink, snapshot) in sinks.iter_mut().zip(checkpoint.snapshots.clone()) {
        sink.restore(snapshot)?;
    }
    for epoch in checkpoint.next_epoch..EPOCHS {
        for (worker, sink) in sinks.iter_mut().enumerate() {
            sink.write(&batch(epoch, worker))?;
            sink.end_epoch(header(epoch, i64::try_from(epoch).unwrap() * 1_000_000))?;
        }
        look(folder, seen);
        if CHECKPOINTS.contains(&epoch) {
            let snapshots = sinks.iter_mut().map(|sink| sink.commit()).collect::<Result<_>>()?;
            *checkpoint = Checkpoint { next_epoch: epoch + 1, snapshots };
        }
    }
    sinks.iter_mut().try_for_each(|sink| sink.finish())
}

/// A reader looks: what it has seen is still there, and nothing is there twice.
fn look(folder: &Path, seen: &mut Vec<(i64, usize)>) {
    let Some(listing) = history::listing(&folder.join("out")).unwrap() else { return };
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for path in &listing.files {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            let column =
                batch.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().clone();
            column.values().iter().for_each(|time| *times.entry(*time).or_default() += 1);
        }
    }
    assert!(times.values().all(|count| *count == 1), "{times:?}");
    assert!(seen.iter().all(|(time, _)| times.contains_key(time)), "{seen:?} {times:?}");
    *seen = times.into_iter().collect();
}

/// Every file of the history with its bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.join("out")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(
                    path.to_string_lossy().split("/out/").nth(1).unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                );
            }
        }
    }
    found
}

#[test]
fn whenever_it_crashes_the_same_files_are_there_in_the_end_and_a_reader_sees_each_row_once() {
    let whole = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    run(whole.path(), &mut Checkpoint::default(), &mut expected).unwrap();
    look(whole.path(), &mut expected);
    assert_eq!(expected.len(), usize::try_from(EPOCHS).unwrap() * 6);
    let expected_files = contents(whole.path());
    let mut steps = 0;
    // The same with a second crash, some steps after the start that follows the first.
    for second in [None, Some(3)] {
        for step in (0..).step_by(if second.is_none() { 1 } else { 4 }) {
            let folder = in_memory();
            let (mut checkpoint, mut seen) = (Checkpoint::default(), Vec::new());
            let mut begun = open_on(2, folder.path(), &OPTIONS).unwrap();
            checkpoint.snapshots = begun.iter_mut().map(|sink| sink.commit().unwrap()).collect();
            drop(begun);
            crash::after(Some(step));
            let first = run(folder.path(), &mut checkpoint, &mut seen);
            crash::after(second);
            look(folder.path(), &mut seen);
            if first.is_ok() {
                crash::after(None);
                break;
            }
            if second.is_some() {
                run(folder.path(), &mut checkpoint, &mut seen).ok();
                crash::after(None);
                look(folder.path(), &mut seen);
            }
            run(folder.path(), &mut checkpoint, &mut seen).unwrap();
            look(folder.path(), &mut seen);
            assert_eq!(seen, expected, "step {step}, then {second:?}");
            let files = contents(folder.path());
            assert!(files.keys().eq(expected_files.keys()), "step {step}: {:?}", files.keys());
            let differs: Vec<&String> = files
                .iter()
                .filter(|(name, bytes)| expected_files[*name] != **bytes)
                .map(|(name, _)| name)
                .collect();
            assert!(differs.is_empty(), "step {step}, then {second:?}: {differs:?}");
            steps += 1;
        }
    }
    assert!(steps > 50, "{steps}");
}

#[test]
fn other_rows_than_before_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), &[("flush_interval", "1s")]);
    let snapshot = sink.commit().unwrap();
    for epoch in 0..3 {
        sink.write(&rows(0..5)).unwrap();
        sink.end_epoch(header(epoch, i64::try_from(epoch).unwrap() * 1_000_000)).unwrap();
    }
    drop(sink);
    let mut sink = open(folder.path(), &[("flush_interval", "1s")]);
    sink.restore(snapshot).unwrap();
    sink.write(&rows(0..4)).unwrap();
    sink.end_epoch(header(0, 0)).unwrap();
    sink.write(&rows(0..5)).unwrap();
    let error = sink.end_epoch(header(1, 1_000_000)).unwrap_err();
    assert!(error.to_string().contains("up to epoch 1 there were 10 rows, and now there are 9"), "{error}");
}

#[test]
fn a_history_that_is_older_than_the_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), &[]);
    sink.write(&rows(0..5)).unwrap();
    sink.end_epoch(header(0, 0)).unwrap();
    let snapshot = sink.commit().unwrap();
    drop(sink);
    fs::remove_dir_all(folder.path().join("out")).unwrap();
    let error = open(folder.path(), &[]).restore(snapshot).unwrap_err().to_string();
    assert!(error.contains("does not fit the checkpoint") && error.contains("--new-state"), "{error}");
}

#[test]
fn files_from_before_the_manifest_are_taken_in_and_those_after_a_checkpoint_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), &[("max_rows", "5")]);
    sink.write(&rows(0..20)).unwrap();
    sink.finish().unwrap();
    drop(sink);
    // As an earlier version left it, which kept the number of its next file in the checkpoint.
    for name in [".manifest", ".lock", ".readers"] {
        fs::remove_file(folder.path().join("out").join(name)).unwrap();
    }
    let next: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![2]));
    let mut snapshot = Snapshot::default();
    snapshot.put("next", RecordBatch::try_from_iter([("next", next)]).unwrap());
    let mut sink = open(folder.path(), &[("max_rows", "5")]);
    sink.restore(snapshot).unwrap();
    sink.write(&rows(10..18)).unwrap();
    sink.finish().unwrap();
    assert_eq!(visible(folder.path()), (0..18).collect::<Vec<_>>());
    let listing = history::listing(&folder.path().join("out")).unwrap().unwrap();
    assert_eq!((listing.state.files[0].from, listing.state.files[1].to), (Some(0), Some(9)));
    assert_eq!(history::verify(&listing).unwrap().0, 4);
}
