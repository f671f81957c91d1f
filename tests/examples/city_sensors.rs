//! `examples/city_sensors` through mosquitto, or the embedded broker where it is not installed.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use lineshaft::connectors::broker::Broker;
use lineshaft::{Batch, Engine};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;

use super::{Formula, Series, assert_column, example, numbers, query};
use crate::support::shared_data;

/// How often the messages are published, a minute of event time apart.
const ROUNDS: i64 = 5;
const MINUTE_MS: i64 = 60_000;
/// Far above what the test needs, and below the patience of a person.
const LONG: Duration = Duration::from_secs(60);

/// A broker of either kind.
enum Server {
    Mosquitto { process: Child, port: u16 },
    Embedded(Broker),
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("mosquitto.conf");
        // As it is installed it drops messages for a client that has 1,000 waiting.
        std::fs::write(
            &config,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"),
        )
        .unwrap();
        let launch = |program: &&str| {
            let mut command = Command::new(program);
            command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
        };
        let Some(process) = ["mosquitto", "/usr/sbin/mosquitto"].iter().find_map(launch) else {
            eprintln!("mosquitto is not installed: the embedded broker does");
            return Self::Embedded(Broker::start(None).unwrap());
        };
        let server = Self::Mosquitto { process, port };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("mosquitto does not listen");
    }

    fn port(&self) -> u16 {
        match self {
            Self::Mosquitto { port, .. } => *port,
            Self::Embedded(broker) => broker.port(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Mosquitto { process, .. } = self {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

/// Time in milliseconds, station, and values by name.
struct Message {
    time: i64,
    station: String,
    values: BTreeMap<String, f64>,
    payload: String,
}

fn messages(file: &Path) -> Vec<Message> {
    let text = std::fs::read_to_string(file).unwrap();
    let message = |line: &str| {
        let payload = line.split_once(',').unwrap().1;
        let json: serde_json::Value = serde_json::from_str(payload).unwrap();
        let elements = json["e"].as_array().unwrap();
        let named = |element: &serde_json::Value| {
            Some((element["n"].as_str()?.to_owned(), element["v"].as_str()?.parse().ok()?))
        };
        Message {
            time: json["bt"].as_i64().unwrap(),
            station: elements.iter().find_map(|element| element["sv"].as_str()).unwrap().to_owned(),
            values: elements.iter().filter_map(named).collect(),
            payload: payload.to_owned(),
        }
    };
    text.lines().map(message).collect()
}

/// The message of a later round.
fn moved(message: &Message, round: i64) -> (String, String) {
    let time = message.time + round * MINUTE_MS;
    let payload = message.payload.replace(&format!("\"bt\":{}", message.time), &format!("\"bt\":{time}"));
    assert!(round == 0 || payload != message.payload);
    (format!("city/{}/measured", message.station), payload)
}

/// Publishes and waits until the broker has acknowledged all.
fn publish(port: u16, messages: Vec<(String, String)>, retain: bool) {
    let mut options = MqttOptions::new("stations", "127.0.0.1", port);
    options.set_inflight(100);
    let (client, mut connection) = Client::new(options, 100);
    let count = messages.len();
    let sender = thread::spawn(move || {
        for (topic, payload) in messages {
            client.publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
        }
        client
    });
    let is_acknowledged = |event: &Result<Event, _>| matches!(event, Ok(Event::Incoming(Packet::PubAck(_))));
    assert_eq!(connection.iter().filter(is_acknowledged).take(count).count(), count);
    drop(sender.join().unwrap());
}

#[test]
fn city_sensors_loses_no_value_of_any_station() {
    let Some(file) = shared_data("riotbench/SYS_sample_data_senml.csv") else { return };
    let messages = messages(&file);
    let server = Server::start();
    let port = server.port();
    // It stays for the source: once it has come, the source listens.
    let (_, first) = moved(&messages[0], -1);
    publish(port, vec![("city/first/measured".into(), first)], true);

    let program = std::fs::read_to_string(example("city_sensors/city_sensors.sql")).unwrap();
    let program = program
        .replace("${env:MQTT_URL}", &format!("mqtt://127.0.0.1:{port}"))
        .replace("'stdout'", "'memory'");
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::from_sql(&program.replace(", format = 'json'", "")).unwrap();
    engine.data(folder.path()).workers(2);
    let (mut values, mut minutes) = (engine.subscribe("measured"), engine.subscribe("minutes"));
    let running = engine.start().unwrap();
    assert_eq!(next(&mut values).num_rows(), messages[0].values.len());
    drop(values);

    let publisher = {
        let mut all: Vec<_> =
            (0..ROUNDS).flat_map(|round| messages.iter().map(move |message| moved(message, round))).collect();
        // A message of a later time closes the windows before it.
        all.push(moved(&messages[0], ROUNDS + 1));
        thread::spawn(move || publish(port, all, false))
    };
    let per_round: usize = messages.iter().map(|message| message.values.len()).sum();
    let expected =
        i64::try_from(messages[0].values.len()).unwrap() + ROUNDS * i64::try_from(per_round).unwrap();
    let mut seen = 0;
    while seen < expected {
        seen += counted(&next(&mut minutes));
    }
    publisher.join().unwrap();
    running.stop();
    drop(minutes);
    running.wait().unwrap();
    assert_eq!(seen, expected, "a row per value, none twice");
    windows_are_those_of_plain_formulas(&messages, folder.path());
}

fn next(rows: &mut mpsc::Receiver<Batch>) -> RecordBatch {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let batch = runtime.block_on(async { tokio::time::timeout(LONG, rows.recv()).await });
    batch.expect("rows in time").expect("the program runs").into_rows()
}

fn counted(rows: &RecordBatch) -> i64 {
    rows.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().iter().sum()
}

/// Every round has the same values, a minute later.
fn windows_are_those_of_plain_formulas(messages: &[Message], data: &Path) {
    let mut sensors: BTreeMap<(i64, String, String), Series> = BTreeMap::new();
    for round in 0..ROUNDS {
        for message in messages {
            for (name, value) in &message.values {
                let minute = (message.time + round * MINUTE_MS) / MINUTE_MS;
                sensors.entry((minute, message.station.clone(), name.clone())).or_default().push(0.0, *value);
            }
        }
    }
    let (from, to) = (sensors.keys().next().unwrap().0, sensors.keys().last().unwrap().0);
    let sql = format!(
        "SELECT *, CAST(date_part('epoch', window_start) AS BIGINT) / 60 AS minute FROM minutes
         WHERE CAST(date_part('epoch', window_start) AS BIGINT) / 60 BETWEEN {from} AND {to}
         ORDER BY minute, source, name"
    );
    let rows = query(&sql, data);
    let text = |column: &str| {
        arrow::compute::cast(rows.column_by_name(column).unwrap(), &arrow::datatypes::DataType::Utf8).unwrap()
    };
    let (stations, names) = (text("source"), text("name"));
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers")]
    let keys: Vec<_> = numbers(&rows, "minute")
        .iter()
        .enumerate()
        .map(|(row, minute)| {
            let text = |column: &arrow::array::ArrayRef| column.as_string::<i32>().value(row).to_owned();
            (*minute as i64, text(&stations), text(&names))
        })
        .collect();
    let checks: [(&str, Formula); 4] = [
        ("n", Series::n),
        ("mean", Series::mean),
        ("deviation", Series::stddev),
        ("least", |s| s.values.iter().copied().fold(f64::MAX, f64::min)),
    ];
    for (column, of) in checks {
        let expected: BTreeMap<_, _> =
            sensors.iter().map(|(key, series)| (key.clone(), of(series))).collect();
        // Deviations come of differences of numbers near 100 (and of dust near 5,000).
        assert_column(&rows, column, &keys, &expected, 100.0);
    }
}
