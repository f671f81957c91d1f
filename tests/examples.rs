//! The programs of `examples/`: on real data, where it stands beside the checkout, and embedded.

mod bearing_line;
mod city_sensors;
mod demand_forecast;
mod fleet_rul;
mod models;
mod one_pass_anomalies;
mod onnx_power_plant;
mod plant_monitoring;
mod pump_guard;
mod pump_monitor;
mod supply_chain;
mod tennessee_eastman;

#[expect(dead_code, reason = "main() is for those who run the example by itself")]
#[path = "../examples/backfill.rs"]
mod backfill;
#[expect(dead_code, reason = "as above")]
#[path = "../examples/embed.rs"]
mod embed;
#[expect(dead_code, reason = "as above")]
#[path = "../examples/own_runtime.rs"]
mod own_runtime;
#[expect(dead_code, reason = "as above")]
#[path = "../examples/own_source_and_sink.rs"]
mod own_source_and_sink;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use lineshaft::history;

#[test]
fn embed_gives_the_windows_of_both_presses() {
    let windows = embed::run(6).unwrap();
    let mean_of = |press: &str| {
        let found: Vec<f64> = windows.iter().filter(|(name, _)| name == press).map(|(_, bar)| *bar).collect();
        assert_eq!(found.len(), 3, "{windows:?}");
        assert!(found.iter().all(|bar| (bar - found[0]).abs() < 1e-12));
        found[0]
    };
    assert!((mean_of("left") - 4.0).abs() < 1e-12);
    assert!((mean_of("right") - 7.0).abs() < 1e-12);
}

#[test]
fn own_source_and_sink_keeps_the_telegram_aside_that_it_cannot_read() {
    let found = own_source_and_sink::run().unwrap();
    assert_eq!(format!("{:?}", found.heavy), "[61.2, 99.9]");
    assert_eq!(found.unreadable, ["0003+ERR. is no telegram of a scale"]);
}

#[test]
fn own_runtime_runs_from_its_first_row_to_its_end_on_the_runtime_of_the_caller() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let hot = runtime.block_on(own_runtime::run()).unwrap();
    assert_eq!(format!("{hot:?}"), r#"[("press", 185.0), ("oven", 410.0)]"#);
}

#[test]
fn backfill_gives_the_rows_of_the_live_run() {
    let folder = tempfile::tempdir().unwrap();
    let (live, again) = backfill::run(folder.path()).unwrap();
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert!(rows(&live) > 3, "{live:?}");
    assert_eq!(live, again);
}

/// A query file of `examples/`.
fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

/// Runs the command as a user does; gives its standard output.
fn lineshaft(arguments: &[&Path], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lineshaft"));
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of a query over a data directory, in one batch.
fn query(sql: &str, data: &Path) -> RecordBatch {
    let (schema, batches) = history::query(sql, data).unwrap();
    concat_batches(&schema, &batches).unwrap()
}

/// The numbers of a column; NULL is not a number.
fn numbers(rows: &RecordBatch, column: &str) -> Vec<f64> {
    let column = rows.column_by_name(column).unwrap_or_else(|| panic!("no column {column}"));
    let column = cast(column, &DataType::Float64).unwrap();
    let column = column.as_primitive::<Float64Type>();
    (0..column.len()).map(|row| if column.is_valid(row) { column.value(row) } else { f64::NAN }).collect()
}

/// The one number that a query gives.
fn number(sql: &str, data: &Path) -> f64 {
    let rows = query(sql, data);
    assert_eq!((rows.num_rows(), rows.num_columns()), (1, 1), "{sql}");
    numbers(&rows, rows.schema().field(0).name())[0]
}

/// A figure of a series, computed without the engine.
type Formula = fn(&Series) -> f64;

/// Values with their times, and what is to be known of them: the plain formulas, apart from the code under test.
#[derive(Clone, Debug, Default)]
struct Series {
    seconds: Vec<f64>,
    values: Vec<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "small numbers of samples")]
impl Series {
    fn push(&mut self, seconds: f64, value: f64) {
        self.seconds.push(seconds);
        self.values.push(value);
    }

    fn n(&self) -> f64 {
        self.values.len() as f64
    }

    fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.n()
    }

    fn moment(&self, power: i32) -> f64 {
        let mean = self.mean();
        self.values.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / self.n()
    }

    fn stddev(&self) -> f64 {
        (self.moment(2) * self.n() / (self.n() - 1.0)).sqrt()
    }

    fn rms(&self) -> f64 {
        (self.values.iter().map(|x| x * x).sum::<f64>() / self.n()).sqrt()
    }

    fn kurtosis(&self) -> f64 {
        self.moment(4) / self.moment(2).powi(2) - 3.0
    }

    fn span(&self) -> f64 {
        let extreme = |pick: fn(f64, f64) -> f64| self.values.iter().copied().reduce(pick).unwrap();
        extreme(f64::max) - extreme(f64::min)
    }

    fn slope(&self) -> f64 {
        let (t, x) = (self.seconds.iter().sum::<f64>() / self.n(), self.mean());
        let both: f64 = self.seconds.iter().zip(&self.values).map(|(s, v)| (s - t) * (v - x)).sum();
        both / self.seconds.iter().map(|s| (s - t).powi(2)).sum::<f64>()
    }
}

/// Asserts that a column has these values, one per key of the row, to nine digits of `scale` and of the value.
fn assert_column<K: Ord + std::fmt::Debug>(
    rows: &RecordBatch,
    column: &str,
    keys: &[K],
    expected: &BTreeMap<K, f64>,
    scale: f64,
) {
    let found = numbers(rows, column);
    assert_eq!(found.len(), expected.len(), "{column}");
    for (key, found) in keys.iter().zip(found) {
        let expected = expected[key];
        let near = (found - expected).abs() <= 1e-9 * expected.abs().max(scale);
        assert!(
            near || (found.is_nan() && !expected.is_finite()),
            "{column} of {key:?}: {found}, not {expected}"
        );
    }
}
