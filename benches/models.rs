//! Features by SQL, and what rows wait for while the version of a model is swapped.
//!
//! ```text
//! cargo bench --bench models                        # with what operators/benches/models.rs measures
//! cargo bench --bench models -- sql swap            # these alone
//! ```
//!
//! `sql`: 12 features and 4 bands of windows of 1,024 samples, from rows of 100 devices that are put into windows, and from rows
//! with an array; one worker, from the first row sent to the last result. `swap`: rows come at a fixed rate and are scored by a
//! forest of 100 trees of which another version is chosen again and again; each batch has a time at which it is due, so a
//! stall is not hidden.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use lineshaft::{Engine, Input, history};

/// The allocator of the `lineshaft` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WINDOW: usize = 1_024;
const DEVICES: i64 = 100;
const SAMPLES: i64 = 2_048_000;
const BATCH: i64 = 8_192;

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn now() -> Instant {
    Instant::now()
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("a standard output");
}

/// A wave with much noise on it, the same for each row at every run.
#[expect(clippy::cast_precision_loss, reason = "numbers of rows")]
fn sample(row: i64) -> f64 {
    let noise = (row.wrapping_mul(6_364_136_223_846_793_005) >> 33) as f64 / f64::from(1 << 30);
    (row as f64 * 0.37).sin() + noise
}

fn call(arguments: &str) -> String {
    let mut calls = String::new();
    for function in [
        "rms",
        "stddev_pop",
        "skewness",
        "kurtosis",
        "crest_factor",
        "shape_factor",
        "impulse_factor",
        "clearance_factor",
        "peak_to_peak",
        "mean_crossing_rate",
        "line_length",
        "abs_energy",
    ] {
        write!(calls, "{function}({arguments}), ").expect("a text");
    }
    for band in 0..4 {
        let low = 1 + 128 * band;
        write!(calls, "band_energy({arguments}, 1024, {low}, {}) AS band_{band}, ", low + 128)
            .expect("a text");
    }
    calls
}

/// Starts a program, sends batches and waits for its end; the rows of results and the seconds.
fn run(program: &str, result: &str, batches: Vec<RecordBatch>) -> (usize, f64) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut engine = Engine::from_sql(program).expect("a program");
    engine.data(folder.path());
    let input = engine.input("readings").expect("an input");
    let mut results = engine.subscribe(result);
    let running = engine.start().expect("a start");
    let start = now();
    let sending =
        std::thread::spawn(move || batches.into_iter().for_each(|batch| input.send(batch).expect("a row")));
    let mut rows = 0;
    while let Some(batch) = results.blocking_recv() {
        rows += batch.rows().num_rows();
    }
    let seconds = start.elapsed().as_secs_f64();
    sending.join().expect("all rows sent");
    running.wait().expect("an end");
    (rows, seconds)
}

fn of_windows() -> (usize, f64) {
    let program = format!(
        "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, device BIGINT, x DOUBLE, WATERMARK FOR ts)
             WITH (connector = 'memory', channel = 'readings');
         CREATE VIEW features AS SELECT {} device, window_end
         FROM COUNT_WINDOW(readings, ts, {WINDOW}, device) GROUP BY window_start, window_end, device;",
        call("x")
    );
    let batch = |from: i64| {
        let rows = || from..(from + BATCH).min(SAMPLES);
        let columns: [(&str, ArrayRef); 3] = [
            ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(rows().map(|row| row * 10)))),
            ("device", Arc::new(Int64Array::from_iter_values(rows().map(|row| row % DEVICES)))),
            ("x", Arc::new(Float64Array::from_iter_values(rows().map(sample)))),
        ];
        RecordBatch::try_from_iter(columns).expect("a batch")
    };
    let batches = (0..SAMPLES).step_by(8_192).map(batch).collect();
    run(&program, "features", batches)
}

fn of_arrays() -> (usize, f64) {
    let program = format!(
        "CREATE SOURCE readings (n BIGINT, wave DOUBLE[]) WITH (connector = 'memory', channel = 'readings');
         CREATE VIEW features AS SELECT {} n FROM readings;",
        call("wave")
    );
    let batch = |from: i64| {
        let waves = 20;
        let samples = Float64Array::from_iter_values((0..waves * 1_024).map(|at| sample(from * 1_024 + at)));
        let field = Arc::new(Field::new_list_field(DataType::Float64, true));
        let offsets = OffsetBuffer::from_repeated_length(WINDOW, 20);
        let columns: [(&str, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from_iter_values(from..from + waves))),
            ("wave", Arc::new(ListArray::new(field, offsets, Arc::new(samples), None))),
        ];
        RecordBatch::try_from_iter(columns).expect("a batch")
    };
    run(&program, "features", (0..2_000).step_by(20).map(batch).collect())
}

type Kind = fn() -> (usize, f64);

#[expect(clippy::cast_precision_loss, reason = "a number of samples")]
fn features() {
    let kinds: [(&str, Kind); 2] = [("count windows", of_windows), ("arrays", of_arrays)];
    for (name, kind) in kinds {
        let best = (0..3).map(|_| kind()).min_by(|a, b| a.1.total_cmp(&b.1)).expect("a run");
        let (rows, seconds) = best;
        let samples = (rows * WINDOW) as f64;
        say(&format!(
            "12 features and 4 bands by SQL, {name}: {rows} windows, {:.1} million samples/s",
            samples / seconds / 1e6
        ));
    }
}

/// Rows of a batch of the load, and the time from one to the next.
const LOAD_ROWS: i64 = 200;
const EVERY: Duration = Duration::from_millis(10);
const FEATURES: i64 = 12;

/// A program that trains the model on as many rows, so that each number makes a version.
fn scoring(folder: &Path, training_rows: i64) -> Engine {
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("x{feature}")).collect();
    let value = |row: i64, feature: i64| sample(row * FEATURES + feature);
    let mut text = format!("{},y\n", names.join(","));
    for row in 0..training_rows {
        (0..FEATURES).for_each(|feature| write!(text, "{},", value(row, feature)).expect("a text"));
        writeln!(text, "{}", value(row, 0) * value(row, 1) + value(row, 2)).expect("a text");
    }
    let history = folder.join("history.csv");
    std::fs::write(&history, text).expect("a file");
    let typed: Vec<String> = names.iter().map(|name| format!("{name} DOUBLE")).collect();
    let (typed, names) = (typed.join(", "), names.join(", "));
    let mut engine = Engine::from_sql(&format!(
        "CREATE SOURCE history ({typed}, y DOUBLE) WITH (connector = 'file', path = '{}', format = 'csv');
         CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, {typed}, WATERMARK FOR ts)
             WITH (connector = 'memory', channel = 'readings');
         CREATE MODEL load WITH (algorithm = 'random_forest_regressor', target = 'y', trees = 100, max_depth = 10) AS
         SELECT {names}, y FROM history;
         CREATE VIEW scored AS SELECT n, predict('load', {names}) AS y, model_version('load', {names}) AS version
         FROM readings;",
        history.display()
    ))
    .expect("a program");
    engine.data(folder.join("data"));
    engine
}

fn load_batch(number: i64) -> RecordBatch {
    let rows = || number * LOAD_ROWS..(number + 1) * LOAD_ROWS;
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("ts".into(), Arc::new(TimestampMicrosecondArray::from_iter_values(rows().map(|row| row * 50)))),
        ("n".into(), Arc::new(Int64Array::from_iter_values(rows()))),
    ];
    for feature in 0..FEATURES {
        let values = rows().map(|row| sample(row * FEATURES + feature));
        columns.push((format!("x{feature}"), Arc::new(Float64Array::from_iter_values(values))));
    }
    RecordBatch::try_from_iter(columns).expect("a batch")
}

/// Sends batches when they are due.
fn send(input: &Input, start: Instant, batches: u32) {
    for number in 0..batches {
        let due = start + EVERY * number;
        std::thread::sleep(due.saturating_duration_since(now()));
        input.send(load_batch(number.into())).expect("rows");
    }
}

/// A batch that came back: what it waited since it was due, and the version that scored it.
struct Scored {
    wait_ms: f64,
    version: i64,
}

fn swap() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let data = folder.path().join("data");
    for training_rows in [4_000, 5_000] {
        let mut engine = scoring(folder.path(), training_rows);
        drop(engine.input("readings"));
        engine.subscribe("scored");
        engine.start().expect("a start").wait().expect("an end");
    }
    let mut engine = scoring(folder.path(), 5_000);
    let (input, mut results) = (engine.input("readings").expect("an input"), engine.subscribe("scored"));
    let running = engine.start().expect("a start");
    let batches = 1_500;
    let start = now();
    let sending = std::thread::spawn(move || send(&input, start, batches));
    let choosing = std::thread::spawn(move || {
        for swap in 0..20 {
            std::thread::sleep(Duration::from_millis(700));
            let statement = format!("ALTER MODEL load SET VERSION {}", 1 + swap % 2);
            history::query(&statement, &data).expect("a choice");
        }
    });
    let (mut scored, mut rows): (Vec<Scored>, usize) = (Vec::new(), 0);
    while let Some(batch) = results.blocking_recv() {
        let came = now();
        let [n, version] = [0, 2].map(|column| batch.rows().column(column).as_primitive::<Int64Type>());
        rows += n.len();
        for (n, version) in
            n.values().iter().zip(version.values()).filter(|(n, _)| *n % LOAD_ROWS == LOAD_ROWS - 1)
        {
            let number = u32::try_from(n / LOAD_ROWS).unwrap_or_default();
            let wait_ms = came.saturating_duration_since(start + EVERY * number).as_secs_f64() * 1e3;
            scored.push(Scored { wait_ms, version: *version });
        }
    }
    sending.join().expect("all rows sent");
    choosing.join().expect("all versions chosen");
    running.wait().expect("an end");
    report(&scored, rows, batches);
}

fn report(scored: &[Scored], rows: usize, batches: u32) {
    // Within a tenth of a second of a batch that another version scored.
    let around = 10;
    let is_swap = |at: usize| scored[at].version != scored[at + 1].version;
    let swaps: Vec<usize> = (0..scored.len().saturating_sub(1)).filter(|at| is_swap(*at)).collect();
    let is_near = |at: usize| swaps.iter().any(|swap| swap.abs_diff(at) <= around);
    let waits = |near: bool| {
        let waits = scored.iter().enumerate().filter(|(at, _)| is_near(*at) == near);
        let mut waits: Vec<f64> = waits.map(|(_, scored)| scored.wait_ms).collect();
        waits.sort_by(f64::total_cmp);
        let last = waits.len().saturating_sub(1);
        [last / 2, last * 99 / 100, last].map(|at| waits.get(at).copied().unwrap_or(f64::NAN))
    };
    let sent = i64::from(batches) * LOAD_ROWS;
    say(&format!("{} swaps, {sent} rows sent, {rows} scored", swaps.len()));
    for (name, near) in [("around swaps", true), ("otherwise", false)] {
        let [median, most, greatest] = waits(near);
        say(&format!("wait {name}: median {median:.2} ms, p99 {most:.2} ms, greatest {greatest:.2} ms"));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let parts: [(&str, fn()); 2] = [("sql", features), ("swap", swap)];
    let others = ["forest", "features", "online"];
    let is_chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !parts.iter().map(|(name, _)| *name).chain(others).any(is_chosen);
    for (name, part) in parts {
        if all || is_chosen(name) {
            part();
        }
    }
}
