//! Source and sink against real sockets: a client that writes requests byte by byte, and a peer that answers by a script.

mod of_the_sink;
mod of_the_source;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::runtime::Runtime;

/// Far above what any of these tests needs, and below the patience of a person.
const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A request or response in parts.
#[derive(Clone, Debug, PartialEq)]
struct Parts {
    /// The first line.
    start: String,
    /// All other lines of the head, in lower case.
    head: String,
    body: Vec<u8>,
}

impl Parts {
    /// Reads one message; `None` if the connection ends before.
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            bytes.push(byte[0]);
        }
        let text = String::from_utf8(bytes).unwrap();
        let (start, head) = text.trim_end().split_once("\r\n").unwrap();
        let mut parts = Self { start: start.into(), head: head.to_lowercase(), body: Vec::new() };
        let length = parts.header("content-length").map_or(0, |length| length.parse().unwrap());
        parts.body.resize(length, 0);
        stream.read_exact(&mut parts.body).ok()?;
        Some(parts)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Of a response.
    fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends the head of a POST, with the lines of `headers`.
fn begin(address: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut stream = connect(address);
    write!(stream, "POST {path} HTTP/1.1\r\nHost: plant\r\n{headers}\r\n").unwrap();
    stream
}

fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> Parts {
    let mut stream = begin(address, path, &format!("Content-Length: {}\r\n{headers}", body.len()));
    // A server that refuses the head may close before it has read the body.
    stream.write_all(body).ok();
    Parts::read(&mut stream).expect("an answer")
}
