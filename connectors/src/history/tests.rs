//! Damage, merging, retention and readers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use lineshaft_engine::clock::Clock;
use lineshaft_engine::sink::Run;
use lineshaft_engine::time::EventTime;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;

use super::log::{self, MANIFEST};
use super::store::{History, Inner, Settings};
use super::{HistoryError, HistoryFile, Merging, Part, Retention, State, listing};
use crate::parquet::Files;
use crate::random::Random;
use crate::room::crash;

/// A file of a manifest.
pub(super) fn file(name: &str, span: Option<(EventTime, EventTime)>) -> HistoryFile {
    HistoryFile {
        name: name.to_owned(),
        bytes: 100,
        rows: 10,
        hash: String::new(),
        from: span.map(|(from, _)| from),
        to: span.map(|(_, to)| to),
        schema: String::new(),
        level: 0,
    }
}

/// A folder in memory, where there is one: no sync waits for a disk.
pub(crate) fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

const MERGING: Merging =
    Merging { files: 4, bytes: 1 << 20, rows: 1_000, span: None, compression: Compression::UNCOMPRESSED };

fn open(folder: &Path, retention: Retention) -> Arc<History> {
    let settings = Settings { merging: MERGING, retention, rewrite_at: 3_000 };
    let mut run = Run::default();
    run.clock = Clock::fixed(1_000_000_000);
    History::open("history", folder, run, settings).unwrap()
}

/// Commits the rows `(time, number)` in a file each.
fn commit(history: &History, number: u64, files: &[(&str, &[(i64, i64)])]) -> super::error::Result<()> {
    let written = files.iter().zip(number..).map(|((folder, rows), number)| {
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0)));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
        let batch = RecordBatch::try_from_iter([("ts", times), ("n", numbers)]).unwrap();
        let files = Files::new(
            &history.folder,
            batch.schema(),
            Compression::UNCOMPRESSED,
            Arc::clone(history.room()),
        );
        let mut file = files.create(&format!("{folder}part-0-{number:06}.parquet"))?;
        file.write(&batch)?;
        file.finish()
    });
    let files = written.collect::<lineshaft_engine::Result<Vec<_>>>();
    let files =
        files.map_err(|error| HistoryError::file("write", &history.folder, std::io::Error::other(error)))?;
    let next = number + files.len() as u64;
    let part = Part { worker: 0, after: None, through: Some(number), rows: next, next, files };
    history.deliver(1, number, 1, part)
}

/// The rows of each folder as a reader sees them.
fn seen(folder: &Path) -> BTreeMap<String, Vec<(i64, i64)>> {
    let mut found: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    let Some(listing) = listing(folder).unwrap() else { return found };
    for (path, file) in listing.files.iter().zip(&listing.state.files) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
        let rows = found.entry(super::split(&file.name).0.to_owned()).or_default();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let numbers = batch.column(1).as_primitive::<Int64Type>();
            rows.extend(times.values().iter().copied().zip(numbers.values().iter().copied()));
        }
    }
    found
}

fn parquet_files(folder: &Path) -> usize {
    super::walk(folder).unwrap().iter().filter(|(name, _)| name.ends_with(".parquet")).count()
}

/// Commits and merges; the rows of a file overlap those of the next.
fn busy(history: &History, commits: u64) -> super::error::Result<()> {
    for number in 0..commits {
        let at = i64::try_from(number).unwrap() * 10;
        let rows = [(at + 15, at), (at, at + 1), (at + 15, at + 2)];
        let other = [(at, -at)];
        commit(history, number * 2, &[("n=1/", &rows), ("n=2/", &other)])?;
        while history.look_after()?.is_none() {}
    }
    Ok(())
}

/// The rows of each folder, in the order of time and commit.
fn expected() -> BTreeMap<String, Vec<(i64, i64)>> {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for at in (0..200).step_by(10) {
        one.extend([(at + 15, at), (at, at + 1), (at + 15, at + 2)]);
        two.push((at, -at));
    }
    one.sort_by_key(|row| row.0);
    BTreeMap::from([("n=1".to_owned(), one), ("n=2".to_owned(), two)])
}

fn sorted(mut rows: BTreeMap<String, Vec<(i64, i64)>>) -> BTreeMap<String, Vec<(i64, i64)>> {
    rows.values_mut().for_each(|rows| rows.sort_by_key(|row| row.0));
    rows
}

#[test]
fn small_files_become_few_with_the_same_rows_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path(), Retention::default());
    busy(&history, 20).unwrap();
    // Twenty of each folder: one of sixteen and four.
    let levels: Vec<u8> =
        listing(folder.path()).unwrap().unwrap().state.files.iter().map(|file| file.level).collect();
    assert_eq!(levels, [2, 2, 1, 1]);
    assert_eq!(parquet_files(folder.path()), 4);
    assert_eq!(sorted(seen(folder.path())), expected());
    let merged = &seen(folder.path())["n=1"][..48];
    assert!(merged.is_sorted_by_key(|row| row.0), "{merged:?}");
    // The next start finds the same.
    drop(history);
    let before = listing(folder.path()).unwrap().unwrap().state.files;
    let history = open(folder.path(), Retention::default());
    assert_eq!(history.lock().state.files, before);
    assert!(history.lock().trash.is_empty());
}

#[test]
fn whenever_a_merge_crashes_every_row_is_there_once() {
    let mut steps = 0;
    for step in 0.. {
        let folder = in_memory();
        let history = open(folder.path(), Retention::default());
        crash::after(Some(step));
        let crashed = busy(&history, 17).is_err();
        crash::after(None);
        let before = sorted(seen(folder.path()));
        drop(history);
        if !crashed {
            break;
        }
        let history = open(folder.path(), Retention::default());
        assert_eq!(sorted(seen(folder.path())), before, "step {step}");
        let counts: usize = listing(folder.path()).unwrap().map_or(0, |listing| listing.files.len());
        while history.look_after().unwrap().is_none() {}
        assert_eq!(sorted(seen(folder.path())), before, "step {step}");
        assert!(history.lock().state.files.len() <= counts);
        assert_eq!(parquet_files(folder.path()), history.lock().state.files.len(), "step {step}");
        let whole = expected();
        assert!(
            before.iter().all(|(name, rows)| sorted_prefix(rows, &whole[name])),
            "step {step}: {before:?}"
        );
        steps += 1;
    }
    assert!(steps > 150, "{steps}");
}

/// All of `rows` are in `whole`, once.
fn sorted_prefix(rows: &[(i64, i64)], whole: &[(i64, i64)]) -> bool {
    let mut rest = whole.iter();
    rows.iter().all(|row| rest.any(|other| other == row))
}

#[test]
fn a_long_manifest_is_written_anew_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path(), Retention::default());
    let path = folder.path().join(MANIFEST);
    let mut was_shorter = 0;
    let mut reader = None;
    for number in 0..200 {
        commit(&history, number, &[("", &[(number.cast_signed(), 0)])]).unwrap();
        reader = reader.or_else(|| listing(folder.path()).unwrap());
        let length = fs::metadata(&path).unwrap().len();
        while history.look_after().unwrap().is_none() {}
        was_shorter += u32::from(fs::metadata(&path).unwrap().len() < length);
        let said = listing(folder.path()).unwrap().unwrap().state;
        let Inner { state, trash, .. } = &*history.lock();
        // What was merged while somebody reads is there, and is named as what no longer counts.
        assert_eq!(said.removed.iter().filter(|name| trash.contains(name)).count(), trash.len());
        assert!(!trash.is_empty() || number < 4);
        assert_eq!(State { removed: Default::default(), ..said }, *state);
    }
    assert!(was_shorter > 3, "{was_shorter}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("lineshaft history 2\n"));
    let state = history.lock().state.clone();
    drop(history);
    let history = open(folder.path(), Retention::default());
    assert_eq!(history.lock().state, state);
    drop(reader);
    while history.look_after().unwrap().is_none() {}
    assert_eq!(parquet_files(folder.path()), state.files.len());
}

#[test]
fn what_a_reader_has_listed_stays_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path(), Retention::default());
    for number in 0..3 {
        commit(&history, number, &[("", &[(number.cast_signed(), 0)])]).unwrap();
    }
    let reader = listing(folder.path()).unwrap().unwrap();
    commit(&history, 3, &[("", &[(3, 0)])]).unwrap();
    assert_eq!(history.look_after().unwrap(), None, "it has merged");
    assert!(history.look_after().unwrap().is_some(), "it waits");
    assert_eq!(parquet_files(folder.path()), 5);
    assert!(reader.files.iter().all(|file| file.exists()));
    assert_eq!(listing(folder.path()).unwrap().unwrap().files.len(), 1);
    drop(reader);
    history.look_after().unwrap();
    assert_eq!(parquet_files(folder.path()), 1);
}

#[test]
fn what_is_past_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention { age: Some(std::time::Duration::from_micros(100)), bytes: None };
    let history = open(folder.path(), retention);
    for (number, time) in [0, 50, 100, 151].into_iter().enumerate() {
        commit(&history, number as u64, &[("", &[(time, 0), (time + 1, 1)])]).unwrap();
    }
    while history.look_after().unwrap().is_none() {}
    // The newest is of 152: what ends before 52 is past.
    assert_eq!(seen(folder.path())[""].iter().map(|row| row.0).collect::<Vec<_>>(), [100, 101, 151, 152]);
    assert_eq!(parquet_files(folder.path()), 2);
    let state = history.lock().state.clone();
    assert_eq!(state.dropped_rows, 4);
    drop(history);
    assert_eq!(open(folder.path(), retention).lock().state, state);
}

#[test]
fn a_file_that_is_missing_or_differs_or_is_not_named_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path(), Retention::default());
    commit(&history, 0, &[("", &[(1, 1)]), ("", &[(2, 2)])]).unwrap();
    drop(history);
    let settings = || Settings { merging: MERGING, retention: Retention::default(), rewrite_at: u64::MAX };
    let refused =
        || History::open("history", folder.path(), Run::default(), settings()).unwrap_err().to_string();
    let path = folder.path().join("part-0-000001.parquet");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[1..]).unwrap();
    let what = format!("part-0-000001.parquet has {} bytes instead of {}", bytes.len() - 1, bytes.len());
    assert!(refused().contains(&what), "{}", refused());
    assert!(listing(folder.path()).unwrap_err().to_string().contains(&what));
    fs::remove_file(&path).unwrap();
    assert!(refused().contains("part-0-000001.parquet is missing; put back a copy"), "{}", refused());
    assert!(listing(folder.path()).is_err());
    let mut changed = bytes.clone();
    changed[20] ^= 1;
    fs::write(&path, changed).unwrap();
    let error = super::verify(&listing(folder.path()).unwrap().unwrap()).unwrap_err();
    assert!(error.to_string().contains("its checksum differs"), "{error}");
    fs::write(&path, bytes).unwrap();
    fs::write(folder.path().join("part-1-000000.parquet"), "x").unwrap();
    assert!(refused().contains("part-1-000000.parquet is not named in"), "{}", refused());
    fs::rename(folder.path().join("part-1-000000.parquet"), folder.path().join("copied.parquet")).unwrap();
    open(folder.path(), Retention::default());
    assert_eq!(listing(folder.path()).unwrap().unwrap().files.len(), 2);
}

/// A manifest with every kind of record, and the states that it went through.
fn manifest() -> (Vec<u8>, Vec<State>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stranger.txt"), "").unwrap();
    let retention = Retention { age: Some(std::time::Duration::from_micros(60)), bytes: None };
    let mut states = Vec::new();
    let history = open(folder.path(), retention);
    for number in 0..12_u64 {
        let time = number.cast_signed() * 10;
        commit(&history, number, &[("", &[(time, time)])]).unwrap();
        states.push(history.lock().state.clone());
        while history.look_after().unwrap().is_none() {
            states.push(history.lock().state.clone());
        }
    }
    states.push(history.lock().state.clone());
    assert!(states.iter().any(|state| state.dropped_rows > 0));
    (fs::read(folder.path().join(MANIFEST)).unwrap(), states)
}

fn state_of(bytes: &[u8]) -> super::error::Result<State> {
    let mut state = log::contents(Path::new(MANIFEST), bytes)?.state;
    (state.begun, state.removed) = (None, Default::default());
    Ok(state)
}

#[test]
fn a_cut_is_an_earlier_state_and_a_flipped_bit_is_found() {
    let (bytes, mut states) = manifest();
    states.push(State::default());
    assert_eq!(state_of(&bytes).unwrap(), states[states.len() - 2]);
    let line = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    // Every byte of the first and the last lines, and some of all others.
    for end in (0..600).chain((600..line - 600).step_by(7)).chain(line - 600..bytes.len()) {
        match state_of(&bytes[..end]) {
            Ok(state) => assert!(states.contains(&state), "cut at {end}"),
            Err(error) => assert!(end < super::record::TITLE.len(), "cut at {end}: {error}"),
        }
    }
    let mut random = Random::new(7);
    for _ in 0..1_500 {
        let mut damaged = bytes.clone();
        let at = usize::try_from(random.next() % bytes.len() as u64).unwrap();
        damaged[at] ^= 1 << (random.next() % 8);
        let result = state_of(&damaged);
        assert!(result.is_err(), "byte {at}: {result:?}");
    }
    // A sector of the last line that was never written is the end; one before others is damage.
    let mut unwritten = bytes.clone();
    unwritten[line..].fill(0);
    assert!(states.contains(&state_of(&unwritten).unwrap()));
    let mut zeroed = bytes;
    zeroed[100..400].fill(0);
    let error = state_of(&zeroed).unwrap_err().to_string();
    assert!(error.contains("is damaged at byte"), "{error}");
}
