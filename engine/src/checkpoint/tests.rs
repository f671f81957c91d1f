mod background;
mod large;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{BinaryArray, DictionaryArray, Float64Array, ListArray, StringArray};
use arrow::datatypes::Int32Type;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tempfile::TempDir;

use super::store::{Draft, Place};
use super::*;
use crate::disk::FileSystem;
use crate::testing::table;
use crate::time::Epoch;

/// The same program every time.
const IDENTITY: &str = "a program";

fn settings(root: &Path) -> CheckpointSettings {
    let folder = root.join("checkpoint");
    CheckpointSettings {
        disk: Arc::new(FileSystem),
        folder,
        every: Duration::from_secs(1),
        identity: IDENTITY.into(),
    }
}

/// What one worker, or the program, has at checkpoint `number`.
fn parts(number: usize) -> Parts {
    let mut snapshot = Snapshot::default();
    snapshot.put("rows", table(&format!("n:i m:s b:b at:ts \n {number} a true 7 \n 2 - false {number}")));
    snapshot.put("none", table("n:i f:f"));
    snapshot.put("columns", columns(number));
    Parts::from([("node 3".into(), snapshot), ("empty".into(), Snapshot::default())])
}

/// Columns of the types that operators keep.
fn columns(number: usize) -> RecordBatch {
    let words: DictionaryArray<Int32Type> = ["pump", "fan", "pump"].into_iter().collect();
    let samples = (0..3).map(|row| Some((0..row).map(Some)));
    let columns: [(&str, ArrayRef); 4] = [
        ("word", Arc::new(words)),
        ("samples", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(samples))),
        ("bytes", Arc::new(BinaryArray::from(vec![&[0, 255][..], &[], &[7]]))),
        ("bar", Arc::new(Float64Array::from(vec![-0.0, f64::INFINITY, number as f64]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// What comes back of [`parts`]: an owner without tables leaves nothing.
fn kept(number: usize) -> Parts {
    parts(number).into_iter().filter(|(_, snapshot)| !snapshot.tables.is_empty()).collect()
}

fn draft(store: &Store, number: usize) -> Draft {
    let mut draft = store.create(2).unwrap();
    write(&mut draft, Place::Program, parts(number + 100)).unwrap();
    for worker in 0..2 {
        write(&mut draft, Place::Worker(worker), parts(number + worker)).unwrap();
    }
    draft
}

fn write(draft: &mut Draft, place: Place, parts: Parts) -> Result<()> {
    parts.iter().try_for_each(|(owner, snapshot)| draft.put(place, owner, snapshot))
}

/// Takes a checkpoint of two workers whose next epoch is ten times `number`.
fn take(store: &Store, number: usize) {
    store.finish(draft(store, number), 10 * number as Epoch).unwrap();
}

/// Checkpoints 1 up to `last`, as they are when the program is killed.
fn taken(last: usize) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let (store, restored) = Store::open(settings(root.path())).unwrap();
    assert!(restored.is_none());
    (1..=last).for_each(|number| take(&store, number));
    root
}

/// Which checkpoint a program goes on from; panics if that has other content than was put in.
fn opened(root: &Path) -> Result<Option<usize>> {
    open(settings(root))
}

fn open(settings: CheckpointSettings) -> Result<Option<usize>> {
    let (store, restored) = Store::open(settings)?;
    let Some(restored) = restored else { return Ok(None) };
    let number =
        (0..200).find(|number| restored.program == kept(number + 100)).expect("content of the program");
    assert_eq!(restored.workers.len(), 2);
    for worker in 0..2 {
        assert_eq!(restored.worker(worker), kept(number + worker));
    }
    assert!(store.oldest_epoch().unwrap() <= 10 * number as Epoch);
    Ok(Some(number))
}

/// All files below a folder, by name.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.extend([path]),
        }
    }
    found
}

fn folders(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("checkpoint")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_gives_back_what_was_put_in_once_it_is_whole() {
    let root = tempfile::tempdir().unwrap();
    assert!(!settings(root.path()).is_begun());
    let (store, _) = Store::open(settings(root.path())).unwrap();
    assert_eq!(store.oldest_epoch(), None);
    let draft = draft(&store, 1);
    assert!(!settings(root.path()).is_begun());
    assert_eq!(opened(root.path()).unwrap(), None);
    store.finish(draft, 10).unwrap();
    assert!(settings(root.path()).is_begun());
    assert_eq!(opened(root.path()).unwrap(), Some(1));
    store.delete().unwrap();
    assert!(!settings(root.path()).is_begun());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn the_last_two_are_kept_and_the_journal_is_needed_from_the_older_one_on() {
    let root = taken(5);
    assert_eq!(folders(root.path()), ["4", "5"]);
    assert_eq!(opened(root.path()).unwrap(), Some(5));
    let (store, _) = Store::open(settings(root.path())).unwrap();
    assert_eq!(store.oldest_epoch(), Some(40));
    take(&store, 6);
    assert_eq!(store.oldest_epoch(), Some(50));
    assert_eq!(folders(root.path()), ["5", "6"]);
}

#[test]
fn another_program_is_refused_with_both_ways_out() {
    let root = taken(1);
    let other = CheckpointSettings { identity: "b".into(), ..settings(root.path()) };
    let refused = Store::open(other).unwrap_err().to_string();
    let folder = root.path().join("checkpoint").display().to_string();
    let expected = format!(
        "{folder} is of a run with other statements, options or files, or of a version that works otherwise"
    );
    assert!(refused.starts_with(&expected), "{refused}");
    assert!(refused.contains("take another folder, or begin anew: add --new-state"), "{refused}");
    assert_eq!(opened(root.path()).unwrap(), Some(1));
}

#[test]
fn a_later_format_is_refused() {
    let root = taken(2);
    let path = root.path().join("checkpoint/2/manifest");
    let text = fs::read_to_string(&path).unwrap().replace("checkpoint 2\n", "checkpoint 3\n");
    let body = &text[..text.find("checksum").unwrap()];
    fs::write(&path, format!("{body}checksum {:032x}\n", xxhash_rust::xxh3::xxh3_128(body.as_bytes())))
        .unwrap();
    let refused = opened(root.path()).unwrap_err().to_string();
    assert!(refused.contains("has format 3 of checkpoints, and this version knows 2"), "{refused}");
}

#[test]
fn a_table_of_many_rows_is_written_in_pieces_and_comes_back_whole() {
    let root = tempfile::tempdir().unwrap();
    let names: Vec<Option<String>> =
        (0..150_000).map(|row| (row % 7 > 0).then(|| format!("row {row}"))).collect();
    let words: DictionaryArray<Int32Type> = names.iter().map(|_| Some("pump")).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("number", Arc::new(Int64Array::from_iter_values(0..150_000))),
        ("name", Arc::new(StringArray::from(names))),
        ("word", Arc::new(words)),
    ];
    let mut snapshot = Snapshot::default();
    snapshot.put("rows", RecordBatch::try_from_iter(columns).unwrap());
    snapshot.put("after", table("n:i \n 1"));
    let large = Parts::from([("node 1".to_owned(), snapshot)]);
    let (store, _) = Store::open(settings(root.path())).unwrap();
    let mut draft = store.create(1).unwrap();
    write(&mut draft, Place::Worker(0), large.clone()).unwrap();
    store.finish(draft, 1).unwrap();
    let (_, restored) = Store::open(settings(root.path())).unwrap();
    assert_eq!(restored.unwrap().worker(0), large);
}

/// Changes a byte, or cuts the file. A file is written in place: file systems sync one that is replaced.
fn damage(file: &Path, random: &mut TestRng) {
    let bytes = fs::read(file).unwrap();
    let place = random.next_u64() % bytes.len() as u64;
    let opened = File::options().write(true).open(file).unwrap();
    if random.next_u32().is_multiple_of(3) {
        opened.set_len(place).unwrap();
    } else {
        let mask = u8::try_from(1 + random.next_u32() % 255).unwrap();
        opened.write_all_at(&[bytes[usize::try_from(place).unwrap()] ^ mask], place).unwrap();
    }
}

#[test]
fn wherever_a_file_is_damaged_the_other_checkpoint_is_used_or_none() {
    let root = taken(2);
    let files: Vec<PathBuf> = files(&root.path().join("checkpoint")).into_iter().collect();
    assert_eq!(files.len(), 8);
    let (older, newer) = files.split_at(4);
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for case in 0..5_000 {
        let mut damaged = Vec::new();
        for (files, is_chosen) in [(older, case % 10 != 0), (newer, case % 10 != 1)] {
            let file = &files[random.next_u32() as usize % 4];
            if is_chosen {
                damaged.push((file, fs::read(file).unwrap()));
                damage(file, &mut random);
            }
        }
        match (case % 10, opened(root.path())) {
            (0, found) => assert_eq!(found.unwrap(), Some(1)),
            // The hashes of an older one are looked at when it is needed.
            (1, found) => assert_eq!(found.unwrap(), Some(2)),
            (_, found) => {
                let told = found.unwrap_err().to_string();
                for (file, _) in &damaged {
                    assert!(told.contains(&file.display().to_string()), "{told}");
                }
            }
        }
        for (file, bytes) in damaged {
            File::options().write(true).open(file).unwrap().write_all_at(&bytes, 0).unwrap();
        }
    }
}

#[test]
fn when_all_are_damaged_nothing_is_deleted_and_each_file_is_told() {
    let root = taken(3);
    let checkpoint = root.path().join("checkpoint");
    fs::write(checkpoint.join("2/worker-1"), "short").unwrap();
    fs::remove_file(checkpoint.join("3/program")).unwrap();
    let before = files(&checkpoint);
    assert!(settings(root.path()).is_begun());
    let told = opened(root.path()).unwrap_err().to_string();
    assert!(told.contains("3/program is damaged: No such file"), "{told}");
    assert!(told.contains("2/worker-1 is damaged: it has 5 bytes, and "), "{told}");
    assert!(told.contains("or delete"), "{told}");
    // Nor is it taken for a new program when the manifests are gone.
    fs::remove_file(checkpoint.join("2/manifest")).unwrap();
    fs::remove_file(checkpoint.join("3/manifest")).unwrap();
    assert!(settings(root.path()).is_begun());
    let told = opened(root.path()).unwrap_err().to_string();
    assert!(told.contains("3/manifest is damaged: it is missing"), "{told}");
    assert_eq!(files(&checkpoint).len(), before.len() - 2);
}

#[test]
fn after_a_damaged_checkpoint_the_next_one_has_a_number_of_its_own() {
    let root = taken(4);
    fs::write(root.path().join("checkpoint/4/worker-0"), "").unwrap();
    let (store, _) = Store::open(settings(root.path())).unwrap();
    assert_eq!(store.oldest_epoch(), Some(30));
    take(&store, 4);
    assert_eq!(folders(root.path()), ["3", "5"]);
    assert_eq!(store.oldest_epoch(), Some(30));
    assert_eq!(opened(root.path()).unwrap(), Some(4));
}

/// A step of taking checkpoint 3 undone, and which checkpoint is then the newest.
type Crash = (&'static str, fn(&Path), usize);

#[test]
fn a_crash_at_any_step_leaves_checkpoints_to_go_on_from() {
    let crashes: [Crash; 7] = [
        ("the folder is there", |new| files(new).iter().for_each(|file| fs::remove_file(file).unwrap()), 2),
        (
            "one worker is writing",
            |new| {
                ["manifest", "program", "worker-1"]
                    .iter()
                    .for_each(|file| fs::remove_file(new.join(file)).unwrap());
                fs::write(new.join("worker-0"), "half").unwrap();
            },
            2,
        ),
        (
            "the workers have written",
            |new| {
                ["manifest", "program"].into_iter().for_each(|file| fs::remove_file(new.join(file)).unwrap())
            },
            2,
        ),
        ("all but the manifest is there", |new| fs::remove_file(new.join("manifest")).unwrap(), 2),
        (
            "the manifest is being written",
            |new| {
                fs::remove_file(new.join("manifest")).unwrap();
                fs::write(new.join("manifest.tmp"), "lineshaft checkp").unwrap();
            },
            2,
        ),
        (
            "the manifest has its second name only",
            |new| fs::rename(new.join("manifest"), new.join("manifest.tmp")).unwrap(),
            2,
        ),
        ("it is whole", |_| {}, 3),
    ];
    for (step, undo, newest) in crashes {
        let before = taken(2);
        let root = taken(3);
        // The oldest one is deleted last of all.
        copy(&before.path().join("checkpoint/1"), &root.path().join("checkpoint/1"));
        undo(&root.path().join("checkpoint/3"));
        goes_on(root.path(), newest, step);
    }
    // Of the oldest one the manifest is deleted first.
    let (before, root) = (taken(2), taken(3));
    let oldest = root.path().join("checkpoint/1");
    copy(&before.path().join("checkpoint/1"), &oldest);
    for file in ["manifest", "worker-0", "program"] {
        fs::remove_file(oldest.join(file)).unwrap();
        goes_on(root.path(), 3, file);
    }
}

/// The program goes on from checkpoint `newest`, and the next one leaves nothing else behind but it.
fn goes_on(root: &Path, newest: usize, step: &str) {
    assert!(settings(root).is_begun(), "{step}");
    assert_eq!(opened(root).unwrap(), Some(newest), "{step}");
    let copied = tempfile::tempdir().unwrap();
    for folder in folders(root) {
        copy(&root.join("checkpoint").join(&folder), &copied.path().join("checkpoint").join(&folder));
    }
    let (store, _) = Store::open(settings(copied.path())).unwrap();
    take(&store, newest + 1);
    let expected = [newest, newest + 1].map(|number| number.to_string());
    assert_eq!(folders(copied.path()), expected, "{step}");
    assert_eq!(opened(copied.path()).unwrap(), Some(newest + 1), "{step}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_crash_in_the_first_checkpoint_begins_anew_and_one_at_the_end_has_ended() {
    let root = taken(1);
    fs::remove_file(root.path().join("checkpoint/1/manifest")).unwrap();
    assert!(!settings(root.path()).is_begun());
    let (store, restored) = Store::open(settings(root.path())).unwrap();
    assert!(restored.is_none());
    take(&store, 1);
    assert_eq!(folders(root.path()), ["1"]);
    fs::rename(root.path().join("checkpoint"), root.path().join("checkpoint.ended")).unwrap();
    fs::remove_file(root.path().join("checkpoint.ended/1/program")).unwrap();
    let (store, restored) = Store::open(settings(root.path())).unwrap();
    assert!(restored.is_none());
    take(&store, 1);
    store.delete().unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_older_checkpoints_usable() {
    use std::os::unix::fs::symlink;

    let root = taken(2);
    let (store, _) = Store::open(settings(root.path())).unwrap();
    for file in ["worker-0", "program", "manifest.tmp"] {
        let mut draft = store.create(2).unwrap();
        // Every write to this device finds no room.
        symlink("/dev/full", root.path().join("checkpoint/3").join(file)).unwrap();
        let places = [Place::Program, Place::Worker(0), Place::Worker(1)];
        let written = places
            .into_iter()
            .try_for_each(|place| write(&mut draft, place, parts(3)))
            .and_then(|()| store.finish(draft, 30));
        let Error::File { action: "write", source, .. } = written.unwrap_err() else {
            panic!("another error")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(opened(root.path()).unwrap(), Some(2), "{file}");
        assert_eq!(store.oldest_epoch(), Some(10));
    }
    take(&store, 3);
    assert_eq!(opened(root.path()).unwrap(), Some(3));
    assert_eq!(folders(root.path()), ["2", "3"]);
}

/// Written by the last version with this format.
#[test]
fn a_checkpoint_of_format_1_can_be_gone_on_from_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoint-1");
    let settings = CheckpointSettings { folder: folder.clone(), ..settings(&folder) };
    assert_eq!(open(settings.clone()).unwrap(), Some(2));
    let (store, _) = Store::open(settings).unwrap();
    assert_eq!(store.oldest_epoch(), Some(10));
}
