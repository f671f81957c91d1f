//! Rows that an expression has no value for.

use super::{folder, program};
use crate::support::lineshaft;

#[test]
fn a_row_that_cannot_be_computed_goes_aside_with_the_expression_and_the_others_go_on() {
    let readings =
        b"ts,machine,x\n2026-01-01T00:00:00Z,a,1\n2026-01-01T00:00:01Z,7,2\n2026-01-01T00:00:02Z,,3\n\
        2026-01-01T00:00:03Z,0,4\n";
    let sql = program("r.csv", "format = 'csv'").replace(
        "machine, x FROM r;",
        "CAST(machine AS BIGINT) AS m FROM r;
CREATE SINK parts WITH (connector = 'stdout') AS SELECT 70 / m AS parts FROM (SELECT TRY_CAST(machine AS BIGINT) AS m FROM r);
CREATE SINK sums WITH (connector = 'stdout') AS
    SELECT sum(CAST(machine AS BIGINT)) AS sum, count(*) AS n FROM TUMBLE(r, ts, INTERVAL '10' SECOND)
    WHERE CAST(machine AS DOUBLE) < 100 OR machine IS NULL GROUP BY window_start;",
    );
    for workers in ["1", "2", "4"] {
        let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", readings)]);
        let said =
            lineshaft(folder.path(), &["run", "p.sql", "--data", "data", "--workers", workers]).exits(0);
        let said = said
            .tells("shown: a row could not be computed: CAST(machine AS BIGINT):")
            .tells("Cannot cast string 'a' to value of BIGINT type")
            .tells("3 rows could not be computed: look at lineshaft.failed");
        let mut rows: Vec<&str> = said.out.lines().collect();
        rows.sort_unstable();
        let expected = [
            r#"{"m":0}"#,
            r#"{"m":7}"#,
            r#"{"m":null}"#,
            r#"{"parts":10}"#,
            r#"{"parts":null}"#,
            r#"{"parts":null}"#,
            r#"{"sum":7,"n":3}"#,
        ];
        assert_eq!(rows, expected, "{}", said.err);
        let sql = "SELECT relation, \"row\" FROM lineshaft.failed ORDER BY relation";
        let failed =
            lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "json"]).exits(0).out;
        let failed: Vec<&str> = failed.lines().collect();
        assert!(failed[0].starts_with(r#"{"relation":"parts","row":"{"#), "{failed:?}");
        assert!(failed[1].contains(r#"\"machine\":\"a\""#), "{failed:?}");
        assert_eq!(failed.len(), 3);
    }
}

#[test]
fn functions_that_have_no_value_for_a_row_or_too_long_a_one_leave_the_others_alone() {
    let sql = program("r.csv", "format = 'csv'").replace(
        "machine, x FROM r;",
        "sqrt(x) AS root FROM r;
CREATE SINK rounded WITH (connector = 'stdout') AS SELECT ceil(CAST(x AS DECIMAL(3, 2))) AS up FROM r WHERE x > 9;
CREATE SINK padded WITH (connector = 'stdout') AS SELECT length(lpad(machine, CAST(x * 1e9 AS BIGINT))) AS long FROM r WHERE x > 1;
CREATE SINK counted WITH (connector = 'stdout') AS SELECT cardinality(range(CAST(x * 1e9 AS BIGINT))) AS many FROM r WHERE x > 1;",
    );
    let readings =
        b"ts,machine,x\n2026-01-01T00:00:00Z,a,4\n2026-01-01T00:00:01Z,b,-1\n2026-01-01T00:00:02Z,c,9.99\n";
    let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", readings)]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
    let said = said
        .tells("shown: a row could not be computed: sqrt(x): ")
        .tells("cannot take square root of a negative number")
        .tells("lpad of length 4000000000, and a row may have at most 1048576")
        .tells("range of length 4000000000, and a row may have at most 1048576")
        .tells("6 rows could not be computed: look at lineshaft.failed");
    let mut rows: Vec<&str> = said.out.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows, [r#"{"root":2.0}"#, r#"{"root":3.1606961258558215}"#], "{}", said.err);
}

#[test]
fn a_row_that_an_argument_of_over_has_no_value_for_goes_aside_and_the_others_are_in_their_frames() {
    let readings =
        b"ts,machine,x\n2026-01-01T00:00:00Z,5,1\n2026-01-01T00:00:01Z,0,2\n2026-01-01T00:00:02Z,a,3\n\
        2026-01-01T00:00:03Z,2,4\n";
    let run = |columns: &str| {
        let sql =
            program("r.csv", "format = 'csv'").replace("machine, x FROM r;", &format!("{columns} FROM n;"));
        let (source, sink) = sql.split_once("CREATE SINK").unwrap();
        let view = "CREATE VIEW n AS SELECT ts, machine, TRY_CAST(machine AS BIGINT) AS m, x FROM r;";
        let mut sql = format!("{source}{view}\nCREATE SINK{sink}");
        if columns.contains("ntile") {
            sql = sql.replace("'stdout'", "'stdout', changelog = 'rows'");
        }
        let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", readings)]);
        let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
        let failed = said
            .err
            .lines()
            .find_map(|line| line.split_once(" could not be computed: look")?.0.split("; ").last());
        (said.out.lines().collect::<Vec<_>>().join(" "), failed.unwrap_or_default().to_owned())
    };
    for (columns, expected, failed) in [
        ("sum(10 / m) OVER (ORDER BY ts) AS s", r#"{"s":2} {"s":2} {"s":7}"#, "1 rows"),
        (
            "lag(10 / m) OVER (ORDER BY ts) AS s, x",
            r#"{"s":null,"x":1.0} {"s":2,"x":3.0} {"s":null,"x":4.0}"#,
            "1 rows",
        ),
        (
            "sum(10 / m) FILTER (WHERE m > 0) OVER (ORDER BY ts) AS s",
            r#"{"s":2} {"s":2} {"s":2} {"s":7}"#,
            "",
        ),
        (
            "count(*) FILTER (WHERE 10 / m > 1) OVER (ORDER BY ts) AS s",
            r#"{"s":1} {"s":1} {"s":2}"#,
            "1 rows",
        ),
        (
            "rms(CAST(machine AS DOUBLE)) OVER (ORDER BY ts ROWS 1 PRECEDING) AS s, x",
            r#"{"s":5.0,"x":1.0} {"s":3.5355339059327378,"x":2.0} {"s":1.4142135623730951,"x":4.0}"#,
            "1 rows",
        ),
        ("ewma(CAST(machine AS DOUBLE), 3) OVER (ORDER BY ts) AS s", "", "1 rows"),
        ("sum(x) OVER (PARTITION BY 10 / m ORDER BY ts) AS s", r#"{"s":1.0} {"s":3.0} {"s":4.0}"#, "1 rows"),
        (
            "ntile(1) OVER (PARTITION BY 10 / m ORDER BY x) AS s, x",
            r#"{"s":1,"x":1.0,"operation":"insert"} {"s":1,"x":3.0,"operation":"insert"} {"s":1,"x":4.0,"operation":"insert"}"#,
            "1 rows",
        ),
    ] {
        let (rows, aside) = run(columns);
        assert!(expected.is_empty() || rows == expected, "{columns}: {rows}");
        assert_eq!(aside, failed, "{columns}: {rows}");
    }
}

#[test]
fn a_value_whose_mean_cannot_be_told_goes_aside() {
    let readings = b"ts,machine,x\n2026-01-01T00:00:00Z,90000000000000000000000000000000000001,1\n\
        2026-01-01T00:00:01Z,5,2\n2026-01-01T00:00:02Z,8,3\n";
    let sql = program("r.csv", "format = 'csv'").replace("machine TEXT", "machine DECIMAL(38,0)").replace(
        "machine, x FROM r;",
        "avg(machine) AS a FROM TUMBLE(r, ts, INTERVAL '10' SECOND) GROUP BY window_start;",
    );
    let folder = folder(&[("p.sql", sql.as_bytes()), ("r.csv", readings)]);
    let said = lineshaft(folder.path(), &["run", "p.sql", "--data", "data"]).exits(0);
    assert_eq!(said.out, "{\"a\":6.5000}\n", "{}", said.err);
    said.tells("1 rows could not be computed");
}
