//! A disk that is full for a while: nothing is acknowledged, and when there is room it goes on by itself.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use lineshaft::engine::clock::Clock;
use serde_json::json;

use super::live::{Ends, wait_for};
use super::plant::{Plant, assert_same, body};
use super::{figures, setting};
use crate::support::small_disk::SmallDisk;

#[test]
fn a_full_disk_stalls_the_program_and_it_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Plant::new(&folder.path().join("whole"));
    whole.run(0, 600);
    let plant = Plant::new(&folder.path().join("plant"));
    let Some(disk) = SmallDisk::mount(plant.folder.join("data"), "256m") else { return };
    let (mut live, clock) = (plant.start(), Clock::system());
    assert_eq!(plant.deliver(&mut live, 0, 200), 200, "{}", live.said());
    plant.read_the_file(&live);
    // Less is left than what the journal leaves free.
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![1; 150 << 20]).unwrap();
    let full = clock.steady();
    let ends = AtomicBool::new(false);
    let (until, again) = std::thread::scope(|scope| {
        let guard = Ends(&ends);
        let sending = scope.spawn(|| {
            let (mut client, mut next, mut answers) = (plant.client(), 200, Vec::new());
            // One that waits is answered when there is room.
            while next < 600 && !ends.load(Ordering::SeqCst) {
                if client.post("application/json", &body(next..next + 20)) == Some(204) {
                    next += 20;
                    answers.push(clock.steady());
                }
            }
            answers
        });
        wait_for("the stall", || live.said().contains("STALLED(disk)"));
        sleep(Duration::from_millis(setting("LINESHAFT_FULL_MS", 1_500)));
        let freed = clock.steady();
        fs::remove_file(&filler).unwrap();
        let answers = sending.join().unwrap();
        drop(guard);
        let before = answers.iter().filter(|at| **at < freed).max().map_or(0, |at| (at - full).max(0));
        let after = answers.iter().find(|at| **at >= freed).map(|at| at - freed);
        (before, after.expect("it goes on"))
    });
    wait_for("the end of the stall", || live.said().contains("there is room for the journal again"));
    assert!(live.is_alive());
    live.stop();
    assert_same(&plant.outcome(), &whole.outcome(), "after the disk was full");
    let (stopped_ms, resumed_ms) = (until / 1000, again / 1000);
    figures(
        "full disk",
        json!({ "acknowledged_until_ms": stopped_ms, "again_after_ms": resumed_ms, "lost": 0, "doubled": 0 }),
    );
}
