//! The program that most faults meet: every kind of state, readings that are posted until they are taken, and what it
//! has written in the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lineshaft::engine::journal::{Commit, Record, inspect};
use lineshaft::engine::testing::lines;
use lineshaft::history;

use super::live::{Client, Live, free_port, wait_for};

/// Readings that are posted at once.
const BATCH: u64 = 20;

/// A folder with a program and its data directory. Its readings have numbers, and of each number there is one.
pub(super) struct Plant {
    pub(super) folder: PathBuf,
    port: u16,
    /// Where it listens; no part of the program, so that it may go on elsewhere.
    listen: String,
}

impl Plant {
    /// Writes the program, and a file that it follows.
    pub(super) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let logged: String = (0..300).map(|n| format!("{},{n}\n", time(20 * n))).collect();
        fs::write(folder.join("logged.csv"), format!("ts,n\n{logged}")).unwrap();
        fs::write(folder.join("p.sql"), PROGRAM).unwrap();
        Self::there(folder)
    }

    /// One that is in a folder already.
    pub(super) fn there(folder: &Path) -> Self {
        let port = free_port();
        Self { folder: folder.to_owned(), port, listen: format!("127.0.0.1:{port}") }
    }

    /// The same program with all it has kept, at another place.
    pub(super) fn copied(&self, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        // A file that is followed is known by its number in the file system.
        fs::hard_link(self.folder.join("logged.csv"), folder.join("logged.csv")).unwrap();
        fs::copy(self.folder.join("p.sql"), folder.join("p.sql")).unwrap();
        // With the holes of files that have room reserved.
        let copy = Command::new("cp")
            .args(["-a", "--sparse=auto"])
            .args([&self.folder.join("data"), folder])
            .status();
        assert!(copy.unwrap().success());
        Self::there(folder)
    }

    fn environment<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&[("LISTEN", self.listen.as_str())], more].concat()
    }

    pub(super) fn start(&self) -> Live {
        self.start_with(&[], &[])
    }

    /// With more in its environment and on its command line.
    pub(super) fn start_with(&self, environment: &[(&str, &str)], more: &[&str]) -> Live {
        Live::start(&self.folder, &self.environment(environment), more)
    }

    pub(super) fn start_traced(&self, strace: &[&str]) -> Option<Live> {
        Live::start_traced(&self.folder, &self.environment(&[]), strace)
    }

    /// A number is taken once, however often it is posted: who posts it may not know whether it was taken.
    pub(super) fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// Posts the readings with these numbers. Gives the number from which on none was acknowledged: the last one, unless
    /// the program has died.
    pub(super) fn deliver(&self, live: &mut Live, from: u64, to: u64) -> u64 {
        let (mut client, mut from) = (self.client(), from);
        while from < to {
            let end = to.min(from + BATCH);
            match client.post("application/json", &body(from..end)) {
                Some(204) => from = end,
                // It does not listen yet, is full, or has died.
                None | Some(429 | 503) if live.is_alive() => std::thread::sleep(Duration::from_millis(2)),
                None | Some(429 | 503) => break,
                Some(status) => panic!("{status}"),
            }
        }
        from
    }

    /// Starts it, posts these readings, and stops it.
    pub(super) fn run(&self, from: u64, to: u64) {
        let mut live = self.start();
        assert_eq!(self.deliver(&mut live, from, to), to, "{}", live.said());
        self.read_the_file(&live);
        live.stop();
    }

    /// The file that is followed has been read: its last lines came in long ago.
    pub(super) fn read_the_file(&self, live: &Live) {
        wait_for("the file", || {
            let seen = inspect::verify(&self.folder.join("data/journal")).ok();
            let records = seen.and_then(|it| Some(it.replay_from(it.first_epoch?).unwrap()));
            let is_read = |record: Record| match record {
                Record::Data(data) => data.source == "logged" && data.chunk.position.is_some(),
                _ => false,
            };
            records.is_some_and(|mut records| records.any(|record| record.is_ok_and(is_read)))
        });
        assert!(!live.said().contains("ERROR"), "{}", live.said());
    }

    /// What all its sinks and views have.
    pub(super) fn outcome(&self) -> Vec<String> {
        outcome(&self.folder.join("data"))
    }

    /// What it committed.
    pub(super) fn commits(&self) -> Vec<Commit> {
        commits(&self.folder.join("data/journal"))
    }
}

/// The commits of a journal, in their order.
pub(super) fn commits(journal: &Path) -> Vec<Commit> {
    let seen = inspect::verify(journal).unwrap();
    let records = seen.replay_from(seen.first_epoch.unwrap_or(0)).unwrap();
    let commit = |record: Result<Record, _>| match record.unwrap() {
        Record::Commit(commit) => Some(commit),
        _ => None,
    };
    records.filter_map(commit).collect()
}

const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, x DOUBLE,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND, DEDUPLICATE BY (n) WITHIN INTERVAL '2' SECOND)
    WITH (connector = 'http', listen = '${env:LISTEN}', path = '/r', format = 'json');
CREATE SOURCE logged (ts TIMESTAMP NOT NULL, n BIGINT, WATERMARK FOR ts)
    WITH (connector = 'file', path = 'logged.csv', follow = true);
CREATE SINK history WITH (connector = 'parquet', path = 'history', max_rows = 100) AS
    SELECT ts, machine, n, x FROM readings;
CREATE SINK sums WITH (connector = 'parquet', path = 'sums') AS
    SELECT window_start, machine, count(*) AS c, sum(n) AS n, avg(x) AS x
    FROM TUMBLE(readings, ts, INTERVAL '500' MILLISECOND) GROUP BY window_start, window_end, machine;
CREATE SINK hops WITH (connector = 'parquet', path = 'hops') AS
    SELECT window_start, count(*) AS c, sum(n) AS n
    FROM HOP(readings, ts, INTERVAL '200' MILLISECOND, INTERVAL '1' SECOND) GROUP BY window_start, window_end;
CREATE SINK lines WITH (connector = 'parquet', path = 'lines') AS
    SELECT window_start, count(*) AS c, sum(n) AS n
    FROM TUMBLE(logged, ts, INTERVAL '1' SECOND) GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW totals AS SELECT machine, count(*) AS c, sum(n) AS n FROM readings GROUP BY machine;";

/// So many hundredths of a second after the beginning, in the way of JSON and CSV.
fn time(hundredths: u64) -> String {
    let (seconds, rest) = (hundredths / 100, hundredths % 100);
    format!("2026-03-01T{:02}:{:02}:{:02}.{rest:02}Z", 6 + seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Reading `n`: one a hundredth of a second, up to a second out of order.
fn reading(n: u64) -> String {
    let at = time(200 + n - n * 7919 % 100);
    format!("{{\"ts\":\"{at}\",\"machine\":\"m{}\",\"n\":{n},\"x\":{}.5}}", n % 7, n * 31 % 101)
}

pub(super) fn body(numbers: std::ops::Range<u64>) -> Vec<u8> {
    format!("[{}]", numbers.map(reading).collect::<Vec<_>>().join(",")).into_bytes()
}

/// The tables of [`PROGRAM`], with their order.
const TABLES: [(&str, &str); 5] = [
    ("history", "SELECT ts, machine, n, x FROM history ORDER BY n, ts"),
    ("sums", "SELECT window_start, machine, c, n, x FROM sums ORDER BY 1, 2, 3"),
    ("hops", "SELECT window_start, c, n FROM hops ORDER BY 1, 2"),
    ("lines", "SELECT window_start, c, n FROM lines ORDER BY 1, 2"),
    ("totals", "SELECT machine, c, n FROM totals ORDER BY 1, 2"),
];

/// All rows of a data directory of [`PROGRAM`].
pub(super) fn outcome(data: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, sql) in TABLES {
        let (_, batches) = history::query(sql, data).unwrap();
        rows.extend(lines(&batches).into_iter().map(|line| format!("{table} {line}")));
    }
    rows
}

/// Fails with the first difference.
#[track_caller]
pub(super) fn assert_same(found: &[String], expected: &[String], what: &str) {
    let place = found.iter().zip(expected).position(|(a, b)| a != b);
    let place = place.or_else(|| (found.len() != expected.len()).then(|| found.len().min(expected.len())));
    if let Some(place) = place {
        let (is, should) = (found.get(place), expected.get(place));
        panic!(
            "{what}: row {place} is {is:?} instead of {should:?} ({} rows for {})",
            found.len(),
            expected.len()
        );
    }
}
