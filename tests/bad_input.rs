//! Bad programs and bad data: each is told at its place with what to do, and no other row is lost.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::support::{Said, command, lineshaft};

mod failed_rows;
mod names;

const READINGS: &str = "\
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH (connector = 'file', path = 'readings.csv', format = 'csv');
CREATE SOURCE untimed (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE)
WITH (connector = 'file', path = 'readings.csv', format = 'csv');
";

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// What `check` says of the sources above and `statement`, which begins in line 5.
#[track_caller]
fn check(statement: &str) -> Said {
    let folder = folder(&[("plant.sql", format!("{READINGS}{statement}").as_bytes())]);
    lineshaft(folder.path(), &["check", "plant.sql"]).exits(1)
}

/// Checks message, place and help of a view.
#[track_caller]
fn refused(query: &str, message: &str, column: usize, help: &str) {
    let said = check(&format!("CREATE VIEW v AS\n{query};"));
    let said = said.tells(&format!("error: {message}\n --> ").replace("\n -->", "\n  -->"));
    let said = said.tells(&format!("plant.sql:6:{column}\n"));
    if help.is_empty() {
        assert!(!said.err.contains("errors\n"), "{}", said.err);
    } else {
        said.tells(&format!("= help: {help}"));
    }
}

#[test]
fn five_mistakes_of_a_file_are_told_at_once_each_at_its_place() {
    let said = check(
        "CREATE SOURCE more (ts TIMESTAMP) WITH (connector = 'fil', path = 'a.csv');
CREATE SOURCE again (ts TIMESTAMP) WITH (connector = 'file', path = 'a.csv', fromat = 'csv');
CREATE VIEW a AS SELECT machin FROM readings;
CREATE VIEW b AS SELECT rmss(x) FROM readings;
CREATE VIEW c AS SELECT count(*) FROM TUMBLE(untimed, ts, INTERVAL '1' SECOND) GROUP BY window_start;",
    );
    let told = [
        ("there is no connector \"fil\"", "plant.sql:5:41"),
        ("file source has no option \"fromat\"", "plant.sql:6:78"),
        ("column \"machin\" not found", "plant.sql:7:25"),
        ("function \"rmss\" not found", "plant.sql:8:25"),
        ("TUMBLE needs a watermark: column \"ts\" of \"untimed\" has none", "plant.sql:9:39"),
    ];
    for (message, place) in told {
        assert!(
            said.err.contains(&format!("error: {message}\n  --> {place}\n")),
            "{message}, {place}:\n{}",
            said.err
        );
    }
    assert!(said.err.contains("\n5 errors\n"), "{}", said.err);
    for help in [
        "did you mean \"file\"?",
        "did you mean \"format\"?",
        "did you mean \"machine\"?",
        "did you mean \"rms\"?",
    ] {
        assert!(said.err.contains(&format!("= help: {help}")), "{help}:\n{}", said.err);
    }
}

#[test]
fn types_that_do_not_fit_are_told_at_their_place() {
    refused(
        "SELECT count(*) FROM TUMBLE(readings, x, INTERVAL '1' SECOND) GROUP BY window_start",
        "event time \"x\" of TUMBLE is DOUBLE, but must be TIMESTAMP",
        39,
        "use a value of type TIMESTAMP, or a cast",
    );
    refused(
        "SELECT rms(machine) FROM TUMBLE(readings, ts, INTERVAL '1' SECOND) GROUP BY window_start",
        "rms: x must be a number or an array of numbers, not TEXT",
        8,
        "",
    );
    refused(
        "SELECT x FROM readings WHERE x",
        "a condition must be BOOLEAN, but 'readings.x' is DOUBLE",
        24,
        "compare it",
    );
    refused(
        "SELECT x FROM readings WHERE ts > 'yesterday'",
        "error parsing timestamp from 'yesterday': timestamp must contain at least 10 characters",
        36,
        "",
    );
    refused("SELECT machine + 1 FROM readings", "expressions have incompatible types", 8, "");
}

#[test]
fn a_window_without_a_watermark_says_what_to_add() {
    refused(
        "SELECT count(*) FROM TUMBLE(untimed, ts, INTERVAL '1' SECOND) GROUP BY window_start",
        "TUMBLE needs a watermark: column \"ts\" of \"untimed\" has none",
        22,
        "add WATERMARK FOR ts AS ts - INTERVAL '5' SECOND to the source",
    );
}

#[test]
fn windows_that_make_no_sense_are_told_at_the_argument() {
    refused(
        "SELECT count(*) FROM HOP(readings, ts, INTERVAL '3' SECOND, INTERVAL '10' SECOND) GROUP BY window_start",
        "window size 10 s is not a multiple of its slide 3 s",
        49,
        "choose a slide that divides 10 s",
    );
    refused(
        "SELECT count(*) FROM CUMULATE(readings, ts, INTERVAL '7' MINUTE, INTERVAL '1' HOUR) GROUP BY window_end",
        "window size 1 h is not a multiple of its step 7 min",
        54,
        "choose a step that divides 1 h",
    );
    refused(
        "SELECT count(*) FROM STATE_WINDOW(readings, ts, x > 1, machine) GROUP BY window_start, machine",
        "STATE_WINDOW: expected the column of the state, found x > 1",
        49,
        "write STATE_WINDOW(relation, time, state, key)",
    );
    refused(
        "SELECT window_start, machine, count(*) FROM TUMBLE(readings, ts, INTERVAL '1' SECOND) \
         GROUP BY ROLLUP (window_start, machine)",
        "GROUP BY: every grouping set over a window must name window_start or window_end",
        87,
        "keep the window out of the sets: GROUP BY window_start, window_end, ROLLUP (a, b)",
    );
    refused(
        "SELECT count(*) FROM TUMBLE(readings, ts, 5) GROUP BY window_start",
        "TUMBLE: expected a constant interval, found 5",
        43,
        "write TUMBLE(relation, time, INTERVAL '10' SECOND)",
    );
    refused(
        "SELECT count(*) FROM TUMBLE(reading, ts, INTERVAL '1' SECOND) GROUP BY window_start",
        "table or view \"reading\" not found",
        29,
        "did you mean \"readings\"?",
    );
    refused(
        "SELECT x FROM TUBLE(readings, ts, INTERVAL '1' SECOND)",
        "function \"TUBLE\" not found",
        15,
        "did you mean \"TUMBLE\"?",
    );
    refused(
        "SELECT sum(x) FROM TUMBLE(readings, ts, INTERVAL '1' SECOND)",
        "GROUP BY over TUMBLE must name window_start or window_end",
        20,
        "add window_start, window_end to GROUP BY",
    );
    refused(
        "SELECT count(*) FROM COUNT_WINDOW(readings, ts, 9, 4) GROUP BY window_start",
        "the slide of 9 rows is larger than the window of 4 rows",
        49,
        "the slide comes first, then the size",
    );
}

#[test]
fn a_resampling_that_makes_no_sense_is_told_at_the_argument() {
    let wrong = |argument: &str, message: &str, column, help: &str| {
        let query = format!("SELECT * FROM RESAMPLE(readings, ts, INTERVAL '1' SECOND, machine, {argument})");
        refused(&query, message, column, help);
    };
    wrong(
        "CUBIC(x)",
        "RESAMPLE: CUBIC is no filling",
        68,
        "the fillings are LINEAR(a, b), PREVIOUS(c) and NONE(d)",
    );
    wrong(
        "LINEAR(machine)",
        "column \"machine\" of LINEAR must be a number, but is TEXT",
        68,
        "use PREVIOUS or NONE for it",
    );
    wrong(
        "GAP => INTERVAL '1' MINUTE",
        "RESAMPLE has no argument \"GAP\"",
        68,
        "there are MAX_GAP and SKIP_GAPS",
    );
    wrong(
        "PREVIOUS(machine)",
        "RESAMPLE: \"machine\" is the time or a key and is not filled",
        15,
        "write RESAMPLE(",
    );
    wrong("SKIP_GAPS => true", "RESAMPLE: SKIP_GAPS needs MAX_GAP", 15, "write RESAMPLE(");
    refused(
        "SELECT * FROM RESAMPLE(untimed, ts, INTERVAL '1' SECOND, machine, LINEAR(x))",
        "RESAMPLE needs a watermark: column \"ts\" has none",
        15,
        "add WATERMARK FOR ts AS ts - INTERVAL '5' SECOND",
    );
}

#[test]
fn as_of_joins_that_make_no_sense_are_told_at_their_place() {
    refused(
        "SELECT a.x FROM readings a ASOF JOIN readings b MATCH_CONDITION (a.ts >= b.ts) ON a.x > 1",
        "ON of an ASOF JOIN compares columns of the one side with the other",
        83,
        "write a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine",
    );
    refused(
        "SELECT a.x FROM readings a ASOF JOIN readings b ON a.machine = b.machine",
        "an ASOF JOIN compares event times exactly once",
        52,
        "write a ASOF JOIN b",
    );
    refused(
        "SELECT a.x FROM readings a ASOF JOIN untimed b MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine",
        "an ASOF JOIN compares event times, and b.ts is none",
        28,
        "declare it with WATERMARK FOR",
    );
    refused(
        "SELECT a.x FROM readings a JOIN untimed FOR SYSTEM_TIME AS OF a.ts AS b ON a.machine = b.machine",
        "\"untimed\" has no column that says from when on a row holds",
        76,
        "add WATERMARK FOR valid_from AS valid_from",
    );
    refused(
        "SELECT x FROM readings FOR SYSTEM_TIME AS OF ts",
        "FOR SYSTEM_TIME AS OF belongs to a JOIN or LEFT JOIN",
        24,
        "write a JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.key = b.key",
    );
}

#[test]
fn what_is_not_built_yet_is_told_at_check_and_never_ignored() {
    let refused =
        |query: &str, what: &str, column| refused(query, &format!("not supported yet: {what}"), column, "");
    refused(
        "SELECT * FROM readings MATCH_RECOGNIZE (ORDER BY ts MEASURES A.x AS x PATTERN (A) DEFINE A AS A.x > 1)",
        "MATCH_RECOGNIZE",
        24,
    );
    refused(
        "SELECT machine, count(*) FROM readings GROUP BY machine EMIT EVERY INTERVAL '1' SECOND",
        "EMIT EVERY without a window",
        57,
    );
    refused("SELECT x FROM readings ORDER BY x", "ORDER BY in a view", 24);
    refused("SELECT x FROM readings LIMIT 3", "LIMIT without ORDER BY in a view", 24);
    check("CREATE VIEW v AS SELECT slope(n) AS s FROM (SELECT machine, count(*) AS n FROM readings GROUP BY machine);")
        .tells("not supported yet: slope without a time over rows that may be taken back")
        .tells("give the time of the rows: slope(..., ts)");
    check("CREATE VIEW v AS SELECT now() AS t, n FROM (SELECT machine, count(*) AS n FROM readings GROUP BY machine);")
        .tells("not supported yet: now() over rows that may be taken back");
    refused("SELECT random() AS t FROM readings", "function \"random\"", 8);
    let actuator = |mode: &str, interlock: &str| {
        check(&format!(
            "CREATE ACTUATOR d WITH (connector = 'stdout', mode = '{mode}')
            (machine TEXT, x DOUBLE BETWEEN 1 AND 2) KEY (machine) {interlock};
            INSERT INTO d SELECT machine, x FROM readings;"
        ))
    };
    actuator("approve", "")
        .tells("not supported yet: mode 'approve'")
        .tells("plant.sql:5:54")
        .tells("use 'shadow'");
    actuator("auto", "INTERLOCK (SELECT machine FROM untimed)")
        .tells("not supported yet: INTERLOCK")
        .tells("plant.sql:6:");
}

#[test]
fn a_sink_that_only_adds_rows_says_how_it_can_take_a_changelog() {
    let view = "CREATE VIEW top AS SELECT machine, x FROM readings ORDER BY x DESC LIMIT 3;\n";
    let sink = |options: &str| {
        check(&format!("{view}CREATE SINK s FROM top WITH (connector = 'parquet', path = 'top'{options});"))
    };
    sink("").tells("the rows of this sink may be taken back").tells("add changelog = 'rows'");
    sink(", changelog = 'row'").tells("changelog is 'rows' or 'upsert', not \"row\"");
    sink(", changelog = 'upsert'").tells("changelog = 'upsert' needs a key");
    sink(", changelog = 'upsert', key = 'machin'")
        .tells("key: column \"machin\" not found")
        .tells("the columns are machine, x");
    let window = "CREATE VIEW w AS SELECT count(*) AS n FROM TUMBLE(latest, ts, INTERVAL '1' SECOND) GROUP BY window_start;";
    let joined = "CREATE VIEW latest AS SELECT a.ts FROM readings a JOIN untimed b ON a.x = b.x;";
    check(&format!("{joined}\n{window}")).tells("not supported yet: TUMBLE over rows that may be taken back");
}

#[test]
fn a_program_made_by_a_program_is_checked_or_told_what_is_too_long() {
    let tags = (0..600).map(|n| format!("machine = 'm{n}'")).collect::<Vec<_>>().join(" OR ");
    let folder = folder(&[(
        "plant.sql",
        format!("{READINGS}CREATE VIEW v AS SELECT x FROM readings WHERE {tags};").as_bytes(),
    )]);
    lineshaft(folder.path(), &["check", "plant.sql"]).exits(0);
    let sum = vec!["x"; 400].join(" + ");
    let help = "put parentheses around parts of it, or compute parts in a view before";
    refused(
        &format!("SELECT {sum} AS y FROM readings"),
        "more than 250 operators in a row",
        8 + 4 * 399,
        help,
    );
}

#[test]
fn five_mistakes_are_five_messages_each_at_its_place() {
    let said = check(
        "CREATE SOURCE other (ts TIMESTAMP, x DOUBLE) WITH (connector = 'file', path = 'r.csv', formt = 'csv');
CREATE VIEW v1 AS SELECT machin, x FROM readings;
CREATE VIEW v2 AS SELECT count(*) FROM TUMBLE(readings, ts, INTERVAL '10' SECOND);
CREATE VIEW v3 AS SELECT a.x FROM readings a ASOF JOIN readings b ON a.machine = b.machine;
CREATE SINK s WITH (connector = 'parquet', path = 'o') AS SELECT machine, count(*) AS n FROM readings GROUP BY machine;",
    );
    let said = said
        .tells("file source has no option \"formt\"\n  --> plant.sql:5:")
        .tells("column \"machin\" not found\n  --> plant.sql:6:26")
        .tells("GROUP BY over TUMBLE must name window_start or window_end\n  --> plant.sql:7:40")
        .tells("an ASOF JOIN compares event times exactly once\n  --> plant.sql:8:")
        .tells("the rows of this sink may be taken back")
        .tells("  --> plant.sql:9:");
    assert_eq!(said.err.matches("error:").count(), 5, "{}", said.err);
}

#[test]
fn a_view_that_a_sink_reads_is_where_its_mistakes_are_told() {
    let said = check(
        "CREATE VIEW inner_one AS\nSELECT x FROM readings ORDER BY x;
CREATE VIEW a_reader AS SELECT x FROM inner_one;
CREATE SINK s FROM a_reader WITH (connector = 'stdout');",
    );
    let said = said.tells("not supported yet: ORDER BY in a view\n  --> plant.sql:6:24");
    assert_eq!(said.err.matches("error:").count(), 1, "{}", said.err);
}

/// A program over one file, and what it prints.
fn program(path: &str, options: &str) -> String {
    format!("CREATE SOURCE r (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH (connector = 'file', path = '{path}', {options});
CREATE SINK shown WITH (connector = 'stdout') AS SELECT machine, x FROM r;")
}

#[test]
fn a_file_that_is_not_there_is_told_with_those_that_are() {
    let folder = folder(&[
        ("p.sql", program("reading.csv", "format = 'csv'").as_bytes()),
        ("readings.csv", b"ts,machine,x\n"),
    ]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(1);
    said.tells("no file reading.csv").tells("--> p.sql:2:27").tells("readings.csv");
}

#[test]
fn a_file_in_another_text_is_told_before_a_row_is_read() {
    let sql = program("r.csv", "format = 'csv'");
    let utf16: Vec<u8> = "\u{feff}ts,machine,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, what, help) in [
        (utf16.as_slice(), "r.csv is UTF-16", "iconv -f UTF-16 -t UTF-8"),
        (
            b"ts,machine,x\r2026-01-01T00:00:00Z,a,1\r",
            "r.csv has lines that end with CR alone",
            "end them with LF",
        ),
    ] {
        let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", bytes)]);
        lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(1).tells(what).tells(help);
    }
}

#[test]
fn the_name_of_a_column_in_other_case_is_told_with_its_quotes() {
    let sql = program("r.csv", "format = 'csv'");
    let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", b"ts,Machine,x\n2026-01-01T00:00:00Z,a,1\n")]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
    said.tells("r.csv has no column \"machine\": it is NULL; write the column as \"Machine\", with quotes");
}

#[test]
fn bad_rows_of_csv_are_kept_aside_with_line_and_reason_and_the_others_go_on() {
    let rows =
        b"ts,machine,x\n2026-01-01T00:00:00Z,a,1\n2026-01-01T00:00:01Z,a\n2026-01-01T00:00:02Z,a,zwei\n\
        2026-01-01T00:00:03Z,b\xff,4\nyesterday,b,5\n2026-01-01T00:00:04Z,c,6\n";
    for workers in ["1", "2", "4"] {
        let folder = folder(&[("p.sql", program("bad.csv", "format = 'csv'").as_bytes()), ("bad.csv", rows)]);
        let said =
            lineshaft(folder.path(), &["run", "p.sql", "--data", "data", "--workers", workers]).exits(0);
        let said = said.tells("r: 6 received = 2 processed + 0 late + 4 quarantined");
        assert_eq!(said.out, "{\"machine\":\"a\",\"x\":1.0}\n{\"machine\":\"c\",\"x\":6.0}\n");
        let sql = "SELECT line, reason, detail FROM r.quarantine ORDER BY line";
        let aside =
            lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "json"]).exits(0).out;
        let lines: Vec<&str> = aside.lines().collect();
        assert_eq!(lines[0], r#"{"line":3,"reason":"fields","detail":"found 2 fields, expected 3"}"#);
        assert_eq!(
            lines[1],
            r#"{"line":4,"reason":"type","detail":"column \"x\": found \"zwei\", expected DOUBLE"}"#
        );
        assert_eq!(lines[2], r#"{"line":5,"reason":"utf8","detail":"the record is not valid UTF-8"}"#);
        assert!(
            lines[3].starts_with(r#"{"line":6,"reason":"type","detail":"column \"ts\": found \"yesterday\""#),
            "{aside}"
        );
        assert_eq!(lines.len(), 4);
    }
}

#[test]
fn what_is_kept_of_bad_rows_has_a_limit_and_all_are_counted() {
    let rows: String = (0..500).map(|row| format!("2026-01-01T00:00:00Z,a,x{}\n", "y".repeat(row))).collect();
    let options = "format = 'csv', quarantine_size = '20 kB'";
    let folder = folder(&[("p.sql", program("bad.csv", options).as_bytes())]);
    let kept = |run: usize| {
        // Each run has other rows, and finds those of the runs before.
        fs::write(folder.path().join("bad.csv"), format!("ts,machine,x\n{run}{rows}")).unwrap();
        let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
        said.tells("500 quarantined");
        let sql = "SELECT count(*) AS kept FROM r.quarantine";
        let said = lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "csv"]).exits(0);
        said.out.lines().last().unwrap().parse::<usize>().unwrap()
    };
    let kept: Vec<usize> = (0..8).map(kept).collect();
    assert_eq!(kept[0], 500);
    assert!(kept[7] < 4_000 && kept[7].is_multiple_of(500), "{kept:?}");
    let wrong = folder.path().join("p.sql");
    fs::write(&wrong, program("bad.csv", "format = 'csv', quarantine_size = 'little'")).unwrap();
    let said = lineshaft(folder.path(), &["check", "p.sql"]).exits(1);
    said.tells("option \"quarantine_size\" is \"little\"").tells("write a size such as");
}

#[test]
fn bad_rows_of_json_lines_are_kept_aside_and_the_others_go_on() {
    let rows = b"{\"ts\":\"2026-01-01T00:00:00Z\",\"machine\":\"a\",\"x\":1}\n{\"ts\":\n\
        {\"ts\":\"2026-01-01T00:00:01Z\",\"machine\":\"b\",\"x\":\"two\"}\n{\"ts\":\"2026-01-01T00:00:02Z\",\"machine\":\"\xff\"}\n\
        {\"machine\":\"without time\"}\n{\"ts\":\"2026-01-01T00:00:03Z\",\"machine\":\"c\"}\n";
    let folder =
        folder(&[("p.sql", program("bad.jsonl", "format = 'jsonl'").as_bytes()), ("bad.jsonl", rows)]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
    let said = said.tells("r: 6 received = 2 processed + 0 late + 4 quarantined");
    assert_eq!(said.out, "{\"machine\":\"a\",\"x\":1.0}\n{\"machine\":\"c\",\"x\":null}\n");
}

#[test]
fn a_truncated_gzip_is_named_and_its_rows_and_those_of_other_files_are_written() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"ts,machine,x\n").unwrap();
    for row in 0..60_000 {
        let (minute, second) = (row / 60 % 60, row % 60);
        writeln!(encoder, "2026-01-01T00:{minute:02}:{second:02}Z,cut,{}", row * 7919 % 1000).unwrap();
    }
    let whole = encoder.finish().unwrap();
    let sql = program("*.csv*", "format = 'csv'")
        .replace("AS ts - INTERVAL '5' SECOND", "AS ts - INTERVAL '2' HOUR");
    let folder = folder(&[
        ("p.sql", sql.as_bytes()),
        ("a.csv.gz", &whole[..whole.len() / 2]),
        ("b.csv", b"ts,machine,x\n2026-01-01T00:30:00Z,whole,1\n2026-01-01T02:00:00Z,whole,2\n"),
    ]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(3);
    let said = said.tells("could not read").tells("a.csv.gz").tells("the file is truncated, copy it again");
    assert_eq!(said.out.lines().filter(|row| row.contains("whole")).count(), 2, "{}", said.err);
    assert!(said.out.lines().filter(|row| row.contains("cut")).count() > 10_000, "{}", said.err);
}

#[test]
fn a_truncated_parquet_file_is_told_before_anything_starts() {
    let sql = program("cut.parquet", "format = 'parquet'");
    let folder = folder(&[("p.sql", sql.as_bytes()), ("cut.parquet", b"PAR1 and then nothing of use PAR0")]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(1);
    said.tells("could not read cut.parquet")
        .tells("--> p.sql:2:27")
        .tells("the file is truncated or of another format");
}

#[test]
fn a_query_file_that_is_no_text_is_told() {
    let folder = folder(&[("p.sql", b"CREATE VIEW v AS SELECT \xff;")]);
    lineshaft(folder.path(), &["check", "p.sql"]).exits(1).tells("could not read p.sql").tells("UTF-8");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_told() {
    let readings = b"ts,machine,x\n2026-01-01T00:00:00Z,a,1\n";
    let folder = folder(&[
        ("p.sql", program("r.csv", "format = 'csv'").as_bytes()),
        ("r.csv", readings),
        ("data", b""),
    ]);
    lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(1).tells("data/catalog.json");
    lineshaft(folder.path(), &["run", "p.sql", "--data", "/proc/nope"])
        .exits(1)
        .tells("could not create /proc/nope");
}

#[test]
fn a_command_outside_its_bounds_is_rejected_with_the_reason_and_others_are_sent() {
    let sql = "
CREATE SOURCE r (ts TIMESTAMP NOT NULL, line TEXT, speed DOUBLE, WATERMARK FOR ts)
    WITH (connector = 'file', path = 'r.csv', format = 'csv');
CREATE ACTUATOR drive WITH (connector = 'stdout', mode = 'auto') (line TEXT, speed DOUBLE BETWEEN 10 AND 40) KEY (line);
INSERT INTO drive SELECT line, speed FROM r;";
    let rows =
        b"ts,line,speed\n2026-01-01T00:00:00Z,a,20\n2026-01-01T00:00:10Z,b,400\n2026-01-01T00:00:20Z,c,30\n";
    let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", rows)]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
    assert!(
        said.out.contains("\"line\":\"a\",\"speed\":20.0") && said.out.contains("\"line\":\"c\""),
        "{}",
        said.out
    );
    assert!(!said.out.contains("\"speed\":400"), "{}", said.out);
    let sql = "SELECT line, decision, reason FROM drive.log ORDER BY line";
    let log = lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "csv"]).exits(0).out;
    assert_eq!(
        log,
        "line,decision,reason\na,sent,\nb,rejected,speed 400 is above the greatest 40\nc,sent,\n"
    );
}

#[test]
fn a_model_without_rows_is_told_at_its_statement() {
    let sql = "
CREATE SOURCE r (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts)
    WITH (connector = 'file', path = 'r.csv', format = 'csv');
CREATE MODEL wear WITH (algorithm = 'linear_regression', target = 'x') AS SELECT x, x + 1 AS y FROM r WHERE x > 100;
CREATE SINK s WITH (connector = 'stdout') AS SELECT predict('wear', x) AS p FROM r;";
    let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", b"ts,machine,x\n2026-01-01T00:00:00Z,a,1\n")]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(1);
    said.tells("model \"wear\": its training query gave no rows").tells("--> p.sql:4:1");
}

#[test]
fn a_model_whose_name_cannot_be_that_of_a_folder_is_told_by_check() {
    let sql = "
CREATE SOURCE r (x DOUBLE, y DOUBLE) WITH (connector = 'file', path = 'r.csv', format = 'csv');
CREATE MODEL \"of/wear\" WITH (algorithm = 'ridge', target = 'y') AS SELECT x, y FROM r;
CREATE SINK s WITH (connector = 'stdout') AS SELECT predict('of/wear', x) AS p FROM r;";
    let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", b"x,y\n1,2\n")]);
    let said = lineshaft(folder.path(), &["check", "p.sql"]).exits(1);
    said.tells("model \"of/wear\" cannot be stored: its name becomes a folder").tells("--> p.sql:3:14");
}

#[test]
fn what_is_wrong_with_a_model_is_told_by_check() {
    let check = |model: &str, expression: &str| {
        let sql = format!(
            "CREATE SOURCE r (machine TEXT, x DOUBLE, y DOUBLE, z DOUBLE)
                 WITH (connector = 'file', path = 'r.csv', format = 'csv');
             CREATE MODEL m {model};
             CREATE SINK s WITH (connector = 'stdout') AS SELECT {expression} AS p FROM r;"
        );
        let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", b"machine,x,y,z\na,1,2,3\n")]);
        lineshaft(folder.path(), &["check", "p.sql"])
    };
    let pca = "PER machine WITH (algorithm = 'pca_t2_spe') AS SELECT machine, x, y FROM r";
    check(pca, "predict('m', machine, x, y)").exits(0);
    check(pca, "contributions('m', 'spe', machine, x, y)[2]").exits(0);
    check(pca, "predict('m', x, y)")
        .exits(1)
        .tells("takes its key \"machine\" and 2 features, found 2 arguments");
    check(pca, "predict('m', machine, x, machine)").exits(1).tells("must be a number or BOOLEAN");
    check(pca, "model_value('m', 't3', machine, x, y)")
        .exits(1)
        .tells("the second argument names a figure of model m, found \"t3\"")
        .tells("it has score, t2, spe, t2_limit, spe_limit, residual_variance");
    check(pca, "contributions('m', 'score', machine, x, y)").exits(1).tells("it has t2, spe");
    check(pca, "predict_proba('m', machine, x, y)").exits(1).tells("is no classifier");
    let ridge = "WITH (algorithm = 'ridge', target = 'z'";
    check(&format!("{ridge}) AS SELECT x, z FROM r"), "model_value('m', 'score', x)")
        .exits(1)
        .tells("it has base");
    let nearest = "WITH (algorithm = 'knn_regressor', target = 'z') AS SELECT x, z FROM r";
    check(nearest, "model_value('m', 'score', x)").exits(1).tells("its algorithm has none");
    check(&format!("{ridge}) AS SELECT x, z FROM r"), "predict('m', machine)")
        .exits(1)
        .tells("a number or BOOLEAN");
    check(&format!("{ridge}, group = 'machin') AS SELECT machine, x, z FROM r"), "predict('m', x)")
        .exits(1)
        .tells("did you mean \"machine\"?");
    check(&format!("{ridge}) AS SELECT TIMESTAMP '2026-01-01' AS ts, x, z FROM r"), "predict('m', x)")
        .exits(1)
        .tells("feature \"ts\" of model \"m\" is a time")
        .tells("say time = 'ts'");
    check(&format!("{ridge}) PER machine AS SELECT machine, x, z FROM r"), "1")
        .exits(1)
        .tells("expected RETRAIN, or AS and a query, found \"PER\"")
        .tells("PER column stands before WITH");
    let naive = "WITH (algorithm = 'naive_bayes', target = 'machine') AS SELECT machine, x, y FROM r";
    check(naive, "predict_proba('m', x, y, 'a')")
        .exits(1)
        .tells("error: a feature of predict_proba, which come after the name of a class, is TEXT");
    check(&format!("PER line {ridge}) AS SELECT machine, x, z FROM r"), "1").exits(1).tells("\"line\"");
    check(&format!("{ridge}, splt = 'row') AS SELECT x, z FROM r"), "predict('m', x)")
        .exits(1)
        .tells("did you mean \"split\"?");
}

#[test]
fn a_broker_that_is_not_there_is_told_and_tried_again_until_the_program_is_stopped() {
    let sql = "CREATE SOURCE r (ts TIMESTAMP NOT NULL, x DOUBLE, WATERMARK FOR ts)
        WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:1', topic = 'a', format = 'json');
        CREATE SINK s WITH (connector = 'stdout') AS SELECT x FROM r;";
    let folder = folder(&[("p.sql", sql.as_bytes())]);
    let mut command = command(folder.path(), &["run", "p.sql", "--data", "data"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("cannot reach mqtt://127.0.0.1:1: connection refused; trying again"), "{line}");
    let stopped =
        std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
}
