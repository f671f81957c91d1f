//! Reference data that changes while a program runs: what a row of a stream meets is the table as it is then.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lineshaft::connectors::broker::Broker;
use lineshaft::engine::Batch;
use lineshaft::engine::testing::{lines, table};
use lineshaft::{Engine, Input, Running};
use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};
use tokio::sync::mpsc::Receiver;

use crate::support::lineshaft;

/// How often a row is sent to see whether the table has changed: for a minute.
const TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// A stream in memory, a table, and a view of both.
struct Live {
    folder: tempfile::TempDir,
    running: Running,
    input: Input,
    rows: Receiver<Batch>,
}

impl Live {
    /// `table` is a `CREATE TABLE`, in which `FOLDER` is the folder; the view `v` has one row for each reading.
    fn start(table: &str, files: &[(&str, &[u8])], view: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).unwrap());
        let table = table.replace("FOLDER", folder.path().to_str().unwrap());
        let sql = format!(
            "CREATE SOURCE readings (machine TEXT, n BIGINT) WITH (connector = 'memory');
             {table}; CREATE VIEW v AS {view};"
        );
        let mut engine = Engine::from_sql(&sql).unwrap();
        engine.data(folder.path().join("data")).workers(2);
        let rows = engine.subscribe("v");
        let input = engine.input("readings").unwrap();
        Self { running: engine.start().unwrap(), folder, input, rows }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// What the view says to a reading of `machine`.
    #[track_caller]
    fn says(&mut self, machine: &str) -> String {
        self.input.send(table(&format!("machine:s n:i \n {machine} 1"))).unwrap();
        let batch = self.rows.blocking_recv().expect("the program runs");
        assert!(batch.weights().is_none(), "rows are only added");
        lines([batch.rows()]).join(", ")
    }

    /// Reads until the view says something else than `before`.
    #[track_caller]
    fn says_after(&mut self, before: &str, machine: &str) -> String {
        for _ in 0..TRIES {
            let said = self.says(machine);
            if said != before {
                return said;
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        panic!("{machine} is still {before}");
    }

    fn quarantined(&self) -> u64 {
        let metrics = self.running.metrics();
        metrics.sources.iter().map(|source| source.quarantined.get()).sum()
    }

    /// The stream ends, and with it the program, though the table may still change.
    fn ends(self) {
        self.input.close();
        drop(self.rows);
        self.running.wait().unwrap();
    }
}

/// Another file takes the place of `path` at once.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

const MACHINES: &str = "CREATE TABLE machines (machine TEXT PRIMARY KEY, hall TEXT)
    WITH (connector = 'file', path = 'FOLDER/machines.csv')";
const HALLS: &str = "SELECT r.machine, m.hall FROM readings r LEFT JOIN machines m ON r.machine = m.machine";

#[test]
fn rows_meet_the_table_as_its_file_was_last_written() {
    let mut live = Live::start(MACHINES, &[("machines.csv", b"machine,hall\na,north\nb,north\n")], HALLS);
    assert_eq!((live.says("a"), live.says("b")), ("a north".into(), "b north".into()));
    fs::write(live.path("machines.csv"), "machine,hall\na,north\na,south\nc,west\n").unwrap();
    assert_eq!(live.says_after("a north", "a"), "a south");
    assert_eq!((live.says("b"), live.says("c")), ("b -".into(), "c west".into()));
    // The row that the other one of its key had replaced is there again.
    replace(&live.path("machines.csv"), b"machine,hall\na,north\nb,east\n");
    assert_eq!(live.says_after("a south", "a"), "a north");
    assert_eq!((live.says("b"), live.says("c")), ("b east".into(), "c -".into()));
    live.ends();
}

#[test]
fn a_view_of_tables_is_looked_up_as_it_is_after_a_change() {
    let tables = "CREATE TABLE limits (machine TEXT, level DOUBLE) WITH (connector = 'file', path = 'FOLDER/l.jsonl');
        CREATE VIEW highest AS SELECT machine, max(level) AS level, count(*) AS n FROM limits GROUP BY machine";
    let view = "SELECT r.machine, h.level, h.n FROM readings r LEFT JOIN highest h ON r.machine = h.machine
        WHERE r.machine NOT IN (SELECT machine FROM limits WHERE level < 0.0)";
    let line = |machine: &str, level: f64| format!("{{\"machine\":\"{machine}\",\"level\":{level}}}\n");
    let before = [line("a", 1.0), line("a", 1.0), line("a", 2.0), line("b", -1.0)].concat();
    let mut live = Live::start(tables, &[("l.jsonl", before.as_bytes())], view);
    assert_eq!(live.says("a"), "a 2.0 3");
    let after = [line("a", 1.0), line("b", 5.0)].concat();
    fs::write(live.path("l.jsonl"), after).unwrap();
    assert_eq!(live.says_after("a 2.0 3", "a"), "a 1.0 1");
    assert_eq!(live.says("b"), "b 5.0 1");
    fs::write(live.path("l.jsonl"), "").unwrap();
    assert_eq!(live.says_after("a 1.0 1", "a"), "a - -");
    live.ends();
}

#[test]
fn a_broken_file_leaves_the_table_as_it_was_and_bad_rows_are_kept_aside() {
    let machines = MACHINES.replace("hall TEXT", "hall INT").replace("machines.csv", "*.csv.gz");
    let whole = gzip("machine,hall\na,1\nb,2\n");
    let mut live = Live::start(&machines, &[("m.csv.gz", &whole)], HALLS);
    assert_eq!(live.says("b"), "b 2");
    let changed = gzip("machine,hall\na,7\nb,8\nc,zwei\n");
    replace(&live.path("m.csv.gz"), &changed[..changed.len() - 6]);
    // Later than the broken file, so that it was met: another file of the table.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((live.says("b"), live.quarantined()), ("b 2".into(), 0));
    fs::remove_file(live.path("m.csv.gz")).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(live.says("b"), "b 2");
    replace(&live.path("m.csv.gz"), &changed);
    assert_eq!(live.says_after("b 2", "b"), "b 8");
    assert_eq!(live.quarantined(), 1);
    // What is bad was told already.
    replace(&live.path("m.csv.gz"), &gzip("machine,hall\nb,9\nc,zwei\nd,drei\n"));
    assert_eq!(live.says_after("b 8", "b"), "b 9");
    assert_eq!((live.says("a"), live.quarantined()), ("a -".into(), 2));
    live.ends();
}

/// A Parquet file.
fn parquet(rows: &str) -> Vec<u8> {
    let (rows, mut bytes) = (table(rows), Vec::new());
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn a_table_of_parquet_is_replaced_as_a_whole() {
    let machines = MACHINES.replace("machines.csv", "m.parquet");
    let first = parquet("machine:s hall:s \n a north \n b north");
    let mut live = Live::start(&machines, &[("m.parquet", &first)], HALLS);
    assert_eq!(live.says("a"), "a north");
    let second = parquet("machine:s hall:s \n b south \n c south");
    fs::write(live.path("m.parquet"), &second[..second.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(live.says("b"), "b north");
    replace(&live.path("m.parquet"), &second);
    assert_eq!(live.says_after("b north", "b"), "b south");
    assert_eq!((live.says("a"), live.says("c")), ("a -".into(), "c south".into()));
    live.ends();
}

#[test]
fn a_table_of_versions_keeps_them_when_its_file_has_new_ones() {
    let temporal = "JOIN prices FOR SYSTEM_TIME AS OF r.ts AS p ON r.machine = p.machine";
    versions_stay(", WATERMARK FOR since", temporal);
    let as_of = "ASOF JOIN prices p MATCH_CONDITION (r.ts >= p.since) ON r.machine = p.machine";
    versions_stay(", PRIMARY KEY (machine)", as_of);
}

#[track_caller]
fn versions_stay(table_has: &str, join: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.csv");
    fs::write(&path, "since,machine,price\n2026-01-01,a,1\n").unwrap();
    let sql = format!(
        "CREATE SOURCE readings (ts TIMESTAMP, machine TEXT, WATERMARK FOR ts) WITH (connector = 'memory');
         CREATE TABLE prices (since TIMESTAMP, machine TEXT, price INT{table_has})
             WITH (connector = 'file', path = '{}');
         CREATE VIEW v AS SELECT r.ts, p.price FROM readings r {join};",
        path.display()
    );
    let mut engine = Engine::from_sql(&sql).unwrap();
    engine.data(folder.path().join("data"));
    let mut rows = engine.subscribe("v");
    let input = engine.input("readings").unwrap();
    let running = engine.start().unwrap();
    let at = |day: i64| format!("ts:ts machine:s \n {} a", 1_767_225_600 + day * 86_400);
    let has_read = |prices: u64| {
        while running.metrics().sources[0].processed.get() < prices {
            std::thread::sleep(BETWEEN_TRIES);
        }
    };
    input.send(table(&at(1))).unwrap();
    has_read(1);
    replace(&path, b"since,machine,price\n2026-02-01,a,2\n");
    has_read(2);
    input.send(table(&at(2))).unwrap();
    input.send(table(&at(40))).unwrap();
    input.close();
    let mut said = Vec::new();
    while let Some(batch) = rows.blocking_recv() {
        said.extend(lines([batch.rows()]));
    }
    let price = |line: &String| line.split_whitespace().last().unwrap().to_owned();
    assert_eq!(said.iter().map(price).collect::<Vec<_>>(), ["1", "1", "2"], "{said:?}");
    running.wait().unwrap();
}

#[test]
fn a_program_says_what_it_looks_up_and_takes_it_where_rows_are_only_added() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts)
    WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'a', format = 'json');
CREATE TABLE watched (machine TEXT, level DOUBLE) WITH (connector = 'file', path = 'watched.csv');
CREATE VIEW levels AS SELECT machine, max(level) AS level FROM watched GROUP BY machine;
CREATE VIEW a AS SELECT * FROM readings WHERE machine IN (SELECT machine FROM watched);
CREATE VIEW b AS SELECT * FROM a WHERE machine NOT IN (SELECT machine FROM watched WHERE level > 3);
CREATE VIEW c AS SELECT b.ts, b.x, l.level FROM b JOIN levels l ON b.x > l.level;
CREATE VIEW d AS SELECT ts, x FROM c WHERE x > (SELECT max(level) FROM watched) OR EXISTS
    (SELECT 1 FROM watched w WHERE w.level = c.level);
CREATE SINK rows WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'b', format = 'json') AS SELECT * FROM c;
CREATE SINK windows WITH (connector = 'parquet', path = 'w') AS
    SELECT window_start, count(*) AS n FROM TUMBLE(d, ts, INTERVAL '10' SECOND) GROUP BY window_start;";
    fs::write(folder.path().join("p.sql"), sql).unwrap();
    fs::write(folder.path().join("watched.csv"), "machine,level\n").unwrap();
    let shown = lineshaft(folder.path(), &["explain", "p.sql"]).exits(0).out;
    for part in [
        ": lookup semi join [append-only, state: the table]",
        ": lookup anti join [append-only, state: the table]",
        ": lookup join [append-only, state: the table]",
        ": lookup mark join [append-only, state: the table]",
        "it is read again when it changes: its rows are replaced",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    // Such a table itself is a changelog.
    let sql =
        format!("{sql} CREATE SINK all WITH (connector = 'parquet', path = 'a') AS SELECT * FROM watched;");
    fs::write(folder.path().join("p.sql"), sql).unwrap();
    lineshaft(folder.path(), &["check", "p.sql"]).exits(1).tells("add changelog = 'rows'");
}

/// Publishes messages that the broker keeps, and waits until it has them.
fn publish(broker: &Broker, messages: &[(&str, &str)]) {
    let mut options = MqttOptions::new("test", "127.0.0.1", broker.port());
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, 16);
    for (topic, text) in messages {
        client.publish(*topic, QoS::AtLeastOnce, true, *text).unwrap();
    }
    let taken = connection.iter().filter(|event| matches!(event, Ok(Event::Incoming(Incoming::PubAck(_)))));
    assert_eq!(taken.take(messages.len()).count(), messages.len());
}

#[test]
fn the_newest_message_of_a_key_counts_and_what_the_broker_keeps_is_there_before_the_first_row() {
    let broker = Broker::start(None).unwrap();
    publish(&broker, &[("machines/a", r#"{"machine":"a","hall":"old"}"#)]);
    publish(&broker, &[("machines/a", r#"{"machine":"a","hall":"north"}"#)]);
    publish(&broker, &[("machines/b", r#"{"machine":"b","hall":"north"}"#)]);
    let machines = format!(
        "CREATE TABLE machines (machine TEXT PRIMARY KEY, hall TEXT)
         WITH (connector = 'mqtt', url = '{}', topic = 'machines/+', format = 'json')",
        broker.url()
    );
    let mut live = Live::start(&machines, &[], HALLS);
    assert_eq!((live.says("a"), live.says("b")), ("a north".into(), "b north".into()));
    publish(&broker, &[("machines/a", r#"{"machine":"a","hall":"south"}"#)]);
    assert_eq!(live.says_after("a north", "a"), "a south");
    assert_eq!(live.says("b"), "b north");
    publish(&broker, &[("machines/b", r#"{"machine":"b","hall":"west"}"#)]);
    assert_eq!(live.says_after("b north", "b"), "b west");
    live.running.stop();
    live.running.wait().unwrap();
}

#[test]
fn streams_do_not_wait_for_ever_for_a_table_whose_broker_is_away() {
    let machines = "CREATE TABLE machines (machine TEXT PRIMARY KEY, hall TEXT)
         WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:1', topic = 'machines/+', format = 'json')";
    let mut live = Live::start(machines, &[], HALLS);
    assert_eq!(live.says("a"), "a -");
    live.running.stop();
    live.running.wait().unwrap();
}
