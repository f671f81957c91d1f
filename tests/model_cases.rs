//! Rows of the past that are most like a row: what `nearest_cases` gives in a program, and what is refused.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::support::lineshaft;

/// Two weeks of a press: as it runs, and two days with a damage each.
fn write_days(folder: &Path) {
    let mut rows = "day,order_number,vibration,heat,what\n".to_owned();
    for day in 1..=14 {
        let (vibration, heat, what) = match day {
            5 => (9.0, 41.0, "bearing"),
            12 => (3.0, 80.0, "pump"),
            _ => (2.0 + f64::from(day % 3) / 10.0, 40.0 + f64::from(day % 5), ""),
        };
        writeln!(rows, "2026-03-{day:02},{},{vibration},{heat},{what}", 700 + day).unwrap();
    }
    fs::write(folder.join("days.csv"), rows).unwrap();
    fs::write(folder.join("now.csv"), "n,vibration,heat\n1,8.5,44\n2,3.5,75\n3,2.1,\n").unwrap();
}

const PROGRAM: &str =
    "CREATE SOURCE days (day DATE, order_number BIGINT, vibration DOUBLE, heat DOUBLE, what TEXT)
    WITH (connector = 'file', path = 'days.csv', format = 'csv');
CREATE SOURCE now_rows (n BIGINT, vibration DOUBLE, heat DOUBLE)
    WITH (connector = 'file', path = 'now.csv', format = 'csv');\n";

fn program(folder: &Path, statements: &str) {
    write_days(folder);
    fs::write(folder.join("plant.sql"), format!("{PROGRAM}{statements}")).unwrap();
}

const MODEL: &str = "CREATE MODEL usual WITH (algorithm = 'isolation_forest', time = 'day', cases = 'day', case_label = 'what') AS
    SELECT day, vibration, heat, what FROM days;\n";

#[test]
fn a_row_is_shown_with_the_days_that_were_most_like_it() {
    let folder = tempfile::tempdir().unwrap();
    let sink = "CREATE SINK seen WITH (connector = 'stdout') AS
        SELECT n, nearest_cases('usual', 2, vibration, heat) AS cases FROM now_rows;
        CREATE SINK alike WITH (connector = 'parquet', path = 'alike') AS
        SELECT n, cases[1]['id'] AS day, cases[1]['label'] AS was, round(cases[1]['distance'], 3) AS distance
        FROM (SELECT n, nearest_cases('usual', 2, vibration, heat) AS cases FROM now_rows);";
    program(folder.path(), &format!("{MODEL}{sink}"));
    let said = lineshaft(folder.path(), &["run", "plant.sql", "--data", "data"]).exits(0);
    let rows: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0]["cases"].as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["cases"][0]["id"], "2026-03-05");
    assert!(rows[2]["cases"].is_null(), "{}", rows[2]);
    let sql = "SELECT n, day, was FROM alike ORDER BY n";
    let said = lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "csv"]).exits(0);
    assert!(said.out.contains("1,2026-03-05,bearing\n2,2026-03-12,pump\n3,,\n"), "{}", said.out);
    let sql = "SELECT cases FROM lineshaft.models";
    let said = lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "csv"]).exits(0);
    assert!(said.out.contains("14"), "held-back rows are cases, too: {}", said.out);
}

#[test]
fn what_has_no_cases_is_told_by_check_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let check = |statements: &str| {
        program(folder.path(), statements);
        lineshaft(folder.path(), &["check", "plant.sql"]).exits(1)
    };
    let plain =
        "CREATE MODEL plain WITH (algorithm = 'isolation_forest') AS SELECT vibration, heat FROM days;\n";
    check(&format!(
        "{plain}CREATE VIEW v AS SELECT nearest_cases('plain', 2, vibration, heat) AS c FROM now_rows;"
    ))
    .tells("keeps no cases")
    .tells("with the option `cases`")
    .tells("plant.sql:6:");
    let ask = |count: &str| {
        format!(
            "{MODEL}CREATE VIEW v AS SELECT nearest_cases('usual', {count}, vibration, heat) AS c FROM now_rows;"
        )
    };
    check(&ask("0")).tells("a constant from 1 to 100").tells("plant.sql:7:");
    check(&ask("101")).tells("a constant from 1 to 100");
    check(&ask("n")).tells("a constant from 1 to 100");
    check(&format!(
        "{MODEL}CREATE VIEW v AS SELECT nearest_cases('usual', 2, vibration) AS c FROM now_rows;"
    ))
    .tells("takes 2 features, found 1");
    let with = |options: &str| {
        format!(
            "CREATE MODEL m WITH (algorithm = 'isolation_forest', {options}) AS SELECT vibration, heat FROM days;"
        )
    };
    check(&with("cases = 'dya'")).tells("column \"dya\"").tells("plant.sql:5:");
    check(&with("case_label = 'heat'")).tells("the model keeps none");
}
