//! A backfill that was stopped or killed goes on where it was, and its rows are those of one that was not.

mod changelogs;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lineshaft::Engine;
use lineshaft::backfill::Backfill;

use crate::support::{command, lineshaft};

/// Writes the history.
const RECORD: &str = "
CREATE SOURCE made (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, n BIGINT, ok BOOLEAN, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
    WITH (connector = 'generator', rows = 200000, keys = 20, interval = '50 ms', disorder = '2 s');
CREATE SINK readings FROM made WITH (connector = 'parquet', path = 'readings', partition_by = 'hour', max_rows = 30000);";

/// Every kind of state: open windows, sessions, rows of count windows, a table, rows that have passed, watermarks.
const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, n BIGINT, ok BOOLEAN,
        WATERMARK FOR ts AS ts - INTERVAL '1' SECOND, DEDUPLICATE BY (machine, ok) WITHIN INTERVAL '300' MILLISECOND)
    WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'readings', format = 'json');
CREATE TABLE halls (machine TEXT PRIMARY KEY, hall TEXT) WITH (connector = 'file', path = 'halls.csv', format = 'csv');
CREATE SINK tumbling WITH (connector = 'stdout') AS SELECT window_start, machine, count(*) AS n, avg(x) AS x
    FROM TUMBLE(readings, ts, INTERVAL '30' SECOND) GROUP BY window_start, window_end, machine;
CREATE SINK hopping WITH (connector = 'stdout') AS SELECT window_start, count(*) AS n, stddev(x) AS x
    FROM HOP(readings, ts, INTERVAL '10' SECOND, INTERVAL '600' SECOND) GROUP BY window_start, window_end;
CREATE SINK sessions WITH (connector = 'stdout') AS SELECT window_start, machine, count(*) AS n, sum(x) AS x
    FROM SESSION(readings, ts, INTERVAL '1' SECOND, machine) GROUP BY window_start, window_end, machine;
CREATE SINK counted WITH (connector = 'stdout') AS SELECT window_start, machine, sum(n) AS n, avg(x) AS x
    FROM COUNT_WINDOW(readings, ts, 500, machine) GROUP BY window_start, window_end, machine;
CREATE SINK places WITH (connector = 'parquet', path = 'p', max_rows = 20000) AS
    SELECT ts AS window_start, machine, n, x FROM readings JOIN halls USING (machine) WHERE x > 40;";

fn record(folder: &Path) {
    std::fs::write(folder.join("record.sql"), RECORD).unwrap();
    std::fs::write(folder.join("p.sql"), PROGRAM).unwrap();
    let halls: String = (0..15).map(|n| format!("dev-{n:05},hall {}\n", n % 3)).collect();
    std::fs::write(folder.join("halls.csv"), format!("machine,hall\n{halls}")).unwrap();
    lineshaft(folder, &["run", "record.sql", "--data", "history"]).exits(0);
}

fn arguments(output: &str) -> [&str; 8] {
    ["backfill", "p.sql", "--source", "readings=history/readings", "--output", output, "--workers", "2"]
}

/// What a backfill wrote.
fn rows(folder: &Path, output: &str) -> Vec<String> {
    let sinks = ["tumbling", "hopping", "sessions", "counted", "places"];
    let rows = |sink: &str| {
        let machine = if sink == "hopping" { "''" } else { "machine" };
        let sql = format!("SELECT window_start, {machine} AS m, n, x FROM {sink} ORDER BY 1, 2, 3, 4");
        lineshaft(folder, &["query", &sql, "--data", output, "--format", "csv"]).exits(0).out
    };
    sinks.map(rows).to_vec()
}

/// The last line of the log that says what went where.
fn accounts(said: &str) -> String {
    let line = said.lines().find(|line| line.contains(" received = ")).unwrap();
    line.split("INFO ").nth(1).unwrap().to_owned()
}

/// As `kill -l INT` says.
const SIGINT: u32 = 2;

/// The number of the newest checkpoint that is whole.
fn newest_checkpoint(output: &Path) -> Option<u64> {
    let folders = std::fs::read_dir(output.join(".checkpoint")).ok()?.map(|entry| entry.unwrap());
    let whole = folders.filter(|folder| folder.path().join("manifest").exists());
    whole.filter_map(|folder| folder.file_name().to_str()?.parse().ok()).max()
}

/// Waits until a backfill has written so many checkpoints.
fn wait_for_checkpoint(output: &Path, number: u64, child: &mut Child) {
    while newest_checkpoint(output).is_none_or(|newest| newest < number) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended too early");
        std::thread::yield_now();
    }
}

/// Waits until a process has a handler for SIGINT, which would end it before.
fn wait_until_it_minds(child: &Child) {
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    for _ in 0..12_000 {
        if caught().is_some_and(|mask| mask & 1 << (SIGINT - 1) != 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it does not mind SIGINT within a minute");
}

/// Not a test by itself: the process that is killed.
#[test]
fn a_backfill_in_a_process_of_its_own() {
    let Ok(folder) = std::env::var("LINESHAFT_TEST_BACKFILL") else { return };
    std::env::set_current_dir(folder).unwrap();
    backfill("killed").wait().unwrap();
}

fn backfill(output: &str) -> lineshaft::Running {
    let mut engine = Engine::from_files(&["p.sql"]).unwrap();
    engine.workers(2);
    let backfill = Backfill {
        sources: vec![("readings".into(), "history/readings".into())],
        output: output.into(),
        checkpoint_every: Some(Duration::ZERO),
        ..Backfill::default()
    };
    engine.backfill(&backfill).unwrap()
}

#[test]
fn a_backfill_that_was_stopped_or_killed_goes_on_and_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    record(folder);
    let whole = lineshaft(folder, &arguments("whole")).exits(0);
    let expected = rows(folder, "whole");
    assert!(!folder.join("whole/.checkpoint").exists());
    assert!(expected.iter().all(|rows| rows.lines().count() > 100));

    // Stopped, twice, and each time the same command again.
    let mut stops = 0;
    let said = loop {
        let child = command(folder, &arguments("stopped")).stderr(Stdio::piped()).spawn().unwrap();
        wait_until_it_minds(&child);
        std::thread::sleep(Duration::from_millis(700));
        if stops < 2 {
            let stop = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
            assert!(stop.success());
            stops += 1;
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        if !said.contains("the same command goes on from here") {
            break said;
        }
        assert!(folder.join("stopped/.checkpoint").exists());
    };
    assert!(said.contains("goes on from where it was stopped"), "{said}");
    assert_eq!(rows(folder, "stopped"), expected);
    assert_eq!(accounts(&said), accounts(&whole.err));

    // Killed between two checkpoints.
    let test = std::env::current_exe().unwrap();
    for checkpoint in [0, 1, 2] {
        let mut child = Command::new(&test)
            .args(["--exact", "resume::a_backfill_in_a_process_of_its_own"])
            .env("LINESHAFT_TEST_BACKFILL", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_checkpoint(&folder.join("killed"), checkpoint, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The options and files are the same, and so is the number of workers, whatever is asked for. The newest checkpoint is
    // damaged, so it goes on from the one before.
    let newest = newest_checkpoint(&folder.join("killed")).unwrap();
    let damaged = folder.join(format!("killed/.checkpoint/{newest}/worker-1"));
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let said = lineshaft(folder, &[&arguments("killed")[..7], &["1"]].concat()).exits(0);
    let said =
        said.tells("worker-1 is damaged: the checksum does not match; goes on with another checkpoint");
    let said = said.tells("goes on from where it was stopped, with 2 workers");
    assert_eq!(rows(folder, "killed"), expected);
    assert_eq!(accounts(&said.err), accounts(&whole.err));

    // Another program does not go on from there.
    let mut child = command(folder, &arguments("other")).stderr(Stdio::null()).spawn().unwrap();
    wait_for_checkpoint(&folder.join("other"), 0, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(folder.join("p.sql"), PROGRAM.replace("'30' SECOND", "'40' SECOND")).unwrap();
    lineshaft(folder, &arguments("other")).exits(3).tells("is of a run with other statements");
}
