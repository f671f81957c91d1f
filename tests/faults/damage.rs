//! Bits that flip and files that are cut, at random places of the journal and of the checkpoints. A start refuses what it
//! finds, uses the older checkpoint, or cuts off a write that looks like one that was not finished. It never gives wrong rows.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::plant::Plant;
use super::{figures, progress, setting};
use crate::support::seeded::Seeded;

/// Readings before the stop, up to the kill, and after it.
const READINGS: [u64; 3] = [300, 700, 720];

/// The files of journal and checkpoints, but for the lock.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "lock") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Where bytes of a file are that are not zero: of a segment most is reserved room.
fn used(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Flips a bit or cuts the file; says what was done.
fn damage(file: &Path, used: u64, random: &mut Seeded) -> String {
    let opened = File::options().read(true).write(true).open(file).unwrap();
    let length = opened.metadata().unwrap().len();
    // One in ten anywhere, also where nothing is written yet.
    let limit = if random.chance(10) { length } else { used.max(1) };
    let at = random.next() % limit;
    if random.chance(30) {
        opened.set_len(at).unwrap();
        return format!("{} cut at {at}", file.display());
    }
    let (mut byte, bit) = ([0], random.next() % 8);
    opened.read_exact_at(&mut byte, at).unwrap();
    opened.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
    format!("{} byte {at} bit {bit}", file.display())
}

#[derive(Default)]
struct Found {
    refused: u64,
    older_checkpoint: u64,
    torn: u64,
    unharmed: u64,
}

#[test]
fn damage_anywhere_is_refused_or_survived_and_never_gives_wrong_rows() {
    let folder = tempfile::tempdir().unwrap();
    let plant = Plant::new(&folder.path().join("whole"));
    // Two checkpoints, and a journal behind them.
    plant.run(0, READINGS[0]);
    let mut live = plant.start();
    assert_eq!(plant.deliver(&mut live, READINGS[0], READINGS[1]), READINGS[1]);
    live.kill();
    let expected = {
        let undisturbed = plant.copied(&folder.path().join("undisturbed"));
        undisturbed.run(READINGS[1], READINGS[2]);
        undisturbed.outcome()
    };
    let of_plant = |name: &str| files(&plant.folder.join("data").join(name));
    let files: Vec<(PathBuf, u64)> = [of_plant("journal"), of_plant("checkpoints")]
        .concat()
        .into_iter()
        .map(|file| (file.strip_prefix(&plant.folder).unwrap().to_owned(), used(&file)))
        .collect();
    let (cases, mut random) = (setting("LINESHAFT_DAMAGES", 16), Seeded::new(setting("LINESHAFT_SEED", 1)));
    let mut found = Found::default();
    for case in 0..cases {
        progress("damages", case, cases);
        let copy = plant.copied(&folder.path().join("damaged"));
        let (file, used) = random.pick(&files);
        let what = damage(&copy.folder.join(&file), used, &mut random);
        start(&copy, &what, &expected, &mut found);
        fs::remove_dir_all(&copy.folder).unwrap();
    }
    let Found { refused, older_checkpoint, torn, unharmed } = found;
    figures(
        "damaged files",
        json!({
            "cases": cases, "refused": refused, "older_checkpoint": older_checkpoint, "torn_tail": torn,
            "unharmed": unharmed, "wrong_rows": 0,
        }),
    );
}

/// Starts from damaged files: what it gives is right, or it says why it gives nothing.
fn start(copy: &Plant, what: &str, expected: &[String], found: &mut Found) {
    let mut live = copy.start();
    let taken = copy.deliver(&mut live, READINGS[1], READINGS[2]);
    if taken < READINGS[2] {
        let (status, said) = live.ended();
        assert_eq!(status.code(), Some(3), "{what}\n{said}");
        let is_told =
            said.contains("damaged") || said.contains("has format") || said.contains("of another journal");
        assert!(is_told && said.contains("data/"), "{what}\n{said}");
        found.refused += 1;
        return;
    }
    let said = live.stop();
    // Of the last write of the journal nobody can say whether it was finished.
    let all = copy.outcome();
    if all == expected {
        let used_older = said.contains("goes on with another checkpoint");
        *(if used_older { &mut found.older_checkpoint } else { &mut found.unharmed }) += 1;
        return;
    }
    found.torn += 1;
    assert!(what.contains(".ljn"), "{what}: other rows\n{said}");
    let missing = lost(copy);
    let last = READINGS[1] - 20..READINGS[1];
    assert!(missing.iter().all(|n| last.contains(n)), "{what}: {missing:?} are missing\n{said}");
}

/// The numbers that are not in the history.
fn lost(copy: &Plant) -> Vec<u64> {
    let sql = "SELECT n FROM history ORDER BY n";
    let (_, batches) = lineshaft::history::query(sql, &copy.folder.join("data")).unwrap();
    let found = lineshaft::engine::testing::lines(&batches);
    (0..READINGS[2]).filter(|n| !found.contains(&n.to_string())).collect()
}
