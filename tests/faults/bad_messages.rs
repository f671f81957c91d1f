//! Messages that are no readings, between readings: each of them is refused (400) or in quarantine, once, and no reading is
//! lost for them.

use std::fs;

use lineshaft::engine::clock::Clock;
use lineshaft::engine::testing::lines;
use lineshaft::history;
use serde_json::json;

use super::live::{Client, Live, free_port};
use super::{figures, setting};
use crate::support::seeded::Seeded;

const PROGRAM: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, WATERMARK FOR ts)
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

#[test]
fn of_bad_messages_between_good_ones_each_is_refused_or_in_quarantine_and_none_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (port, clock) = (free_port(), Clock::system());
    fs::write(folder.path().join("p.sql"), PROGRAM).unwrap();
    let (pairs, mut random) =
        (setting("LINESHAFT_BAD_MESSAGES", 1_500), Seeded::new(setting("LINESHAFT_SEED", 1)));
    let mut live = Live::start(folder.path(), &[("LISTEN", &format!("127.0.0.1:{port}"))], &[]);
    let mut client = Client::new(port);
    // True if it is taken, false if it is refused.
    let mut taken = |body: &[u8]| {
        loop {
            match client.post("application/json", body) {
                Some(204) => return true,
                Some(400) => return false,
                // It does not listen yet, or is full.
                _ => assert!(live.is_alive(), "{}", live.said()),
            }
        }
    };
    assert!(taken(&good(0)));
    let begun = clock.steady();
    assert!((1..=pairs).all(|n| taken(&good(n))));
    let alone = clock.steady() - begun;
    let mut quarantined = 0;
    for n in pairs + 1..=2 * pairs {
        assert!(taken(&good(n)));
        quarantined += u64::from(taken(&bad(n, &mut random)));
    }
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
        }),
    );
}
