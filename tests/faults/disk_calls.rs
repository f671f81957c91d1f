//! A disk call at which the program is killed, or which fails: strace injects it into a short run with a journal,
//! checkpoints, Parquet and a file that is followed. It must go on, and have written what an undisturbed run writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::plant::{Plant, assert_same};
use super::shim::Shim;
use super::{figures, setting};
use crate::support::seeded::Seeded;

/// The calls by which files come to be what they are. A kill comes before the call is made.
const CALLS: [&str; 9] =
    ["fdatasync", "fsync", "pwrite64", "write", "rename", "fallocate", "unlink", "unlinkat", "mkdir"];
/// Those that say at once when a disk fails. A rename or a folder that fails says so, too, but of other things.
const FAILING: [&str; 3] = ["fdatasync", "fsync", "pwrite64"];

/// Readings before the disturbed run, up to its end, and after it.
const READINGS: [u64; 3] = [300, 700, 1000];

/// A data directory of a program that was stopped, and what must be there in the end.
struct Begun {
    plant: Plant,
    expected: Vec<String>,
}

impl Begun {
    fn new(folder: &Path) -> Self {
        let plant = Plant::new(&folder.join("begun"));
        plant.run(0, READINGS[0]);
        let whole = plant.copied(&folder.join("whole"));
        whole.run(READINGS[0], READINGS[1]);
        whole.run(READINGS[1], READINGS[2]);
        let expected = whole.outcome();
        assert!(expected.len() > 1_000, "{}", expected.len());
        Self { plant, expected }
    }

    /// How often a run makes each of [`CALLS`] in one thread: strace counts them by thread.
    fn count(&self, folder: &Path) -> Option<Vec<u64>> {
        let plant = self.plant.copied(&folder.join("counted"));
        let log = folder.join("calls");
        let trace = format!("trace={}", CALLS.join(","));
        let mut live = plant.start_traced(&["-o", log.to_str().unwrap(), "-e", &trace])?;
        plant.deliver(&mut live, READINGS[0], READINGS[1]);
        live.stop();
        let log = fs::read_to_string(log).unwrap();
        let most = |call: &str| {
            let mut by_thread = BTreeMap::<&str, u64>::new();
            for line in log.lines().filter(|line| line.contains(&format!(" {call}("))) {
                *by_thread.entry(line.split(' ').next().unwrap()).or_default() += 1;
            }
            by_thread.into_values().max().unwrap_or(0)
        };
        Some(CALLS.map(most).to_vec())
    }

    /// Runs with a fault, and then without; gives how the first run ended and what it said.
    fn run_with(
        &self,
        folder: &Path,
        call: &str,
        injected: &str,
        when: u64,
    ) -> Option<(Option<i32>, String)> {
        let plant = self.plant.copied(folder);
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{injected}:when={when}"));
        let mut live = plant.start_traced(&["-o", "/dev/null", "-e", &trace, "-e", &inject])?;
        let acknowledged = plant.deliver(&mut live, READINGS[0], READINGS[1]);
        let (status, said) = live.end();
        plant.run(acknowledged, READINGS[2]);
        assert_same(&plant.outcome(), &self.expected, &format!("{inject} after {acknowledged}\n{said}"));
        fs::remove_dir_all(folder).unwrap();
        Some((status.code(), said))
    }
}

/// Which calls, by their number: all, or so many of each that are chosen at random.
fn chosen(count: u64, most: u64, random: &mut Seeded) -> Vec<u64> {
    let mut numbers: Vec<u64> = (1..=count).collect();
    while numbers.len() as u64 > most {
        let place = random.index(numbers.len());
        numbers.remove(place);
    }
    numbers
}

#[test]
fn killed_at_any_call_of_the_disk_it_goes_on_and_writes_what_it_would_have_written() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Begun::new(folder.path());
    let Some(counts) = begun.count(folder.path()) else { return };
    let (most, mut random) = (setting("LINESHAFT_CRASHES", 1), Seeded::new(setting("LINESHAFT_SEED", 1)));
    let (mut points, mut died, mut by_call) = (0, 0, BTreeMap::new());
    for (call, count) in CALLS.into_iter().zip(counts) {
        for when in chosen(count, most, &mut random) {
            let run = begun.run_with(&folder.path().join("run"), call, "signal=KILL", when).unwrap();
            points += 1;
            died += u64::from(run.0.is_none());
        }
        by_call.insert(call, count);
    }
    let readings = READINGS[2];
    figures(
        "killed at a disk call",
        json!({
            "calls": by_call, "points": points, "died": died, "readings": readings, "lost": 0, "doubled": 0,
        }),
    );
}

#[test]
fn a_call_of_the_disk_that_fails_ends_the_program_and_the_next_start_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Begun::new(folder.path());
    let Some(counts) = begun.count(folder.path()) else { return };
    let (most, mut random) = (setting("LINESHAFT_FAILURES", 1), Seeded::new(setting("LINESHAFT_SEED", 1)));
    let (mut points, mut ended) = (0, 0);
    for (call, count) in CALLS.into_iter().zip(counts).filter(|(call, _)| FAILING.contains(call)) {
        for when in chosen(count, most, &mut random) {
            let run = begun.run_with(&folder.path().join("run"), call, "error=EIO", when).unwrap();
            points += 1;
            let (code, said) = run;
            // Threads share the work in another way each time: the call may not have been made.
            if code == Some(0) {
                continue;
            }
            assert_eq!(code, Some(3), "{call} {when}: {said}");
            assert!(said.contains("Input/output error"), "{call} {when}: {said}");
            ended += 1;
        }
    }
    figures(
        "EIO at a disk call",
        json!({ "points": points, "ended_with_the_cause": ended, "lost": 0, "doubled": 0 }),
    );
}

#[test]
fn writes_that_take_half_or_are_interrupted_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return };
    let begun = Begun::new(folder.path());
    for faults in [("FAULTS_SHORT", "2"), ("FAULTS_EINTR", "2"), ("FAULTS_EINTR", "3")] {
        let plant = begun.plant.copied(&folder.path().join("run"));
        let mut live = plant.start_with(&shim.environment(&[faults]), &[]);
        let acknowledged = plant.deliver(&mut live, READINGS[0], READINGS[1]);
        assert_eq!(acknowledged, READINGS[1], "{}", live.said());
        live.stop();
        plant.run(READINGS[1], READINGS[2]);
        assert_same(&plant.outcome(), &begun.expected, faults.0);
        fs::remove_dir_all(&plant.folder).unwrap();
    }
    figures("short and interrupted writes", json!({ "runs": 3, "lost": 0, "doubled": 0 }));
}
