//! A live program that was stopped, killed or stalled goes on where it was: nothing is lost and nothing comes twice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Said, command, lineshaft, said};

mod brokers;
mod commands;
mod faults;
mod kills;
mod mosquitto;
mod overload;
mod proxy;
mod publisher;
mod readings;
mod sinks;
mod soak;
mod upgrade;

/// A number that makes the tests longer, from the environment; `default` is for every day.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
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

fn signal(child: &Child, name: &str) {
    let asked = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[track_caller]
fn stop(child: &mut Child, folder: &Path) {
    signal(child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", told(folder));
}

fn query(folder: &Path, sql: &str) -> String {
    lineshaft(folder, &["query", sql, "--data", "data", "--format", "csv"]).exits(0).out
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
    post_with(port, "", second, x)
}

/// The same with more lines in its head.
fn post_with(port: u16, more: &str, second: u32, x: u32) -> Option<u16> {
    let body = format!("{{\"ts\": \"2026-03-01T12:00:{second:02}Z\", \"x\": {x}}}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let head = format!(
        "POST /r HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
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
    kill(&mut program);
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 15, 0) == Some(204));
    stop(&mut program, folder);
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n111.0\n", "{}", told(folder));
}

#[test]
fn a_comment_and_white_space_are_no_other_program() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    std::fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    stop(&mut program, folder);
    let changed =
        by_http(port).replace(" AS\n", " AS -- the sum\n\n").replace("CREATE SINK", "/* x */ CREATE  SINK");
    std::fs::write(folder.join("p.sql"), format!("-- Sums.\n\n{changed}\n-- The end.")).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 2, 10) == Some(204));
    kill(&mut program);
    std::fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 15, 0) == Some(204));
    stop(&mut program, folder);
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n11.0\n", "{}", told(folder));
}

#[test]
fn the_key_of_a_request_is_known_after_a_kill_and_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    std::fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    let key = "idempotency-key: 8e03978e\r\n";
    assert_eq!(post_with(port, key, 2, 10), Some(204));
    kill(&mut program);
    program = start(folder, &[]);
    wait_for("the server", || post_with(port, key, 2, 10) == Some(204));
    stop(&mut program, folder);
    program = start(folder, &[]);
    wait_for("the server", || post_with(port, key, 2, 10) == Some(204));
    assert_eq!(post_with(port, key, 2, 11), Some(422), "another body");
    assert_eq!(post(port, 15, 0), Some(204));
    stop(&mut program, folder);
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n11.0\n", "{}", told(folder));
}

#[test]
fn a_data_directory_has_one_engine_and_one_program() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    std::fs::write(folder.join("p.sql"), by_http(port)).unwrap();
    let mut first = start(folder, &[]);
    wait_for("the server", || post(port, 1, 1) == Some(204));
    let run = ["run", "p.sql", "--data", "data"];
    // It looks for the lock before it listens.
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
