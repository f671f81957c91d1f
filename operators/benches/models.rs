//! How fast models score, how fast features and detectors are, and what others do with the same on the same core.
//!
//! ```text
//! cargo bench --bench models                                    # ours alone
//! PEERS_PYTHON=venv/bin/python cargo bench --bench models       # and scikit-learn, onnxruntime, NumPy, tsfel and river, in turn
//! cargo bench --bench models -- forest online features          # some of it
//! ```
//!
//! The Python needs numpy, scikit-learn, skl2onnx, onnxruntime, river and tsfel; `peers.py` beside this file is what it runs, each with
//! one thread. Forests: 100 trees of depth 10 on 12 features, the same model (as ONNX) and rows for all. Each figure is the best
//! of three, ours and theirs in turn.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use lineshaft_operators::model::onnx::OnnxOptions;
use lineshaft_operators::model::{FileOptions, Trained, Training, train};
use lineshaft_operators::online::{
    Adwin, Gives, HalfSpaceTrees, HoeffdingOptions, HoeffdingTree, Inputs, Kswin, Loss, Online, PageHinkley,
    Replay, RunningQuantile, Sgd, StandardScale, ZScore,
};
use lineshaft_operators::signal;

/// The allocator of the `lineshaft` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FEATURES: usize = 12;
const ROWS: usize = 200_000;
const BATCH: usize = 8_192;
const WINDOW: usize = 1_024;
const RUNS: usize = 3;

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("a standard output");
}

/// Seconds that `work` takes.
#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Numbers in [0, 1): Knuth's linear congruential generator of 64 bits, its upper half.
struct Numbers(u64);

impl Numbers {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).unwrap_or_default()) / 4_294_967_296.0
    }

    /// Nearly normal: the sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// The peers, if there are any: a Python and a folder in which it finds what we have written.
struct Peers {
    python: Option<PathBuf>,
    folder: tempfile::TempDir,
}

impl Peers {
    fn new() -> Self {
        let python = std::env::var_os("PEERS_PYTHON").map(PathBuf::from);
        if python.is_none() {
            say("the peers are left out: PEERS_PYTHON does not name a Python");
        }
        Self { python, folder: tempfile::tempdir().expect("a folder for temporary files") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the script says: rows or samples per second by name, one to a line.
    fn run(&self, what: &str) -> Vec<(String, f64)> {
        let Some(python) = &self.python else { return Vec::new() };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers.py");
        let ran = Command::new(python)
            .args(["-W", "ignore", script, what])
            .arg(self.folder.path())
            .envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, "1")))
            .output()
            .expect("the Python of PEERS_PYTHON");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let line = |line: &str| {
            let (name, figure) = line.rsplit_once(' ')?;
            Some((name.to_owned(), figure.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }
}

/// The best of some runs.
#[derive(Default)]
struct Best(Vec<(String, f64)>);

impl Best {
    fn add(&mut self, found: Vec<(String, f64)>) {
        for (name, figure) in found {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, best)) => *best = best.max(figure),
                None => self.0.push((name, figure)),
            }
        }
    }

    /// A line for each of ours, with the peers of its name (`ours/peer`) and the ratio.
    fn say(&self, unit: &str) {
        for (name, figure) in self.0.iter().filter(|(name, _)| !name.contains('/')) {
            let mut line = format!("{name:34} {:>12} {unit}", whole(*figure));
            for (peer, theirs) in &self.0 {
                if let Some(peer) = peer.strip_prefix(&format!("{name}/")) {
                    line += &format!("   {peer} {:>10}, ratio {:.2}", whole(*theirs), figure / theirs);
                }
            }
            say(&line);
        }
    }
}

/// With a blank at each thousand.
fn whole(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    groups.join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn per_second(rows: usize, work: impl FnOnce()) -> f64 {
    rows as f64 / timed(work)
}

/// Normal features that are floats, as the peers take them.
#[expect(clippy::cast_possible_truncation, reason = "the peers take floats")]
fn rows(rows: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut numbers = Numbers(seed);
    (0..FEATURES).map(|_| (0..rows).map(|_| f64::from(numbers.normal() as f32)).collect()).collect()
}

/// Row by row, as floats or doubles.
#[expect(clippy::cast_possible_truncation, reason = "they were floats")]
fn write(path: &Path, columns: &[Vec<f64>], is_single: bool) {
    let mut bytes = Vec::new();
    for row in 0..columns[0].len() {
        for column in columns {
            match is_single {
                true => bytes.extend((column[row] as f32).to_le_bytes()),
                false => bytes.extend(column[row].to_le_bytes()),
            }
        }
    }
    std::fs::write(path, bytes).expect("a file");
}

fn arrays(columns: &[Vec<f64>], from: usize, to: usize) -> Vec<ArrayRef> {
    columns.iter().map(|column| Arc::new(Float64Array::from(column[from..to].to_vec())) as ArrayRef).collect()
}

/// Scores all rows, so many at once, through what a query calls.
fn score(model: &Trained, columns: &[Vec<f64>], rows: usize, batch: usize) -> f64 {
    let batches: Vec<Vec<ArrayRef>> =
        (0..rows).step_by(batch).map(|from| arrays(columns, from, (from + batch).min(rows))).collect();
    per_second(rows, || {
        for batch in &batches {
            let scored = match model.classes {
                Some(_) => model.predict_proba(batch, None),
                None => model.predict(batch),
            };
            std::hint::black_box(scored.expect("scores"));
        }
    })
}

/// A model that we train ourselves, on rows whose class needs trees.
fn own(algorithm: &str, more: &[(&str, &str)]) -> Trained {
    let columns = rows(5_000, 3);
    let z = |row: usize| {
        columns[0][row] * columns[1][row] + (2.0 * columns[2][row]).sin() + 0.5 * columns[3][row].powi(2)
    };
    let is_class = algorithm.ends_with("classifier");
    let target: ArrayRef = match is_class {
        true => Arc::new((0..5_000).map(|row| Some(z(row) > 0.6)).collect::<BooleanArray>()),
        false => Arc::new(Float64Array::from_iter_values((0..5_000).map(z))),
    };
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("x{feature}")).collect();
    let mut fields: Vec<(&str, ArrayRef)> =
        names.iter().map(String::as_str).zip(arrays(&columns, 0, 5_000)).collect();
    let mut options = vec![("algorithm", algorithm)];
    options.extend(more);
    if algorithm != "isolation_forest" {
        options.push(("target", "y"));
        fields.push(("y", target));
    }
    let options = options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let training = Training::from_options("bench", &options).expect("options");
    train(&training, &RecordBatch::try_from_iter(fields).expect("a table")).expect("a model")
}

fn forests(peers: &Peers) {
    let columns = rows(ROWS, 7);
    let mut models: Vec<(&str, Trained)> = vec![
        ("own forest of classes", own("random_forest_classifier", &[("max_depth", "10")])),
        ("own forest of numbers", own("random_forest_regressor", &[("max_depth", "10")])),
        (
            "own boosted trees, depth 6",
            own("gradient_boosting_regressor", &[("trees", "100"), ("max_depth", "6")]),
        ),
        ("own isolation forest", own("isolation_forest", &[])),
    ];
    if peers.python.is_some() {
        write(&peers.path("rows.f32"), &columns, true);
        peers.run("train");
        let read = |name: &str| {
            let path = peers.path(name);
            Trained::from_file("forest", &path, &FileOptions::Onnx(OnnxOptions::default()))
                .expect("the model of the peers")
                .0
        };
        models.push(("forest of classes", read("forest.onnx")));
        models.push(("forest of numbers", read("numbers.onnx")));
    }
    let mut best = Best::default();
    for _ in 0..RUNS {
        for (name, model) in &models {
            best.add(vec![((*name).to_owned(), score(model, &columns, ROWS, BATCH))]);
            best.add(vec![(format!("{name}, row by row"), score(model, &columns, 20_000, 1))]);
        }
        best.add(peers.run("forest"));
    }
    best.say("rows/s");
}

type Kernel = fn(&[f64]) -> Option<f64>;

const IN_TIME: [Kernel; 12] = [
    signal::mean,
    signal::rms,
    signal::stddev_pop,
    signal::skewness,
    signal::kurtosis,
    signal::crest_factor,
    signal::shape_factor,
    signal::impulse_factor,
    signal::clearance_factor,
    signal::peak_to_peak,
    signal::mean_crossing_rate,
    signal::line_length,
];

/// All features of a window.
fn features(window: &[f64]) -> f64 {
    let in_time: f64 = IN_TIME.iter().filter_map(|kernel| kernel(window)).sum();
    let bands = [1.0, 129.0, 257.0, 385.0];
    let bands = bands.map(|low| signal::band_energy(window, 1_024.0, low, low + 128.0).unwrap_or_default());
    in_time + bands.iter().sum::<f64>()
}

fn kernels(peers: &Peers) {
    let mut numbers = Numbers(5);
    let samples: Vec<f64> = (0..2_000 * WINDOW).map(|_| numbers.normal()).collect();
    write(&peers.path("samples.f64"), std::slice::from_ref(&samples), false);
    let mut best = Best::default();
    for _ in 0..RUNS {
        let figure = per_second(samples.len(), || {
            samples.chunks_exact(WINDOW).for_each(|window| {
                std::hint::black_box(features(window));
            });
        });
        best.add(vec![("12 features and 4 bands".to_owned(), figure)]);
        best.add(peers.run("features"));
    }
    best.say("samples/s");
}

/// A detector, and what it takes of a row: the target of a learner, or how many of the features.
struct Detector {
    name: &'static str,
    function: Online,
    has_target: bool,
    inputs: usize,
}

fn detectors() -> Vec<Detector> {
    let of = |name, function: Option<Online>, has_target, inputs| Detector {
        name,
        function: function.expect("options"),
        has_target,
        inputs,
    };
    let hoeffding = HoeffdingOptions { grace: 200.0, delta: 1e-7, tau: 0.05, max_depth: 20 };
    vec![
        of("half-space trees", HalfSpaceTrees::new(10, 8, 250, 1).map(Online::from), false, FEATURES),
        of("Hoeffding tree", HoeffdingTree::new(hoeffding).map(Online::from), true, FEATURES),
        of("linear regression, gradients", sgd(), true, FEATURES),
        of("KSWIN", Kswin::new(0.005, 100, 30, 1).map(Online::from), false, 1),
        of("Page-Hinkley", PageHinkley::new(50.0, 0.005, 0.9999, 30).map(Online::from), false, 1),
        of("z-score", Some(ZScore::default().into()), false, 1),
        of("running scale", Some(StandardScale::default().into()), false, 1),
        of("ADWIN", Adwin::new(Gives::Drift, 0.002, 32).map(Online::from), false, 1),
        of("quantile", RunningQuantile::new(0.9).map(Online::from), false, 1),
    ]
}

/// Values of the rows of a batch, as a column: what `OVER` does with the rows of a key.
fn next(function: &mut Online, batch: &[ArrayRef]) -> ArrayRef {
    let rows = batch[0].len();
    let mut values = Vec::with_capacity(rows);
    Inputs::new(batch, false).expect("numbers").extend(function, 0..rows, &mut values);
    function.column(values)
}

/// The columns of a call: the target of a learner, and a number or a list of numbers.
fn arguments(rows: &[[f64; FEATURES + 1]], has_target: bool, inputs: usize) -> Vec<ArrayRef> {
    let column =
        |place: usize| Arc::new(rows.iter().map(|row| row[place]).collect::<Float64Array>()) as ArrayRef;
    if inputs == 1 {
        return vec![column(1)];
    }
    let numbers: Float64Array = rows.iter().flat_map(|row| &row[1..]).copied().collect();
    let offsets = OffsetBuffer::from_repeated_length(FEATURES, rows.len());
    let field = Arc::new(Field::new_list_field(DataType::Float64, true));
    let features = Arc::new(ListArray::new(field, offsets, Arc::new(numbers), None)) as ArrayRef;
    if has_target { vec![column(0), features] } else { vec![features] }
}

fn sgd() -> Option<Online> {
    let replay = Replay::new(0, 0, 0);
    Sgd::new(Loss::Squared, 0.01, 0.0, replay).map(Online::from)
}

fn online(peers: &Peers) {
    let mut numbers = Numbers(9);
    let mut row = || {
        let mut row = [0.0; FEATURES + 1];
        row[1..].iter_mut().for_each(|x| *x = numbers.unit());
        row[0] = f64::from(u8::from(row[1] * row[2] > 0.25));
        row
    };
    let rows: Vec<[f64; FEATURES + 1]> = (0..ROWS).map(|_| row()).collect();
    let columns: Vec<Vec<f64>> =
        (0..=FEATURES).map(|column| rows.iter().take(20_000).map(|row| row[column]).collect()).collect();
    write(&peers.path("online.f64"), &columns, false);
    let mut best = Best::default();
    for _ in 0..RUNS {
        for Detector { name, mut function, has_target, inputs } in detectors() {
            let batches: Vec<Vec<ArrayRef>> =
                rows.chunks(BATCH).map(|rows| arguments(rows, has_target, inputs)).collect();
            let figure = per_second(ROWS, || {
                for batch in &batches {
                    std::hint::black_box(next(&mut function, batch));
                }
            });
            best.add(vec![(name.to_owned(), figure)]);
        }
        best.add(peers.run("online"));
    }
    best.say("rows/s");
}

type Part = fn(&Peers);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let parts: [(&str, Part); 3] = [("forest", forests), ("features", kernels), ("online", online)];
    let is_chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    let others = ["sql", "swap"];
    let all = !parts.iter().map(|(name, _)| *name).chain(others).any(is_chosen);
    let peers = Peers::new();
    for (name, part) in parts {
        if all || is_chosen(name) {
            part(&peers);
        }
    }
}
