//! What is on its way out when a program is killed, or stopped while nobody takes it, arrives all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use super::mosquitto::Mosquitto;
use super::publisher::{Publisher, Subscriber};
use super::readings::{by_hand, start_subscribed};
use super::{kill, stop, wait_for};

/// A server that takes requests or is busy, and notes the key and body of those that it took.
#[derive(Clone, Default)]
struct Server {
    takes: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<(String, String)>>>,
    asked: Arc<AtomicBool>,
}

impl Server {
    fn start() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self::default();
        let serves = server.clone();
        spawn(move || {
            for client in listener.incoming() {
                let serves = serves.clone();
                // A client that is killed hangs up anywhere.
                spawn(move || serves.serve(client.unwrap()));
            }
        });
        (server, port)
    }

    fn serve(&self, client: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let mut client = client;
        loop {
            let (mut key, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
                let line = line.trim().to_ascii_lowercase();
                match line.split_once(": ") {
                    Some(("idempotency-key", value)) => value.clone_into(&mut key),
                    Some(("content-length", value)) => length = value.parse().ok()?,
                    _ if line.is_empty() => break,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            self.asked.store(true, Ordering::SeqCst);
            let takes = self.takes.load(Ordering::SeqCst);
            if takes {
                self.taken.lock().unwrap().push((key, String::from_utf8(body).ok()?));
            }
            let status = if takes { "204 No Content" } else { "503 Busy" };
            write!(client, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }

    /// The keys of each reading that it took.
    fn keys(&self) -> BTreeMap<u64, BTreeSet<String>> {
        let mut keys: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for (key, body) in self.taken.lock().unwrap().iter() {
            keys.entry(number(body)).or_default().insert(key.clone());
        }
        keys
    }
}

/// The `n` of the one reading in a body.
fn number(body: &str) -> u64 {
    let (_, rest) = body.split_once("\"n\":").unwrap();
    rest.trim_end_matches(['}', ']']).parse().unwrap()
}

#[test]
fn what_is_on_its_way_out_survives_a_stop_and_kills() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let away = folder.join("away");
    fs::create_dir_all(&away).unwrap();
    let Some(broker) = Mosquitto::start(folder) else { return };
    let Some(mut target) = Mosquitto::persistent(&away, 1800) else { return };
    // Its session is there when the first message comes.
    drop(Subscriber::connect(target.port, "plant/out"));
    target.stop();
    let (server, port) = Server::start();
    let program = format!(
        "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, WATERMARK FOR ts)
             WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{}', topic = 'plant/readings', format = 'json');
         CREATE SINK out FROM readings WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{}', topic = 'plant/out');
         CREATE SINK posted FROM readings
             WITH (connector = 'http', url = 'http://127.0.0.1:{port}/rows', batch_rows = 1);",
        broker.port, target.port
    );
    fs::write(folder.join("p.sql"), program).unwrap();
    let mut publisher = Publisher::connect(broker.port);
    let mut publish = |turn: u64| publisher.publish("plant/readings", by_hand(turn * 100, 100));

    let mut program = start_subscribed(folder, &[]);
    publish(0);
    wait_for("a request", || server.asked.load(Ordering::SeqCst));
    // The checkpoint has what nobody has taken.
    stop(&mut program, folder);
    program = start_subscribed(folder, &[]);
    publish(1);
    server.asked.store(false, Ordering::SeqCst);
    wait_for("a request", || server.asked.load(Ordering::SeqCst));
    kill(&mut program);
    program = start_subscribed(folder, &[]);
    server.takes.store(true, Ordering::SeqCst);
    wait_for("some rows", || server.keys().len() > 20);
    kill(&mut program);
    target.start_again();
    program = start_subscribed(folder, &[]);
    publish(2);
    wait_for("all rows", || server.keys().len() == 300);
    let mut subscriber = Subscriber::connect(target.port, "plant/out");
    let mut arrived = BTreeSet::new();
    while arrived.len() < 300 {
        arrived.insert(number(&subscriber.next()));
    }
    let keys = server.keys();
    assert!(keys.keys().copied().eq(0..300));
    assert!(arrived.into_iter().eq(0..300));
    let doubled = keys.values().find(|keys| keys.len() > 1 || keys.contains(""));
    assert_eq!(doubled, None, "a row that is sent again has the same key");
    stop(&mut program, folder);
}
