//! Large tables, whose parts are files of their own, and are shared by checkpoints that have them in common.

use std::os::unix::fs::MetadataExt;

use super::*;

/// What a worker has at checkpoint `number`: one table that does not change, and one that does.
fn large_parts(number: usize) -> Parts {
    let rows = |first: i64| -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 1_000));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    };
    let mut parts = kept(number);
    let snapshot = parts.get_mut("node 3").unwrap();
    snapshot.put("same", rows(0));
    snapshot.put("changed", rows(i64::try_from(number).unwrap()));
    parts
}

fn take_large(store: &Store, number: usize) {
    let mut draft = store.create(1).unwrap();
    write(&mut draft, Place::Program, kept(number)).unwrap();
    write(&mut draft, Place::Worker(0), large_parts(number)).unwrap();
    store.finish(draft, 10 * number as Epoch).unwrap();
}

/// Which of the checkpoints the program goes on from.
fn opened_large(settings: CheckpointSettings) -> Result<usize> {
    let restored = Store::open(settings)?.1.unwrap();
    let number = (0..20).find(|number| restored.program == kept(*number)).unwrap();
    assert_eq!(restored.worker(0), large_parts(number));
    Ok(number)
}

/// The files of parts of a checkpoint, with the number of names that each has.
fn links(root: &Path, checkpoint: &str) -> Vec<u64> {
    let files = files(&root.join("checkpoint").join(checkpoint));
    let parts = files.iter().filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("part-"));
    let mut links: Vec<u64> = parts.map(|part| fs::metadata(part).unwrap().nlink()).collect();
    links.sort_unstable();
    links
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(settings(root.path())).unwrap();
    take_large(&store, 1);
    assert_eq!(links(root.path(), "1"), [1, 1]);
    for number in 2..5 {
        take_large(&store, number);
        assert_eq!(links(root.path(), &(number - 1).to_string()), [1, 2]);
        assert_eq!(links(root.path(), &number.to_string()), [1, 2]);
        assert_eq!(opened_large(settings(root.path())).unwrap(), number);
    }
    // Also after a restart: it has read what it links.
    let (store, _) = Store::open(settings(root.path())).unwrap();
    take_large(&store, 5);
    assert_eq!(folders(root.path()), ["4", "5"]);
    assert_eq!(links(root.path(), "5"), [1, 2]);
    // Of the older one nobody has looked at the parts.
    fs::write(root.path().join("checkpoint/5/worker-0"), "").unwrap();
    let (store, _) = Store::open(settings(root.path())).unwrap();
    take_large(&store, 6);
    assert_eq!(folders(root.path()), ["4", "6"]);
    assert_eq!(links(root.path(), "6"), [1, 2], "it is that which was gone on from");
}

#[test]
fn a_part_that_is_damaged_is_told_and_what_does_not_have_it_is_used() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(settings(root.path())).unwrap();
    (1..3).for_each(|number| take_large(&store, number));
    let all = files(&root.path().join("checkpoint/2"));
    let parts = all.iter().filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("part-"));
    for part in parts {
        let (bytes, is_shared) = (fs::read(part).unwrap(), fs::metadata(part).unwrap().nlink() > 1);
        let file = File::options().write(true).open(part).unwrap();
        file.write_all_at(&[bytes[700] ^ 1], 700).unwrap();
        match opened_large(settings(root.path())) {
            Ok(older) => assert!(older == 1 && !is_shared),
            Err(error) => {
                let name = part.file_name().unwrap().to_str().unwrap();
                assert!(is_shared && error.to_string().matches(name).count() == 2, "{error}");
            }
        }
        file.write_all_at(&bytes, 0).unwrap();
    }
    assert_eq!(opened_large(settings(root.path())).unwrap(), 2);
}

#[test]
fn a_part_that_is_missing_or_has_another_name_is_damage() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(settings(root.path())).unwrap();
    take_large(&store, 1);
    let all = files(&root.path().join("checkpoint/1"));
    let part =
        all.iter().find(|file| file.file_name().unwrap().to_str().unwrap().starts_with("part-")).unwrap();
    fs::rename(part, part.with_file_name("part-0")).unwrap();
    let told = opened_large(settings(root.path())).unwrap_err().to_string();
    assert!(told.contains(part.file_name().unwrap().to_str().unwrap()), "{told}");
}

/// Written by the first version with this format: `UPDATE_FIXTURES=1` writes it again, which only a new format needs.
#[test]
fn a_checkpoint_of_format_2_can_be_gone_on_from_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoint-2");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        let written = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(settings(written.path())).unwrap();
        (1..3).for_each(|number| take_large(&store, number));
        for number in ["1", "2"] {
            copy(&written.path().join("checkpoint").join(number), &folder.join(number));
        }
    }
    let settings = CheckpointSettings { folder: folder.clone(), ..settings(&folder) };
    assert_eq!(opened_large(settings.clone()).unwrap(), 2);
    assert_eq!(Store::open(settings).unwrap().0.oldest_epoch(), Some(10));
}
