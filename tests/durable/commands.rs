//! What a machine is told, and what the gate knows of it, while its broker is away and after the program was killed.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::mosquitto::Mosquitto;
use super::publisher::Subscriber;
use super::{free_port, kill, post, query, start, stop, told, wait_for, wait_for_connection};

/// What has become of a command is kept a moment after it is known.
const KEPT_WITHIN: Duration = Duration::from_secs(1);

fn program(readings: u16, machines: u16) -> String {
    format!(
        "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, x DOUBLE, WATERMARK FOR ts)
             WITH (connector = 'http', listen = '127.0.0.1:{readings}', path = '/r', format = 'json');
         CREATE ACTUATOR press WITH (connector = 'mqtt', url = 'mqtt://127.0.0.1:{machines}', topic = 'press/set', mode = 'auto')
             (machine TEXT, speed DOUBLE BETWEEN 10 AND 40 MAX STEP 2) KEY (machine) TTL INTERVAL '2' SECOND;
         INSERT INTO press SELECT 'm1' AS machine, x AS speed FROM readings;"
    )
}

/// The machine is at 20 when its broker goes away; 22 is proposed, and the program is killed after it `waits`. When both are back,
/// of two more proposals the second arrives. Fails unless that is the log.
#[track_caller]
fn killed_while_the_broker_is_away(waits: fn(&Path), then: [u32; 2], expected: [&str; 5]) {
    let folder = tempfile::tempdir().unwrap();
    let (folder, port) = (folder.path(), free_port());
    let away = folder.join("away");
    fs::create_dir_all(&away).unwrap();
    let Some(mut broker) = Mosquitto::start(&away) else { return };
    let mut machine = Subscriber::connect(broker.port, "press/set");
    fs::write(folder.join("p.sql"), program(port, broker.port)).unwrap();
    let mut program = start(folder, &[]);
    wait_for_connection(folder, &mut program);
    wait_for("the server", || post(port, 1, 20) == Some(204));
    assert!(machine.next().contains("\"speed\":20.0"), "the machine is at 20");
    drop(machine);
    sleep(KEPT_WITHIN);
    broker.stop();
    assert_eq!(post(port, 2, 22), Some(204));
    waits(folder);
    kill(&mut program);
    broker.start_again();
    let mut machine = Subscriber::connect(broker.port, "press/set");
    let mut program = start(folder, &[]);
    wait_for_connection(folder, &mut program);
    wait_for("the server", || post(port, 3, then[0]) == Some(204));
    assert_eq!(post(port, 4, then[1]), Some(204));
    assert!(machine.next().contains(&format!("\"speed\":{}.0", then[1])));
    stop(&mut program, folder);
    let log = query(
        folder,
        "SELECT speed, decision, coalesce(reason, '') AS reason FROM \"press.log\" ORDER BY time",
    );
    assert_eq!(log.lines().skip(1).collect::<Vec<_>>(), expected, "{}", told(folder));
}

#[test]
fn a_command_that_expires_while_its_broker_is_away_was_not_sent() {
    let waits = |folder: &Path| {
        wait_for("its end", || told(folder).contains("expired, not sent: a command for press/set"));
        sleep(KEPT_WITHIN);
    };
    let log = [
        "20.0,sent,",
        "22.0,sent,",
        "22.0,expired,not sent: its time to live ended before it could be",
        "24.0,rejected,\"speed 24 is 4 from the last 20, more than the step 2\"",
        "18.0,sent,",
    ];
    killed_while_the_broker_is_away(waits, [24, 18], log);
}

#[test]
fn what_was_on_its_way_when_the_program_was_killed_may_have_arrived() {
    let log = [
        "20.0,sent,",
        "22.0,sent,",
        "22.0,unknown,the program ended before it was acknowledged: it may have arrived",
        "18.0,rejected,\"speed 18 is 4 from 22, which may have arrived, more than the step 2\"",
        "21.0,sent,",
    ];
    killed_while_the_broker_is_away(|_| sleep(Duration::from_millis(300)), [18, 21], log);
}
