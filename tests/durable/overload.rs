//! Input that comes faster than a sink takes it.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::sleep;
use std::time::Duration;

use lineshaft::engine::clock::Clock;
use serde_json::json;

use super::{by_http, free_port, kill, query, start, stop, told, wait_for};
use crate::faults::{figures, setting};
use crate::support::command;

/// Rows of a request.
const ROWS: u32 = 2_000;

/// A server that takes rows, but not yet.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Taken>, Condvar)>);

#[derive(Default)]
struct Taken {
    is_open: bool,
    rows: HashSet<u32>,
}

impl Gate {
    /// Listens; gives its port.
    fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let gate = gate.clone();
                // A client that was killed goes away in the middle.
                std::thread::spawn(move || gate.serve(stream).ok());
            }
        });
        port
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let open = self.0.1.wait_while(self.0.0.lock().unwrap(), |taken| !taken.is_open);
            let numbers = String::from_utf8_lossy(&body);
            let numbers = numbers.split("\"n\":").skip(1);
            let number = |rest: &str| rest.split([',', '}']).next().unwrap().trim().parse::<u32>().unwrap();
            open.unwrap().rows.extend(numbers.map(number));
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        }
    }

    fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }

    /// The different rows that have come.
    fn rows(&self) -> usize {
        self.0.0.lock().unwrap().rows.len()
    }
}

/// Rows by HTTP into a slow sink, a history and windows.
fn program(port: u16, to: u16) -> String {
    format!(
        "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, text TEXT, WATERMARK FOR ts)
             WITH (connector = 'http', listen = '127.0.0.1:{port}', path = '/r', format = 'json');
         CREATE SINK slow WITH (connector = 'http', url = 'http://127.0.0.1:{to}/rows', timeout = '60 s') AS
             SELECT ts, n FROM readings;
         CREATE SINK history WITH (connector = 'parquet', path = 'history') AS SELECT ts, n FROM readings;
         CREATE SINK sums WITH (connector = 'parquet', path = 'sums') AS
             SELECT window_start, count(*) AS c, sum(n) AS s
             FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end;"
    )
}

/// Posts the rows of a second of event time; gives the status of the answer, or nothing if there is none.
fn post(port: u16, second: u32) -> Option<u16> {
    let (hour, minute, rest) = (12 + second / 3600, second / 60 % 60, second % 60);
    let row = |n: u32| {
        let filler = "x".repeat(60);
        format!(
            "{{\"ts\": \"2026-03-01T{hour:02}:{minute:02}:{rest:02}Z\", \"n\": {n}, \"text\": \"{filler}\"}}"
        )
    };
    let rows: Vec<String> = (second * ROWS..(second + 1) * ROWS).map(row).collect();
    let body = format!("[{}]", rows.join(","));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let head =
        format!("POST /r HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[track_caller]
fn post_all(port: u16, seconds: std::ops::Range<u32>, folder: &Path) {
    for second in seconds {
        // Too much at once is refused, and tried again by who sends it.
        wait_for("a place for the request", || {
            let status = post(port, second);
            assert!(matches!(status, Some(204 | 429) | None), "{status:?}: {}", told(folder));
            status == Some(204)
        });
    }
}

fn run(folder: &Path, workers: &str, memory: &str) -> Child {
    let said = fs::File::create(folder.join("said")).unwrap();
    let arguments = ["run", "p.sql", "--data", "data", "--workers", workers, "--memory", memory];
    command(folder, &arguments).stdout(Stdio::null()).stderr(said).spawn().unwrap()
}

/// What the program has kept of `seconds` seconds: history and windows.
fn kept(folder: &Path, seconds: u32) -> [String; 2] {
    let all = u64::from(seconds * ROWS);
    let sum = all * (all - 1) / 2;
    let history = query(folder, "SELECT count(*) AS c, count(DISTINCT n) AS d, sum(n) AS s FROM history");
    assert_eq!(history, format!("c,d,s\n{all},{all},{sum}\n"), "{}", told(folder));
    let rows = "SELECT ts, count(*) AS c, sum(n) AS s FROM history GROUP BY ts ORDER BY ts";
    [query(folder, rows), query(folder, "SELECT * FROM sums ORDER BY window_start")]
}

#[test]
fn what_comes_while_a_sink_is_slow_and_after_a_kill_gives_the_rows_of_a_program_that_kept_pace() {
    for workers in ["1", "2"] {
        let mut given = Vec::new();
        for is_slow in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (folder, gate, port) = (folder.path(), Gate::default(), free_port());
            let to = gate.listen();
            fs::write(folder.join("p.sql"), program(port, to)).unwrap();
            let mut program = run(folder, workers, "16MiB");
            if !is_slow {
                gate.open();
            }
            // All of it is answered, though nothing leaves: some 14 MB where 4 may be on their way.
            post_all(port, 0..60, folder);
            if is_slow {
                assert_eq!(gate.rows(), 0);
                program.kill().unwrap();
                program.wait().unwrap();
                program = run(folder, workers, "16MiB");
            }
            // While the first part is still worked on.
            post_all(port, 60..80, folder);
            gate.open();
            wait_for("the last row", || gate.rows() == 80 * ROWS as usize);
            stop(&mut program, folder);
            given.push(kept(folder, 80));
        }
        assert_eq!(given[0], given[1]);
    }
}

/// Most memory that a process had, MB.
fn peak_mb(program: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[test]
fn what_comes_while_a_sink_takes_nothing_is_worked_off_when_it_does() {
    let posts = 10 * u32::try_from(setting("LINESHAFT_CLOSED_SECONDS", 2)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (folder, gate, port, clock) = (folder.path(), Gate::default(), free_port(), Clock::system());
    fs::write(folder.join("p.sql"), program(port, gate.listen())).unwrap();
    let mut program = run(folder, "2", "256MiB");
    post_all(port, 0..1, folder);
    let begun = clock.steady();
    // 20,000 rows a second.
    for number in 1..posts {
        let ahead = begun + i64::from(number) * 100_000 - clock.steady();
        sleep(Duration::from_micros(u64::try_from(ahead).unwrap_or(0)));
        post_all(port, number..number + 1, folder);
    }
    let came = clock.steady() - begun;
    assert_eq!(gate.rows(), 0);
    gate.open();
    wait_for("the last row", || gate.rows() == (posts * ROWS) as usize);
    let worked_off = clock.steady() - begun - came;
    let peak = peak_mb(&program);
    stop(&mut program, folder);
    kept(folder, posts);
    figures(
        "slow sink",
        json!({
            "rows": posts * ROWS, "lost": 0, "came_in_s": came as f64 / 1e6, "worked_off_in_s": worked_off as f64 / 1e6,
            "times_as_fast": came as f64 / worked_off as f64, "peak_mb": peak,
        }),
    );
}

#[test]
fn a_program_whose_sink_takes_nothing_stops_in_order_and_sends_all_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, gate, port) = (folder.path(), Gate::default(), free_port());
    fs::write(folder.join("p.sql"), program(port, gate.listen())).unwrap();
    let mut program = run(folder, "2", "256MiB");
    // More than the sink holds back.
    post_all(port, 0..20, folder);
    stop(&mut program, folder);
    assert_eq!(gate.rows(), 0);
    let mut program = run(folder, "2", "256MiB");
    post_all(port, 20..21, folder);
    gate.open();
    wait_for("the last row", || gate.rows() == 21 * ROWS as usize);
    stop(&mut program, folder);
    kept(folder, 21);
}

#[test]
fn what_came_after_the_last_checkpoint_is_no_overload_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    let latest =
        by_http(port).replace("path = '/r'", "path = '/r', on_overload = 'latest', overload_key = 'x'");
    let history = "CREATE SINK history FROM readings WITH (connector = 'parquet', path = 'history', flush_interval = '0 ms');";
    fs::write(folder.join("p.sql"), latest + history).unwrap();
    let mut program = start(folder, &[]);
    wait_for("the server", || super::post(port, 1, 1) == Some(204));
    // More than may wait before input is given up, one after the other.
    (0..150).for_each(|_| assert_eq!(super::post(port, 2, 1), Some(204)));
    kill(&mut program);
    program = start(folder, &[]);
    wait_for("the server", || super::post(port, 15, 0) == Some(204));
    stop(&mut program, folder);
    assert!(told(folder).contains("+ 0 deduplicated;"), "{}", told(folder));
    assert_eq!(query(folder, "SELECT x FROM sums"), "x\n151.0\n", "{}", told(folder));
    assert_eq!(query(folder, "SELECT count(*) AS n FROM history"), "n\n152\n", "{}", told(folder));
}
