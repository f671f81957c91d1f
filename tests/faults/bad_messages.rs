//! Messages that are no readings, between readings: each of them is refused (400) or in quarantine, once, and no reading is
//! lost for them.

use std::fs;
use std::time::Duration;

use lineshaft::engine::clock::Clock;
use lineshaft::engine::testing::lines;
use lineshaft::history;
use serde_json::json;

use super::live::{Client, Live, free_port};
use super::{figures, setting};
use crate::support::seeded::Seeded;

/// Clients do not wait for each other, and no reading is late for that.
const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '1' HOUR)
    WITH (connector = 'http', listen = '${env:LISTEN}', path = '/r', format = 'json', timestamp_format = 'unix_ms');
CREATE SINK history WITH (connector = 'parquet', path = 'history') AS SELECT n, x FROM readings;";

fn good(n: u64) -> Vec<u8> {
    format!("{{\"ts\":{},\"n\":{n},\"x\":{n}.5}}", 1_772_000_000_000 + n).into_bytes()
}

/// One that does not decode: nonsense, or a reading with a wound.
fn bad(n: u64, random: &mut Seeded) -> Vec<u8> {
    let reading = String::from_utf8(good(n)).unwrap();
    let random_bytes: Vec<u8> =
        (0..1 + random.index(200)).map(|_| u8::try_from(random.next() % 256).unwrap()).collect();
    match random.below(12) {
        0 => [b"\x00", &random_bytes[..]].concat(),
        1 => reading.as_bytes()[..1 + random.index(reading.len() - 1)].to_vec(),
        2 => "[".repeat(100_000).into_bytes(),
        3 => "{\"a\":".repeat(50_000).into_bytes(),
        4 => reading.replace("\"n\":", "\"n\":\"seven\",\"m\":").into_bytes(),
        5 => reading.replace("\"n\":", "\"n\":1e400,\"m\":").into_bytes(),
        6 => reading.replace("\"ts\":", "\"time\":").into_bytes(),
        7 => reading.replace("\"ts\":", "\"ts\":99999999999999999999,\"t\":").into_bytes(),
        8 => [&reading.as_bytes()[..5], b"\xff\xfe", &reading.as_bytes()[5..]].concat(),
        9 => b"null".to_vec(),
        10 => b"\"\\ud800\"".to_vec(),
        _ => reading.replace("\"x\":", "\"x\":{\"y\":[]},\"z\":").into_bytes(),
    }
}

/// Clients that post at the same time: each message is a request, and the commit of the journal is shared by those that wait.
const CLIENTS: u64 = 16;

/// Posts `count` good messages with numbers from `first` on; with `wounds`, a bad one after each. Gives how many of the bad ones
/// were taken, which puts them into quarantine.
fn post_all(what: &str, port: u16, first: u64, count: u64, wounds: Option<u64>) -> u64 {
    let post = |number_of_client: u64| {
        let mut client = Client::new(port);
        let mut random = Seeded::new(wounds.unwrap_or(0).wrapping_add(number_of_client));
        let mut quarantined = 0;
        for n in (first..first + count).filter(|n| n % CLIENTS == number_of_client) {
            assert!(is_taken(&mut client, &good(n)));
            if wounds.is_some() {
                quarantined += u64::from(is_taken(&mut client, &bad(n, &mut random)));
            }
            if (n - first + 1).is_multiple_of(100_000) {
                eprintln!("{what}: {} of {count}", n - first + 1);
            }
        }
        quarantined
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || post(client))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

/// True if it is taken, false if it is refused.
fn is_taken(client: &mut Client, body: &[u8]) -> bool {
    for _ in 0..TRIES {
        match client.post("application/json", body) {
            Some(204) => return true,
            Some(400) => return false,
            // It does not listen yet, or is full.
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("the program does not answer");
}

/// About a minute.
const TRIES: u32 = 12_000;

#[test]
fn of_bad_messages_between_good_ones_each_is_refused_or_in_quarantine_and_none_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (port, clock) = (free_port(), Clock::system());
    fs::write(folder.path().join("p.sql"), PROGRAM).unwrap();
    let (pairs, seed) = (setting("LINESHAFT_BAD_MESSAGES", 1_500), setting("LINESHAFT_SEED", 1));
    let live = Live::start(folder.path(), &[("LISTEN", &format!("127.0.0.1:{port}"))], &[]);
    assert!(is_taken(&mut Client::new(port), &good(0)));
    let begun = clock.steady();
    post_all("good messages", port, 1, pairs, None);
    let alone = clock.steady() - begun;
    let quarantined = post_all("pairs of messages", port, pairs + 1, pairs, Some(seed));
    let mixed = clock.steady() - begun - alone;
    let said = live.stop();
    let (processed, received) = (2 * pairs + 1, 2 * pairs + 1 + quarantined);
    let accounts =
        format!("readings: {received} received = {processed} processed + 0 late + {quarantined} quarantined");
    assert!(said.contains(&accounts), "{accounts}\n{said}");
    let data = folder.path().join("data");
    let ask = |sql: &str| lines(&history::query(sql, &data).unwrap().1);
    assert_eq!(ask("SELECT count(*), count(DISTINCT n) FROM history"), [format!("{processed} {processed}")]);
    assert_eq!(ask("SELECT count(*) FROM readings.quarantine"), [quarantined.to_string()]);
    // Twice as many messages, half of them good.
    figures(
        "bad messages",
        json!({
            "good": processed, "bad": pairs, "quarantined": quarantined, "refused": pairs - quarantined, "good_lost": 0,
            "time_a_message_of_a_good_one": mixed as f64 / 2.0 / alone as f64,
            "good_messages_a_second": pairs * 1_000_000 / alone.unsigned_abs().max(1),
        }),
    );
}
