//! The same journal and other numbers of workers: the same rows, and with as many workers the same files to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lineshaft::engine::hash::hash_bytes;
use serde_json::json;

use super::plant::{Plant, assert_same};
use super::{figures, setting};

/// Hashes of all files that sinks have written, by their names.
fn hashes(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("journal") && !path.ends_with("checkpoints") {
            found.extend(hashes(&path));
        } else if path.extension().is_some_and(|it| it == "parquet") {
            let folder = folder.file_name().unwrap().to_string_lossy();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
            found.insert(name, hash_bytes(&fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn a_journal_gives_the_same_rows_with_any_number_of_workers_and_the_same_files_with_as_many() {
    let folder = tempfile::tempdir().unwrap();
    let plant = Plant::new(&folder.path().join("plant"));
    let (readings, runs) = (setting("LINESHAFT_READINGS", 2_000), setting("LINESHAFT_RUNS", 3));
    let mut live = plant.start();
    assert_eq!(plant.deliver(&mut live, 0, readings), readings);
    plant.read_the_file(&live);
    live.kill();
    // As if it had never come to a checkpoint: all is worked on again, and the number of workers is free.
    let kept = fs::read_dir(plant.folder.join("data")).unwrap();
    for entry in kept.map(|entry| entry.unwrap()).filter(|entry| entry.file_name() != "journal") {
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    let mut rows: Option<Vec<String>> = None;
    for workers in ["1", "2", "4"] {
        let mut files: Option<BTreeMap<String, u64>> = None;
        for run in 0..runs {
            let copy = plant.copied(&folder.path().join("copy"));
            let mut live = copy.start_with(&[], &["--workers", workers]);
            // Comes after all that is worked on again.
            assert_eq!(copy.deliver(&mut live, readings, readings + 20), readings + 20, "{}", live.said());
            live.stop();
            let what = format!("run {run} with {workers} workers");
            assert_same(&copy.outcome(), rows.get_or_insert_with(|| copy.outcome()), &what);
            let found = hashes(&copy.folder.join("data"));
            assert!(found.len() > 10, "{found:?}");
            assert_eq!(&found, files.get_or_insert_with(|| found.clone()), "{what}");
            fs::remove_dir_all(&copy.folder).unwrap();
        }
    }
    let rows = rows.map_or(0, |rows| rows.len());
    figures(
        "workers",
        json!({ "workers": [1, 2, 4], "runs_each": runs, "rows": rows, "rows_changed": 0, "files_changed": 0 }),
    );
}
