//! Numbered readings through a broker, and what must have become of them.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{query, start, stop, told, wait_for};
use crate::support::{command, lineshaft};

/// The readings, whoever makes or brings them: a seventh is of each machine.
const COLUMNS: &str =
    "(ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)";

/// What a program makes of them.
const RESULTS: &str = "
    CREATE SINK history FROM readings WITH (connector = 'parquet', path = 'history', max_rows = 30000);
    CREATE SINK sums WITH (connector = 'parquet', path = 'sums') AS
        SELECT window_start, machine, count(*) AS readings, sum(n) AS n
        FROM TUMBLE(readings, ts, INTERVAL '500' MILLISECOND) GROUP BY window_start, window_end, machine;
    CREATE MATERIALIZED VIEW totals AS SELECT machine, count(*) AS readings, sum(n) AS n FROM readings GROUP BY machine;";

fn generator(readings: u64, more: &str) -> String {
    format!(
        "CREATE SOURCE readings {COLUMNS}
             WITH (connector = 'generator', rows = {readings}, keys = 7, interval = '1 ms'{more});"
    )
}

/// Starts a program that reads them from the broker, and waits until it is subscribed.
pub(super) fn by_mqtt(folder: &Path, port: u16) -> Child {
    let source = format!(
        "CREATE SOURCE readings {COLUMNS}
             WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{port}', topic = 'plant/readings', qos = 1,
                   keep_alive = '2 s', format = 'json');"
    );
    fs::write(folder.join("p.sql"), source + RESULTS).unwrap();
    start_subscribed(folder, &[])
}

/// Starts the program, and waits until the broker has its subscription: from now on nothing is published to nobody.
pub(super) fn start_subscribed(folder: &Path, more: &[&str]) -> Child {
    let mut program = start(folder, more);
    wait_for("the subscription", || {
        assert!(program.try_wait().unwrap().is_none(), "{}", told(folder));
        told(folder).contains("source \"readings\" is subscribed")
    });
    program
}

/// A program that publishes them.
pub(super) struct Published {
    process: Child,
    begin: Instant,
}

impl Published {
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    pub(super) fn start(folder: &Path, port: u16, readings: u64, rate: u64) -> Self {
        let sink = format!(
            "CREATE SINK out FROM readings
                 WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{port}', topic = 'plant/readings', qos = 1);"
        );
        let made = generator(readings, &format!(", rate = {rate}"));
        fs::write(folder.join("publish.sql"), made + &sink).unwrap();
        let publish = ["run", "publish.sql", "--data", "published", "--quiet"];
        Self { process: command(folder, &publish).spawn().unwrap(), begin: Instant::now() }
    }

    /// Waits until all are at the broker. Gives how long it took.
    pub(super) fn wait(mut self) -> Duration {
        assert!(self.process.wait().unwrap().success());
        self.begin.elapsed()
    }
}

/// What has become of them.
pub(super) struct Counted {
    /// In the history or put aside as late.
    pub(super) rows: u64,
    /// The same, each number once.
    pub(super) different: u64,
    pub(super) late: u64,
}

impl Counted {
    pub(super) fn of(folder: &Path) -> Self {
        let counts = query(
            folder,
            "SELECT count(*) AS c, count(DISTINCT n) AS d, sum(late) AS l FROM (
                 SELECT n, 0 AS late FROM history UNION ALL SELECT n, 1 AS late FROM \"readings.late\")",
        );
        let counts = counts.lines().nth(1).unwrap_or_default().split(',');
        let mut counts = counts.map(|count| count.parse().unwrap_or(0));
        let mut next = || counts.next().unwrap();
        Self { rows: next(), different: next(), late: next() }
    }
}

/// Stops the program when every reading is in its files, or when no more come.
pub(super) fn stop_when_all_are_there(folder: &Path, program: &mut Child, readings: u64) -> Counted {
    let (mut last, mut unchanged) = (0, 0);
    loop {
        stop(program, folder);
        let counted = Counted::of(folder);
        unchanged = if counted.different == last { unchanged + 1 } else { 0 };
        if counted.different == readings || unchanged == 5 {
            return counted;
        }
        last = counted.different;
        *program = start_subscribed(folder, &[]);
        // What the broker has it sends now.
        sleep(Duration::from_secs(1));
    }
}

/// Readings `first` and on, as JSON.
pub(super) fn by_hand(first: u64, count: u64) -> impl Iterator<Item = Vec<u8>> {
    (first..first + count).map(|n| {
        let (minute, second, milli) = (n / 60_000 % 60, n / 1_000 % 60, n % 1_000);
        let ts = format!("2026-03-01T12:{minute:02}:{second:02}.{milli:03}Z");
        format!("{{\"ts\": \"{ts}\", \"machine\": \"m{}\", \"n\": {n}}}", n % 7).into_bytes()
    })
}

/// Stops the program; fails unless every reading is there once.
#[track_caller]
pub(super) fn all_are_there_once(folder: &Path, program: &mut Child, readings: u64) {
    let Counted { rows, different, late } = stop_when_all_are_there(folder, program, readings);
    assert_eq!((rows, different, late), (readings, readings, 0), "rows, different, late\n{}", told(folder));
}

/// Fails unless the rows are those of a program that makes the readings itself and is not disturbed.
#[track_caller]
pub(super) fn undisturbed(folder: &Path, readings: u64) {
    compared(folder, generator(readings, ""));
}

/// The same for readings that were published by hand.
#[track_caller]
pub(super) fn undisturbed_by_hand(folder: &Path, readings: u64) {
    let file = folder.join("readings.jsonl");
    let mut lines = Vec::new();
    for reading in by_hand(0, readings) {
        lines.extend(reading);
        lines.push(b'\n');
    }
    fs::write(&file, lines).unwrap();
    let path = file.display();
    compared(
        folder,
        format!(
            "CREATE SOURCE readings {COLUMNS} WITH (connector = 'file', path = '{path}', format = 'json');"
        ),
    );
}

/// Runs the program over another `source`, undisturbed, and compares.
#[track_caller]
fn compared(folder: &Path, source: String) {
    let other = folder.join("undisturbed");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("p.sql"), source + RESULTS).unwrap();
    lineshaft(&other, &["run", "p.sql", "--data", "data", "--quiet"]).exits(0);
    // Of each 10,000 readings: how many there are, and a sum in which each number, time and machine counts.
    let history = "SELECT n / 10000 AS part, count(*) AS c, sum(n * ascii(right(machine, 1))) AS s,
                          sum(n * (CAST(ts AS BIGINT) % 1000003)) AS t, min(ts) AS a, max(ts) AS b
                   FROM history GROUP BY n / 10000 ORDER BY part";
    same(folder, &other, history);
    same(folder, &other, "SELECT * FROM totals ORDER BY machine");
    // The stream has not ended, so its last windows are open.
    let end = query(folder, "SELECT max(window_start) AS e FROM sums");
    let end = end.lines().nth(1).unwrap();
    let sums = format!("SELECT * FROM sums WHERE window_start <= '{end}' ORDER BY window_start, machine");
    same(folder, &other, &sums);
}

#[track_caller]
fn same(folder: &Path, other: &Path, sql: &str) {
    let (ours, theirs) = (query(folder, sql), query(other, sql));
    let difference = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
    assert_eq!(difference, None, "{sql}");
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{sql}");
    assert!(ours.lines().count() > 1, "no rows: {sql}");
}
