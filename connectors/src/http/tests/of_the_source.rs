//! The source as clients see it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use lineshaft_engine::Result;
use lineshaft_engine::source::{Chunk, ChunkSender, Decoder, Receipt, Source};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{LONG, Parts, begin, connect, post, runtime};
use crate::format::testing::{declaration, lines, reasons};
use crate::http::Servers;
use crate::http::server::Limits;
use crate::http::source::source_within;

const JSON: &str = "Content-Type: application/json\r\n";

/// A source that runs, as the engine would run it.
struct Running {
    runtime: Runtime,
    address: SocketAddr,
    chunks: mpsc::Receiver<Chunk>,
    decoder: Arc<dyn Decoder>,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    fn start(options: &[(&str, &str)]) -> Self {
        Self::within(&Servers::default(), Limits::default(), options)
    }

    /// Rows have a number `n`, a text `note` and all metadata but the time.
    fn within(servers: &Servers, limits: Limits, options: &[(&str, &str)]) -> Self {
        let mut declaration = declaration("n INT, note TEXT, path TEXT METADATA, remote TEXT METADATA");
        let listen = [("listen", "127.0.0.1:0")];
        let all = listen.iter().chain(options);
        declaration.options = all.map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let source = source_within(&declaration, servers, limits).unwrap();
        let (address, decoder) = (source.place.address(), source.decoder());
        let (sender, chunks) = ChunkSender::channel();
        let runtime = runtime();
        let handle = runtime.handle().clone();
        let thread = thread::spawn(move || Box::new(source).run(sender, handle));
        let running = Self { runtime, address, chunks, decoder, thread };
        let path = options.iter().find(|(name, _)| *name == "path").map_or("/readings", |(_, path)| path);
        running.wait_until_it_runs(path);
        running
    }

    /// Before, its path answers that the program does not run, though another source of the address may; then a body in an
    /// encoding that nobody knows is refused.
    fn wait_until_it_runs(&self, path: &str) {
        while post(self.address, path, "Content-Encoding: none-such\r\n", b"").status() == 503 {
            thread::yield_now();
        }
    }

    fn next_chunk(&mut self) -> Chunk {
        let chunk = self.runtime.block_on(async { timeout(LONG, self.chunks.recv()).await });
        chunk.expect("a chunk in time").expect("the source runs")
    }

    /// The rows and rejections of the next body, which is kept then.
    fn next(&mut self) -> (Vec<String>, Vec<String>) {
        let mut chunk = self.next_chunk();
        let receipts = std::mem::take(&mut chunk.receipts);
        let decoded = self.decoder.decode(chunk).unwrap().next().unwrap().unwrap();
        receipts.into_iter().for_each(Receipt::sign);
        (lines(&decoded.rows), reasons(&decoded.rejected))
    }

    /// Posts from another thread, for the answer comes when the body is kept.
    fn post(&self, headers: &str, body: &[u8]) -> JoinHandle<Parts> {
        let (address, headers, body) = (self.address, headers.to_owned(), body.to_vec());
        thread::spawn(move || post(address, "/readings", &headers, &body))
    }

    /// The rows and rejections of a body that is taken.
    fn takes(&mut self, headers: &str, body: &[u8]) -> (Vec<String>, Vec<String>) {
        let answer = self.post(headers, body);
        let read = self.next();
        let answer = answer.join().unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (204, ""));
        read
    }

    /// The answer to a body that is not taken.
    fn refuses(&mut self, headers: &str, body: &[u8]) -> (u16, String) {
        let answer = post(self.address, "/readings", headers, body);
        assert!(self.chunks.try_recv().is_err(), "nothing is handed over");
        let text: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(text["help"].is_string());
        (answer.status(), text["error"].as_str().unwrap().to_owned())
    }

    fn stop(self) -> Result<()> {
        drop(self.chunks);
        self.thread.join().unwrap()
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_body_is_an_object_an_array_or_lines_and_bad_records_are_kept_aside() {
    let mut source = Running::start(&[]);
    let (rows, rejected) = source.takes(JSON, b"[{\"n\":1},{\"n\":\"x\"},{\"n\":3,\"note\":\"b\"}]");
    assert_eq!(rows, ["1||/readings|127.0.0.1", "3|b|/readings|127.0.0.1"]);
    assert_eq!(rejected, ["type: column \"n\": found \"x\", expected INT"]);
    let (rows, _) = source.takes("", b"{\"n\":1}\n{\"n\":2}\n");
    assert_eq!(rows.len(), 2);
    // As curl says of everything.
    let (rows, _) = source.takes("Content-Type: application/x-www-form-urlencoded\r\n", b"{\"n\":4}");
    assert_eq!(rows.len(), 1);
    source.stop().unwrap();
}

#[test]
fn the_content_type_says_how_a_body_is_written_where_the_source_leaves_it_open() {
    let mut source = Running::start(&[("format", "auto")]);
    let mut read =
        |content_type: &str, body: &[u8]| source.takes(&format!("Content-Type: {content_type}\r\n"), body).0;
    assert_eq!(read("application/json; charset=utf-8", b"{\"n\":1}"), ["1||/readings|127.0.0.1"]);
    assert_eq!(read("Application/X-NDJSON", b"{\"n\":1}\n{\"n\":2}").len(), 2);
    let csv = b"note,other,n\r\na,x,1\r\n\"b\nc\",y,2\r\n";
    assert_eq!(read("text/csv", csv), ["1|a|/readings|127.0.0.1", "2|b\nc|/readings|127.0.0.1"]);
    let influx = b"vib,note=p\\ 1 n=1i 1583748873000000000\nvib n=2i";
    assert_eq!(read("text/plain", influx), ["1|p 1|/readings|127.0.0.1", "2||/readings|127.0.0.1"]);
    let (status, error) = source.refuses("Content-Type: image/png\r\n", b"{\"n\":1}");
    assert_eq!((status, error.as_str()), (415, "the Content-Type \"image/png\" is not taken here"));
    assert_eq!(source.refuses("", b"{\"n\":1}").0, 415);
    source.stop().unwrap();
}

#[test]
fn a_source_of_one_format_refuses_the_type_of_another() {
    let mut source = Running::start(&[("format", "csv")]);
    assert_eq!(source.refuses(JSON, b"{\"n\":1}").0, 415);
    assert_eq!(source.takes("Content-Type: text/csv\r\n", b"n\n7").0, ["7||/readings|127.0.0.1"]);
    source.stop().unwrap();
}

#[test]
fn a_body_is_acknowledged_only_when_the_engine_keeps_it() {
    let mut source = Running::start(&[]);
    let body = b"{\"n\":1}";
    let mut stream = begin(source.address, "/readings", &format!("Content-Length: {}\r\n", body.len()));
    stream.write_all(body).unwrap();
    let mut chunk = source.next_chunk();
    stream.set_nonblocking(true).unwrap();
    let before = stream.read(&mut [0]).unwrap_err().kind();
    assert_eq!(before, std::io::ErrorKind::WouldBlock, "no answer yet");
    stream.set_nonblocking(false).unwrap();
    chunk.receipts.drain(..).for_each(Receipt::sign);
    assert_eq!(Parts::read(&mut stream).unwrap().status(), 204);
    source.stop().unwrap();
}

#[test]
fn a_connection_takes_many_bodies_in_their_order() {
    let mut source = Running::start(&[]);
    let mut stream = connect(source.address);
    for n in 0..200 {
        let body = format!("{{\"n\":{n}}}");
        let head =
            format!("POST /readings HTTP/1.1\r\nHost: plant\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
        assert_eq!(source.next().0, [format!("{n}||/readings|127.0.0.1")]);
        assert_eq!(Parts::read(&mut stream).unwrap().status(), 204);
    }
    source.stop().unwrap();
}

#[test]
fn a_full_engine_is_told_with_a_time_to_come_back() {
    let limits = Limits { waiting: 2, ..Limits::default() };
    let mut source = Running::within(&Servers::default(), limits, &[]);
    let waiting = [source.post(JSON, b"{\"n\":1}"), source.post(JSON, b"{\"n\":1}")];
    let chunks = [source.next_chunk(), source.next_chunk()];
    let answer = post(source.address, "/readings", JSON, b"{\"n\":3}");
    assert_eq!((answer.status(), answer.header("retry-after")), (429, Some("1")));
    chunks.into_iter().flat_map(|chunk| chunk.receipts).for_each(Receipt::sign);
    assert_eq!(waiting.map(|answer| answer.join().unwrap().status()), [204, 204]);
    assert_eq!(source.takes(JSON, b"{\"n\":3}").0.len(), 1);
    source.stop().unwrap();
}

#[test]
fn no_more_bodies_wait_than_the_engine_has_room_for_chunks() {
    let source = Running::start(&[]);
    let waiting: Vec<_> = (0..ChunkSender::CAPACITY).map(|_| source.post(JSON, b"{\"n\":1}")).collect();
    while post(source.address, "/readings", JSON, b"").status() != 429 {
        thread::yield_now();
    }
    source.stop().unwrap();
    let answers: Vec<u16> = waiting.into_iter().map(|answer| answer.join().unwrap().status()).collect();
    assert_eq!(answers, [503; ChunkSender::CAPACITY], "whether they were kept is not known");
}

#[test]
fn a_body_that_is_too_long_is_refused_packed_or_unpacked() {
    let mut source = Running::start(&[("max_payload", "1 KiB")]);
    let long = vec![b' '; 1_025];
    assert_eq!(source.refuses(JSON, &long), (413, "the body is longer than 1024 bytes".into()));
    let bomb = gzip(&[b' '; 100_000]);
    assert!(bomb.len() <= 1_024);
    assert_eq!(source.refuses("Content-Encoding: gzip\r\n", &bomb).0, 413);
    // Its length is not told beforehand.
    let mut stream = begin(source.address, "/readings", "Transfer-Encoding: chunked\r\n");
    write!(stream, "{:x}\r\n{}\r\n", 1_025, " ".repeat(1_025)).unwrap();
    assert_eq!(Parts::read(&mut stream).unwrap().status(), 413);
    assert_eq!(source.takes(JSON, b"{\"n\":1}").0.len(), 1);
    source.stop().unwrap();
}

#[test]
fn a_packed_body_is_unpacked_and_a_damaged_one_refused() {
    let mut source = Running::start(&[]);
    let packed = gzip(b"{\"n\":1}");
    assert_eq!(source.takes("Content-Encoding: gzip\r\n", &packed).0.len(), 1);
    let (status, error) = source.refuses("Content-Encoding: gzip\r\n", &packed[..packed.len() - 3]);
    assert!(status == 400 && error.starts_with("the body is not gzip: "), "{error}");
    assert_eq!(source.refuses("Content-Encoding: gzip\r\n", b"{\"n\":1}").0, 400);
    assert_eq!(source.refuses("Content-Encoding: br\r\n", &packed).0, 415);
    source.stop().unwrap();
}

#[test]
fn a_body_without_a_record_that_could_be_right_is_refused() {
    let mut source = Running::start(&[]);
    assert_eq!(
        source.refuses(JSON, b"hello"),
        (400, "the body is not JSON: it begins with neither { nor [".into())
    );
    assert_eq!(source.refuses(JSON, b" \n"), (400, "the body is empty".into()));
    source.stop().unwrap();
    let mut source = Running::start(&[("format", "csv")]);
    let wrong = source.refuses("Content-Type: text/csv\r\n", b"a,b\n1,2");
    assert_eq!(wrong, (400, "the first line names no column of the source".into()));
    source.stop().unwrap();
}

#[test]
fn only_who_has_the_token_may_send() {
    let mut source = Running::start(&[("token", "s3cret")]);
    let answer = post(source.address, "/readings", JSON, b"{\"n\":1}");
    assert_eq!((answer.status(), answer.header("www-authenticate")), (401, Some("bearer")));
    for wrong in ["Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret"] {
        assert_eq!(source.refuses(&format!("Authorization: {wrong}\r\n"), b"{\"n\":1}").0, 401, "{wrong}");
    }
    assert_eq!(source.takes("Authorization: Bearer s3cret\r\n", b"{\"n\":1}").0.len(), 1);
    source.stop().unwrap();
}

#[test]
fn other_methods_and_paths_are_told_what_to_do() {
    let source = Running::start(&[]);
    let mut stream = connect(source.address);
    write!(stream, "GET /readings?a=b HTTP/1.1\r\nHost: plant\r\n\r\n").unwrap();
    let answer = Parts::read(&mut stream).unwrap();
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("post")));
    let answer = post(source.address, "/other", JSON, b"{\"n\":1}");
    assert_eq!(answer.status(), 404);
    assert_eq!(
        answer.text(),
        "{\"error\":\"no source has the path \\\"/other\\\"\",\"help\":\"send to the option path of a source\"}\n"
    );
    source.stop().unwrap();
}

#[test]
fn a_repeated_key_is_answered_again_and_not_handed_over_twice() {
    let mut source = Running::start(&[]);
    let key = "Idempotency-Key: 8e03978e\r\n";
    let first = source.post(key, b"{\"n\":1}");
    let mut chunk = source.next_chunk();
    assert_eq!(source.refuses(key, b"{\"n\":1}").0, 409, "the first one is on its way");
    chunk.receipts.drain(..).for_each(Receipt::sign);
    assert_eq!(first.join().unwrap().status(), 204);
    assert_eq!(post(source.address, "/readings", key, b"{\"n\":1}").status(), 204);
    assert!(source.chunks.try_recv().is_err());
    assert_eq!(source.refuses(key, b"{\"n\":2}").0, 422);
    assert_eq!(source.refuses("Idempotency-Key: \r\n", b"{\"n\":2}").0, 400);
    assert_eq!(source.takes("Idempotency-Key: another\r\n", b"{\"n\":1}").0.len(), 1);
    source.stop().unwrap();
}

#[test]
fn a_client_that_goes_away_before_its_answer_leaves_its_key_kept() {
    let mut source = Running::start(&[]);
    let key = "Idempotency-Key: a\r\n";
    let mut stream = begin(source.address, "/readings", &format!("Content-Length: 7\r\n{key}"));
    stream.write_all(b"{\"n\":1}").unwrap();
    let mut chunk = source.next_chunk();
    drop(stream);
    chunk.receipts.drain(..).for_each(Receipt::sign);
    // Until the receipt has arrived, the first request runs.
    while post(source.address, "/readings", key, b"{\"n\":1}").status() == 409 {}
    assert_eq!(post(source.address, "/readings", key, b"{\"n\":1}").status(), 204);
    assert!(source.chunks.try_recv().is_err());
    source.stop().unwrap();
}

#[test]
fn slow_clients_are_told_and_let_go() {
    let brief = Duration::from_millis(50);
    let limits = Limits { head: brief, idle: brief, ..Limits::default() };
    let mut source = Running::within(&Servers::default(), limits, &[]);
    let mut body = begin(source.address, "/readings", "Content-Length: 100\r\n");
    body.write_all(b"{\"n\":").unwrap();
    assert_eq!(Parts::read(&mut body).unwrap().status(), 408);
    let mut head = connect(source.address);
    head.write_all(b"POST /readings HT").unwrap();
    assert_eq!(Parts::read(&mut head), None, "closed without an answer");
    let dripping = Limits { body: brief, ..Limits::default() };
    assert_eq!(source.takes(JSON, b"{\"n\":1}").0.len(), 1);
    source.stop().unwrap();
    let source = Running::within(&Servers::default(), dripping, &[]);
    let mut body = begin(source.address, "/readings", "Content-Length: 1000000\r\n");
    let mut writer = body.try_clone().unwrap();
    let writing = thread::spawn(move || while writer.write_all(b" ").is_ok() {});
    assert_eq!(Parts::read(&mut body).unwrap().status(), 408);
    drop(body);
    source.stop().unwrap();
    writing.join().unwrap();
}

#[test]
fn garbage_and_heads_that_are_too_long_cost_their_connection_only() {
    let mut source = Running::start(&[]);
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0\r\n\r\n", b"hello\r\n\r\n"]
    {
        let mut stream = connect(source.address);
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // Refused, or just closed.
        stream.read_to_end(&mut rest).ok();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{rest:?}");
    }
    let long = format!("X-Long: {}\r\n", "x".repeat(100_000));
    let mut stream = connect(source.address);
    write!(stream, "POST /readings HTTP/1.1\r\nHost: plant\r\n{long}\r\n").ok();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 431"), "{rest:?}");
    assert_eq!(source.takes(JSON, b"{\"n\":1}").0.len(), 1);
    source.stop().unwrap();
}

#[test]
fn requests_that_are_open_when_the_program_stops_are_told() {
    let mut source = Running::start(&[]);
    let waiting = source.post(JSON, b"{\"n\":1}");
    let mut chunk = source.next_chunk();
    let mut reading = begin(source.address, "/readings", "Content-Length: 100\r\n");
    let mut idle = connect(source.address);
    source.chunks.close();
    let answer = Parts::read(&mut reading).unwrap();
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    chunk.receipts.drain(..).for_each(Receipt::sign);
    assert_eq!(waiting.join().unwrap().status(), 204, "what was handed over is finished");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "an idle connection is closed");
    source.stop().unwrap();
}

#[test]
fn sources_share_an_address_and_a_path_belongs_to_one() {
    let servers = Servers::default();
    let mut first = Running::within(&servers, Limits::default(), &[]);
    let mut second = Running::within(&servers, Limits::default(), &[("path", "/other")]);
    assert_eq!(first.address, second.address);
    assert_eq!(first.takes(JSON, b"{\"n\":1}").0, ["1||/readings|127.0.0.1"]);
    let answer = {
        let address = second.address;
        thread::spawn(move || post(address, "/other", JSON, b"{\"n\":2}"))
    };
    assert_eq!(second.next().0, ["2||/other|127.0.0.1"]);
    assert_eq!(answer.join().unwrap().status(), 204);
    let mut declaration = declaration("n INT");
    declaration.options = [("listen".into(), "127.0.0.1:0".into())].into();
    let error = source_within(&declaration, &servers, Limits::default()).unwrap_err().remove(0);
    assert_eq!(error.message, "another source has the path \"/readings\" of 127.0.0.1:0 already");
    first.stop().unwrap();
    assert!(source_within(&declaration, &servers, Limits::default()).is_ok(), "its path is free again");
    second.stop().unwrap();
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut declaration = declaration("n INT");
    declaration.options = [("listen".into(), taken.local_addr().unwrap().to_string())].into();
    let error = source_within(&declaration, &Servers::default(), Limits::default()).unwrap_err().remove(0);
    assert!(error.message.starts_with("cannot listen on 127.0.0.1:"), "{}", error.message);
    assert_eq!(error.option.as_deref(), Some("listen"));
    assert_eq!(crate::http::check_source(&declaration), [], "check opens nothing");
}
