//! A power cut: the disk of a running program, a file with ext4 in it, is copied as it is at some moment, and the program
//! starts from the copy. What was not synced is not in it, or only some of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lineshaft::engine::clock::Clock;
use lineshaft::engine::testing::lines;
use lineshaft::history;
use serde_json::json;

use super::live::{Ends, wait_for};
use super::plant::{Plant, assert_same, body};
use super::{figures, progress, setting};
use crate::support::seeded::Seeded;

/// A disk in a file, mounted.
struct LoopDisk {
    image: PathBuf,
    mounted: PathBuf,
}

impl LoopDisk {
    /// `None`, with a word on stderr, where that may not be done.
    fn make(folder: &Path) -> Option<Self> {
        let image = folder.join("image");
        fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-E", "lazy_itable_init=0"]).arg(&image).output();
        let disk =
            made.is_ok_and(|made| made.status.success()).then(|| Self::mount(image, folder.join("disk")));
        let disk = disk.flatten();
        if disk.is_none() {
            eprintln!(
                "skipped: a disk in a file cannot be mounted (that needs root, loop devices and mkfs.ext4)"
            );
        }
        disk
    }

    fn mount(image: PathBuf, mounted: PathBuf) -> Option<Self> {
        fs::create_dir_all(&mounted).unwrap();
        let mount = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mounted).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self { image, mounted })
    }

    /// What the disk has now, as another one. Copied again if something was written meanwhile.
    fn cut(&self, to: &Path) -> Self {
        fs::create_dir_all(to).unwrap();
        let image = to.join("image");
        for _ in 0..100 {
            let before = self.sectors_written();
            let copy = Command::new("cp").arg("--sparse=auto").arg(&self.image).arg(&image).status().unwrap();
            assert!(copy.success());
            if before == self.sectors_written() {
                return Self::mount(image, to.join("disk"))
                    .expect("a disk that can be mounted as the first one");
            }
        }
        panic!("the disk is never at rest, although its program is stopped");
    }

    fn sectors_written(&self) -> u64 {
        let found = Command::new("findmnt").args(["-no", "SOURCE"]).arg(&self.mounted).output().unwrap();
        let device = String::from_utf8(found.stdout).unwrap();
        let name = device.trim().trim_start_matches("/dev/");
        let facts = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        facts.split_whitespace().nth(6).unwrap().parse().unwrap()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.mounted).status().ok();
        fs::remove_file(&self.image).ok();
    }
}

/// Files of Parquet that somebody may see.
fn visible(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(visible(&path));
        } else if path.extension().is_some_and(|it| it == "parquet") && !hidden(&path) {
            found.push(path);
        }
    }
    found
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn numbers(data: &Path) -> Vec<u64> {
    let (_, batches) = history::query("SELECT n FROM history ORDER BY n", data).unwrap();
    lines(&batches).iter().map(|line| line.parse().unwrap()).collect()
}

/// The windows that have closed, and what they should have by the history.
fn windows(data: &Path) -> [Vec<String>; 2] {
    let found = "SELECT window_start, machine, c, n FROM sums ORDER BY 1, 2";
    let expected = "SELECT date_bin(INTERVAL '500' MILLISECOND, ts) AS w, machine, count(*) AS c, sum(n) AS n FROM history
        WHERE ts < (SELECT max(window_start) FROM sums) + INTERVAL '500' MILLISECOND GROUP BY w, machine ORDER BY 1, 2";
    [found, expected].map(|sql| lines(&history::query(sql, data).unwrap().1))
}

#[test]
fn after_a_power_cut_all_that_was_acknowledged_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = LoopDisk::make(folder.path()) else { return };
    let plant = Plant::new(&disk.mounted);
    // What the program is given is there; what it keeps is its own affair.
    assert!(Command::new("sync").arg("-f").arg(&disk.mounted).status().unwrap().success());
    let (cuts, mut random) = (setting("LINESHAFT_POWER_CUTS", 4), Seeded::new(setting("LINESHAFT_SEED", 1)));
    let (acknowledged, ends, rests) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let (clock, mut ready) = (Clock::system(), Vec::new());
    let mut more = 0;
    std::thread::scope(|scope| {
        let mut live = plant.start();
        let guard = Ends(&ends);
        let sending = scope.spawn(|| {
            let mut client = plant.client();
            let mut n = 0;
            while !ends.load(Ordering::SeqCst) {
                if rests.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                } else if client.post("application/json", &body(n..n + 20)) == Some(204) {
                    n += 20;
                    acknowledged.store(n, Ordering::SeqCst);
                }
            }
        });
        wait_for("the first reading", || acknowledged.load(Ordering::SeqCst) > 0);
        for cut in 0..cuts {
            std::thread::sleep(Duration::from_micros(random.next() % 400_000));
            live.signal("STOP");
            let least = acknowledged.load(Ordering::SeqCst);
            let copy = disk.cut(&folder.path().join("cut"));
            live.signal("CONT");
            // What comes meanwhile would have to be worked on after the next cut.
            rests.store(true, Ordering::SeqCst);
            let begun = clock.steady();
            let revived = Plant::there(&copy.mounted);
            let mut again = revived.start();
            let next = least + 100_000;
            assert_eq!(
                revived.deliver(&mut again, next, next + 20),
                next + 20,
                "cut {cut}: {}",
                again.said()
            );
            ready.push((clock.steady() - begun) / 1000);
            let mut said = again.stop();
            // A stop leaves what waits in the journal to the next start.
            while said.contains("wait in the journal") {
                let again = revived.start();
                wait_for("that it listens", || again.said().contains("listens on"));
                std::thread::sleep(Duration::from_secs(1));
                said = again.stop();
            }
            let data = copy.mounted.join("data");
            for file in visible(&data) {
                assert!(fs::metadata(&file).unwrap().len() > 0, "{} is empty", file.display());
            }
            let found = numbers(&data);
            let distinct: BTreeSet<u64> = found.iter().copied().collect();
            assert_eq!(distinct.len(), found.len(), "cut {cut}: none comes twice");
            let missing: Vec<u64> = (0..least).filter(|n| !distinct.contains(n)).collect();
            assert!(missing.is_empty(), "cut {cut}: of {least} acknowledged {} are missing", missing.len());
            more += distinct.iter().filter(|n| (least..next).contains(n)).count();
            let [closed, expected] = windows(&data);
            assert_same(&closed, &expected, &format!("cut {cut}: windows"));
            rests.store(false, Ordering::SeqCst);
            progress("power cuts", cut, cuts);
        }
        drop(guard);
        sending.join().unwrap();
        assert!(live.is_alive(), "{}", live.said());
        live.stop();
    });
    ready.sort_unstable();
    figures(
        "power cut",
        json!({
            "cuts": cuts, "acknowledged": acknowledged.into_inner(), "lost": 0, "doubled": 0, "kept_beyond_acknowledged": more,
            "ready_ms_p50": ready[ready.len() / 2], "ready_ms_max": ready[ready.len() - 1],
        }),
    );
}
