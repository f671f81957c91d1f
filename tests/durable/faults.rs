//! Disks that are full, that fail, and files that are not what was written.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{sleep, spawn};
use std::time::Duration;

use super::{by_http, free_port, post, query, start, stop, told, wait_for};
use crate::support::small_disk::SmallDisk;
use crate::support::{command, lineshaft};

#[test]
fn a_full_disk_stalls_the_program_and_it_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    let Some(disk) = SmallDisk::mount(folder.join("data"), "224m") else { return };
    fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    // Less than what the journal leaves free.
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![1; 128 << 20]).unwrap();
    let (sender, answers) = mpsc::channel();
    spawn(move || sender.send(post(port, 2, 10)));
    wait_for("the stall", || told(folder).contains("STALLED(disk)"));
    sleep(Duration::from_millis(700));
    assert!(answers.try_recv().is_err(), "nothing is acknowledged");
    fs::remove_file(filler).unwrap();
    assert_eq!(answers.recv_timeout(Duration::from_secs(10)), Ok(Some(204)), "{}", told(folder));
    wait_for("the end of the stall", || told(folder).contains("there is room for the journal again"));
    assert_eq!(post(port, 15, 100), Some(204));
    stop(&mut program, folder);
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n11.0\n", "{}", told(folder));
}

#[test]
fn a_start_on_a_full_disk_waits_for_room_and_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    let Some(disk) = SmallDisk::mount(folder.join("data"), "224m") else { return };
    fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    stop(&mut program, folder);
    let filler = disk.fill();
    let stalls = || told(folder).contains("STALLED(disk): no room for the journal");
    let mut program = start(folder, &[]);
    wait_for("the stall", stalls);
    stop(&mut program, folder);
    assert!(told(folder).contains("stopped before it had started"), "{}", told(folder));
    let mut program = start(folder, &[]);
    wait_for("the stall", stalls);
    fs::remove_file(filler).unwrap();
    wait_for("the end of the stall", || told(folder).contains("there is room for the journal again"));
    wait_for("the server", || post(port, 15, 10) == Some(204));
    stop(&mut program, folder);
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n1.0\n", "{}", told(folder));
}

#[test]
fn a_disk_without_room_for_checkpoints_does_not_end_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    let Some(disk) = SmallDisk::mount(folder.join("data/checkpoints"), "512k") else { return };
    let filler = disk.0.join("filler");
    let fill = || fs::write(&filler, vec![1; 1 << 20]).unwrap_err();
    fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    // Without the first one nothing is read.
    fill();
    let mut program = start(folder, &[]);
    wait_for("the stall", || told(folder).contains("STALLED(disk): no room for a checkpoint"));
    assert!(told(folder).contains("nothing is read until there is a first one"), "{}", told(folder));
    fs::remove_file(&filler).unwrap();
    wait_for("the end of the stall", || told(folder).contains("there is room for checkpoints again"));
    wait_for("the server", || post(port, 1, 1) == Some(204));
    // The last one, at a stop, is not needed: what came since the one before is in the journal.
    fill();
    stop(&mut program, folder);
    assert!(told(folder).contains("the program goes on, keeps the one before"), "{}", told(folder));
    fs::remove_file(&filler).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 15, 100) == Some(204));
    stop(&mut program, folder);
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n1.0\n", "{}", told(folder));
}

#[test]
fn a_sink_whose_disk_is_full_waits_and_goes_on_with_every_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    let Some(disk) = SmallDisk::mount(folder.join("small"), "1m") else { return };
    let path = disk.0.join("history").display().to_string();
    let program = by_http(port)
        + &format!(
            "CREATE SINK history FROM readings WITH (connector = 'parquet', path = '{path}', flush_interval = '0 ms');"
        );
    fs::write(folder.join("p.sql"), program).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    wait_for("the first rows", || {
        post(port, 2, 1);
        disk.0.join("history/.manifest").exists()
    });
    let filler = disk.fill();
    // What is in the journal is acknowledged, as long as the sink has not stopped all that comes.
    let (sender, answers) = mpsc::channel();
    spawn(move || {
        for _ in 0..40 {
            wait_for("an answer", || post(port, 3, 100) == Some(204));
            sender.send(()).ok();
        }
    });
    wait_for("the stall", || told(folder).contains("STALLED(disk): sink \"history\" has no room in"));
    assert!(program.try_wait().unwrap().is_none(), "{}", told(folder));
    fs::remove_file(filler).unwrap();
    wait_for("the end of the stall", || told(folder).contains("there is room in"));
    assert_eq!(answers.iter().count(), 40, "{}", told(folder));
    stop(&mut program, folder);
    let counted = query(folder, "SELECT count(*) AS c FROM history WHERE x = 100");
    assert_eq!(counted, "c\n40\n", "{}", told(folder));
}

/// Runs the program under strace, which injects a fault; `None`, with a word on stderr, where it is not installed.
fn start_with_fault(folder: &Path, fault: &[&str]) -> Option<Child> {
    let run = command(folder, &["run", "p.sql", "--data", "data", "--workers", "2"]);
    let said = fs::File::create(folder.join("said")).unwrap();
    let mut traced = Command::new("strace");
    traced.current_dir(folder).args(["-f", "-qq", "-o", "/dev/null"]).args(fault);
    traced.arg(run.get_program()).args(run.get_args()).stdout(Stdio::null()).stderr(said);
    let child = traced.spawn().ok();
    if child.is_none() {
        eprintln!("skipped: strace is not installed (apt-get install strace)");
    }
    child
}

#[test]
fn a_disk_that_fails_ends_the_program_and_what_was_acknowledged_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    // So that there is a journal, and the faults meet its commits.
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    stop(&mut program, folder);
    let fault = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=4+"];
    let Some(mut program) = start_with_fault(folder, &fault) else { return };
    let mut acknowledged = 0;
    let mut answers = 0;
    wait_for("the end", || {
        if let Some(status) = post(port, 2, 10) {
            answers += 1;
            acknowledged += u32::from(status == 204);
        }
        program.try_wait().unwrap().is_some()
    });
    assert_eq!(program.wait().unwrap().code(), Some(3), "{}", told(folder));
    assert!(told(folder).contains("could not sync"), "{}", told(folder));
    assert!(acknowledged < 4, "{acknowledged} of {answers}");
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 15, 100) == Some(204));
    stop(&mut program, folder);
    let sum = query(folder, "SELECT CAST(x AS BIGINT) AS x FROM sums");
    let sum: u32 = sum.lines().nth(1).unwrap().parse().unwrap();
    // What was not acknowledged may be there, too.
    assert!(sum > acknowledged * 10 && sum % 10 == 1, "{sum} with {acknowledged} acknowledged");
}

#[test]
fn a_damaged_journal_is_refused_with_its_place_and_can_be_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut program = start(folder, &[]);
    for second in 1..6 {
        wait_for("the server", || post(port, second, 10) == Some(204));
    }
    program.kill().unwrap();
    program.wait().unwrap();
    let segment = fs::read_dir(folder.join("data/journal")).unwrap();
    let segment = segment.map(|entry| entry.unwrap().path());
    let segment = segment.into_iter().find(|path| path.extension().is_some_and(|it| it == "ljn")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    // Within the first records.
    bytes[150] ^= 0x40;
    fs::write(&segment, bytes).unwrap();
    let run = ["run", "p.sql", "--data", "data"];
    lineshaft(folder, &run).exits(3).tells("is damaged at byte").tells("lineshaft journal repair");
    lineshaft(folder, &["journal", "repair", "data/journal"]).exits(0);
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 15, 0) == Some(204));
    stop(&mut program, folder);
    let sum = query(folder, "SELECT CAST(x AS BIGINT) AS x FROM sums");
    assert_eq!(sum, "x\n40\n", "all but the damaged one; {}", told(folder));
}
