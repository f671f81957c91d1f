//! A program whose state does not fit into the memory that it may have gives the rows that it gives with enough of it.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::{Said, lineshaft};

const MACHINES: usize = 36_000;

/// Windows with many keys, tumbling and hopping, with a result that keeps all values; and rows that wait for each other.
const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, i BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'file', path = 'readings.csv', format = 'csv');
CREATE SOURCE checks (ts TIMESTAMP NOT NULL, machine TEXT, ok BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'file', path = 'checks.csv', format = 'csv');
CREATE SINK tumbling WITH (connector = 'parquet', path = 'tumbling') AS
    SELECT window_start, machine, count(*) AS n, sum(x) AS s, stddev(x) AS d, median(x) AS m
    FROM TUMBLE(readings, ts, INTERVAL '10' MINUTE) GROUP BY window_start, window_end, machine;
CREATE SINK hopping WITH (connector = 'parquet', path = 'hopping') AS
    SELECT window_start, machine, count(*) AS n, sum(x) AS s, max(x) AS d, sum(i) AS m
    FROM HOP(readings, ts, INTERVAL '5' MINUTE, INTERVAL '10' MINUTE) GROUP BY window_start, window_end, machine;
CREATE SINK joined WITH (connector = 'parquet', path = 'joined') AS
    SELECT r.ts AS window_start, r.machine, c.ok AS n, r.x AS s, 0 AS d, 0 AS m FROM readings r JOIN checks c
    ON r.machine = c.machine AND r.ts BETWEEN c.ts - INTERVAL '10' MINUTE AND c.ts + INTERVAL '10' MINUTE;";

/// Sessions, count and state windows, and the latest check before each reading.
const BY_ROWS: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, i BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'file', path = 'readings.csv', format = 'csv');
CREATE SOURCE checks (ts TIMESTAMP NOT NULL, machine TEXT, ok BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'file', path = 'checks.csv', format = 'csv');
CREATE SINK sessions WITH (connector = 'parquet', path = 'sessions') AS
    SELECT window_start, machine, count(*) AS n, sum(x) AS s, stddev(x) AS d, median(x) AS m
    FROM SESSION(readings, ts, INTERVAL '4' MINUTE, machine) GROUP BY window_start, window_end, machine;
CREATE SINK counted WITH (connector = 'parquet', path = 'counted') AS
    SELECT window_start, machine, count(*) AS n, sum(x) AS s, stddev(x) AS d, sum(i) AS m
    FROM COUNT_WINDOW(readings, ts, 2, 3, machine) GROUP BY window_start, window_end, machine;
CREATE SINK states WITH (connector = 'parquet', path = 'states') AS
    SELECT window_start, machine, count(*) AS n, sum(x) AS s, stddev(x) AS d, sum(i) AS m
    FROM STATE_WINDOW((SELECT ts, machine, x, i, x > 60 AS high FROM readings), ts, high, machine)
    GROUP BY window_start, window_end, high, machine;
CREATE SINK nearest WITH (connector = 'parquet', path = 'nearest') AS
    SELECT r.ts AS window_start, r.machine, c.ok AS n, r.x AS s, 0 AS d, 0 AS m FROM readings r ASOF JOIN checks c
    MATCH_CONDITION (r.ts >= c.ts) ON r.machine = c.machine;";

/// Three readings of each machine, and a check of one machine in nine. Of one machine in five no `i` is known.
fn write(folder: &Path) {
    let (mut readings, mut checks) = ("ts,machine,x,i\n".to_owned(), "ts,machine,ok\n".to_owned());
    for row in 0..3 * MACHINES {
        let machine = row * 7919 % MACHINES;
        let (second, millisecond) = (row / 180, row % 180);
        let time = format!("2026-01-01T00:{:02}:{:02}.{millisecond:03}Z", second / 60, second % 60);
        let i = if machine.is_multiple_of(5) { String::new() } else { (row % 1013).to_string() };
        writeln!(readings, "{time},machine-{machine},{},{i}", (row % 1013) as f64 / 7.0).unwrap();
        if row % 9 == 0 && row < MACHINES {
            writeln!(checks, "{time},machine-{machine},{row}").unwrap();
        }
    }
    std::fs::write(folder.join("readings.csv"), readings).unwrap();
    std::fs::write(folder.join("checks.csv"), checks).unwrap();
    std::fs::write(folder.join("p.sql"), PROGRAM).unwrap();
    std::fs::write(folder.join("rows.sql"), BY_ROWS).unwrap();
}

/// What is in the sinks: sums over all rows, and the first rows.
fn results(folder: &Path, data: &str, sinks: &[&str]) -> Vec<String> {
    let query = |sql: &str| {
        let said = lineshaft(folder, &["query", sql, "--data", data, "--format", "csv", "--memory", "2GiB"])
            .exits(0);
        said.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = |column: &str| format!("sum(CAST(round({column} * 1e6) AS BIGINT) * (1 + n % 7))");
    let sums = format!(
        "count(*) AS rows, sum(n) AS n, {} AS s, {} AS d, {} AS m, max(window_start) AS latest, \
        sum(CASE WHEN s > 20 THEN length(machine) END) AS letters",
        whole("s"),
        whole("d"),
        whole("m")
    );
    let results = sinks.iter().map(|sink| {
        let rows = format!("SELECT * FROM {sink} ORDER BY machine, window_start, n, s LIMIT 3000");
        [query(&format!("SELECT {sums} FROM {sink}")), query(&rows)].concat()
    });
    results.flatten().collect::<Vec<_>>()
}

#[track_caller]
fn assert_same(found: &[String], expected: &[String]) {
    let different = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert_eq!(different, None, "found and expected");
    assert_eq!(found.len(), expected.len());
}

fn run(folder: &Path, program: &str, data: &str, options: &[&str]) -> Said {
    let all = [&["run", program, "--data", data], options].concat();
    lineshaft(folder, &all).exits(0)
}

const SINKS: [&str; 3] = ["tumbling", "hopping", "joined"];
const SINKS_BY_ROWS: [&str; 4] = ["sessions", "counted", "states", "nearest"];

#[test]
fn state_that_does_not_fit_into_memory_goes_to_disk_and_changes_no_row() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let enough = run(folder.path(), "p.sql", "enough", &["--memory", "4GiB", "--workers", "1"]);
    assert!(!enough.err.contains("goes to files"), "{}", enough.err);
    let expected = results(folder.path(), "enough", &SINKS);
    assert!(expected.len() > 9_000, "{} lines", expected.len());
    let said = run(folder.path(), "p.sql", "little", &["--memory", "2MiB", "--workers", "2"]);
    let said =
        said.tells("the state of the program has more than 1 MiB, half of --memory; the rest goes to files");
    assert!(!said.err.contains("stays in memory"), "{}", said.err);
    assert_same(&results(folder.path(), "little", &SINKS), &expected);
    let said = run(folder.path(), "p.sql", "full", &["--memory", "2MiB", "--spill", "3MiB"]);
    said.tells("state stays in memory, since it cannot go to a file").tells("limit of 3145728 bytes");
    assert_same(&results(folder.path(), "full", &SINKS), &expected);
}

#[test]
fn sessions_and_windows_of_rows_on_disk_change_no_row() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let run = |data: &str, options: &[&str]| run(folder.path(), "rows.sql", data, options);
    let enough = run("enough", &["--memory", "4GiB", "--workers", "1"]);
    assert!(!enough.err.contains("goes to files"), "{}", enough.err);
    let expected = results(folder.path(), "enough", &SINKS_BY_ROWS);
    assert!(expected.len() > 9_000, "{} lines", expected.len());
    for workers in ["1", "2", "4"] {
        let data = format!("little{workers}");
        let said = run(&data, &["--memory", "2MiB", "--workers", workers]).tells("the rest goes to files");
        assert!(!said.err.contains("stays in memory"), "{}", said.err);
        assert_same(&results(folder.path(), &data, &SINKS_BY_ROWS), &expected);
    }
    let said = run("full", &["--memory", "2MiB", "--spill", "3MiB"]);
    said.tells("state stays in memory, since it cannot go to a file").tells("limit of 3145728 bytes");
    assert_same(&results(folder.path(), "full", &SINKS_BY_ROWS), &expected);
}
