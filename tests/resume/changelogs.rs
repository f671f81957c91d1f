//! The same of a program whose rows may be taken back: joins that nothing bounds in time, `DISTINCT`, the first rows,
//! `EXISTS`, `OVER` and recursion.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lineshaft::backfill::Backfill;
use lineshaft::{Engine, Running};

use super::wait_for_checkpoint;
use crate::support::lineshaft;
use crate::support::seeded::Seeded;

/// Both inputs of each view change: counts of readings and of orders, and which machine feeds which.
const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'readings', format = 'json');
CREATE SOURCE orders (ts TIMESTAMP NOT NULL, machine TEXT, follower TEXT, n BIGINT,
        WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'orders', format = 'json');
CREATE TABLE halls (machine TEXT PRIMARY KEY, hall TEXT) WITH (connector = 'file', path = 'halls.csv', format = 'csv');
CREATE VIEW read AS SELECT machine, count(*) AS n, max(x) AS x FROM readings GROUP BY machine;
CREATE VIEW ordered AS SELECT machine, count(*) AS n, sum(n) AS pieces FROM orders GROUP BY machine;
CREATE MATERIALIZED VIEW joined AS
    SELECT r.machine, r.n, r.x, o.pieces, h.hall FROM read r FULL JOIN ordered o ON r.machine = o.machine
    LEFT JOIN halls h ON r.machine = h.machine;
CREATE MATERIALIZED VIEW pairs AS
    SELECT a.machine, b.machine AS other FROM ordered a JOIN ordered b ON a.n = b.n AND a.pieces < b.pieces;
CREATE MATERIALIZED VIEW numbers AS SELECT DISTINCT n % 7 AS n, x / 10 AS x FROM read;
CREATE MATERIALIZED VIEW newest AS SELECT machine, ts, x FROM (
    SELECT machine, ts, x, ROW_NUMBER() OVER (PARTITION BY machine ORDER BY ts DESC, x) AS number FROM readings) WHERE number = 1;
CREATE MATERIALIZED VIEW most AS SELECT machine, n FROM ordered ORDER BY pieces DESC, machine LIMIT 3;
CREATE MATERIALIZED VIEW busy AS SELECT machine, n FROM read r
    WHERE EXISTS (SELECT 1 FROM orders o WHERE o.machine = r.machine AND o.n > r.x / 4)
    AND machine NOT IN (SELECT machine FROM newest WHERE x < 10);
CREATE MATERIALIZED VIEW before AS SELECT machine, n, lag(machine) OVER (ORDER BY n, machine) AS other FROM ordered;
CREATE MATERIALIZED VIEW reached AS WITH RECURSIVE down AS (
    SELECT follower AS machine FROM orders WHERE machine = 'm0' AND n > 30
    UNION SELECT o.follower FROM orders o JOIN down d ON o.machine = d.machine WHERE o.n > 35)
    SELECT machine FROM down;
CREATE SINK totals WITH (connector = 'stdout', changelog = 'upsert', key = 'hall') AS
    SELECT hall, count(*) AS n, sum(x) AS x FROM joined GROUP BY hall;
CREATE SINK changes WITH (connector = 'stdout', changelog = 'rows') AS SELECT * FROM joined;
CREATE SINK windows WITH (connector = 'stdout') AS SELECT window_start, machine, count(*) AS n
    FROM TUMBLE(readings, ts, INTERVAL '30' SECOND) GROUP BY window_start, window_end, machine;";

const VIEWS: [(&str, &str); 8] = [
    ("joined", "machine, n, x, pieces, hall"),
    ("pairs", "machine, other"),
    ("numbers", "n, x"),
    ("newest", "machine, ts, x"),
    ("most", "machine, n"),
    ("busy", "machine, n"),
    ("before", "machine, n, other"),
    ("reached", "machine"),
];

/// What is given change by change.
const CHANGES: [(&str, &str); 3] = [
    ("totals", "hall, n, x, operation"),
    ("changes", "machine, n, x, pieces, hall, operation"),
    ("windows", "window_start, machine, n"),
];

/// Forty files of readings and twenty of orders, a chunk each: more than what is on its way when it is stopped twice.
fn record(folder: &Path) {
    std::fs::write(folder.join("p.sql"), PROGRAM).unwrap();
    let halls: String = (0..6).map(|n| format!("m{n},hall {}\n", n % 2)).collect();
    std::fs::write(folder.join("halls.csv"), format!("machine,hall\n{halls}")).unwrap();
    let mut seeded = Seeded::new(11);
    let mut write = |name: &str, header: &str, files: i64, row: &dyn Fn(&mut Seeded) -> String| {
        std::fs::create_dir(folder.join(name)).unwrap();
        for file in 0..files {
            let mut text = format!("{header}\n");
            for number in 0..30 {
                let second = (file * 30 + number) * 600 / (files * 30);
                let time = format!("2024-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
                writeln!(text, "{time},{}", row(&mut seeded)).unwrap();
            }
            std::fs::write(folder.join(format!("{name}/{file:02}.csv")), text).unwrap();
        }
    };
    write("readings", "ts,machine,x", 40, &|seeded| format!("m{},{}", seeded.below(9), seeded.below(100)));
    write("orders", "ts,machine,follower,n", 20, &|seeded| {
        format!("m{},m{},{}", seeded.below(9), seeded.below(12), seeded.below(40))
    });
}

/// A checkpoint after every chunk, or only when it is stopped.
fn backfill(folder: &Path, output: &str, workers: usize, always: bool) -> Running {
    let mut engine = Engine::from_files(&[folder.join("p.sql")]).unwrap();
    engine.workers(workers);
    let history = |name: &str| (name.to_owned(), folder.join(name));
    let backfill = Backfill {
        sources: vec![history("readings"), history("orders")],
        output: folder.join(output),
        checkpoint_every: Some(if always { Duration::ZERO } else { Duration::MAX }),
        ..Backfill::default()
    };
    engine.backfill(&backfill).unwrap()
}

/// All rows of each, in order.
fn rows(folder: &Path, output: &str, of: &[(&str, &str)]) -> Vec<String> {
    let rows = |(name, columns): &(&str, &str)| {
        let numbers: Vec<_> = (1..=columns.split(',').count()).map(|n| n.to_string()).collect();
        let sql = format!("SELECT {columns} FROM {name} ORDER BY {}", numbers.join(", "));
        lineshaft(folder, &["query", &sql, "--data", output, "--format", "csv"]).exits(0).out
    };
    of.iter().map(rows).collect()
}

/// Not a test by itself: the process that is killed.
#[test]
fn a_backfill_in_a_process_of_its_own() {
    let Ok(folder) = std::env::var("LINESHAFT_TEST_CHANGELOGS") else { return };
    let workers = std::env::var("LINESHAFT_TEST_WORKERS").unwrap().parse().unwrap();
    backfill(Path::new(&folder), "killed", workers, true).wait().unwrap();
}

fn kill_after(checkpoint: u64, folder: &Path, workers: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "resume::changelogs::a_backfill_in_a_process_of_its_own"])
        .env("LINESHAFT_TEST_CHANGELOGS", folder)
        .env("LINESHAFT_TEST_WORKERS", workers.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_checkpoint(&folder.join("killed"), checkpoint, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn stop_after(readings: u64, folder: &Path, workers: usize) {
    let running = backfill(folder, "stopped", workers, false);
    let metrics = running.metrics();
    let source = metrics.sources.iter().find(|source| source.name == "readings").unwrap();
    while source.processed.get() < readings {
        assert!(!running.is_finished(), "it has ended too early");
        std::thread::yield_now();
    }
    running.stop();
    running.wait().unwrap();
}

#[test]
fn a_backfill_with_changelogs_goes_on_and_gives_the_same_changes() {
    for workers in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        record(folder);
        backfill(folder, "whole", workers, false).wait().unwrap();
        let expected = rows(folder, "whole", &VIEWS);
        assert!(expected.iter().all(|rows| rows.lines().count() > 1), "{expected:?}");
        let changes = rows(folder, "whole", &CHANGES);
        assert!(changes[1].contains("delete"), "{changes:?}");

        let mut seeded = Seeded::new(u64::try_from(workers).unwrap());
        let mut checkpoint = 0;
        for _ in 0..3 {
            checkpoint += 1 + u64::try_from(seeded.below(2)).unwrap();
            kill_after(checkpoint, folder, workers);
        }
        backfill(folder, "killed", workers, true).wait().unwrap();
        assert_eq!(rows(folder, "killed", &VIEWS), expected);
        // Each change as well, for the epochs are the same.
        assert_eq!(rows(folder, "killed", &CHANGES), changes);

        let mut readings = 0;
        for _ in 0..2 {
            readings += 1 + u64::try_from(seeded.below(60)).unwrap();
            stop_after(readings, folder, workers);
        }
        backfill(folder, "stopped", workers, false).wait().unwrap();
        assert_eq!(rows(folder, "stopped", &VIEWS), expected);
        // What the connectors had handed over is finished, in another order than if nothing had stopped.
        assert_eq!(rows(folder, "stopped", &CHANGES[2..]), changes[2..]);
    }
}
