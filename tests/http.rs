//! `examples/http_gateway` as its clients and its peer see it: rows in by HTTP, windows out by HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{command, said};

/// Far above what the test needs, and below the patience of a person.
const LONG: Duration = Duration::from_secs(60);
const TOKEN: &str = "Authorization: Bearer s3cret\r\n";

/// Sends one request and gives the status; `None` while nobody listens.
fn post(address: SocketAddr, headers: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LONG)).unwrap();
    let head = "POST /readings HTTP/1.1\r\nHost: plant\r\nConnection: close\r\n";
    write!(stream, "{head}{headers}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Some(answer.split(' ').nth(1).unwrap().parse().unwrap())
}

/// Sends a request that is taken, as soon as the program listens.
#[track_caller]
fn send(address: SocketAddr, content_type: &str, body: &str) {
    let headers = format!("{TOKEN}Content-Type: {content_type}\r\n");
    loop {
        match post(address, &headers, body) {
            // It does not listen yet, or its source does not run yet.
            None | Some(503) => std::thread::sleep(Duration::from_millis(10)),
            status => return assert_eq!(status, Some(204), "{body}"),
        }
    }
}

/// Answers one request and gives its body.
fn receive(peer: &TcpListener) -> String {
    let (stream, _) = peer.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    String::from_utf8(body).unwrap()
}

#[test]
fn readings_of_any_format_become_windows_that_are_posted_on() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/http_gateway/http_gateway.sql");
    let child = command(folder.path(), &["run", program.to_str().unwrap(), "--data", "data"])
        .env("LISTEN", address.to_string())
        .env("TOKEN", "s3cret")
        .env("PEER", format!("http://{}/means", peer.local_addr().unwrap()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    send(address, "text/plain", "press,machine=left bar=4.0 1767247200000000000");
    send(
        address,
        "text/csv",
        "machine,bar,ts\nleft,five,2026-01-01T06:00:01Z\nright,7,2026-01-01T06:00:02Z\n",
    );
    assert_eq!(post(address, "Content-Type: text/csv\r\n", "machine\nleft"), Some(401), "without the token");
    let last = r#"[{"ts":"2026-01-01T06:00:05Z","machine":"left","bar":5.0},{"ts":"2026-01-01T06:00:12Z","machine":"left","bar":9.0}]"#;
    send(address, "application/json", last);
    let body = receive(&peer);
    let mut windows: Vec<&str> = body.lines().collect();
    windows.sort_unstable();
    assert_eq!(
        windows,
        [
            r#"{"window_start":"2026-01-01T06:00:00Z","machine":"left","n":2,"bar":4.5}"#,
            r#"{"window_start":"2026-01-01T06:00:00Z","machine":"right","n":1,"bar":7.0}"#,
        ]
    );
    let stop = std::process::Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(stop.unwrap().success());
    said(&child.wait_with_output().unwrap())
        .exits(0)
        .tells("readings: 5 received = 4 processed + 0 late + 1 quarantined");
}

#[test]
fn a_path_that_is_used_twice_is_told_at_its_place_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "CREATE SOURCE a (n INT) WITH (connector = 'http', listen = '127.0.0.1:0', path = '/x');
CREATE SOURCE b (n INT) WITH (connector = 'http', listen = '127.0.0.1:0', path = '/x');
CREATE SINK o WITH (connector = 'stdout') AS SELECT n FROM a UNION ALL SELECT n FROM b;";
    std::fs::write(folder.path().join("p.sql"), sql).unwrap();
    crate::support::lineshaft(folder.path(), &["run", "p.sql"])
        .exits(1)
        .tells("another source has the path \"/x\" of 127.0.0.1:0 already");
}
