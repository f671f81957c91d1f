//! What a person sees while a program runs: one live line on a terminal, plain log lines elsewhere.

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::TimestampSecondArray;
use arrow::util::display::array_value_to_string;
use indicatif::{ProgressBar, ProgressStyle};
use lineshaft::Running;
use lineshaft::engine::clock::Clock;
use lineshaft::engine::metrics::{Metrics, SourceMetrics};
use lineshaft::engine::time::Watermark;

/// How often the live line changes.
const LIVE: Duration = Duration::from_millis(250);
/// How often a log line is written where there is no terminal.
const LOGGED: u32 = 40;

/// The live line, once there is one.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Writes a line to the standard output, above the live line.
pub(crate) fn say(text: &str) {
    // A reader that has gone away is no error.
    above_the_bar(|| writeln!(io::stdout().lock(), "{text}").ok());
}

/// Where log lines go: the standard error, above the live line.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        above_the_bar(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn above_the_bar<T>(write: impl FnOnce() -> T) -> T {
    match BAR.get() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Shows how the program gets on until it ends.
pub(crate) fn watch(running: &Running, quiet: bool) {
    let metrics = running.metrics();
    let live = io::stderr().is_terminal() && !quiet;
    let bar = live.then(|| BAR.get_or_init(spinner));
    let (mut rate, mut progress) = (Rate::default(), Progress::default());
    let mut round = 0_u32;
    while !running.wait_for(LIVE) {
        round += 1;
        let line = line(&metrics, rate.update(&metrics), progress.update(&metrics));
        if let Some(bar) = bar {
            bar.set_message(line);
            bar.tick();
        } else if round.is_multiple_of(LOGGED) {
            tracing::info!("{line}");
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    tracing::info!("{}", summary(&metrics));
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Rows per second, smoothed.
#[derive(Default)]
struct Rate {
    rows: u64,
    smoothed: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    fn update(&mut self, metrics: &Arc<Metrics>) -> f64 {
        let rows: u64 = metrics.sources.iter().map(|source| source.received.get()).sum();
        let now = (rows - self.rows) as f64 / LIVE.as_secs_f64();
        self.rows = rows;
        self.smoothed = if self.smoothed > 0.0 { 0.7 * self.smoothed + 0.3 * now } else { now };
        self.smoothed
    }
}

fn line(metrics: &Metrics, rate: f64, progress: String) -> String {
    let total = |count: fn(&SourceMetrics) -> u64| metrics.sources.iter().map(count).sum::<u64>();
    let mut parts = vec![format!("{} rows/s", number(rate))];
    parts.push(progress);
    let now = Clock::system().now();
    // Of files the age of the rows says nothing of how the engine gets on.
    let is_live = |source: &&SourceMetrics| {
        source.total_rows.load(Ordering::Relaxed) + source.total_bytes.load(Ordering::Relaxed) == 0
    };
    let lag = metrics.sources.iter().filter(is_live).filter_map(|source| source.lag(now)).max();
    if let Some(lag) = lag {
        parts.push(format!("watermark {} behind", span(lag)));
    }
    parts.extend(behind(metrics, now));
    let on_disk = metrics.state.on_disk.load(Ordering::Relaxed);
    if on_disk > 0 {
        parts.push(format!("{}B of state on disk", count(on_disk)));
    }
    parts.push(format!("late {}", total(|source| source.late.get())));
    parts.push(format!("quarantined {}", total(|source| source.quarantined.get())));
    let deduplicated = total(|source| source.deduplicated.get());
    if deduplicated > 0 {
        parts.push(format!("deduplicated {deduplicated}"));
    }
    let shed = total(|source| source.shed.get());
    if shed > 0 {
        parts.push(format!("shed {shed}"));
    }
    let failed = metrics.failed.get();
    if failed > 0 {
        parts.push(format!("failed {failed}"));
    }
    parts.join(" | ")
}

/// How far the workers are behind what is kept; nothing while they keep pace.
fn behind(metrics: &Metrics, now: i64) -> Option<String> {
    let lag = &metrics.lag;
    let (epochs, bytes) = (lag.epochs.load(Ordering::Relaxed), lag.journal_bytes.load(Ordering::Relaxed));
    let age = span(lag.age(now));
    (bytes > 0)
        .then(|| format!("behind by {age}: {} epochs, {}B in the journal", count(epochs), count(bytes)))
}

/// How much of an input that ends has been read, and when the rest will be.
#[derive(Default)]
struct Progress {
    /// Since the first look.
    elapsed: Duration,
    /// The part that had been read at the first look.
    begun_at: Option<f64>,
}

impl Progress {
    /// Rows read, of how many and for how long still where that is known, and the event time reached.
    fn update(&mut self, metrics: &Metrics) -> String {
        let received: u64 = metrics.sources.iter().map(|source| source.received.get()).sum();
        let mut parts = vec![match read(metrics) {
            Some((part, Some(total))) => {
                format!("{} of {} rows, {:.0} %", count(received), count(total), 100.0 * part)
            }
            Some((part, None)) => format!("{} rows, {:.0} %", count(received), 100.0 * part),
            None => format!("{} rows", count(received)),
        }];
        if let Some((part, _)) = read(metrics) {
            parts.extend(self.left(part).map(|left| format!("{} left", span(left))));
            parts.extend(reached(metrics).map(|time| format!("at {time}")));
        }
        self.elapsed += LIVE;
        parts.join(" | ")
    }

    /// Time left, microseconds, if it goes on as so far.
    #[expect(clippy::cast_possible_truncation, reason = "a figure for a person")]
    fn left(&mut self, part: f64) -> Option<i64> {
        let done = part - *self.begun_at.get_or_insert(part);
        // Of the first moments nothing can be said.
        let is_known = done > 0.001 && self.elapsed >= 4 * LIVE;
        is_known.then(|| (self.elapsed.as_secs_f64() * (1.0 - part) / done * 1e6) as i64)
    }
}

/// The part of the input that has been read, and its rows if they are known.
#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
fn read(metrics: &Metrics) -> Option<(f64, Option<u64>)> {
    let sum = |of: &dyn Fn(&SourceMetrics) -> u64| metrics.sources.iter().map(of).sum::<u64>();
    let total = |source: &SourceMetrics| source.total_rows.load(Ordering::Relaxed);
    let total_bytes = |source: &SourceMetrics| source.total_bytes.load(Ordering::Relaxed);
    let part = |done: u64, all: u64| (done as f64 / all as f64).min(1.0);
    if sum(&total) > 0 {
        let received = sum(&|source| if total(source) > 0 { source.received.get() } else { 0 });
        return Some((part(received, sum(&total)), Some(sum(&total))));
    }
    let bytes = sum(&|source| source.bytes.get());
    (sum(&total_bytes) > 0).then(|| (part(bytes, sum(&total_bytes)), None))
}

/// The event time that all sources have come to.
fn reached(metrics: &Metrics) -> Option<String> {
    let reached = metrics.sources.iter().map(SourceMetrics::watermark);
    let reached = reached.filter(|at| !matches!(*at, Watermark::START | Watermark::END)).min()?;
    let time = TimestampSecondArray::from(vec![reached.0.div_euclid(1_000_000)]);
    array_value_to_string(&time, 0).ok()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
fn count(value: u64) -> String {
    number(value as f64)
}

/// What went where, at the end: received = processed + late + quarantined + deduplicated + shed.
fn summary(metrics: &Metrics) -> String {
    let mut parts = Vec::new();
    for source in &metrics.sources {
        parts.push(format!(
            "{}: {} received = {} processed + {} late + {} quarantined + {} deduplicated",
            source.name,
            source.received.get(),
            source.processed.get(),
            source.late.get(),
            source.quarantined.get(),
            source.deduplicated.get()
        ));
        if source.shed.get() > 0
            && let Some(counts) = parts.last_mut()
        {
            *counts += &format!(" + {} shed", source.shed.get());
        }
        if source.watermark() == Watermark::START && source.processed.get() == 0 && source.received.get() > 0
        {
            parts.push(format!("look at {}.quarantine for the reasons", source.name));
        }
    }
    let failed = metrics.failed.get();
    if failed > 0 {
        parts.push(format!("{failed} rows could not be computed: look at lineshaft.failed"));
    }
    // What is both kept and subscribed to has two sinks of one name.
    let mut told = HashSet::new();
    for sink in metrics.sinks.iter().filter(|sink| sink.rows.get() > 0 && told.insert(&sink.name)) {
        parts.push(format!("{}: {} rows written", sink.name, sink.rows.get()));
    }
    parts.join("; ")
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2} G", v / 1e9),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

fn span(micros: i64) -> String {
    match micros / 1_000_000 {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_the_part_that_is_read_and_the_time_left() {
        let metrics = Metrics::new(["r".to_owned()], [], Arc::default());
        let source = &metrics.sources[0];
        let mut progress = Progress::default();
        assert_eq!(progress.update(&metrics), "0 rows");
        source.total_rows.store(4000, Ordering::Relaxed);
        progress.update(&metrics);
        source.received.add(1000);
        for _ in 0..2 {
            progress.update(&metrics);
        }
        assert_eq!(progress.update(&metrics), "1000 of 4000 rows, 25 % | 3 s left");
    }

    #[test]
    fn how_far_the_workers_are_behind_is_told_while_input_waits() {
        let metrics = Metrics::new(["r".to_owned()], [], Arc::default());
        assert_eq!(behind(&metrics, 5_000_000), None);
        metrics.lag.epochs.store(12_345, Ordering::Relaxed);
        metrics.lag.journal_bytes.store(2_500_000, Ordering::Relaxed);
        metrics.lag.oldest.store(1_000_000, Ordering::Relaxed);
        let told = behind(&metrics, 5_000_000).unwrap();
        assert_eq!(told, "behind by 4 s: 12.3 k epochs, 2.50 MB in the journal");
    }
}
