//! A live program that was stopped, killed or stalled goes on where it was: nothing is lost and nothing comes twice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::seeded::Seeded;
use crate::support::{Said, command, lineshaft, said};

mod faults;
mod overload;

/// A number that makes the tests longer, from the environment; `default` is for every day.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Publishes numbered readings; a seventh of them is of each machine.
fn publisher(port: u16, readings: u64, rate: u64) -> String {
    format!(
        "CREATE SOURCE made (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, WATERMARK FOR ts)
             WITH (connector = 'generator', rows = {readings}, rate = {rate}, keys = 7, interval = '1 ms');
         CREATE SINK out FROM made WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{port}', topic = 'plant/readings', qos = 1);"
    )
}

fn program(port: u16) -> String {
    format!(
        "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
             WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{port}', topic = 'plant/readings', qos = 1, format = 'json');
         CREATE SINK history FROM readings WITH (connector = 'parquet', path = 'history', max_rows = 3000);
         CREATE SINK sums WITH (connector = 'parquet', path = 'sums') AS
             SELECT window_start, machine, count(*) AS readings, sum(n) AS n
             FROM TUMBLE(readings, ts, INTERVAL '500' MILLISECOND) GROUP BY window_start, window_end, machine;
         CREATE MATERIALIZED VIEW totals AS SELECT machine, count(*) AS readings, sum(n) AS n FROM readings GROUP BY machine;"
    )
}

/// A mosquitto of its own that keeps sessions as long as it lives.
struct Mosquitto {
    process: Child,
    port: u16,
}

impl Mosquitto {
    /// `None`, with a word on stderr, where mosquitto is not installed.
    fn start(folder: &Path) -> Option<Self> {
        let port = free_port();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n"
        );
        std::fs::write(folder.join("mosquitto.conf"), config).unwrap();
        let launch = |program: &str| {
            let mut command = Command::new(program);
            command.arg("-c").arg(folder.join("mosquitto.conf")).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        };
        let Some(process) = launch("mosquitto").or_else(|| launch("/usr/sbin/mosquitto")) else {
            eprintln!("skipped: mosquitto is not installed (apt-get install mosquitto)");
            return None;
        };
        let broker = Self { process, port };
        wait_for("the broker", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(broker)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[track_caller]
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_there() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("{what} was not there within a minute");
}

/// The program as a process; what it says goes to the file `said`, in the place of what was said before.
fn start(folder: &Path, more: &[&str]) -> Child {
    let said = std::fs::File::create(folder.join("said")).unwrap();
    let arguments = [&["run", "p.sql", "--data", "data", "--workers", "2"], more].concat();
    command(folder, &arguments).stdout(Stdio::null()).stderr(said).spawn().unwrap()
}

fn told(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("said")).unwrap_or_default()
}

#[track_caller]
fn stop(child: &mut Child, folder: &Path) {
    let asked = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", told(folder));
}

fn query(folder: &Path, sql: &str) -> String {
    lineshaft(folder, &["query", sql, "--data", "data", "--format", "csv"]).exits(0).out
}

#[test]
fn a_program_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(broker) = Mosquitto::start(folder) else { return };
    let (kills, rate) = (setting("LINESHAFT_KILLS", 10), setting("LINESHAFT_RATE", 5_000));
    // A second at most until the next kill.
    let readings = (kills * rate / 2).max(rate);
    std::fs::write(folder.join("p.sql"), program(broker.port)).unwrap();
    std::fs::write(folder.join("publish.sql"), publisher(broker.port, readings, rate)).unwrap();
    let mut program = start(folder, &[]);
    wait_for_connection(folder, &mut program);
    sleep(Duration::from_millis(300));
    let publish = ["run", "publish.sql", "--data", "published", "--quiet"];
    let mut publisher = command(folder, &publish).spawn().unwrap();
    let mut random = Seeded::new(setting("LINESHAFT_SEED", 1));
    for _ in 0..kills {
        // In a window, at a start, while it works again on what it had.
        sleep(Duration::from_millis(random.next() % 1_000));
        program.kill().unwrap();
        program.wait().unwrap();
        program = start(folder, &[]);
    }
    wait_for_connection(folder, &mut program);
    assert!(publisher.wait().unwrap().success());
    stop_when_all_is_there(folder, &mut program, readings);

    let all = readings * (readings - 1) / 2;
    let history = query(folder, "SELECT count(*) AS c, count(DISTINCT n) AS d, sum(n) AS s FROM history");
    assert_eq!(history, format!("c,d,s\n{readings},{readings},{all}\n"), "{}", told(folder));
    let totals = query(folder, "SELECT sum(readings) AS c, sum(n) AS s FROM totals");
    assert_eq!(totals, format!("c,s\n{readings},{all}\n"));
    // What the windows that have closed should have.
    let windows = query(
        folder,
        "SELECT count(*) AS windows, count(DISTINCT (window_start, machine)) AS d, sum(readings) AS c, sum(n) AS s FROM sums",
    );
    let expected = query(
        folder,
        "SELECT count(*) AS windows, count(*) AS d, sum(c) AS c, sum(s) AS s FROM (
             SELECT machine, count(*) AS c, sum(n) AS s FROM history
             WHERE ts < (SELECT max(window_start) FROM sums) + INTERVAL '500' MILLISECOND
             GROUP BY machine, date_bin(INTERVAL '500' MILLISECOND, ts))",
    );
    assert_eq!(windows, expected);
    eprintln!(
        "{{\"kills\": {kills}, \"messages\": {readings}, \"per_second\": {rate}, \"lost\": 0, \"doubled\": 0}}"
    );
}

/// All rows are in the history, as far as the program has made it visible.
fn stop_when_all_is_there(folder: &Path, program: &mut Child, readings: u64) {
    wait_for("the last row", || {
        stop(program, folder);
        let done = query(folder, "SELECT count(*) AS c FROM history") == format!("c\n{readings}\n");
        if !done {
            *program = start(folder, &[]);
            wait_for_connection(folder, program);
            sleep(Duration::from_secs(1));
        }
        done
    });
}

/// Before that a program does not yet mind that it is asked to stop.
fn wait_for_connection(folder: &Path, program: &mut Child) {
    wait_for("the connection", || {
        assert!(program.try_wait().unwrap().is_none(), "{}", told(folder));
        told(folder).contains("is connected to")
    });
}

/// A source of requests.
fn by_http(port: u16) -> String {
    format!(
        "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, x DOUBLE, WATERMARK FOR ts)
             WITH (connector = 'http', listen = '127.0.0.1:{port}', path = '/r', format = 'json');
         CREATE SINK sums WITH (connector = 'parquet', path = 'sums') AS
             SELECT window_start, sum(x) AS x FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end;"
    )
}

/// Posts a reading; gives the status of the answer, or nothing if there is none.
fn post(port: u16, second: u32, x: u32) -> Option<u16> {
    let body = format!("{{\"ts\": \"2026-03-01T12:00:{second:02}Z\", \"x\": {x}}}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let head = format!(
        "POST /r HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn windows_that_are_open_go_on_after_a_stop_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    std::fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    assert_eq!(post(port, 2, 10), Some(204));
    stop(&mut program, folder);
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 3, 100) == Some(204));
    program.kill().unwrap();
    program.wait().unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 15, 0) == Some(204));
    stop(&mut program, folder);
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n111.0\n", "{}", told(folder));
}

#[test]
fn a_data_directory_has_one_engine_and_one_program() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    std::fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut first = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    let run = ["run", "p.sql", "--data", "data"];
    std::fs::write(folder.join("p.sql"), by_http(free_port())).unwrap();
    let second: Said = said(&command(folder, &run).output().unwrap());
    second.exits(3).tells("another engine runs on");
    stop(&mut first, folder);

    let changed = by_http(port).replace("sum(x)", "avg(x)");
    std::fs::write(folder.join("p.sql"), changed).unwrap();
    lineshaft(folder, &run).exits(3).tells("other statements").tells("--new-state");
    let mut anew = start(folder, &["--new-state"]);
    wait_for("the server", || post(port, 15, 1) == Some(204));
    stop(&mut anew, folder);
}
