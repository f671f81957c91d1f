//! Brokers that stop, crash and forget, links that are cut, and clients that are two: what is acknowledged is there once.

use std::fs;
use std::path::Path;
use std::process::Child;

use super::mosquitto::Mosquitto;
use super::proxy::{Harm, Proxy};
use super::publisher::Publisher;
use super::readings::{all_are_there_once, by_hand, by_mqtt, start_subscribed, undisturbed_by_hand};
use super::{kill, query, setting, stop, told, wait_for};

/// Of the record of a gap.
const REASON: &[u8] = b"has not kept the session of this client";

/// How often the source said that it is connected.
fn connections(folder: &Path) -> usize {
    told(folder).matches("source \"readings\" is connected to").count()
}

/// Waits until the source is connected for the `count`-th time.
fn wait_for_connections(folder: &Path, program: &mut Child, count: usize) {
    wait_for("the next connection", || {
        assert!(program.try_wait().unwrap().is_none(), "{}", told(folder));
        connections(folder) >= count
    });
}

#[test]
fn a_broker_that_is_stopped_and_started_again_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(mut broker) = Mosquitto::persistent(folder, 1800) else { return };
    let stops = setting("LINESHAFT_BROKER_STOPS", 4);
    let mut program = by_mqtt(folder, broker.port);
    for turn in 0..stops {
        Publisher::connect(broker.port).publish("plant/readings", by_hand(turn * 3_000, 3_000));
        // What the program has not taken or acknowledged the broker must keep.
        broker.stop();
        broker.start_again();
        wait_for_connections(folder, &mut program, usize::try_from(turn).unwrap() + 2);
    }
    assert!(!told(folder).contains("GAP"), "{}", told(folder));
    all_are_there_once(folder, &mut program, stops * 3_000);
    undisturbed_by_hand(folder, stops * 3_000);
}

#[test]
fn a_link_that_is_cut_in_every_way_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(broker) = Mosquitto::start(folder) else { return };
    let proxy = Proxy::start(broker.port);
    let mut program = by_mqtt(folder, proxy.port);
    let mut publisher = Publisher::connect(broker.port);
    let harms = [Harm::CutInside, Harm::ResetUnread, Harm::HalfOpen, Harm::Trickle];
    let cuts = setting("LINESHAFT_CUTS", 4);
    for (turn, harm) in (0..cuts).zip(harms.iter().cycle()) {
        proxy.harm(*harm);
        publisher.publish("plant/readings", by_hand(turn * 3_000, 3_000));
        wait_for_connections(folder, &mut program, usize::try_from(turn).unwrap() + 2);
    }
    all_are_there_once(folder, &mut program, cuts * 3_000);
    undisturbed_by_hand(folder, cuts * 3_000);
}

#[test]
fn a_broker_that_forgets_the_session_is_told_and_the_service_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // It keeps nothing: what it had is gone when it is killed.
    let Some(mut broker) = Mosquitto::start(folder) else { return };
    let mut program = by_mqtt(folder, broker.port);
    let publish = |broker: &Mosquitto, first| {
        Publisher::connect(broker.port).publish("plant/readings", by_hand(first, 1_000));
    };
    publish(&broker, 0);
    all_are_there_once(folder, &mut program, 1_000);
    program = start_subscribed(folder, &[]);
    broker.kill();
    broker.start_again();
    wait_for("the gap", || told(folder).contains("GAP in source \"readings\""));
    assert!(told(folder).contains("what was published meanwhile is lost"), "{}", told(folder));
    wait_for("the subscription", || told(folder).matches("is subscribed").count() == 2);
    // The ids begin anew, and so do the messages.
    publish(&broker, 1_000);
    all_are_there_once(folder, &mut program, 2_000);
    let segment = fs::read(folder.join("data/journal/j-00000000000000000000.ljn")).unwrap();
    assert!(segment.windows(REASON.len()).any(|bytes| bytes == REASON), "the journal has a record of it");
}

#[test]
fn what_a_crashed_broker_sends_again_as_new_is_known_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(mut broker) = Mosquitto::persistent(folder, 1800) else { return };
    let mut program = by_mqtt(folder, broker.port);
    let with_key = fs::read_to_string(folder.join("p.sql")).unwrap();
    let with_key = with_key
        .replace("'1' SECOND)", "'1' SECOND, DEDUPLICATE BY (machine, n) WITHIN INTERVAL '10' MINUTE)");
    stop(&mut program, folder);
    fs::write(folder.join("p.sql"), with_key).unwrap();
    Publisher::connect(broker.port).publish("plant/readings", by_hand(0, 900));
    // It saves what it has, and then knows nothing of what was acknowledged.
    let store = folder.join("mosquitto.db");
    broker.save();
    wait_for("the store", || store.exists());
    program = start_subscribed(folder, &["--new-state"]);
    all_are_there_once(folder, &mut program, 900);
    broker.kill();
    broker.start_again();
    program = start_subscribed(folder, &[]);
    Publisher::connect(broker.port).publish("plant/readings", by_hand(900, 2_000));
    all_are_there_once(folder, &mut program, 2_900);
    assert!(told(folder).contains(" 900 deduplicated"), "{}", told(folder));
    undisturbed_by_hand(folder, 2_900);
}

#[test]
fn two_programs_with_one_client_id_back_off_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(broker) = Mosquitto::start(folder) else { return };
    let other = folder.join("other");
    fs::create_dir_all(&other).unwrap();
    let mut first = by_mqtt(folder, broker.port);
    let mut second = by_mqtt(&other, broker.port);
    let suspicion = "has another client the client_id";
    wait_for("the suspicion", || told(folder).contains(suspicion) || told(&other).contains(suspicion));
    let fights = connections(folder) + connections(&other);
    assert!(fights <= 12, "{fights} connections\n{}\n{}", told(folder), told(&other));
    kill(&mut first);
    kill(&mut second);
}

#[test]
fn a_payload_of_16_mib_goes_aside_and_the_connection_stays() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(broker) = Mosquitto::start(folder) else { return };
    let mut program = by_mqtt(folder, broker.port);
    let mut publisher = Publisher::connect(broker.port);
    let large = || [vec![b'x'; 16 << 20]];
    publisher.publish("plant/readings", large());
    publisher.publish("plant/readings", by_hand(0, 100));
    all_are_there_once(folder, &mut program, 100);
    assert_eq!(connections(folder), 1, "{}", told(folder));
    let aside = query(folder, "SELECT reason, octet_length(raw) AS bytes FROM \"readings.quarantine\"");
    assert_eq!(aside, "reason,bytes\ntoo_large,4096\n");
    // It was acknowledged: it does not come again.
    program = start_subscribed(folder, &[]);
    publisher.publish("plant/readings", by_hand(100, 100));
    all_are_there_once(folder, &mut program, 200);
    let aside = query(folder, "SELECT count(*) AS c FROM \"readings.quarantine\"");
    assert_eq!(aside, "c\n1\n");
}
