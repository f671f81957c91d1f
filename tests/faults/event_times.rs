//! Rows whose event time is nonsense, between honest ones: none of these may be lost for it.

use std::fs;
use std::ops::Range;

use lineshaft::engine::clock::Clock;
use lineshaft::engine::testing::lines;
use lineshaft::history;
use serde_json::json;

use super::live::{Client, Live, free_port};
use super::{figures, setting};

const HOUR: i64 = 3_600_000_000;
/// How far a row may be ahead, as it is without the option.
const MAX_FUTURE: i64 = 300_000_000;

const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
    WITH (connector = 'http', listen = '${env:LISTEN}', path = '/r', format = 'json', timestamp_format = 'unix_us');
CREATE SINK history WITH (connector = 'parquet', path = 'history') AS SELECT ts, n FROM readings;
CREATE SINK sums WITH (connector = 'parquet', path = 'sums') AS SELECT window_start, count(*) AS c
    FROM TUMBLE(readings, ts, INTERVAL '100' MILLISECOND) GROUP BY window_start, window_end;";

/// What event times clocks that are wrong give at `now`, and where such a row has to go.
fn poison(now: i64, kind: u64) -> (i64, &'static str) {
    match kind % 6 {
        0 => (now + 876_600 * HOUR, "quarantine"),
        1 => (now + HOUR, "quarantine"),
        2 => (0, "late"),
        3 => (-1, "late"),
        4 => (i64::MAX, "quarantine"),
        _ => (i64::MIN + 1, "late"),
    }
}

/// Rows with these numbers, and how many of them have to go to quarantine and how many are late.
fn batch(now: i64, numbers: Range<u64>, every: u64) -> (String, u64, u64) {
    let (mut rows, mut quarantined, mut late) = (Vec::new(), 0, 0);
    for n in numbers {
        // The first row of all is honest: before it nothing is late.
        let (ts, place) = if n % every == every - 1 { poison(now, n / every) } else { (now, "history") };
        quarantined += u64::from(place == "quarantine");
        late += u64::from(place == "late");
        rows.push(format!("{{\"ts\":{ts},\"n\":{n}}}"));
    }
    (format!("[{}]", rows.join(",")), quarantined, late)
}

#[test]
fn event_times_that_are_nonsense_hold_back_and_push_forward_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (port, clock) = (free_port(), Clock::system());
    fs::write(folder.path().join("p.sql"), PROGRAM).unwrap();
    let mut live = Live::start(folder.path(), &[("LISTEN", &format!("127.0.0.1:{port}"))], &[]);
    let (rows, every) = (setting("LINESHAFT_EVENT_TIMES", 5_000), setting("LINESHAFT_POISON_EVERY", 50));
    let (mut client, mut n, mut quarantined, mut late) = (Client::new(port), 0, 0, 0);
    while n < rows {
        let to = rows.min(n + 100);
        let (body, to_quarantine, to_late) = batch(clock.now(), n..to, every);
        match client.post("application/json", body.as_bytes()) {
            Some(204) => (n, quarantined, late) = (to, quarantined + to_quarantine, late + to_late),
            // It does not listen yet.
            _ => assert!(live.is_alive(), "{}", live.said()),
        }
    }
    let said = live.stop();
    let processed = rows - quarantined - late;
    let accounts = format!(
        "readings: {rows} received = {processed} processed + {late} late + {quarantined} quarantined"
    );
    assert!(said.contains(&accounts), "{accounts}\n{said}");
    let data = folder.path().join("data");
    let ask = |sql: &str| lines(&history::query(sql, &data).unwrap().1);
    assert_eq!(ask("SELECT count(*), count(DISTINCT n) FROM history"), [format!("{processed} {processed}")]);
    // Windows close as the watermark passes them.
    let latest = ask("SELECT CAST(max(window_start) AS BIGINT) FROM sums");
    let latest: i64 = latest[0].parse().unwrap_or(0);
    assert!(latest <= clock.now() + MAX_FUTURE, "{latest}");
    let future = "SELECT count(*) FROM readings.quarantine WHERE reason = 'future'";
    assert_eq!(ask(future), [quarantined.to_string()]);
    figures(
        "nonsense event times",
        json!({
            "rows": rows, "nonsense": quarantined + late, "quarantined": quarantined, "late": late, "honest_lost": 0,
        }),
    );
}
