//! `examples/pump_guard`: windows of all experiments against plain formulas, alarms through a broker, and backfill.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lineshaft::connectors::broker::Broker;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

use super::{Formula, Series, assert_column, example, lineshaft, number, numbers, query};
use crate::support::shared_data;

/// Far above what the test needs, and below the patience of a person.
const LONG: Duration = Duration::from_secs(60);

/// Name in the features, name in the files.
const CHANNELS: [(&str, &str); 8] = [
    ("vibration_1", "Accelerometer1RMS"),
    ("vibration_2", "Accelerometer2RMS"),
    ("current", "Current"),
    ("pressure", "Pressure"),
    ("motor_temperature", "Temperature"),
    ("fluid_temperature", "Thermocouple"),
    ("voltage", "Voltage"),
    ("flow", "Volume Flow RateRMS"),
];

const HISTORY: &str = "SELECT * FROM history ORDER BY experiment, window_start";
const SCORES: &str = "SELECT * FROM scores ORDER BY experiment, window_start";

/// Number of the experiment, and start of the window in seconds.
type Key = (i64, i64);

/// The samples of each window, by column of the file.
fn windows(folder: &Path) -> BTreeMap<Key, BTreeMap<String, Series>> {
    let mut windows: BTreeMap<Key, BTreeMap<String, Series>> = BTreeMap::new();
    for experiment in 0..16 {
        let text = std::fs::read_to_string(folder.join(format!("valve1/{experiment}.csv"))).unwrap();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().split(';').collect();
        for line in lines {
            let cells: Vec<&str> = line.split(';').collect();
            let clock: Vec<i64> = cells[0][11..].split(':').map(|part| part.parse().unwrap()).collect();
            let seconds = clock[0] * 3600 + clock[1] * 60 + clock[2];
            let window = windows.entry((experiment, seconds / 30 * 30)).or_default();
            for (name, cell) in names.iter().zip(&cells).skip(1) {
                let seconds = f64::from(i32::try_from(seconds).unwrap());
                window.entry((*name).to_owned()).or_default().push(seconds, cell.parse().unwrap());
            }
        }
    }
    windows
}

/// Collects the messages of a topic until it is told how many there are.
fn subscribe(url: &str, topic: &str) -> mpsc::Receiver<(String, serde_json::Value)> {
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let (client, mut connection) = Client::new(MqttOptions::new("operator", "127.0.0.1", port), 10);
    client.subscribe(topic, QoS::AtLeastOnce).unwrap();
    let (sender, messages) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        // The client lives as long as its connection is read.
        let _client = client;
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => ready.send(()).unwrap(),
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let value = serde_json::from_slice(&message.payload).unwrap();
                    if sender.send((message.topic, value)).is_err() {
                        break;
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    });
    is_ready.recv_timeout(LONG).unwrap();
    messages
}

#[test]
fn pump_guard_finds_closing_valves_and_raises_alarms() {
    let Some(skab) = shared_data("skab") else { return };
    let broker = Broker::start(None).unwrap();
    let alarms = subscribe(&broker.url(), "rig/+/alarm");
    let folder = tempfile::tempdir().unwrap();
    let (live, again, recorded) =
        (folder.path().join("live"), folder.path().join("again"), folder.path().join("recorded"));
    let raw = folder.path().join("raw.sql");
    std::fs::write(
        &raw,
        "CREATE SINK raw WITH (connector = 'parquet', path = 'raw', partition_by = 'day') AS SELECT * FROM readings;",
    )
    .unwrap();
    let (url, skab_text) = (broker.url(), skab.display().to_string());
    let environment = [("SKAB", skab_text.as_str()), ("MQTT_URL", url.as_str())];
    let program = example("pump_guard/pump_guard.sql");
    lineshaft(&["check".as_ref(), &program], &environment);
    lineshaft(&["run".as_ref(), &program, &raw, "--data".as_ref(), &live], &environment);

    features_are_those_of_plain_formulas(&skab, &live);
    scores_tell_faulty_windows_apart(&live);
    let sent = number("SELECT count(*) FROM scores WHERE risk > 0.5", &live);
    let mut received = 0.0;
    while received < sent {
        let (topic, alarm) = alarms.recv_timeout(LONG).unwrap();
        assert_eq!(topic, format!("rig/{}/alarm", alarm["experiment"]));
        assert!(alarm["risk"].as_f64().unwrap() > 0.5 && alarm["ts"].is_string(), "{alarm}");
        received += 1.0;
    }

    // The same files, and what was recorded of them: the same rows, and no message.
    let history = [
        (&again, format!("readings={skab_text}/valve1/*.csv")),
        (&recorded, format!("readings={}", live.join("raw").display())),
    ];
    for (output, source) in history {
        let source = Path::new(&source);
        let arguments = [
            "backfill".as_ref(),
            program.as_path(),
            "--source".as_ref(),
            source,
            "--output".as_ref(),
            output,
        ];
        lineshaft(&arguments, &environment);
        assert_eq!(query(HISTORY, output), query(HISTORY, &live));
        assert_eq!(query(SCORES, output), query(SCORES, &live));
        assert!((number("SELECT count(*) FROM alarms", output) - sent).abs() < 0.5);
    }
    assert!(alarms.try_recv().is_err(), "a backfill sends nothing");
}

fn features_are_those_of_plain_formulas(skab: &Path, data: &Path) {
    let windows = windows(skab);
    let rows = query(HISTORY, data);
    let starts = query(&HISTORY.replace('*', "date_part('epoch', window_start) % 86400 AS start"), data);
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers")]
    let keys: Vec<Key> = numbers(&rows, "experiment")
        .into_iter()
        .zip(numbers(&starts, "start"))
        .map(|(experiment, start)| (experiment as i64, start as i64))
        .collect();
    assert_eq!(keys, windows.keys().copied().collect::<Vec<_>>(), "a row per experiment and window");
    let check = |column: &str, source: &str, scale: f64, of: Formula| {
        let expected = windows.iter().map(|(key, window)| (*key, of(&window[source]))).collect();
        assert_column(&rows, column, &keys, &expected, scale);
    };
    check("n", "anomaly", 1.0, Series::n);
    check("is_faulty", "anomaly", 1.0, |anomaly| f64::from(u8::from(anomaly.values.contains(&1.0))));
    for (name, source) in CHANNELS {
        check(name, source, 1.0, Series::mean);
        let more: [(&str, Formula); 5] = [
            ("stddev", Series::stddev),
            ("rms", Series::rms),
            ("kurtosis", Series::kurtosis),
            ("span", Series::span),
            ("slope", Series::slope),
        ];
        for (suffix, of) in more {
            let column = format!("{name}_{suffix}");
            if rows.column_by_name(&column).is_some() {
                check(&column, source, 1.0, of);
            }
        }
    }
}

/// On experiments that the model has never seen.
fn scores_tell_faulty_windows_apart(data: &Path) {
    let share =
        |what: &str| number(&format!("SELECT avg(CASE WHEN {what} THEN 1.0 ELSE 0.0 END) FROM scores"), data);
    assert!(share("(risk > 0.5) = is_faulty") > 0.85);
    let (hits, alarms, faults) = (share("risk > 0.5 AND is_faulty"), share("risk > 0.5"), share("is_faulty"));
    let f1 = 2.0 * hits / (alarms + faults);
    assert!(f1 > 0.8, "F1 {f1}");
    assert!((number("SELECT count(DISTINCT experiment) FROM scores", data) - 6.0).abs() < 0.5);
}
