//! The command line as a user meets it: what it prints, and its exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::support::{Said, command, lineshaft, said};

const READINGS: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
    WITH (connector = 'file', path = 'readings.csv', format = 'csv');
";

const SUMS: &str = "
CREATE VIEW sums AS SELECT window_start, machine, sum(x) AS total
    FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end, machine;
CREATE SINK history FROM sums WITH (connector = 'parquet', path = 'sums');
";

/// A folder with a source in one query file, a view and a sink in another, and 60 rows, one a second.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = (0..60).map(|second| format!("2026-01-01T00:00:{second:02}Z,m{},{second}\n", second % 2));
    write(&folder, "readings.csv", &format!("ts,machine,x\n{}", rows.collect::<String>()));
    write(&folder, "source.sql", READINGS);
    write(&folder, "sums.sql", SUMS);
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).unwrap();
}

fn query(folder: &Path, sql: &str, data: &str, format: &str) -> Said {
    lineshaft(folder, &["query", sql, "--data", data, "--format", format]).exits(0)
}

#[test]
fn two_files_are_one_program_whose_rows_can_be_queried_in_three_formats() {
    let folder = folder();
    lineshaft(folder.path(), &["check", "sums.sql", "source.sql"]).exits(0);
    let ran = lineshaft(folder.path(), &["run", "sums.sql", "source.sql", "--data", "data"]).exits(0);
    ran.tells("readings: 60 received = 60 processed + 0 late + 0 quarantined")
        .tells("history: 12 rows written");
    let first = "SELECT machine, total FROM history ORDER BY window_start, machine LIMIT 2";
    assert_eq!(query(folder.path(), first, "data", "csv").out, "machine,total\nm0,20.0\nm1,25.0\n");
    let json = query(folder.path(), first, "data", "json").out;
    assert_eq!(json, "{\"machine\":\"m0\",\"total\":20.0}\n{\"machine\":\"m1\",\"total\":25.0}\n");
    let table = query(folder.path(), first, "data", "table").out;
    assert!(table.contains("| machine | total |") && table.contains("| m1      | 25.0  |"), "{table}");
}

#[test]
fn a_recursion_without_an_end_ends_the_program_with_a_message() {
    let folder = folder();
    let counts = "CREATE SINK counts WITH (connector = 'stdout') AS
        WITH RECURSIVE r AS (SELECT DISTINCT 1 AS n FROM readings UNION ALL SELECT n + 1 FROM r)
        SELECT n FROM r WHERE n < 3;";
    write(&folder, "endless.sql", counts);
    let run = ["run", "endless.sql", "source.sql", "--data", "endless", "--workers", "1"];
    lineshaft(folder.path(), &run).exits(3).tells("WITH RECURSIVE: no end after 10000 rounds");
}

#[test]
fn a_changelog_is_kept_as_a_view_and_written_by_sinks_that_say_how() {
    let folder = folder();
    let top = "CREATE MATERIALIZED VIEW top AS SELECT machine, x FROM readings ORDER BY x DESC LIMIT 3;
        CREATE SINK changes FROM top WITH (connector = 'parquet', path = 'changes', changelog = 'rows');
        CREATE SINK newest WITH (connector = 'parquet', path = 'newest', changelog = 'upsert', key = 'machine') AS
            SELECT machine, x FROM (SELECT *, row_number() OVER (PARTITION BY machine ORDER BY ts DESC) AS rn FROM readings)
            WHERE rn = 1;";
    write(&folder, "top.sql", top);
    let files = ["run", "top.sql", "source.sql", "--data", "data"];
    lineshaft(folder.path(), &files).exits(0);
    let kept = query(folder.path(), "SELECT * FROM top ORDER BY x", "data", "csv");
    assert_eq!(kept.out, "machine,x\nm1,57.0\nm0,58.0\nm1,59.0\n");
    let net = "SELECT machine, x FROM changes GROUP BY machine, x \
               HAVING sum(CASE operation WHEN 'insert' THEN 1 ELSE -1 END) = 1 ORDER BY x";
    assert_eq!(query(folder.path(), net, "data", "csv").out, kept.out);
    let newest = "SELECT machine, max(x) AS x, max(operation) AS operation FROM newest GROUP BY machine ORDER BY machine";
    let newest = query(folder.path(), newest, "data", "csv").out;
    assert_eq!(newest, "machine,x,operation\nm0,58.0,upsert\nm1,59.0,upsert\n");
    let explained = lineshaft(folder.path(), &["explain", "top.sql", "source.sql"]).exits(0).out;
    assert!(
        explained.contains("top: first rows [changelog, state: the first rows of each group]"),
        "{explained}"
    );
}

/// A run begins such a view anew: what an earlier one kept does not count again.
#[test]
fn a_changelog_that_is_kept_is_that_of_the_last_run_and_reads_the_same_after_a_backfill() {
    let folder = folder();
    let counts = "CREATE MATERIALIZED VIEW counts AS
        SELECT machine, count(*) AS n, sum(x) AS total FROM readings GROUP BY machine;";
    write(&folder, "counts.sql", counts);
    let counts = |data: &str| query(folder.path(), "SELECT * FROM counts ORDER BY machine", data, "csv").out;
    let run = ["run", "counts.sql", "source.sql", "--data", "data"];
    let backfill =
        ["backfill", "counts.sql", "source.sql", "--source", "readings=readings.csv", "--output", "all"];
    for _ in 0..2 {
        lineshaft(folder.path(), &run).exits(0);
        assert_eq!(counts("data"), "machine,n,total\nm0,30,870.0\nm1,30,900.0\n");
        lineshaft(folder.path(), &backfill).exits(0);
        assert_eq!(counts("all"), counts("data"));
    }
}

#[test]
fn one_file_alone_lacks_what_the_other_declares() {
    let folder = folder();
    let said = lineshaft(folder.path(), &["check", "sums.sql"]).exits(1);
    said.tells("table or view \"readings\" not found").tells("--> sums.sql:3:17");
}

#[test]
fn a_backfill_gives_the_rows_of_a_run_and_of_a_span_of_time() {
    let folder = folder();
    let files = ["source.sql", "sums.sql"];
    lineshaft(folder.path(), &["run", files[0], files[1], "--data", "data"]).exits(0);
    let source = "readings=readings.csv";
    lineshaft(folder.path(), &["backfill", files[0], files[1], "--source", source, "--output", "all"])
        .exits(0);
    let all = "SELECT * FROM history ORDER BY window_start, machine";
    assert_eq!(query(folder.path(), all, "data", "csv").out, query(folder.path(), all, "all", "csv").out);
    let span = ["--from", "2026-01-01T00:00:20Z", "--to", "2026-01-01T00:00:40Z", "--output", "part"];
    let arguments = [&["backfill", files[0], files[1], "--source", source][..], &span[..]].concat();
    lineshaft(folder.path(), &arguments).exits(0).tells("20 received");
    let count = query(folder.path(), "SELECT count(*) AS n, sum(total) AS t FROM history", "part", "csv").out;
    assert_eq!(count, "n,t\n4,590.0\n");
}

#[test]
fn a_backfill_of_a_live_source_asks_for_its_history() {
    let folder = folder();
    write(
        &folder,
        "live.sql",
        "CREATE SOURCE r (ts TIMESTAMP NOT NULL) WITH (connector = 'generator', rate = 10);
        CREATE SINK s FROM r WITH (connector = 'stdout');",
    );
    let said = lineshaft(folder.path(), &["backfill", "live.sql", "--output", "out"]).exits(1);
    said.tells("source \"r\" never ends, and no history is given for it").tells("add --source r=PATH");
    let said =
        lineshaft(folder.path(), &["backfill", "live.sql", "--output", "out", "--from", "soon"]).exits(2);
    said.tells("write a time such as 2026-03-01T12:00:00Z");
}

#[test]
fn explain_shows_the_way_of_the_rows_and_refuses_an_unknown_view() {
    let folder = folder();
    let said = lineshaft(folder.path(), &["explain", "source.sql", "sums.sql"]).exits(0);
    for part in ["source readings (file)", "TUMBLE aggregate", "append-only", "sink history (parquet)"] {
        assert!(said.out.contains(part), "{part:?} is not in:\n{}", said.out);
    }
    let said = lineshaft(folder.path(), &["explain", "source.sql", "sums.sql", "nosuch"]).exits(1);
    said.tells("there is no view \"nosuch\"; the views are sums");
}

#[test]
fn wrong_usage_is_2_and_a_wrong_program_is_1() {
    let folder = folder();
    lineshaft(folder.path(), &["frobnicate"]).exits(2).tells("unrecognized subcommand");
    lineshaft(folder.path(), &["run"]).exits(2).tells("<FILES>");
    lineshaft(folder.path(), &["run", "nosuch.sql"]).exits(1).tells("could not read nosuch.sql");
    lineshaft(folder.path(), &["run", "source.sql"]).exits(1).tells("the program has nothing to do");
    lineshaft(folder.path(), &["query", "SELECT 1", "--data", "nowhere"])
        .exits(1)
        .tells("there is no data directory");
}

#[test]
fn an_ad_hoc_query_of_an_unknown_table_names_those_that_are_there() {
    let folder = folder();
    lineshaft(folder.path(), &["run", "source.sql", "sums.sql", "--data", "data"]).exits(0);
    let said = lineshaft(folder.path(), &["query", "SELECT * FROM histroy", "--data", "data"]).exits(1);
    said.tells("error: table 'histroy' not found").tells(
        "the tables are history, lineshaft.importance, lineshaft.metrics, lineshaft.models, lineshaft.runs",
    );
    let windows = "SELECT count(*) FROM TUMBLE(history, ts, INTERVAL '1' SECOND) GROUP BY window_start";
    let said = lineshaft(folder.path(), &["query", windows, "--data", "data"]).exits(1);
    said.tells("TUMBLE is for query files; in a query group by date_bin");
}

#[test]
fn an_ad_hoc_query_that_replaces_no_column_is_refused() {
    let folder = folder();
    lineshaft(folder.path(), &["run", "source.sql", "sums.sql", "--data", "data"]).exits(0);
    let sql = "SELECT * REPLACE (0 AS totl) FROM history";
    lineshaft(folder.path(), &["query", sql, "--data", "data"]).exits(1).tells("totl");
    lineshaft(folder.path(), &["query", &sql.replace("totl", "total"), "--data", "data"]).exits(0);
}

#[test]
fn late_rows_are_a_table_by_either_name_even_if_there_are_none() {
    let folder = folder();
    lineshaft(folder.path(), &["run", "source.sql", "sums.sql", "--data", "data"]).exits(0);
    for name in ["readings.late", "\"readings.late\""] {
        let sql = format!("SELECT count(*) AS n FROM {name}");
        assert_eq!(query(folder.path(), &sql, "data", "csv").out, "n\n0\n");
    }
}

#[test]
fn an_ad_hoc_query_joins_as_of() {
    let folder = folder();
    lineshaft(folder.path(), &["run", "source.sql", "sums.sql", "--data", "data"]).exits(0);
    let sql = "SELECT count(*) AS n, sum(b.total) AS total FROM history AS a ASOF JOIN history AS b \
               MATCH_CONDITION (a.window_start > b.window_start) ON a.machine = b.machine";
    let before = "SELECT count(*) AS n, sum(total) AS total FROM history AS a WHERE EXISTS \
                  (SELECT 1 FROM history AS b WHERE b.machine = a.machine AND b.window_start > a.window_start)";
    let found = query(folder.path(), sql, "data", "csv").out;
    assert_eq!(found, query(folder.path(), before, "data", "csv").out);
    assert!(found.starts_with("n,total\n10,"), "{found}");
    let wrong = sql.replace("a.window_start > b.window_start", "a.total > 1");
    lineshaft(folder.path(), &["query", &wrong, "--data", "data"])
        .exits(1)
        .tells("MATCH_CONDITION compares a time of the one side with the other")
        .tells("= help: write a ASOF JOIN b");
}

#[test]
fn functions_for_signals_have_all_their_forms_in_an_ad_hoc_query() {
    let folder = folder();
    lineshaft(folder.path(), &["run", "source.sql", "sums.sql", "--data", "data"]).exits(0);
    let cases = [
        ("SELECT rms([3.0, 3.0]) AS rms, iso_zone(3, 'class I') AS zone", "rms,zone\n3.0,C\n"),
        ("SELECT velocity_rms(x, 100) AS v FROM (VALUES (1.0), (1.0)) AS t(x)", "v\n0.0\n"),
        (
            "SELECT derivative(x) OVER (ORDER BY ts) AS d, stuck(x, 2) OVER (ORDER BY ts) AS s FROM \
             (VALUES (TIMESTAMP '2024-01-01 00:00:00', 1.0), (TIMESTAMP '2024-01-01 00:00:02', 4.0)) AS t(ts, x)",
            "d,s\n,\n1.5,false\n",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(query(folder.path(), sql, "data", "csv").out, expected, "{sql}");
    }
}

#[test]
fn options_of_a_sink_may_come_after_its_query() {
    let folder = folder();
    write(
        &folder,
        "after.sql",
        "CREATE SINK s AS SELECT machine, x FROM readings WHERE x > 57 WITH (connector = 'stdout');",
    );
    let said = lineshaft(folder.path(), &["run", "source.sql", "after.sql", "--data", "data"]).exits(0);
    assert_eq!(said.out, "{\"machine\":\"m0\",\"x\":58.0}\n{\"machine\":\"m1\",\"x\":59.0}\n");
}

/// Starts a program that never ends, and waits until its first row is out.
fn live(folder: &TempDir) -> (Child, BufReader<std::process::ChildStdout>) {
    write(
        folder,
        "live.sql",
        "
        CREATE SOURCE g (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts)
            WITH (connector = 'generator', rate = 500);
        CREATE SINK kept FROM g WITH (connector = 'parquet', path = 'kept');
        CREATE SINK shown WITH (connector = 'stdout') AS SELECT x FROM g;",
    );
    let mut command = command(folder.path(), &["run", "live.sql", "--data", "data"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut rows = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    rows.read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"x\":"), "{first}");
    (child, rows)
}

fn signal(child: &Child, name: &str) {
    let sent =
        std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_signal_ends_a_live_program_in_order_with_all_its_rows_written() {
    for name in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let (child, rows) = live(&folder);
        signal(&child, name);
        let shown = 1 + rows.lines().count();
        let said = said(&child.wait_with_output().unwrap()).exits(0);
        said.tells("stopping: what was read is finished");
        let kept = query(folder.path(), "SELECT count(*) AS n FROM kept", "data", "csv").out;
        assert_eq!(kept, format!("n\n{shown}\n"), "after SIG{name}");
    }
}

#[test]
fn a_query_that_needs_more_memory_or_time_than_it_may_have_says_so_and_keeps_to_its_limit() {
    let folder = folder();
    let made = "CREATE SOURCE made (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, WATERMARK FOR ts)
            WITH (connector = 'generator', rows = 400000, keys = 7);
        CREATE SINK kept FROM made WITH (connector = 'parquet', path = 'kept');";
    write(&folder, "made.sql", made);
    let folder = folder.path();
    lineshaft(folder, &["run", "made.sql", "--data", "data"]).exits(0);
    // The first is sorted and put aside until the disk is too small, too; what the second gathers nobody counts.
    let sorted = "SELECT repeat(machine, 100) AS m, n FROM kept ORDER BY m, n";
    let gathered = "SELECT array_agg(repeat(machine, 100) || a.n) AS all FROM kept a CROSS JOIN (VALUES (1), (2)) GROUP BY machine";
    let limit = 96 << 20;
    for large in [sorted, gathered] {
        let arguments = ["query", large, "--data", "data", "--memory", "96MiB", "--format", "csv"];
        let mut query = command(folder, &arguments);
        let mut child = query.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            most = most.max(memory_of(&child));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let told = said(&child.wait_with_output().unwrap());
        told.exits(1).tells("the query needs more than its 96MiB of memory").tells("--memory 384MiB");
        assert!(most < limit * 13 / 10, "{most} bytes with a limit of {limit}");
    }
    let endless = "SELECT count(*) FROM kept a, kept b WHERE a.n <> b.n";
    let told = lineshaft(folder, &["query", endless, "--data", "data", "--timeout", "1"]).exits(1);
    told.tells("the query did not end within 1 s").tells("--timeout 4");
    let enough = "SELECT count(*) AS c FROM (SELECT * FROM kept ORDER BY machine, n DESC)";
    assert_eq!(query(folder, enough, "data", "csv").out, "c\n400000\n");
}

/// Memory of a process that is no file, bytes.
fn memory_of(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}
