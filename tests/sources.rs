//! Time in a real plant: clocks that are wrong, machines that fall silent, rows that come late or twice. No row vanishes
//! without a count, and nobody waits for ever.

use std::fs;
use std::path::Path;

use lineshaft::engine::Batch;
use lineshaft::engine::clock::Clock;
use lineshaft::engine::testing::{lines, table};
use lineshaft::{Engine, Running};
use tokio::sync::mpsc::Receiver;

use crate::support::{Said, lineshaft};

const SECOND: i64 = 1_000_000;

/// Runs a program over one file and gives what it said.
#[track_caller]
fn run(sql: &str, name: &str, rows: &str, arguments: &[&str]) -> (tempfile::TempDir, Said) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.sql"), sql).unwrap();
    fs::write(folder.path().join(name), rows).unwrap();
    let arguments = [&["run", "p.sql", "--data", "data"], arguments].concat();
    let said = lineshaft(folder.path(), &arguments).exits(0);
    (folder, said)
}

#[track_caller]
fn query(folder: &Path, sql: &str) -> String {
    lineshaft(folder, &["query", sql, "--data", "data", "--format", "csv"]).exits(0).out
}

#[test]
fn every_row_is_counted_once_on_whatever_way_it_goes() {
    let sql = "
CREATE SOURCE r (ts TIMESTAMP NOT NULL, machine TEXT, seq BIGINT, x DOUBLE,
                 WATERMARK FOR ts AS ts - INTERVAL '5' SECOND,
                 DEDUPLICATE BY (machine, seq) WITHIN INTERVAL '1' MINUTE)
    WITH (connector = 'file', path = 'r.csv', format = 'csv', max_future = '1 day');
CREATE SINK shown WITH (connector = 'stdout') AS SELECT machine, seq, x FROM r;
CREATE SINK said_late WITH (connector = 'parquet', path = 'said_late') AS SELECT machine, x FROM r.late;
CREATE SINK numbers WITH (connector = 'parquet', path = 'numbers') AS SELECT CAST(machine AS BIGINT) FROM r WHERE x > 99;";
    let rows = "ts,machine,seq,x
2026-01-01T00:00:00Z,a,1,1
2026-01-01T00:00:10Z,a,2,2
2026-01-01T00:00:08Z,a,1,3
2026-01-01T00:00:04Z,a,3,4
2026-01-01T00:00:02Z,a,1,5
2026-01-01T00:00:11Z,b,1,zwei
,b,2,7
2999-01-01T00:00:00Z,b,3,8
2026-01-01T00:00:12Z,,1,9
2026-01-01T00:00:12Z,,1,10
2026-01-01T00:01:01Z,a,1,11
";
    for workers in ["1", "2", "4"] {
        let (folder, said) = run(sql, "r.csv", rows, &["--workers", workers]);
        let said = said.tells("r: 11 received = 5 processed + 2 late + 3 quarantined + 1 deduplicated");
        let passed: Vec<&str> = said.out.lines().map(|line| line.rsplit(':').next().unwrap()).collect();
        assert_eq!(passed, ["1.0}", "2.0}", "9.0}", "10.0}", "11.0}"], "{}", said.out);
        assert_eq!(query(folder.path(), "SELECT x FROM r.late ORDER BY x"), "x\n4.0\n5.0\n");
        assert_eq!(query(folder.path(), "SELECT x FROM said_late ORDER BY x"), "x\n4.0\n5.0\n");
        assert_eq!(query(folder.path(), "SELECT x FROM \"r.late\" ORDER BY x LIMIT 1"), "x\n4.0\n");
        assert_eq!(query(folder.path(), "SELECT relation, error FROM lineshaft.failed"), "relation,error\n");
        let reasons = query(folder.path(), "SELECT reason FROM r.quarantine ORDER BY reason");
        assert_eq!(reasons, "reason\nfuture\nnull_time\ntype\n");
    }
}

#[test]
fn to_deduplicate_a_source_needs_a_watermark_and_columns_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "CREATE SOURCE r (ts TIMESTAMP, seq BIGINT, DEDUPLICATE BY (seq) WITHIN INTERVAL '1' MINUTE)
    WITH (connector = 'generator');
CREATE SOURCE s (ts TIMESTAMP, seq BIGINT, WATERMARK FOR ts, DEDUPLICATE BY (sequence) WITHIN INTERVAL '1' MINUTE)
    WITH (connector = 'generator');
CREATE SOURCE t (ts TIMESTAMP, seq BIGINT, WATERMARK FOR ts, DEDUPLICATE BY seq WITHIN INTERVAL '1' MINUTE)
    WITH (connector = 'generator');
CREATE SINK o FROM t WITH (connector = 'stdout');";
    fs::write(folder.path().join("p.sql"), sql).unwrap();
    let said = lineshaft(folder.path(), &["check", "p.sql"]).exits(1);
    let said = said.tells("DEDUPLICATE BY needs a watermark").tells("p.sql:1:44");
    said.tells("column \"sequence\" not found");
}

#[test]
fn what_a_source_does_with_time_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "CREATE SOURCE r (ts TIMESTAMP, device TEXT, seq BIGINT,
        WATERMARK FOR ts AS ts - INTERVAL '5' SECOND PER device,
        DEDUPLICATE BY (device, seq) WITHIN INTERVAL '10' MINUTE)
    WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'a', format = 'json', idle_after = '30 s');
CREATE SINK o WITH (connector = 'stdout') AS SELECT ts FROM r;";
    fs::write(folder.path().join("p.sql"), sql).unwrap();
    let shown = lineshaft(folder.path(), &["explain", "p.sql"]).exits(0).out;
    assert!(
        shown.contains("ts - 5 s per device, idle after 30 s, at most 5 min ahead of the clock"),
        "{shown}"
    );
    assert!(shown.contains("rows with equal device, seq within 10 min are dropped"), "{shown}");
}

const PER_MACHINE: &str = "
CREATE SOURCE r (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND PER machine)
    WITH (connector = 'file', path = 'r.csv', format = 'csv');
CREATE SINK counts WITH (connector = 'stdout') AS
    SELECT machine, count(*) AS n FROM TUMBLE(r, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end, machine;";

/// Lines of one machine, one a second.
fn machine(name: &str, from: i64, rows: i64) -> String {
    let time = |second: i64| {
        let (day, second) = (1 + second / 86_400, second % 86_400);
        format!("2026-01-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    };
    (from..from + rows).map(|second| format!("{},{name},1\n", time(second))).collect()
}

#[test]
fn one_machine_a_day_fast_loses_no_row_of_the_others_nor_does_the_order_of_a_file() {
    // More than one block, so that the first machine is read to its end before the second begins.
    let rows = format!(
        "ts,machine,x\n{}{}{}",
        machine("fast", 86_400, 40_000),
        machine("a", 0, 40_000),
        machine("b", 20_000, 40_000)
    );
    let (_folder, said) = run(PER_MACHINE, "r.csv", &rows, &[]);
    let said = said.tells("120000 received = 120000 processed + 0 late");
    assert_eq!(said.out.lines().count(), 12_000);
    assert!(said.out.lines().all(|line| line.ends_with("\"n\":10}")));
}

#[test]
fn a_machine_with_its_clock_in_the_past_is_late_and_keeps_nobody_waiting() {
    let sql = PER_MACHINE.replace(" PER machine", "");
    let rows = format!(
        "ts,machine,x\n{}2001-01-01T00:00:00Z,old,1\n{}1970-01-01T00:00:00Z,old,2\n",
        machine("a", 0, 100),
        machine("a", 100, 100)
    );
    let late = "ts,machine\n1970-01-01T00:00:00Z,old\n2001-01-01T00:00:00Z,old\n";
    let (folder, said) = run(&sql, "r.csv", &rows, &[]);
    let said = said.tells("202 received = 200 processed + 2 late");
    assert_eq!(said.out.lines().count(), 20);
    assert_eq!(query(folder.path(), "SELECT ts, machine FROM r.late ORDER BY ts"), late);
}

/// Two live sources and a view of both; the clock is that of the test.
struct Live {
    engine: Engine,
    clock: Clock,
    rows: Receiver<Batch>,
    _folder: tempfile::TempDir,
}

fn live(view: &str, options: &str) -> Live {
    let folder = tempfile::tempdir().unwrap();
    let source = |name: &str| {
        format!(
            "CREATE SOURCE {name} (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE,
             WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH (connector = 'memory', {options});"
        )
    };
    let sql = format!("{}{} CREATE VIEW v AS {view};", source("a"), source("b"));
    let clock = Clock::fixed(1_000 * SECOND);
    let mut engine = Engine::from_sql(&sql).unwrap();
    engine.data(folder.path()).clock(clock.clone()).workers(2);
    let rows = engine.subscribe("v");
    Live { engine, clock, rows, _folder: folder }
}

/// The next rows of a view.
#[track_caller]
fn next(rows: &mut Receiver<Batch>) -> Vec<String> {
    let batch = rows.blocking_recv().expect("the program runs");
    lines([batch.rows()])
}

/// Waits until a source has processed so many rows.
fn has_processed(running: &Running, source: usize, rows: u64) {
    while running.metrics().sources[source].processed.get() < rows {
        std::thread::yield_now();
    }
}

const COUNTS: &str = "SELECT window_start, machine, count(*) AS n
    FROM TUMBLE(both, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end, machine";

#[test]
fn a_source_that_is_silent_keeps_no_window_waiting() {
    let union = "SELECT ts, machine FROM a UNION ALL SELECT ts, machine FROM b; CREATE VIEW w AS ";
    let Live { mut engine, clock, rows, _folder } =
        live(&format!("{union}{}", COUNTS.replace("both", "v")), "idle_after = '5 s'");
    drop(rows);
    let mut rows = engine.subscribe("w");
    let (a, b) = (engine.input("a").unwrap(), engine.input("b").unwrap());
    let running = engine.start().unwrap();
    a.send(table("ts:ts machine:s x:f \n 1001 m 1 \n 1012 m 1")).unwrap();
    has_processed(&running, 0, 2);
    clock.set(1_006 * SECOND);
    // b has never said anything: its watermark follows that of a.
    a.send(table("ts:ts machine:s x:f \n 1015 m 1")).unwrap();
    assert_eq!(next(&mut rows), ["1970-01-01T00:16:40 m 1"]);
    b.send(table("ts:ts machine:s x:f \n 1016 n 1 \n 1001 late 1")).unwrap();
    a.send(table("ts:ts machine:s x:f \n 1025 m 1")).unwrap();
    b.send(table("ts:ts machine:s x:f \n 1025 n 1")).unwrap();
    let mut second = next(&mut rows);
    if second.len() == 1 {
        second.extend(next(&mut rows));
    }
    second.sort();
    assert_eq!(second, ["1970-01-01T00:16:50 m 2", "1970-01-01T00:16:50 n 1"]);
    let metrics = running.metrics();
    assert_eq!((metrics.sources[1].late.get(), metrics.sources[1].processed.get()), (1, 2));
    running.stop();
    running.wait().unwrap();
}

#[test]
fn a_session_closes_when_its_machine_falls_silent_though_nothing_else_comes() {
    let view = "SELECT machine, window_end, count(*) AS n FROM SESSION(a, ts, INTERVAL '10' SECOND, machine)
        GROUP BY machine, window_start, window_end";
    let Live { engine, clock, mut rows, _folder } = live(view, "idle_after = '5 s'");
    let a = engine.input("a").unwrap();
    let running = engine.start().unwrap();
    a.send(table("ts:ts machine:s x:f \n 1000 m 1 \n 1003 m 1")).unwrap();
    has_processed(&running, 0, 2);
    clock.set(1_030 * SECOND);
    assert_eq!(next(&mut rows), ["m 1970-01-01T00:16:53 2"]);
    running.stop();
    running.wait().unwrap();
}

/// History of 28 hours in a file an hour, and what a program over it says.
fn history() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sql = "CREATE SOURCE made (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts)
        WITH (connector = 'generator', rows = 100800, keys = 10, interval = '1 s', start = '2026-01-01T00:00:00Z');
    CREATE SINK readings FROM made WITH (connector = 'parquet', path = 'readings', partition_by = 'hour');";
    fs::write(folder.path().join("record.sql"), sql).unwrap();
    lineshaft(folder.path(), &["run", "record.sql", "--data", "history"]).exits(0);
    folder
}

const HISTORY: &str = "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts)
    WITH (connector = 'file', path = 'history/readings', format = 'parquet');
CREATE VIEW recent AS SELECT * FROM readings WHERE ts >= '2026-01-02T00:00:00' AND x > -1000;
CREATE SINK counts WITH (connector = 'parquet', path = 'counts') AS
    SELECT window_start, count(*) AS n FROM TUMBLE(recent, ts, INTERVAL '1' HOUR) GROUP BY window_start;
CREATE SINK one WITH (connector = 'parquet', path = 'one') AS SELECT ts, x FROM recent WHERE machine = 'dev-00003';
";

#[test]
fn a_backfill_of_a_span_reads_the_row_groups_of_that_span_only() {
    let folder = history();
    let sql = HISTORY.replace("2026-01-02T00:00:00", "2026-01-01T00:00:00");
    fs::write(folder.path().join("p.sql"), sql).unwrap();
    let span = ["--from", "2026-01-01T10:30:00Z", "--to", "2026-01-01T12:00:00Z"];
    let arguments = ["backfill", "p.sql", "--source", "readings=history/readings", "--output", "out"];
    let said = lineshaft(folder.path(), &[&arguments[..], &span].concat()).exits(0);
    // The rows of the first half hour are read, as they lie in a row group with others, and then left out.
    said.tells("readings: 5400 received = 5400 processed");
    let counts = lineshaft(
        folder.path(),
        &["query", "SELECT n FROM counts ORDER BY 1", "--data", "out", "--format", "csv"],
    );
    assert_eq!(counts.exits(0).out, "n\n1800\n3600\n");
}

#[test]
fn what_no_view_wants_is_not_read_from_parquet() {
    let folder = history();
    fs::write(folder.path().join("p.sql"), HISTORY).unwrap();
    lineshaft(folder.path(), &["run", "p.sql", "--data", "data"])
        .exits(0)
        .tells("readings: 14400 received = 14400 processed");
    assert_eq!(query(folder.path(), "SELECT count(*) AS n FROM counts WHERE n = 3600"), "n\n4\n");
    assert_eq!(query(folder.path(), "SELECT count(*) AS n FROM one"), "n\n1440\n");
    let explained = lineshaft(folder.path(), &["explain", "p.sql"]).exits(0).out;
    assert!(explained.contains("reads      rows with ts >= 2026-01-02T00:00:00"), "{explained}");
    // Another reader wants other rows, and a third all of them.
    let other = "CREATE SINK early WITH (connector = 'parquet', path = 'early') AS SELECT x FROM readings
        WHERE ts < '2026-01-01T01:00:00' AND machine = 'dev-00001';";
    fs::write(folder.path().join("p.sql"), format!("{HISTORY}{other}")).unwrap();
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data2"]).exits(0);
    said.tells("readings: 18000 received").tells("early: 360 rows written");
    let whole = "CREATE SINK early WITH (connector = 'parquet', path = 'early') AS SELECT x FROM readings;";
    fs::write(folder.path().join("p.sql"), format!("{HISTORY}{whole}")).unwrap();
    lineshaft(folder.path(), &["run", "p.sql", "--data", "data3"])
        .exits(0)
        .tells("readings: 100800 received");
}

#[test]
fn late_rows_of_parquet_are_kept_where_the_program_reads_some_of_the_columns() {
    let folder = history();
    let first = "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, x DOUBLE, machine TEXT, WATERMARK FOR ts)
        WITH (connector = 'file', path = 'history/readings', format = 'parquet');
    CREATE SINK twice WITH (connector = 'parquet', path = 'twice') AS
        SELECT CASE WHEN x > 60 THEN ts - INTERVAL '1' DAY ELSE ts END AS ts, x, machine FROM readings;";
    fs::write(folder.path().join("first.sql"), first).unwrap();
    lineshaft(folder.path(), &["run", "first.sql", "--data", "."]).exits(0);
    let counts = "CREATE SOURCE again (ts TIMESTAMP NOT NULL, x DOUBLE, machine TEXT, WATERMARK FOR ts)
        WITH (connector = 'file', path = 'twice', format = 'parquet');
    CREATE SINK counts WITH (connector = 'parquet', path = 'counts') AS
        SELECT machine, count(*) AS n FROM TUMBLE(again, ts, INTERVAL '1' HOUR) GROUP BY window_start, machine;";
    fs::write(folder.path().join("p.sql"), counts).unwrap();
    lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
    let late = query(folder.path(), "SELECT count(*) > 0 AS some FROM again.late WHERE machine LIKE 'dev-%'");
    assert_eq!(late, "some\ntrue\n");
}
