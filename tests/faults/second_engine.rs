//! Two engines and one data directory: one that is stopped and revived is still the only one, and one that died is not.

use serde_json::json;

use super::figures;
use super::plant::{Plant, assert_same};

#[test]
fn as_long_as_an_engine_lives_though_it_is_stopped_no_other_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let plant = Plant::new(&folder.path().join("plant"));
    let whole = Plant::new(&folder.path().join("whole"));
    whole.run(0, 300);
    let mut first = plant.start();
    assert_eq!(plant.deliver(&mut first, 0, 100), 100);
    plant.read_the_file(&first);
    let here = first.said();
    first.signal("STOP");
    // The other one listens elsewhere, so that it is not the port that stops it.
    let said = || {
        let (status, said) = Plant::there(&plant.folder).start().ended();
        assert_eq!(status.code(), Some(3), "{said}");
        assert!(said.contains("another engine runs on"), "{said}");
    };
    said();
    first.signal("CONT");
    assert_eq!(plant.deliver(&mut first, 100, 200), 200, "{here}");
    said();
    // What is stopped and then killed cannot come back.
    first.signal("STOP");
    first.kill();
    let mut second = plant.start();
    assert_eq!(plant.deliver(&mut second, 200, 300), 300, "{}", second.said());
    second.stop();
    assert_same(&plant.outcome(), &whole.outcome(), "after the second engine");
    let incarnations: Vec<u64> = plant.commits().iter().map(|commit| commit.incarnation).collect();
    assert!(incarnations.is_sorted(), "{incarnations:?}");
    let starts: std::collections::BTreeSet<u64> = incarnations.iter().copied().collect();
    assert_eq!(starts.into_iter().collect::<Vec<_>>(), [1, 2], "a refused engine has written nothing");
    figures("second engine", json!({ "refused": 2, "commits": incarnations.len(), "written_by_others": 0 }));
}
