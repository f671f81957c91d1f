//! The history of a live program, as those see it who read it meanwhile: whatever happens to the program, each row is there
//! once, and what was there stays.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

use lineshaft::history::query;

use crate::support::seeded::Seeded;
use crate::support::{command, lineshaft};

/// Rows that are appended to the file that the program follows.
const ROWS: u64 = 20_000;

const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, WATERMARK FOR ts)
    WITH (connector = 'file', path = 'in.csv', format = 'csv', follow = true);
CREATE SINK history FROM readings WITH (connector = 'parquet', path = 'history', partition_by = 'machine', flush_interval = '50 ms',
    max_rows = 700, compact_files = 3);
CREATE SINK plain FROM readings WITH (connector = 'parquet', path = 'plain', flush_interval = '50 ms', max_rows = 700, compact_files = 0);
CREATE MATERIALIZED VIEW odd AS SELECT ts, n FROM readings WHERE n % 2 = 1;
CREATE MATERIALIZED VIEW totals AS SELECT machine, count(*) AS readings, sum(n) AS n FROM readings GROUP BY machine;";

fn start(folder: &Path, data: &str) -> Child {
    let said = File::create(folder.join("said")).unwrap();
    let run = ["run", "p.sql", "--data", data, "--workers", "2"];
    command(folder, &run).stdout(Stdio::null()).stderr(said).spawn().unwrap()
}

#[track_caller]
fn stop(mut program: Child, folder: &Path) {
    let asked = Command::new("kill").args(["-s", "TERM", &program.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let code = program.wait().unwrap().code();
    let said = fs::read_to_string(folder.join("said")).unwrap();
    // Before it listens to signals it just ends.
    assert!(matches!(code, Some(0) | None), "{code:?} {said}");
}

/// Appends the rows, in its own time.
fn append(folder: &Path) {
    let path = folder.join("in.csv");
    fs::write(&path, "ts,machine,n\n").unwrap();
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    for start in (0..ROWS).step_by(100) {
        let line = |n: u64| {
            format!("2026-03-01T00:{:02}:{:02}.{:03}Z,m{},{n}\n", n / 60_000, n / 1000 % 60, n % 1000, n % 3)
        };
        file.write_all((start..start + 100).map(line).collect::<String>().as_bytes()).unwrap();
        sleep(Duration::from_millis(20));
    }
}

/// Count, number of different rows, and largest number; `None` as long as there is no such table.
fn look(data: &Path, table: &str) -> Option<[i64; 3]> {
    let sql = format!("SELECT count(*) AS c, count(DISTINCT n) AS d, coalesce(max(n), -1) AS m FROM {table}");
    match query(&sql, data) {
        Ok((_, batches)) => {
            use arrow::array::AsArray;
            let column =
                |at: usize| batches[0].column(at).as_primitive::<arrow::datatypes::Int64Type>().value(0);
            Some([column(0), column(1), column(2)])
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("no data directory") || text.contains("not found"), "{text}");
            assert!(!text.contains("cannot be read"), "{text}");
            None
        }
    }
}

/// Looks again and again until it is told to stop; gives how often it saw more than before.
fn watch(data: &Path, is_over: &AtomicBool) -> usize {
    let (mut last, mut changes) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let Some([count, different, largest]) = look(data, "history") else {
            assert_eq!(last, 0, "the table is gone");
            continue;
        };
        assert_eq!(count, different, "a row is there twice");
        assert_eq!(count, largest + 1, "a row is missing before others");
        assert!(count >= last, "{last} rows became {count}");
        changes += usize::from(count > last);
        last = count;
    }
    changes
}

/// Waits until a table has all rows.
fn wait_for_all(data: &Path, table: &str, folder: &Path) -> bool {
    for _ in 0..500 {
        if look(data, table).is_some_and(|[count, ..]| count == ROWS.cast_signed()) {
            return true;
        }
        sleep(Duration::from_millis(20));
    }
    eprintln!("{:?} {}", look(data, table), fs::read_to_string(folder.join("said")).unwrap());
    false
}

/// The files of a history with their bytes; of the manifest what it says, but for the number of the start.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let mut bytes = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name == ".manifest" {
                let text = String::from_utf8(bytes).unwrap();
                let says =
                    |line: &str| line.split_once('{').map_or(String::new(), |(_, says)| says.to_owned());
                let but_for = |says: String| match says.split_once("\"incarnation\":") {
                    Some((before, after)) => before.to_owned() + after.split_once(',').unwrap().1,
                    None => says,
                };
                bytes = text.lines().map(|line| but_for(says(line)) + "\n").collect::<String>().into_bytes();
            }
            (name, bytes)
        })
        .collect()
}

#[test]
fn a_reader_of_a_program_that_is_killed_sees_every_row_once_and_the_files_are_those_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("p.sql"), PROGRAM).unwrap();
    fs::write(folder.join("in.csv"), "ts,machine,n\n").unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (data, is_over) = (folder.join("data"), Arc::clone(&is_over));
        spawn(move || watch(&data, &is_over))
    };
    let writer = {
        let folder = folder.to_owned();
        spawn(move || append(&folder))
    };
    let mut random = Seeded::new(3);
    let mut kills = 0;
    while !writer.is_finished() || kills < 5 {
        let mut program = start(folder, "data");
        // At a start, while it works again on what it had, while it commits or merges.
        sleep(Duration::from_millis(200 + random.next() % 1_200));
        program.kill().unwrap();
        program.wait().unwrap();
        kills += 1;
    }
    writer.join().unwrap();
    let data = folder.join("data");
    for attempt in 0.. {
        let program = start(folder, "data");
        sleep(Duration::from_secs(1));
        let is_done = wait_for_all(&data, "plain", folder);
        stop(program, folder);
        if is_done || look(&data, "plain").is_some_and(|[count, ..]| count == ROWS.cast_signed()) {
            break;
        }
        assert!(attempt < 5, "{:?}", look(&data, "plain"));
    }
    is_over.store(true, Ordering::Relaxed);
    let changes = watcher.join().unwrap();
    let (all, sum) = (ROWS, ROWS * (ROWS - 1) / 2);
    for table in ["history", "plain"] {
        let sql = format!("SELECT count(*) AS c, count(DISTINCT n) AS d, sum(n) AS s FROM {table}");
        let said = lineshaft(folder, &["query", &sql, "--data", "data", "--format", "csv"]).exits(0);
        assert_eq!(said.out, format!("c,d,s\n{all},{all},{sum}\n"), "{table}");
    }
    let sql =
        "SELECT (SELECT count(DISTINCT n) FROM odd) AS odd, sum(readings) AS c, sum(n) AS s FROM totals";
    let said = lineshaft(folder, &["query", sql, "--data", "data", "--format", "csv"]).exits(0);
    assert_eq!(said.out, format!("odd,c,s\n{},{all},{sum}\n", all / 2));
    for table in ["history", "plain"] {
        lineshaft(folder, &["history", "verify", &format!("data/{table}")]).exits(0);
    }
    // The same journal once more, undisturbed.
    fs::create_dir_all(folder.join("again/journal")).unwrap();
    for entry in fs::read_dir(data.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join("again/journal").join(path.file_name().unwrap())).unwrap();
    }
    let program = start(folder, "again");
    assert!(wait_for_all(&folder.join("again"), "plain", folder));
    stop(program, folder);
    let (killed, undisturbed) = (contents(&data.join("plain")), contents(&folder.join("again/plain")));
    assert!(killed.keys().eq(undisturbed.keys()), "{:?} {:?}", killed.keys(), undisturbed.keys());
    for (name, bytes) in killed {
        assert!(undisturbed[&name] == bytes, "{name} differs after {kills} kills");
    }
    eprintln!(
        "{{\"kills\": {kills}, \"rows\": {all}, \"changes_seen\": {changes}, \"lost\": 0, \"doubled\": 0}}"
    );
}

#[test]
fn history_of_every_format_is_read_and_written_further() {
    for fixture in ["history-1", "history-2"] {
        is_read_and_written_further(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture),
        );
    }
}

fn is_read_and_written_further(fixture: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(fixture).arg(folder.path().join("data")).status().unwrap();
    assert!(copied.success());
    let folder = folder.path();
    let count = "SELECT count(*) AS c, sum(n) AS s, count(DISTINCT part) AS parts FROM history";
    let said = lineshaft(folder, &["query", count, "--data", "data", "--format", "csv"]).exits(0);
    assert_eq!(said.out, "c,s,parts\n110,5995,2\n");
    let said = lineshaft(folder, &["history", "ls", "data/history", "--format", "csv"]).exits(0);
    assert!(said.out.contains("part=0/merged-1-0-000000.parquet"), "{}", said.out);
    lineshaft(folder, &["history", "verify", "data/history"]).exits(0);
    let program = "CREATE SOURCE more (ts TIMESTAMP, n BIGINT, part BIGINT) WITH (connector = 'file', path = 'more.csv', format = 'csv');
        CREATE SINK history FROM more WITH (connector = 'parquet', path = 'history', partition_by = 'part');";
    fs::write(folder.join("p.sql"), program).unwrap();
    fs::write(folder.join("more.csv"), "ts,n,part\n2026-03-02T00:00:00Z,5,7\n").unwrap();
    lineshaft(folder, &["run", "p.sql", "--data", "data"]).exits(0);
    let said = lineshaft(folder, &["query", count, "--data", "data", "--format", "csv"]).exits(0);
    assert_eq!(said.out, "c,s,parts\n111,6000,3\n");
    // A file that the manifest names and that is not there is told by its name.
    fs::remove_file(folder.join("data/history/part=0/merged-1-0-000000.parquet")).unwrap();
    let run = lineshaft(folder, &["run", "p.sql", "--data", "data"]).exits(3);
    run.tells("merged-1-0-000000.parquet is missing; put back a copy of it");
    lineshaft(folder, &["query", count, "--data", "data"])
        .exits(1)
        .tells("is missing; put back a copy of it");
}

#[test]
fn what_is_past_goes_and_the_rest_is_read_as_history() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let program = "CREATE SOURCE made (ts TIMESTAMP NOT NULL, n BIGINT, WATERMARK FOR ts)
            WITH (connector = 'generator', rows = 1000, interval = '1 min');
        CREATE SINK history FROM made WITH (connector = 'parquet', path = 'history', partition_by = 'hour', max_rows = 50,
            retain = '5 hours', compact_files = 0);";
    fs::write(folder.join("p.sql"), program).unwrap();
    let said = lineshaft(folder, &["run", "p.sql", "--data", "data"]).exits(0).err;
    // The upkeep has its turn while a program runs; if that was too short, this one has nothing else to do.
    let data = folder.join("data");
    let live = "CREATE SOURCE silent (ts TIMESTAMP NOT NULL, n BIGINT, WATERMARK FOR ts)
            WITH (connector = 'file', path = 'silent.csv', format = 'csv', follow = true);
        CREATE SINK history FROM silent WITH (connector = 'parquet', path = 'history', partition_by = 'hour', max_rows = 50,
            retain = '5 hours', compact_files = 0);";
    fs::write(folder.join("p.sql"), live).unwrap();
    fs::write(folder.join("silent.csv"), "ts,n\n").unwrap();
    let program = start(folder, "data");
    let least = "SELECT min(n) AS n FROM history";
    let mut kept = String::new();
    for _ in 0..1_000 {
        kept = lineshaft(folder, &["query", least, "--data", "data", "--format", "csv"]).exits(0).out;
        if kept != "n\n0\n" {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    stop(program, folder);
    // The last row is of minute 999: what ends before minute 699 is past; its hour has the minutes from 660 on.
    let files = lineshaft(folder, &["history", "ls", "data/history", "--format", "csv"]).exits(0).out;
    let first: u64 = kept.lines().nth(1).unwrap().parse().unwrap();
    assert!((699 - 60..=699).contains(&first), "{kept} {files}");
    let said = said + &fs::read_to_string(folder.join("said")).unwrap();
    assert!(said.contains("files that are older than retain"), "{said}");
    // A backfill reads what counts.
    let backfill = "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, WATERMARK FOR ts)
            WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'x', format = 'json');
        CREATE SINK out WITH (connector = 'stdout') AS SELECT ts, n FROM readings;";
    fs::write(folder.join("b.sql"), backfill).unwrap();
    fs::write(data.join("history/.part-9-000001.parquet.tmp"), "half").unwrap();
    lineshaft(folder, &["backfill", "b.sql", "--source", "readings=data/history", "--output", "out"])
        .exits(0);
    let said = lineshaft(
        folder,
        &["query", "SELECT min(n) AS n, max(n) AS m FROM out", "--data", "out", "--format", "csv"],
    );
    assert_eq!(said.exits(0).out, format!("n,m\n{first},999\n"));
}

#[test]
fn rows_of_a_stream_that_falls_silent_are_seen_while_the_program_runs() {
    let folder = tempfile::tempdir().unwrap();
    let program = "
        CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, WATERMARK FOR ts)
            WITH (connector = 'file', path = 'in.csv', follow = true);
        CREATE SINK history FROM readings WITH (connector = 'parquet', path = 'history', flush_interval = '1500 ms');";
    fs::write(folder.path().join("p.sql"), program).unwrap();
    fs::write(folder.path().join("in.csv"), "ts,n\n2026-03-01T00:00:00Z,0\n2026-03-01T00:00:01Z,1\n")
        .unwrap();
    let program = start(folder.path(), "data");
    // Long before the first checkpoint; nothing more comes.
    let is_seen = (0..1000).any(|_| {
        sleep(Duration::from_millis(20));
        look(&folder.path().join("data"), "history") == Some([2, 2, 1])
    });
    stop(program, folder.path());
    assert!(is_seen);
}
