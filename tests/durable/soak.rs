//! A program that runs for long while readings come and things go wrong now and then: it takes no more memory, files and journal
//! with time, and loses and doubles nothing.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::mosquitto::Mosquitto;
use super::proxy::{Harm, Proxy};
use super::readings::{Published, by_mqtt, stop_when_all_are_there, undisturbed};
use super::{setting, signal, told, wait_for};

/// How often the program is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Open files that come and go: those of a segment, a checkpoint, a part of the history and its merge.
const FILES_IN_USE: u64 = 16;

#[test]
fn a_program_that_runs_for_long_among_faults_takes_no_more_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(broker) = Mosquitto::start(folder) else { return };
    let (seconds, rate) = (setting("LINESHAFT_SOAK_SECONDS", 8), setting("LINESHAFT_RATE", 2_000));
    let fault_every = Duration::from_secs(setting("LINESHAFT_FAULT_SECONDS", 2));
    let proxy = Proxy::start(broker.port);
    let mut program = by_mqtt(folder, proxy.port);
    let first = Sample::of(folder, &program);
    let published = Published::start(folder, broker.port, rate * seconds, rate);
    let (samples, faults) = run(folder, &mut program, &proxy, Duration::from_secs(seconds), fault_every);
    published.wait();
    wait_for("the files to be closed", || Sample::of(folder, &program).files <= first.files + FILES_IN_USE);
    let counted = stop_when_all_are_there(folder, &mut program, rate * seconds);

    let half = &samples[samples.len() / 2..];
    let most = |of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap();
    eprintln!(
        "{{\"soak_s\": {seconds}, \"per_second\": {rate}, \"faults\": {faults}, \"lost\": {}, \"doubled\": {}, \
         \"late\": {}, \"rss_mb_most\": {}, \"rss_mb_per_hour_of_second_half\": {:.1}, \"files_first\": {}, \
         \"files_most\": {}, \"journal_mb_most\": {}}}",
        rate * seconds - counted.different,
        counted.rows - counted.different,
        counted.late,
        most(|it| it.resident) >> 20,
        slope(half) * 3600.0 / f64::from(1 << 20),
        first.files,
        most(|it| it.files),
        most(|it| it.journal) >> 20,
    );
    let expected = (rate * seconds, rate * seconds, 0);
    assert_eq!((counted.rows, counted.different, counted.late), expected, "{}", told(folder));
    undisturbed(folder, rate * seconds);
}

/// Lets it run for so long, with a fault now and then. Gives what was seen, and the number of faults.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn run(
    folder: &Path,
    program: &mut Child,
    proxy: &Proxy,
    long: Duration,
    fault_every: Duration,
) -> (Vec<Sample>, u32) {
    let (begin, mut samples, mut faults) = (Instant::now(), Vec::new(), 0);
    while begin.elapsed() < long {
        sleep(LOOK);
        assert!(program.try_wait().unwrap().is_none(), "{}", told(folder));
        samples.push(Sample { at: begin.elapsed(), ..Sample::of(folder, program) });
        if begin.elapsed() > fault_every * (faults + 1) {
            harm(program, proxy, faults);
            faults += 1;
            eprintln!("fault {faults} after {} s: {:?}", begin.elapsed().as_secs(), samples.last());
        }
    }
    (samples, faults)
}

fn harm(program: &Child, proxy: &Proxy, number: u32) {
    match number % 5 {
        0 => proxy.harm(Harm::CutInside),
        1 => proxy.harm(Harm::ResetUnread),
        2 => {
            signal(program, "STOP");
            sleep(Duration::from_secs(1));
            signal(program, "CONT");
        }
        3 => proxy.harm(Harm::HalfOpen),
        _ => proxy.harm(Harm::Trickle),
    }
}

/// What the program has.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Duration,
    /// Bytes.
    resident: u64,
    /// Open files and connections.
    files: u64,
    /// Bytes.
    journal: u64,
}

impl Sample {
    fn of(folder: &Path, program: &Child) -> Self {
        let process = Path::new("/proc").join(program.id().to_string());
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let kib: u64 = resident.and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let files = fs::read_dir(process.join("fd")).map_or(0, |files| files.count() as u64);
        let segments = fs::read_dir(folder.join("data/journal")).into_iter().flatten().filter_map(Result::ok);
        let journal = segments.filter_map(|segment| Some(segment.metadata().ok()?.len())).sum();
        Self { at: Duration::ZERO, resident: kib << 10, files, journal }
    }
}

/// The slope of the straight line through the memory of the samples, bytes per second.
fn slope(samples: &[Sample]) -> f64 {
    let n = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / n;
    let (time, memory) = (|it: &Sample| it.at.as_secs_f64(), |it: &Sample| it.resident as f64);
    let (mean_time, mean_memory) = (mean(&time), mean(&memory));
    let products: f64 = samples.iter().map(|it| (time(it) - mean_time) * (memory(it) - mean_memory)).sum();
    let squares: f64 = samples.iter().map(|it| (time(it) - mean_time).powi(2)).sum();
    products / squares
}
