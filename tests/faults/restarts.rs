//! Restarts while windows are open: the watermark is where it was, neither before nor after.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::json;

use super::plant::{Plant, assert_same};
use super::{figures, setting};
use crate::support::seeded::Seeded;

/// Readings between two restarts.
const READINGS: u64 = 15;

/// The last line of the log that says what of the readings went where.
fn accounts(said: &str) -> String {
    let line = said.lines().find(|line| line.contains("readings: ") && line.contains(" received = "));
    line.unwrap_or_else(|| panic!("{said}")).split("INFO ").nth(1).unwrap().to_owned()
}

/// Posts readings, and one that is seconds behind: late, with and without a restart.
fn work(plant: &Plant, live: &mut super::live::Live, from: u64) -> u64 {
    let next = from + READINGS;
    assert_eq!(plant.deliver(live, from, next), next, "{}", live.said());
    let late = super::plant::body(from.saturating_sub(900)..from.saturating_sub(899));
    if from > 900 {
        assert_eq!(plant.client().post("application/json", &late), Some(204), "{}", live.said());
    }
    next
}

#[test]
fn restarts_inside_windows_neither_move_the_watermark_nor_give_a_window_twice() {
    let folder = tempfile::tempdir().unwrap();
    let restarts = setting("LINESHAFT_RESTARTS", 8);
    let mut random = Seeded::new(setting("LINESHAFT_SEED", 1));
    let begun = Plant::new(&folder.path().join("begun"));
    begun.run(0, 1_000);
    let whole = begun.copied(&folder.path().join("whole"));
    let (mut live, mut next) = (whole.start(), 1_000);
    for _ in 0..restarts {
        next = work(&whole, &mut live, next);
    }
    let expected = accounts(&live.stop());

    let (mut next, mut kills) = (1_000, 0);
    let mut said = String::new();
    for restart in 0..restarts {
        let mut live = begun.start();
        next = work(&begun, &mut live, next);
        if restart + 1 < restarts && random.chance(50) {
            live.kill();
            kills += 1;
        } else {
            said = live.stop();
        }
    }
    assert_eq!(accounts(&said), expected);
    assert_same(&begun.outcome(), &whole.outcome(), "after the restarts");
    let readings = expected.split("readings: ").nth(1).unwrap();
    let late: u64 = readings.split(" late").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(late > 0, "{expected}");
    figures(
        "restarts inside windows",
        json!({ "restarts": restarts, "kills": kills, "late": late, "rows_changed": 0 }),
    );
}

#[test]
fn a_stop_while_it_starts_is_in_order_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plant = Plant::new(&folder.path().join("plant"));
    plant.run(0, 200);
    let whole = plant.copied(&folder.path().join("whole"));
    whole.run(200, 400);
    for milliseconds in [10, 30, 60, 100, 150, 250, 400, 700] {
        let live = plant.start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let (status, said) = live.end();
        // Until it listens for signals, the system ends it.
        let is_in_order = status.code() == Some(0) || status.signal() == Some(15);
        assert!(is_in_order, "after {milliseconds} ms: {status:?}\n{said}");
    }
    plant.run(200, 400);
    assert_same(&plant.outcome(), &whole.outcome(), "after stops");
}
