//! Source and sink against brokers: the embedded one, mosquitto where it is installed, and scripted peers that misbehave.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use lineshaft_engine::clock::Clock;
use lineshaft_engine::declaration::{OUTCOMES, Options, SinkDeclaration, SourceDeclaration};
use lineshaft_engine::sink::{COMMAND_NUMBER, Sink, Worker};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoded, Decoder, Packet, Payload, Receipt};
use lineshaft_engine::{Batch, Result, TIMESTAMP};
use rumqttc::{Publish, QoS};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::Connection;
use super::options::Client;
use crate::broker::Broker;
use crate::outcomes::{self, Outcomes};

/// Far above what any of these tests needs, and below the patience of a person.
const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn options(url: &str, topic: &str, more: &[(&str, &str)]) -> Options {
    let pairs = [("url", url), ("topic", topic)].into_iter().chain(more.iter().copied());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A source that runs, as the engine would run it.
struct Running {
    runtime: Runtime,
    chunks: mpsc::Receiver<Chunk>,
    decoder: Arc<dyn Decoder>,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    /// Rows have a number `n`, and the metadata `topic` and `retain`.
    fn start(url: &str, topic: &str, more: &[(&str, &str)]) -> Self {
        let fields = vec![
            Field::new("n", DataType::Int64, false),
            Field::new("topic", DataType::Utf8, true),
            Field::new("retain", DataType::Boolean, true),
        ];
        let declaration = SourceDeclaration {
            name: "readings".into(),
            schema: Arc::new(Schema::new(fields)),
            metadata: vec![1, 2],
            needed: vec![0, 1, 2],
            wanted: Vec::new(),
            event_time: None,
            table: None,
            options: options(url, topic, more),
            folder: ".".into(),
        };
        let runtime = runtime();
        let source = super::source(&declaration).unwrap();
        let decoder = source.decoder();
        let (sender, chunks) = ChunkSender::channel();
        let handle = runtime.handle().clone();
        let thread = thread::spawn(move || source.run(sender, handle));
        Self { runtime, chunks, decoder, thread }
    }

    /// The rows of the next messages, which are kept then.
    fn next(&mut self) -> Decoded {
        let chunk = loop {
            let mut chunk = self.next_chunk();
            chunk.receipts.drain(..).for_each(Receipt::sign);
            if let Payload::Messages(_) = chunk.payload {
                break chunk;
            }
        };
        self.decoder.decode(chunk).unwrap().next().unwrap().unwrap()
    }

    fn next_chunk(&mut self) -> Chunk {
        let chunk = self.runtime.block_on(async { timeout(LONG, self.chunks.recv()).await });
        chunk.expect("a chunk in time").expect("the source runs")
    }

    /// The deliveries of the next messages, which are kept then.
    fn packets(&mut self) -> Vec<Packet> {
        let mut chunk = self.next_chunk();
        chunk.receipts.drain(..).for_each(Receipt::sign);
        let Payload::Messages(messages) = chunk.payload else { panic!("no messages") };
        messages.into_iter().filter_map(|message| message.packet).collect()
    }

    /// The numbers of the next rows, at least `count`.
    fn numbers(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.extend(self.next().rows.column(0).as_primitive::<Int64Type>().values());
        }
        numbers
    }

    fn stop(self) -> Result<()> {
        drop(self.chunks);
        self.thread.join().unwrap()
    }
}

/// Publishes and waits until the broker has acknowledged all.
fn publish(url: &str, messages: impl IntoIterator<Item = Publish>) {
    let mut messages = messages.into_iter();
    let client = Client::new(url, "publisher".into()).unwrap();
    runtime().block_on(async {
        let (mut connection, _) = Connection::open(&client).await.unwrap();
        let full = connection.room();
        let mut has_more = true;
        while has_more || connection.room() < full {
            while connection.room() > 0 && has_more {
                match messages.next() {
                    Some(message) => drop(connection.publish(message).await.unwrap()),
                    None => has_more = false,
                }
            }
            connection.flush().await.unwrap();
            if connection.room() < full {
                timeout(LONG, connection.next()).await.unwrap().unwrap();
            }
        }
        connection.close().await;
    });
}

fn number(topic: &str, n: i64) -> Publish {
    Publish::new(topic, QoS::AtLeastOnce, format!("{{\"n\":{n}}}"))
}

fn retained(topic: &str, n: i64) -> Publish {
    Publish { retain: true, ..number(topic, n) }
}

#[test]
fn all_messages_become_rows_in_order() {
    let broker = Broker::start(None).unwrap();
    publish(&broker.url(), [retained("plant/a", -1)]);
    let mut source = Running::start(&broker.url(), "plant/+, other", &[]);
    let first = source.next().rows;
    assert_eq!(first.column(0).as_primitive::<Int64Type>().values(), &[-1]);
    assert!(first.column(2).as_boolean().value(0), "it was retained");
    publish(&broker.url(), (0..5_000).map(|n| number("plant/b", n)));
    assert_eq!(source.numbers(5_000), (0..5_000).collect::<Vec<_>>());
    publish(&broker.url(), [number("other", 7)]);
    assert_eq!(source.next().rows.column(1).as_string::<i32>().value(0), "other");
    source.stop().unwrap();
}

#[test]
fn a_source_waits_for_its_broker_and_comes_back_after_it_was_killed() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("mqtt://127.0.0.1:{port}");
    let mut source = Running::start(&url, "plant/a", &[]);
    for n in 0..3 {
        let broker = Broker::start(Some(port)).unwrap();
        // Retained, so that it does not matter who is faster.
        publish(&url, [retained("plant/a", n)]);
        assert_eq!(source.numbers(1)[0], n);
        drop(broker);
    }
    source.stop().unwrap();
}

#[test]
fn a_message_that_is_too_large_is_rejected_and_the_rest_goes_on() {
    let broker = Broker::start(None).unwrap();
    publish(&broker.url(), [retained("plant/a", -1)]);
    let mut source = Running::start(&broker.url(), "plant/a", &[("max_payload", "1 KiB")]);
    assert_eq!(source.numbers(1), [-1]);
    let large = Publish::new("plant/a", QoS::AtLeastOnce, vec![b'x'; 1 << 20]);
    publish(&broker.url(), [large, number("plant/a", 1)]);
    let (mut rejected, mut numbers) = (Vec::new(), Vec::new());
    while numbers.is_empty() {
        let decoded = source.next();
        rejected.extend(decoded.rejected);
        numbers.extend_from_slice(decoded.rows.column(0).as_primitive::<Int64Type>().values());
    }
    assert_eq!(numbers, [1]);
    assert_eq!((rejected.len(), rejected[0].reason), (1, "too_large"));
    assert!(rejected[0].raw.len() <= 4_096);
    source.stop().unwrap();
}

fn sink_of(schema: &Arc<Schema>, options: Options) -> Box<dyn Sink> {
    telling_sink_of(schema, options, &Outcomes::default())
}

fn telling_sink_of(schema: &Arc<Schema>, options: Options, outcomes: &Outcomes) -> Box<dyn Sink> {
    let declaration =
        SinkDeclaration { name: "alarms".into(), schema: Arc::clone(schema), options, folder: ".".into() };
    let factory = super::sink(&declaration, outcomes).map_err(|errors| format!("{errors:?}")).unwrap();
    factory.open(Arc::clone(schema), Worker { index: 0, count: 1 }).unwrap()
}

fn numbered(range: std::ops::Range<i64>) -> Batch {
    let machines: ArrayRef =
        Arc::new(StringArray::from_iter_values(range.clone().map(|n| format!("m{}", n % 3))));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    RecordBatch::try_from_iter([("machine", machines), ("n", numbers)]).unwrap().into()
}

#[test]
fn a_sink_delivers_every_row_to_its_topic() {
    let broker = Broker::start(None).unwrap();
    publish(&broker.url(), [retained("plant/hello/alarm", -1)]);
    let mut source = Running::start(&broker.url(), "plant/+/alarm", &[]);
    assert_eq!(source.numbers(1), [-1]);
    let batch = numbered(0..3_000);
    let mut sink = sink_of(&batch.schema(), options(&broker.url(), "plant/{machine}/alarm", &[]));
    sink.write(&batch).unwrap();
    sink.finish().unwrap();
    let mut seen = 0;
    while seen < 3_000 {
        let rows = source.next().rows;
        for row in 0..rows.num_rows() {
            let n = rows.column(0).as_primitive::<Int64Type>().value(row);
            assert_eq!(rows.column(1).as_string::<i32>().value(row), format!("plant/m{}/alarm", n % 3));
            seen += 1;
        }
    }
    assert_eq!(seen, 3_000);
    source.stop().unwrap();
}

/// One side of MQTT by hand.
struct Peer {
    stream: TcpStream,
}

impl Peer {
    fn accept(listener: &TcpListener, session_present: bool) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut peer = Self { stream };
        assert_eq!(peer.read().0 >> 4, 1, "CONNECT");
        peer.send(&[0x20, 2, u8::from(session_present), 0]);
        peer
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// First byte and body of a packet; bodies here are below 128 bytes.
    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).unwrap();
        assert!(header[1] < 128);
        let mut body = vec![0; usize::from(header[1])];
        self.stream.read_exact(&mut body).unwrap();
        (header[0], body)
    }

    /// Answers a SUBSCRIBE of one filter with `code`.
    fn subscribed(&mut self, code: u8) {
        let (kind, body) = self.read();
        assert_eq!(kind, 0x82);
        self.send(&[0x90, 3, body[0], body[1], code]);
    }

    fn publish(&mut self, id: u8, payload: &str, dup: bool) {
        let first = if dup { 0x3a } else { 0x32 };
        let mut packet = vec![first, u8::try_from(payload.len()).unwrap() + 5, 0, 1, b't', 0, id];
        packet.extend_from_slice(payload.as_bytes());
        self.send(&packet);
    }

    /// Packet id and payload of the next PUBLISH on a topic of one letter.
    fn published(&mut self) -> ([u8; 2], String) {
        let (kind, body) = self.read();
        assert_eq!(kind & 0xf0, 0x30);
        ([body[3], body[4]], String::from_utf8(body[5..].to_vec()).unwrap())
    }
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn a_message_is_acknowledged_only_when_the_engine_keeps_it() {
    let (listener, url) = listener();
    let mut source = Running::start(&url, "t", &[]);
    let mut peer = Peer::accept(&listener, false);
    peer.subscribed(1);
    peer.publish(1, "{\"n\":1}", false);
    assert!(matches!(source.next_chunk().payload, Payload::Gap(_)), "a session that is new");
    let chunk = source.next_chunk();
    peer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(peer.stream.read(&mut [0]).is_err(), "no acknowledgement before it is kept");
    peer.stream.set_read_timeout(Some(LONG)).unwrap();
    chunk.receipts.into_iter().for_each(Receipt::sign);
    assert_eq!(peer.read(), (0x40, vec![0, 1]));
    thread::scope(|scope| {
        // The source waits until we hang up.
        let stopped = scope.spawn(|| source.stop());
        assert_eq!(peer.read().0, 0xe0, "a clean goodbye");
        drop(peer);
        stopped.join().unwrap().unwrap();
    });
}

#[test]
fn a_message_that_is_sent_again_says_so() {
    let (listener, url) = listener();
    let mut source = Running::start(&url, "t", &[]);
    let mut peer = Peer::accept(&listener, false);
    peer.subscribed(1);
    peer.publish(1, "{\"n\":1}", false);
    assert!(matches!(source.next_chunk().payload, Payload::Gap(_)));
    assert_eq!(source.packets(), [Packet { id: 1, again: false, settles: false }]);
    drop(peer);
    // Without another subscription: the session has it.
    let mut peer = Peer::accept(&listener, true);
    peer.publish(1, "{\"n\":1}", true);
    let again = Packet { id: 1, again: true, settles: false };
    assert_eq!(source.packets(), [again], "and the session went on: no gap");
    assert_eq!(peer.read(), (0x40, vec![0, 1]));
    source.stop().unwrap();
}

/// A source that has taken `count` messages, and its peer.
fn after_messages(listener: &TcpListener, url: &str, count: usize) -> (Running, Peer) {
    let mut source = Running::start(url, "t", &[]);
    let mut peer = Peer::accept(listener, false);
    peer.subscribed(1);
    assert!(matches!(source.next_chunk().payload, Payload::Gap(_)));
    for n in 0..count {
        peer.publish(u8::try_from(n % 250 + 1).unwrap(), "{\"n\":1}", false);
    }
    let mut taken = 0;
    while taken < count {
        let packets = source.packets();
        assert!(packets.iter().all(|packet| !packet.settles), "nothing is known of the acknowledgements");
        taken += packets.len();
    }
    (source, peer)
}

#[test]
fn the_answer_to_a_ping_settles_what_was_acknowledged_before() {
    let (listener, url) = listener();
    let (mut source, mut peer) = after_messages(&listener, &url, 600);
    while peer.read() != (0xc0, vec![]) {}
    peer.publish(251, "{\"n\":1}", false);
    assert!(!source.packets()[0].settles, "the broker has not said that it has read them");
    peer.send(&[0xd0, 0]);
    peer.publish(252, "{\"n\":1}", true);
    assert!(!source.packets()[0].settles, "one that is sent again may be dropped, and its word with it");
    peer.publish(253, "{\"n\":1}", false);
    assert!(source.packets()[0].settles);
    peer.publish(254, "{\"n\":1}", false);
    assert!(!source.packets()[0].settles, "the mark itself is not settled yet");
    source.stop().unwrap();
}

#[test]
fn a_source_that_cannot_tell_what_the_broker_has_read_hangs_up_and_comes_back() {
    let (listener, url) = listener();
    let (mut source, mut peer) = after_messages(&listener, &url, 5_000);
    let mut acknowledged = 0;
    loop {
        match peer.read().0 {
            0x40 => acknowledged += 1,
            0xc0 => {}
            kind => break assert_eq!(kind, 0xe0, "a goodbye, so that the broker reads all"),
        }
    }
    assert_eq!(acknowledged, 5_000);
    drop(peer);
    let mut peer = Peer::accept(&listener, true);
    peer.publish(1, "{\"n\":2}", false);
    assert_eq!(source.numbers(1), [2]);
    source.stop().unwrap();
}

#[test]
fn a_refused_subscription_is_an_error_that_names_the_filter() {
    let (listener, url) = listener();
    let source = Running::start(&url, "secret/#", &[]);
    Peer::accept(&listener, false).subscribed(0x80);
    let error = source.thread.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("\"secret/#\"") && error.contains("readings"), "{error}");
}

#[test]
fn what_was_not_acknowledged_is_sent_again() {
    let (listener, url) = listener();
    let batch = numbered(0..3);
    let mut sink = sink_of(&batch.schema(), options(&url, "t", &[]));
    sink.write(&batch).unwrap();
    let payload = |n: i64| format!("{{\"machine\":\"m{n}\",\"n\":{n}}}");
    let mut peer = Peer::accept(&listener, false);
    let (id, first) = peer.published();
    assert_eq!(first, payload(0));
    peer.send(&[0x40, 2, id[0], id[1]]);
    assert_eq!(peer.published().1, payload(1));
    drop(peer);
    let mut peer = Peer::accept(&listener, false);
    for n in 1..3 {
        let (id, again) = peer.published();
        assert_eq!(again, payload(n));
        peer.send(&[0x40, 2, id[0], id[1]]);
    }
    sink.finish().unwrap();
    drop(sink);
    assert_eq!(peer.read().0, 0xe0, "a clean goodbye");
}

#[test]
fn rows_written_while_the_broker_is_away_arrive_when_it_comes() {
    let (closed, url) = listener();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let batch = numbered(0..200);
    let mut sink = sink_of(&batch.schema(), options(&url, "t", &[]));
    sink.write(&batch).unwrap();
    let mut peer = Peer::accept(&TcpListener::bind(address).unwrap(), false);
    for n in 0..200 {
        let (id, payload) = peer.published();
        assert!(payload.ends_with(&format!("\"n\":{n}}}")), "{payload}");
        peer.send(&[0x40, 2, id[0], id[1]]);
    }
    sink.finish().unwrap();
}

#[test]
fn a_command_leaves_at_most_once_and_never_after_its_end() {
    let (listener, url) = listener();
    let speeds: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let never = 4_102_444_800_000_000; // 2100-01-01
    let ends: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_000_000, never, never]));
    let fields =
        vec![Field::new("speed", DataType::Int64, false), Field::new("expires_at", TIMESTAMP, false)];
    let schema = Arc::new(Schema::new(fields));
    let commands: Batch = RecordBatch::try_new(Arc::clone(&schema), vec![speeds, ends]).unwrap().into();
    let mut sink = sink_of(&schema, options(&url, "t", &[("ttl", "2 s")]));
    sink.write(&commands.slice(0, 2)).unwrap();
    let mut peer = Peer::accept(&listener, false);
    assert!(peer.published().1.starts_with("{\"speed\":2,"), "the first has expired");
    drop(peer);
    // The next connection has nothing to send again.
    let mut peer = Peer::accept(&listener, false);
    sink.write(&commands.slice(2, 1)).unwrap();
    let (id, payload) = peer.published();
    assert!(payload.starts_with("{\"speed\":3,"), "{payload}");
    peer.send(&[0x40, 2, id[0], id[1]]);
    sink.finish().unwrap();
    drop(sink);
    assert_eq!(peer.read().0, 0xe0, "nothing but a goodbye");
}

/// What has become of commands, as the source of the actuator gives it: speed and outcome.
struct Told {
    runtime: Runtime,
    chunks: mpsc::Receiver<Chunk>,
}

impl Told {
    fn start(outcomes: &Outcomes) -> Self {
        let mut fields = command_fields();
        fields.remove(1);
        fields.push(Field::new("outcome", DataType::Utf8, false));
        let options = [("connector", OUTCOMES), ("actuator", "alarms")];
        let mut declaration = crate::format::testing::declaration("n INT");
        declaration.schema = Arc::new(Schema::new(fields));
        declaration.options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let source = outcomes::source(&declaration, outcomes).unwrap();
        assert!(outcomes::source(&declaration, outcomes).is_err(), "there is one");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (sender, mut chunks) = ChunkSender::channel();
        let handle = runtime.handle().clone();
        thread::spawn(move || source.run(sender, handle));
        assert!(runtime.block_on(chunks.recv()).unwrap().is_loaded, "it begins with a word of no command");
        Self { runtime, chunks }
    }

    fn next(&mut self, count: usize) -> Vec<(i64, i64, String)> {
        let mut told = Vec::new();
        while told.len() < count {
            let chunk =
                self.runtime.block_on(async { timeout(Duration::from_secs(30), self.chunks.recv()).await });
            let Payload::Rows(rows) = chunk.unwrap().unwrap().payload else { panic!("rows") };
            let numbers = |column: usize| rows.column(column).as_primitive::<Int64Type>().values();
            let texts = rows.column(2).as_string::<i32>().iter().flatten().map(str::to_owned);
            told.extend(numbers(0).iter().zip(numbers(1)).zip(texts).map(|((a, b), text)| (*a, *b, text)));
        }
        told
    }
}

fn command_fields() -> Vec<Field> {
    vec![
        Field::new("speed", DataType::Int64, true),
        Field::new("expires_at", TIMESTAMP, false),
        Field::new(COMMAND_NUMBER, DataType::Int64, false),
    ]
}

#[test]
fn what_becomes_of_commands_is_told() {
    let (listener, url) = listener();
    let schema = Arc::new(Schema::new(command_fields()));
    let commands = |rows: &[(Option<i64>, i64, i64)]| -> Batch {
        let columns: [ArrayRef; 3] = [
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns.into()).unwrap().into()
    };
    let never = 4_102_444_800_000_000; // 2100-01-01
    let outcomes = Outcomes::default();
    let mut told = Told::start(&outcomes);
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut sink = telling_sink_of(&schema, options(&url, "{speed}", &[("ttl", "2 s")]), &outcomes);
    // Nobody listens, so the first expires while it waits.
    sink.write(&commands(&[(Some(1), 1_000_000, 7), (None, never, 8), (Some(2), never, 9)])).unwrap();
    let mut first = told.next(2);
    first.sort();
    let row = |speed, number, outcome: &str| (speed, number, outcome.to_owned());
    assert_eq!(first, [row(0, 8, "unaddressed"), row(1, 7, "expired")]);
    let listener = TcpListener::bind(address).unwrap();
    let mut peer = Peer::accept(&listener, false);
    let (id, payload) = peer.published();
    assert!(payload.ends_with("{\"speed\":2,\"expires_at\":\"2100-01-01T00:00:00Z\"}"), "{payload}");
    peer.send(&[0x40, 2, id[0], id[1]]);
    assert_eq!(told.next(1), [row(2, 9, "arrived")]);
    sink.write(&commands(&[(Some(3), never, 10)])).unwrap();
    peer.published();
    drop(peer);
    assert_eq!(told.next(1), [row(3, 10, "unknown")]);
}

#[test]
fn a_broker_that_acknowledges_nothing_is_left_and_what_waits_expires() {
    let (listener, url) = listener();
    let schema = Arc::new(Schema::new(command_fields()));
    let outcomes = Outcomes::default();
    let mut told = Told::start(&outcomes);
    let slow = [("ttl", "2 s"), ("in_flight", "1"), ("keep_alive", "1 s")];
    let mut sink = telling_sink_of(&schema, options(&url, "t", &slow), &outcomes);
    let soon = Clock::system().now() + 1_000_000;
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(TimestampMicrosecondArray::from(vec![4_102_444_800_000_000, soon])),
        Arc::new(Int64Array::from(vec![7, 8])),
    ];
    sink.write(&RecordBatch::try_new(schema, columns.into()).unwrap().into()).unwrap();
    let mut peer = Peer::accept(&listener, false);
    assert!(peer.published().1.contains("\"speed\":1,"));
    // It is alive: it answers pings, until it is left.
    let answers = thread::spawn(move || {
        let mut header = [0; 2];
        while peer.stream.read_exact(&mut header).is_ok() {
            peer.send(&[0xd0, 0]);
        }
    });
    let mut seen = told.next(2);
    seen.sort();
    assert_eq!(seen, [(1, 7, "unknown".to_owned()), (2, 8, "expired".to_owned())]);
    answers.join().unwrap();
    Peer::accept(&listener, false);
}

/// A mosquitto of its own, with its session store in a folder that is removed at the end.
struct Mosquitto {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Mosquitto {
    /// Started again, it goes on where it was killed; that costs it a write of its whole store for each message.
    const SAVES_ALL: &str = "autosave_on_changes true\nautosave_interval 1\n";

    /// `None`, with a word on stderr, where mosquitto is not installed.
    fn start(more: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\nmax_queued_messages 0\nmax_inflight_messages 1000\n{more}",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let process = Self::launch(&folder)?;
        let mosquitto = Self { process, port, folder };
        mosquitto.wait();
        Some(mosquitto)
    }

    fn launch(folder: &tempfile::TempDir) -> Option<Child> {
        let programs = ["mosquitto", "/usr/sbin/mosquitto"];
        let config = folder.path().join("mosquitto.conf");
        let launch = |program: &&str| {
            Command::new(program)
                .arg("-c")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        };
        let process = programs.iter().find_map(launch);
        if process.is_none() {
            eprintln!("skipped: mosquitto is not installed (apt-get install mosquitto)");
        }
        process
    }

    fn wait(&self) {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("mosquitto does not listen");
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = Self::launch(&self.folder).unwrap();
        self.wait();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn mosquitto_keeps_what_is_published_while_the_source_is_away() {
    let Some(broker) = Mosquitto::start("") else {
        return;
    };
    publish(&broker.url(), [retained("plant/a", -1)]);
    let mut source = Running::start(&broker.url(), "plant/a", &[]);
    assert_eq!(source.numbers(1), [-1]);
    source.stop().unwrap();
    publish(&broker.url(), (0..5_000).map(|n| number("plant/a", n)));
    let mut source = Running::start(&broker.url(), "plant/a", &[]);
    let numbers: Vec<i64> = source.numbers(5_000).into_iter().filter(|n| *n >= 0).collect();
    let rest = 5_000 - numbers.len();
    let numbers = [numbers, source.numbers(rest)].concat();
    assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
    source.stop().unwrap();
}

#[test]
fn a_source_and_a_sink_go_on_after_mosquitto_was_killed() {
    let Some(mut broker) = Mosquitto::start(Mosquitto::SAVES_ALL) else {
        return;
    };
    publish(&broker.url(), [retained("plant/0", -1)]);
    let mut source = Running::start(&broker.url(), "plant/+", &[]);
    assert_eq!(source.numbers(1), [-1]);
    let schema = numbered(0..1).schema();
    let mut sink = sink_of(&schema, options(&broker.url(), "plant/{n}", &[("retain", "true")]));
    // The broker writes its whole store for each.
    sink.write(&numbered(0..50)).unwrap();
    broker.restart();
    sink.write(&numbered(50..100)).unwrap();
    sink.finish().unwrap();
    // At least once: each number comes, some may come twice.
    let mut seen = [false; 100];
    while seen.contains(&false) {
        for n in source.numbers(1) {
            if let Ok(n) = usize::try_from(n) {
                seen[n] = true;
            }
        }
    }
    source.stop().unwrap();
}
