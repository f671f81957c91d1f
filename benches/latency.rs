//! Milliseconds from a message that is due to the answer that a subscriber has: MQTT in, threshold, MQTT out, all at
//! QoS 1 through a mosquitto on this machine, at a fixed rate; without a journal, and with one on the disk of the folder for
//! temporary files.
//!
//! ```text
//! cargo bench --bench latency                  # 1,000, 5,000, 10,000 and 20,000 messages/s, 8 s each
//! cargo bench --bench latency -- 20000 30      # one rate, seconds
//! ```
//!
//! The load is open-loop: a message has the time at which it was due, also if it was sent later, so that a stall is
//! not hidden. About a fifth of the messages pass the threshold.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lineshaft::Engine;
use lineshaft::durable::Durability;
use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};

/// The allocator of the `lineshaft` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THRESHOLD: f64 = 0.8;

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn now() -> Instant {
    Instant::now()
}

fn say(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).expect("a standard output");
}

/// A mosquitto with the settings that lose nothing; ends with this process.
struct Broker {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Broker {
    fn start() -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let folder = tempfile::tempdir().ok()?;
        let config = folder.path().join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n"
        );
        std::fs::write(&config, text).ok()?;
        let process = Command::new("mosquitto").arg("-c").arg(&config).stderr(Stdio::null()).spawn().ok()?;
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { process, port, _folder: folder });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn main() {
    let arguments: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let seconds = arguments.get(1).copied().unwrap_or(8);
    let rates = arguments.first().map_or(vec![1_000, 5_000, 10_000, 20_000], |rate| vec![*rate]);
    let Some(broker) = Broker::start() else {
        return say("mosquitto is not installed: apt-get install mosquitto\n");
    };
    say(
        "| messages/s | journal | sent | expected | received | p50 ms | p99 ms | p99.9 ms | max ms | CPU s, all |\n",
    );
    say("|---|---|---|---|---|---|---|---|---|---|\n");
    for rate in rates {
        for is_durable in [false, true] {
            measure(broker.port, rate, seconds, is_durable);
        }
    }
}

fn measure(port: u16, rate: u64, seconds: u64, is_durable: bool) {
    let data = tempfile::tempdir().expect("a folder");
    let sql = format!(
        "CREATE SOURCE readings (due BIGINT NOT NULL, machine TEXT NOT NULL, x DOUBLE)
             WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{port}', topic = 'in/{rate}/+', client_id = 'engine-{rate}-{is_durable}');
         CREATE SINK alarms WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{port}', topic = 'out/{rate}/{{machine}}')
             AS SELECT due, machine, x FROM readings WHERE x > {THRESHOLD};"
    );
    let start = now();
    let latencies = Arc::new(std::sync::Mutex::new(Vec::new()));
    let done = Arc::new(AtomicBool::new(false));
    let ready = Arc::new(AtomicUsize::new(0));
    let subscriber = std::thread::spawn({
        let (latencies, done, ready) = (Arc::clone(&latencies), Arc::clone(&done), Arc::clone(&ready));
        move || subscribe(port, rate, start, &latencies, &done, &ready)
    });
    let mut engine = Engine::from_sql(&sql).unwrap_or_else(|error| panic!("{error}"));
    engine.data(data.path()).workers(1);
    if is_durable {
        engine.durable(Durability::default());
    }
    let running = engine.start().unwrap_or_else(|error| panic!("{error}"));
    while ready.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_secs(1));
    let before = cpu_seconds();
    let (sent, expected) = publish(port, rate, seconds, start);
    let wait_until = now() + Duration::from_secs(10);
    while latencies.lock().expect("no panic").len() < expected && now() < wait_until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let cpu = cpu_seconds() - before;
    done.store(true, Ordering::Relaxed);
    running.stop();
    running.wait().unwrap_or_else(|error| panic!("{error}"));
    subscriber.join().expect("the subscriber ends");
    let mut latencies = std::mem::take(&mut *latencies.lock().expect("no panic"));
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = ((latencies.len().max(1) - 1) as f64 * share) as usize;
        latencies.get(index).copied().unwrap_or(f64::NAN)
    };
    say(&format!(
        "| {rate} | {} | {sent} | {expected} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {cpu:.2} |\n",
        if is_durable { "yes" } else { "no" },
        latencies.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    ));
}

/// Publishes at the rate; gives how many messages were sent and how many pass the threshold.
fn publish(port: u16, rate: u64, seconds: u64, start: Instant) -> (usize, usize) {
    let mut options = MqttOptions::new(format!("load-{rate}"), "127.0.0.1", port);
    options.set_inflight(1000);
    let (client, mut connection) = Client::new(options, 10_000);
    let sent = Arc::new(AtomicUsize::new(0));
    let acknowledged = std::thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Incoming::Disconnect)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    });
    let begin = now();
    let total = rate * seconds;
    let mut expected = 0;
    for number in 0..total {
        let due = begin + Duration::from_nanos(number * 1_000_000_000 / rate);
        if let Some(wait) =
            due.checked_duration_since(now()).filter(|wait| *wait > Duration::from_micros(200))
        {
            std::thread::sleep(wait);
        }
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let x = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64;
        expected += usize::from(x > THRESHOLD);
        let due = due.duration_since(start).as_micros();
        let payload = format!("{{\"due\":{due},\"machine\":\"m{}\",\"x\":{x}}}", number % 100);
        client
            .publish(format!("in/{rate}/m{}", number % 100), QoS::AtLeastOnce, false, payload)
            .expect("sent");
        sent.fetch_add(1, Ordering::Relaxed);
    }
    std::thread::sleep(Duration::from_millis(500));
    client.disconnect().ok();
    acknowledged.join().expect("the load ends");
    (sent.load(Ordering::Relaxed), expected)
}

fn subscribe(
    port: u16,
    rate: u64,
    start: Instant,
    latencies: &std::sync::Mutex<Vec<f64>>,
    done: &AtomicBool,
    ready: &AtomicUsize,
) {
    let mut options = MqttOptions::new(format!("subscriber-{rate}"), "127.0.0.1", port);
    options.set_inflight(1000).set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, 100);
    client.subscribe(format!("out/{rate}/#"), QoS::AtLeastOnce).expect("subscribed");
    loop {
        match connection.recv_timeout(Duration::from_millis(200)) {
            Ok(Ok(Event::Incoming(Incoming::Publish(message)))) => {
                let text = String::from_utf8_lossy(&message.payload);
                let due = text.split("\"due\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
                let due: u64 = due.and_then(|due| due.trim().parse().ok()).expect("a due time");
                let latency = now().duration_since(start).saturating_sub(Duration::from_micros(due));
                latencies.lock().expect("no panic").push(latency.as_secs_f64() * 1e3);
            }
            Ok(Ok(Event::Incoming(Incoming::SubAck(_)))) => ready.store(1, Ordering::Relaxed),
            Ok(Err(error)) => panic!("the subscriber lost its broker: {error}"),
            _ if done.load(Ordering::Relaxed) => return,
            // Pings, and silence until the next look.
            _ => {}
        }
    }
}

/// CPU time of this process, seconds: engine, load and subscriber together.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}
