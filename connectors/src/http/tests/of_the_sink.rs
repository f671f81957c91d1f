//! The sink as its peer sees it.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lineshaft_engine::Batch;
use lineshaft_engine::sink::{Sink, SinkFactory, Worker};
use lineshaft_engine::time::EpochHeader;

use super::{LONG, Parts, runtime};
use crate::http::options::SinkOptions;
use crate::http::peer::{Outcome, Peer};
use crate::http::sink::HttpSinkFactory;

/// What a peer does with a request.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Answers with this status line and these headers.
    Answer(&'static str),
    /// Answers, and closes the connection.
    AnswerAndClose(&'static str),
    /// Closes the connection without an answer.
    Close,
    /// Says nothing until the client goes away.
    Silence,
}

const OK: Step = Step::Answer("200 OK\r\n");

/// A server that does one step a request, then answers 200; and the requests that it got.
struct Script {
    address: SocketAddr,
    requests: Receiver<Parts>,
}

impl Script {
    fn start(steps: &[Step]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), steps)
    }

    fn on(listener: TcpListener, steps: &[Step]) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        let steps = Arc::new(Mutex::new(steps.iter().copied().collect::<VecDeque<Step>>()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, steps, sender) = (stream.unwrap(), Arc::clone(&steps), sender.clone());
                thread::spawn(move || {
                    while let Some(request) = Parts::read(&mut stream) {
                        let step = steps.lock().unwrap().pop_front().unwrap_or(OK);
                        // A test that has ended does not listen any more.
                        sender.send(request).ok();
                        match step {
                            Step::Answer(head) | Step::AnswerAndClose(head) => {
                                let answer = format!("HTTP/1.1 {head}Content-Length: 3\r\n\r\nno!");
                                stream.write_all(answer.as_bytes()).ok();
                            }
                            Step::Close | Step::Silence => {}
                        }
                        match step {
                            Step::AnswerAndClose(_) | Step::Close => return,
                            Step::Silence => drop(Parts::read(&mut stream)),
                            Step::Answer(_) => {}
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}/rows?a=b", self.address)
    }

    fn next(&self) -> Parts {
        self.requests.recv_timeout(LONG).expect("a request in time")
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn options(url: &str, more: &[(&str, &str)]) -> SinkOptions {
    let pairs = [("url", url), ("linger", "0 ms")].into_iter().chain(more.iter().copied());
    SinkOptions::read(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()).unwrap()
}

fn sink(url: &str, more: &[(&str, &str)]) -> Box<dyn Sink> {
    sink_with_patience(url, more, LONG)
}

fn sink_with_patience(url: &str, more: &[(&str, &str)], last_patience: Duration) -> Box<dyn Sink> {
    let (name, run) = ("alarms".into(), Mutex::default());
    let factory = HttpSinkFactory { name, options: options(url, more), last_patience, run };
    factory.open(schema(), Worker { index: 0, count: 1 }).unwrap()
}

fn batch(numbers: std::ops::Range<i64>) -> Batch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_new(schema(), vec![numbers]).unwrap().into()
}

fn header(epoch: u64) -> EpochHeader {
    EpochHeader::new(epoch, 1_000)
}

/// An epoch of these rows.
fn epoch(sink: &mut dyn Sink, epoch: u64, numbers: std::ops::Range<i64>) {
    sink.write(&batch(numbers)).unwrap();
    sink.end_epoch(header(epoch)).unwrap();
}

#[test]
fn a_batch_is_written_in_the_format_with_its_headers() {
    let peer = Script::start(&[]);
    for (format, content_type, body) in [
        ("json", "application/json", "[{\"n\":0},{\"n\":1}]"),
        ("jsonl", "application/x-ndjson", "{\"n\":0}\n{\"n\":1}\n"),
        ("csv", "text/csv", "n\n0\n1\n"),
    ] {
        let more = [("format", format), ("token", "t0ken"), ("headers", "X-Plant: north")];
        let mut sink = sink(&peer.url(), &more);
        epoch(sink.as_mut(), 7, 0..2);
        sink.finish().unwrap();
        let request = peer.next();
        assert_eq!((request.start.as_str(), request.text().as_str()), ("POST /rows?a=b HTTP/1.1", body));
        let head =
            ["content-type", "authorization", "x-plant", "host"].map(|name| request.header(name).unwrap());
        assert_eq!(head, [content_type, "bearer t0ken", "north", &peer.address.to_string()]);
        assert!(request.header("idempotency-key").unwrap().starts_with("7-0-"));
    }
}

#[test]
fn rows_leave_in_their_order_in_batches_of_many_epochs() {
    let peer =
        Script::start(&[Step::Answer("503 Busy\r\n"), OK, Step::Close, Step::AnswerAndClose("200 OK\r\n")]);
    let mut sink = sink(&peer.url(), &[("batch_rows", "7"), ("format", "csv")]);
    for number in 0..10 {
        epoch(sink.as_mut(), number, number as i64 * 5..number as i64 * 5 + 5);
    }
    sink.finish().unwrap();
    drop(sink);
    let (mut rows, mut last_key) = (Vec::new(), String::new());
    for request in peer.requests.try_iter() {
        let key = request.header("idempotency-key").unwrap().to_owned();
        let text = request.text();
        let lines: Vec<i64> = text.lines().skip(1).map(|line| line.parse().unwrap()).collect();
        assert!(lines.len() <= 7);
        // One that was tried again.
        if key != last_key {
            rows.extend(lines);
        }
        last_key = key;
    }
    assert_eq!(rows, (0..50).collect::<Vec<_>>());
}

#[test]
fn rows_linger_for_others_in_their_batch() {
    let peer = Script::start(&[]);
    let mut sink = sink(&peer.url(), &[("batch_rows", "3"), ("linger", "1 hour")]);
    (0..3).for_each(|number| epoch(sink.as_mut(), number, 0..1));
    assert_eq!(peer.next().text(), "[{\"n\":0},{\"n\":0},{\"n\":0}]");
    sink.finish().unwrap();
}

#[test]
fn a_batch_is_sent_again_with_its_key_until_it_is_taken() {
    let steps = [
        Step::Answer("500 Broken\r\n"),
        Step::Close,
        Step::Answer("429 Busy\r\nRetry-After: 0\r\n"),
        Step::Answer("409 Running\r\nRetry-After: 0\r\n"),
        Step::Answer("408 Slow\r\n"),
    ];
    let peer = Script::start(&steps);
    let mut sink = sink(&peer.url(), &[]);
    epoch(sink.as_mut(), 1, 0..3);
    let first = peer.next();
    let repeated: Vec<Parts> = steps.iter().map(|_| peer.next()).collect();
    assert!(repeated.iter().all(|request| *request == first), "the same key and body");
    epoch(sink.as_mut(), 2, 0..3);
    sink.finish().unwrap();
    let second = peer.next();
    assert_eq!(second.body, first.body);
    assert_ne!(
        second.header("idempotency-key"),
        first.header("idempotency-key"),
        "another epoch, another key"
    );
}

#[test]
fn a_batch_that_is_refused_does_not_hold_up_the_next() {
    let peer = Script::start(&[Step::Answer("409 Conflict\r\n"), Step::Answer("302 Elsewhere\r\n")]);
    let mut sink = sink(&peer.url(), &[("batch_rows", "1")]);
    epoch(sink.as_mut(), 1, 0..3);
    sink.finish().unwrap();
    let bodies: Vec<String> = peer.requests.try_iter().map(|request| request.text()).collect();
    assert_eq!(bodies, ["[{\"n\":0}]", "[{\"n\":1}]", "[{\"n\":2}]"], "each once");
}

#[test]
fn a_peer_says_how_long_to_wait_within_reason() {
    let peer = Script::start(&[
        Step::Answer("429 Busy\r\nRetry-After: 7\r\n"),
        Step::Answer("503 Busy\r\nRetry-After: 99999999\r\n"),
        Step::Answer("503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"),
        Step::Answer("400 Wrong\r\n"),
        OK,
    ]);
    let mut client = Peer::new(options(&peer.url(), &[]));
    let outcomes = runtime().block_on(async {
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            outcomes.push(client.post("[]".into(), &"key".try_into().unwrap()).await);
        }
        outcomes
    });
    let again =
        |reason: &str, seconds| Outcome::Again { reason: reason.into(), pause: Duration::from_secs(seconds) };
    assert_eq!(
        outcomes,
        [
            again("it answered 429 Too Many Requests: \"no!\"", 7),
            again("it answered 503 Service Unavailable: \"no!\"", 300),
            again("it answered 503 Service Unavailable: \"no!\"", 0),
            Outcome::Refused("it answered 400 Bad Request: \"no!\"".into()),
            Outcome::Taken,
        ]
    );
}

#[test]
fn a_peer_that_says_nothing_is_tried_again() {
    let peer = Script::start(&[Step::Silence]);
    let mut sink = sink(&peer.url(), &[("timeout", "50 ms")]);
    epoch(sink.as_mut(), 1, 0..1);
    sink.finish().unwrap();
    assert_eq!(peer.next(), peer.next());
}

#[test]
fn a_peer_that_comes_late_gets_all_rows() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut sink = sink(&format!("http://{address}/rows"), &[]);
    epoch(sink.as_mut(), 1, 0..3);
    let peer = Script::on(TcpListener::bind(address).unwrap(), &[]);
    sink.finish().unwrap();
    assert_eq!(peer.next().text(), "[{\"n\":0},{\"n\":1},{\"n\":2}]");
}

#[test]
fn what_was_not_taken_is_part_of_a_checkpoint_and_leaves_with_its_key() {
    let silent = Script::start(&[Step::Silence]);
    let mut before = sink_with_patience(&silent.url(), &[("batch_rows", "3")], Duration::ZERO);
    epoch(before.as_mut(), 1, 0..3);
    let first = silent.next();
    let snapshot = before.commit().unwrap();
    drop(before);
    let peer = Script::start(&[]);
    let mut after = sink(&peer.url(), &[("batch_rows", "3")]);
    after.restore(snapshot).unwrap();
    epoch(after.as_mut(), 2, 3..4);
    after.finish().unwrap();
    let repeated = peer.next();
    let of = |request: &Parts| (request.text(), request.header("idempotency-key").map(str::to_owned));
    assert_eq!(of(&repeated), of(&first));
    assert_eq!(peer.next().text(), "[{\"n\":3}]");
}

#[test]
fn the_end_does_not_wait_for_ever_for_a_peer_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rows", listener.local_addr().unwrap());
    drop(listener);
    let mut sink = sink_with_patience(&url, &[("batch_rows", "2")], Duration::from_millis(20));
    epoch(sink.as_mut(), 1, 0..3);
    let error = sink.finish().unwrap_err().to_string();
    assert_eq!(error, format!("http sink \"alarms\": 3 rows were not taken by {url} and may be lost"));
    drop(sink);
}
