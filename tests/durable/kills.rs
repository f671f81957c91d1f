//! A program that is killed again and again while readings come through mosquitto gives the rows of one that was not disturbed.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::mosquitto::Mosquitto;
use super::readings::{Published, by_mqtt, stop_when_all_are_there, undisturbed};
use super::{kill, setting, start, told, wait_for_connection};
use crate::support::seeded::Seeded;

/// How often a start is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// A start that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_program_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(broker) = Mosquitto::start(folder) else { return };
    let (kills, rate) = (setting("LINESHAFT_KILLS", 10), setting("LINESHAFT_RATE", 5_000));
    let (seed, longest) = (setting("LINESHAFT_SEED", 1), setting("LINESHAFT_LIFE", 1_000));
    // As many as come while it is killed.
    let readings = (kills * rate * longest / 2_000).max(rate);
    let mut program = by_mqtt(folder, broker.port);
    let published = Published::start(folder, broker.port, readings, rate);
    let (mut random, mut ready) = (Seeded::new(seed), Vec::new());
    for turn in 0..kills {
        // In a window, while it works again on what it had; every fourth also at its start.
        let life = Duration::from_millis(random.next() % longest);
        let seen = live(folder, life, random.next().is_multiple_of(4));
        ready.extend(seen.filter(|_| turn > 0));
        kill(&mut program);
        program = start(folder, &[]);
    }
    wait_for_connection(folder, &mut program);
    let seconds = published.wait();
    let counted = stop_when_all_are_there(folder, &mut program, readings);

    let repeats = repeats(&told(folder));
    ready.sort_unstable();
    let ready_ms = |percent: usize| ready.get(ready.len() * percent / 100).map_or(0, Duration::as_millis);
    eprintln!(
        "{{\"kills\": {kills}, \"seed\": {seed}, \"longest_life_ms\": {longest}, \"messages\": {readings}, \
         \"per_second\": {:.0}, \"lost\": {}, \"doubled\": {}, \"late\": {}, \"repeats\": {repeats}, \
         \"starts_seen_ready\": {}, \"ready_p50_ms\": {}, \"ready_p99_ms\": {}}}",
        readings as f64 / seconds.as_secs_f64(),
        readings - counted.different,
        counted.rows - counted.different,
        counted.late,
        ready.len(),
        ready_ms(50),
        ready_ms(99),
    );
    assert_eq!((counted.rows, counted.different), (readings, readings), "{}", told(folder));
    assert_eq!(counted.late, 0, "a broker keeps the order");
    undisturbed(folder, readings);
}

/// Lets the program live for so long, from its start or from when it is ready: what comes is kept and acknowledged again. Gives the
/// time until then.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn live(folder: &Path, life: Duration, from_start: bool) -> Option<Duration> {
    let begin = Instant::now();
    let (mut ready, mut end) = (None, from_start.then_some(life));
    while end.is_none_or(|end| begin.elapsed() < end) {
        if ready.is_none() && told(folder).contains("is subscribed to") {
            ready = Some(begin.elapsed());
            end = end.or(Some(begin.elapsed() + life));
        }
        assert!(begin.elapsed() < PATIENCE, "not ready\n{}", told(folder));
        sleep(LOOK);
    }
    ready
}

/// How many messages were dropped because they were there, as far as checkpoints have counted them.
fn repeats(told: &str) -> u64 {
    let count = told.lines().rev().find_map(|line| {
        let (before, _) = line.split_once(" deduplicated")?;
        before.rsplit(' ').next()?.parse().ok()
    });
    count.unwrap_or(0)
}
