//! What a person sees while a program runs: one live line on a terminal, plain log lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lineshaft::Running;
use lineshaft::engine::clock::Clock;
use lineshaft::engine::metrics::{Metrics, SourceMetrics};
use lineshaft::engine::time::Watermark;

/// How often the live line changes.
const LIVE: Duration = Duration::from_millis(250);
/// How often a log line is written where there is no terminal.
const LOGGED: u32 = 40;

/// Shows how the program gets on until it ends.
pub(crate) fn watch(running: &Running, quiet: bool) {
    let metrics = running.metrics();
    let live = std::io::stderr().is_terminal() && !quiet;
    let bar = if live { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    let mut rate = Rate::default();
    let mut round = 0_u32;
    while !running.is_finished() {
        std::thread::sleep(LIVE);
        round += 1;
        let line = line(&metrics, rate.update(&metrics));
        if live {
            bar.set_message(line);
            bar.tick();
        } else if round.is_multiple_of(LOGGED) {
            tracing::info!("{line}");
        }
    }
    bar.finish_and_clear();
    tracing::info!("{}", summary(&metrics));
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

fn line(metrics: &Metrics, rate: f64) -> String {
    let total = |count: fn(&SourceMetrics) -> u64| metrics.sources.iter().map(count).sum::<u64>();
    let mut parts = vec![format!("{} rows/s", number(rate))];
    parts.push(done(metrics));
    let now = Clock::system().now();
    // Of files the age of the rows says nothing of how the engine gets on.
    let is_live = |source: &&SourceMetrics| {
        source.total_rows.load(Ordering::Relaxed) + source.total_bytes.load(Ordering::Relaxed) == 0
    };
    let lag = metrics.sources.iter().filter(is_live).filter_map(|source| source.lag(now)).max();
    if let Some(lag) = lag {
        parts.push(format!("watermark {} behind", span(lag)));
    }
    parts.push(format!("late {}", total(|source| source.late.get())));
    parts.push(format!("quarantined {}", total(|source| source.quarantined.get())));
    let deduplicated = total(|source| source.deduplicated.get());
    if deduplicated > 0 {
        parts.push(format!("deduplicated {deduplicated}"));
    }
    parts.join(" | ")
}

/// Rows read, of how many where that is known.
#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
fn done(metrics: &Metrics) -> String {
    let sum = |of: &dyn Fn(&SourceMetrics) -> u64| metrics.sources.iter().map(of).sum::<u64>();
    let received = sum(&|source| source.received.get());
    let total = sum(&|source| source.total_rows.load(Ordering::Relaxed));
    let (bytes, total_bytes) =
        (sum(&|source| source.bytes.get()), sum(&|source| source.total_bytes.load(Ordering::Relaxed)));
    if total > 0 {
        return format!("{} of {} rows", number(received as f64), number(total as f64));
    }
    if total_bytes > 0 {
        let percent = 100.0 * bytes as f64 / total_bytes as f64;
        return format!("{} rows, {:.0} %", number(received as f64), percent.min(100.0));
    }
    format!("{} rows", number(received as f64))
}

/// What went where, at the end: received = processed + late + quarantined + deduplicated.
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
        if source.watermark() == Watermark::START && source.processed.get() == 0 && source.received.get() > 0
        {
            parts.push(format!("look at {}.quarantine for the reasons", source.name));
        }
    }
    for sink in metrics.sinks.iter().filter(|sink| sink.rows.get() > 0) {
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
