//! Runs a case some times on both sides, each in a process of its own, and prints medians and ratios.

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use crate::Data;
use crate::cases::{Case, Limit};

/// The time since the start of a run.
pub(crate) struct Timer(Instant);

impl Timer {
    #[expect(clippy::disallowed_methods, reason = "a bench measures")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

/// What a run says of itself: rows, seconds, CPU seconds, peak memory in MB.
#[derive(Clone, Copy, Default)]
struct Run {
    rows: f64,
    seconds: f64,
    cpu: f64,
    megabytes: f64,
}

/// Prints the figures of the run that ends.
pub(crate) fn report(timer: &Timer, rows: usize) {
    let seconds = timer.0.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.split_whitespace().next());
    let megabytes = peak.and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    let cpu = ticks / 100.0;
    say(&format!("@@ {rows} {seconds} {cpu} {megabytes}\n"));
}

fn say(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).expect("a standard output");
}

/// The heading of the table.
pub(crate) fn print_head() {
    say(
        "| case | workers | Mrows/s | Mrows per CPU s | peak MB | limit | Mrows/s | Mrows per CPU s | peak MB | ratio |\n",
    );
    say("|---|---|---|---|---|---|---|---|---|---|\n");
}

/// Measures a case with one and with two workers.
pub(crate) fn compare(case: &Case, data: &Data, rows: usize, runs: usize) {
    let folder = data.folder.join(format!("{}-{rows}", case.devices));
    for workers in [1, 2] {
        let (mut ours, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(run("ours", case, &folder.display().to_string(), workers));
            limit.push(run("limit", case, &folder.display().to_string(), workers));
        }
        let (ours, limit) = (median(&ours), median(&limit));
        let name = match case.limit {
            Limit::DataFusion(_) => "DataFusion",
            Limit::Reader => "Arrow reader",
        };
        let figures = |run: Run| {
            format!(
                "{:.2} | {:.2} | {:.0}",
                run.rows / run.seconds / 1e6,
                run.rows / run.cpu / 1e6,
                run.megabytes
            )
        };
        let ratio = (ours.rows / ours.seconds) / (limit.rows / limit.seconds);
        say(&format!(
            "| {} | {workers} | {} | {name} | {} | {ratio:.2} |\n",
            case.name,
            figures(ours),
            figures(limit)
        ));
    }
}

fn run(side: &str, case: &Case, folder: &str, workers: usize) -> Run {
    let program = std::env::current_exe().expect("this program");
    let output =
        Command::new(program).args(["child", side, case.name, folder, &workers.to_string()]).output();
    let output = output.expect("a child");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("@@ "));
    let line =
        line.unwrap_or_else(|| panic!("{side} {}: {}", case.name, String::from_utf8_lossy(&output.stderr)));
    let figures: Vec<f64> = line.split(' ').filter_map(|figure| figure.parse().ok()).collect();
    Run { rows: figures[0], seconds: figures[1], cpu: figures[2], megabytes: figures[3] }
}

/// The run in the middle by time.
fn median(runs: &[Run]) -> Run {
    let mut runs = runs.to_vec();
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    runs[runs.len() / 2]
}
