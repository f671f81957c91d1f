//! Rows that come below the watermark: corrected windows, and who gets each window only once.

use std::fs;
use std::sync::Arc;

use lineshaft::Engine;
use lineshaft::engine::testing::{Collected, lines, table};

use crate::support::lineshaft;

const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'memory', allowed_lateness = '1 min');
CREATE VIEW sums AS
SELECT window_start, machine, sum(x) AS total FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) GROUP BY window_start, machine;
CREATE SINK changes FROM sums WITH (connector = 'memory');
CREATE SINK late FROM readings.late WITH (connector = 'memory');
";

/// What a sink was given, each change with its weight.
fn given(collected: &Collected) -> Vec<String> {
    let mut changes = Vec::new();
    for batch in collected.changes() {
        for (row, line) in lines([batch.rows()]).into_iter().enumerate() {
            let weight = batch.weights().map_or(1, |weights| weights.value(row));
            changes.push(format!("{weight:+} {}", line.replace("1970-01-01T00:0", "")));
        }
    }
    changes
}

#[test]
fn a_late_row_takes_a_result_back_and_one_that_is_too_late_is_kept_aside() {
    let mut engine = Engine::from_sql(PROGRAM).unwrap();
    let (changes, late) = (Collected::default(), Collected::default());
    let folder = tempfile::tempdir().unwrap();
    engine.data(folder.path()).workers(2);
    engine.add_sink("changes", Arc::new(changes.clone())).add_sink("late", Arc::new(late.clone()));
    let input = engine.input("readings").unwrap();
    let running = engine.start().unwrap();
    // The second row of a batch is the one that moves the watermark past the window of the first.
    for rows in ["\n 1 a 4 \n 30 b 1", "\n 3 a 2 \n 31 b 1", "\n 5 a 1 \n 95 b 1", "\n 4 a 7 \n 96 b 1"] {
        input.send(table(&format!("ts:ts machine:s x:f {rows}"))).unwrap();
    }
    drop(input);
    running.wait().unwrap();
    let of_a: Vec<String> = given(&changes).into_iter().filter(|change| change.contains(" a ")).collect();
    assert_eq!(of_a, ["+1 0:00 a 4.0", "-1 0:00 a 4.0", "+1 0:00 a 6.0", "-1 0:00 a 6.0", "+1 0:00 a 7.0"]);
    assert_eq!(given(&late), ["+1 0:04 a 7.0"]);
}

#[test]
fn a_sink_that_only_adds_rows_gets_each_window_once() {
    let folder = tempfile::tempdir().unwrap();
    let sinks = "CREATE SINK kept FROM sums WITH (connector = 'parquet', path = 'kept');
                 CREATE SINK shown FROM sums WITH (connector = 'stdout');";
    let early = "CREATE VIEW early AS SELECT window_start, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '10' SECOND)
                 GROUP BY window_start EMIT EVERY INTERVAL '1' SECOND;
                 CREATE SINK counted FROM early WITH (connector = 'parquet', path = 'counted');";
    fs::write(folder.path().join("p.sql"), format!("{PROGRAM}{sinks}")).unwrap();
    let said = lineshaft(folder.path(), &["explain", "p.sql"]).exits(0);
    assert!(said.out.contains("sums: TUMBLE aggregate [append-only,"), "{}", said.out);
    assert!(said.out.contains("sums: TUMBLE aggregate [changelog,"), "{}", said.out);
    assert!(said.out.contains("rows may be 1 min late"), "{}", said.out);
    fs::write(folder.path().join("p.sql"), format!("{PROGRAM}{early}")).unwrap();
    let said = lineshaft(folder.path(), &["check", "p.sql"]).exits(1);
    said.tells("the rows of this sink may be taken back").tells("changelog = 'rows'");
}
