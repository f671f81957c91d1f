//! A data directory of the first version that has this format goes on, with what was open in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::{free_port, kill, post, query, stop, told, wait_for};
use crate::support::command;

/// The port is not part of what the data are of.
const PROGRAM: &str = "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, x DOUBLE, WATERMARK FOR ts)
    WITH (connector = 'http', listen = '127.0.0.1:${env:PORT}', path = '/r', format = 'json');
CREATE SINK sums WITH (connector = 'parquet', path = 'sums') AS
    SELECT window_start, sum(x) AS x FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end;
CREATE SINK runs WITH (connector = 'parquet', path = 'runs') AS
    SELECT window_start, count(*) AS n FROM SESSION(readings, ts, INTERVAL '2' SECOND) GROUP BY window_start, window_end;
CREATE SINK means WITH (connector = 'parquet', path = 'means') AS
    SELECT ts, avg(x) OVER (ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS x FROM readings;
CREATE SINK counts WITH (connector = 'parquet', path = 'counts', changelog = 'rows') AS
    SELECT x > 5 AS high, count(*) AS n FROM readings GROUP BY x > 5;
CREATE ACTUATOR press WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:1', topic = 'press', mode = 'shadow')
    (speed DOUBLE BETWEEN 0 AND 40 MAX STEP 2);
INSERT INTO press SELECT x AS speed FROM readings;
";

/// Bytes of a segment of the journal. What it has not used yet is zeros, which the fixture does not have.
const SEGMENT: u64 = 64 << 20;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-1")
}

fn start(folder: &Path, port: u16) -> Child {
    let said = File::create(folder.join("said")).unwrap();
    let mut program = command(folder, &["run", "p.sql", "--data", "data", "--workers", "2"]);
    program.env("PORT", port.to_string()).stdout(Stdio::null()).stderr(said).spawn().unwrap()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// The segments of the journal, without the zeros at their end or with all of them.
fn set_segments(data: &Path, bytes: impl Fn(&[u8]) -> u64) {
    for file in fs::read_dir(data.join("journal")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ljn") {
            let length = bytes(&fs::read(&path).unwrap());
            File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        }
    }
}

/// Writes the fixture: two readings in a checkpoint, a third in the journal behind it.
fn write(folder: &Path, port: u16) {
    let mut program = start(folder, port);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    assert_eq!(post(port, 2, 2), Some(204));
    stop(&mut program, folder);
    let mut program = start(folder, port);
    wait_for("the server", || post(port, 3, 3) == Some(204));
    sleep(Duration::from_millis(300));
    kill(&mut program);
    let data = folder.join("data");
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    set_segments(&data, used);
    fs::remove_dir_all(fixture()).ok();
    copy(&data, &fixture());
    fs::remove_dir_all(data).unwrap();
}

/// `UPDATE_FIXTURES=1` writes the fixture again, which only a new format needs.
#[test]
fn a_data_directory_of_the_first_version_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    fs::write(folder.join("p.sql"), PROGRAM).unwrap();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        write(folder, port);
    }
    copy(&fixture(), &folder.join("data"));
    set_segments(&folder.join("data"), |_| SEGMENT);
    let mut program = start(folder, port);
    wait_for("the server", || post(port, 4, 10) == Some(204));
    assert_eq!(post(port, 20, 0), Some(204));
    stop(&mut program, folder);
    let expected = [
        ("sums", "window_start, x", "2026-03-01T12:00:00Z,16.0\n"),
        ("runs", "window_start, n", "2026-03-01T12:00:01Z,4\n"),
        (
            "means",
            "ts, x",
            "2026-03-01T12:00:01Z,1.0\n2026-03-01T12:00:02Z,1.5\n2026-03-01T12:00:03Z,2.0\n2026-03-01T12:00:04Z,5.0\n",
        ),
        ("counts", "high, n, operation", "false,4,insert\ntrue,1,insert\n"),
        (
            "\"press.log\"",
            "speed, decision",
            "1.0,shadow\n2.0,shadow\n3.0,shadow\n10.0,rejected\n0.0,rejected\n",
        ),
    ];
    for (relation, columns, rows) in expected {
        let filter = match relation {
            "counts" => "WHERE operation = 'insert' AND n IN (1, 4) AND (high OR n = 4) ORDER BY n DESC",
            "\"press.log\"" => "ORDER BY time",
            _ => "ORDER BY 1",
        };
        let found = query(folder, &format!("SELECT {columns} FROM {relation} {filter}"));
        let (_, found) = found.split_once('\n').unwrap();
        assert_eq!(found, rows, "{relation}\n{}", told(folder));
    }
}
