//! The life of a model: versions that are swapped while rows come, a gate before new ones, and the same rows in replay.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int64Type};
use lineshaft::durable::Durability;
use lineshaft::engine::clock::Clock;
use lineshaft::{Engine, Error, history};
use tokio::sync::mpsc::Receiver;

use crate::support::lineshaft;

/// Far above what a swap takes, and below the patience of a person, microseconds.
const LONG_US: i64 = 60_000_000;

/// Rows of a batch.
const ROWS: i64 = 50;

/// A row as it was scored.
#[derive(Clone, Debug, PartialEq)]
struct Scored {
    n: i64,
    y: f64,
    version: i64,
    shadow: Option<f64>,
}

struct Plant {
    folder: tempfile::TempDir,
}

impl Plant {
    /// A data directory with two versions of a model: version `v` says that y is v times x.
    fn new() -> Self {
        let plant = Self { folder: tempfile::tempdir().unwrap() };
        for slope in [1, 2] {
            plant.learn(slope, "");
        }
        plant
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes other training rows, of another length.
    fn history(&self, slope: i32) {
        let row = |x: i32| format!("{x},{}\n", slope * x);
        let rows: String = (0..50 + 10 * slope).map(row).collect();
        std::fs::write(self.folder.path().join("history.csv"), format!("x,y\n{rows}")).unwrap();
    }

    /// Trains on rows of this slope, with a program that ends.
    fn learn(&self, slope: i32, options: &str) {
        self.history(slope);
        let mut engine = self.engine(&self.data(), options, "").unwrap();
        let input = engine.input("readings").unwrap();
        engine.subscribe("scored");
        let running = engine.start().unwrap();
        drop(input);
        running.wait().unwrap();
    }

    /// `options` stand behind those of the model, and may end in a clause.
    fn engine(&self, data: &Path, options: &str, more: &str) -> Result<Engine, Error> {
        let options = if options.contains(')') { options.to_owned() } else { options.to_owned() + ")" };
        let history = self.folder.path().join("history.csv");
        let mut engine = Engine::from_sql(&format!(
            "CREATE SOURCE history (x DOUBLE, y DOUBLE)
                 WITH (connector = 'file', path = '{}', format = 'csv');
             CREATE SOURCE readings (ts TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, WATERMARK FOR ts)
                 WITH (connector = 'memory', channel = 'readings');
             CREATE MODEL power WITH (algorithm = 'linear_regression', target = 'y'{options} AS SELECT x, y FROM history;
             CREATE VIEW scored AS SELECT n, predict('power', x) AS y, model_version('power', x) AS version,
                 predict_shadow('power', x) AS shadow FROM readings; {more}",
            history.display()
        ))?;
        engine.data(data).workers(2);
        Ok(engine)
    }

    fn alter(&self, what: &str) -> Result<RecordBatch, Error> {
        alter(&self.data(), what)
    }

    /// Does each change, and sends batches until the version scores that it should lead to. Each batch is answered before the
    /// next one comes. Gives the number of batches.
    fn swap_through(
        &self,
        changes: &[(&str, i64)],
        input: &lineshaft::Input,
        rows: &mut Receiver<lineshaft::Batch>,
        all: &mut Vec<Scored>,
    ) -> i64 {
        let mut number = 0;
        for (change, version) in changes {
            if !change.is_empty() {
                self.alter(change).unwrap();
            }
            let mut newest = 0;
            while newest != *version {
                answered(&batch(number), input, rows, all);
                number += 1;
                newest = all.iter().max_by_key(|row| row.n).unwrap().version;
            }
        }
        number
    }
}

/// Sends a batch and waits for its last row.
fn answered(
    batch: &RecordBatch,
    input: &lineshaft::Input,
    rows: &mut Receiver<lineshaft::Batch>,
    all: &mut Vec<Scored>,
) {
    let last = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().value(batch.num_rows() - 1);
    input.send(batch.clone()).unwrap();
    until(rows, all, |row| row.n == last);
}

fn alter(data: &Path, what: &str) -> Result<RecordBatch, Error> {
    history::query(&format!("ALTER MODEL power {what};"), data).map(|(_, mut rows)| rows.remove(0))
}

/// The rows `number * ROWS ..` of the source.
fn batch(number: i64) -> RecordBatch {
    let n = || number * ROWS..(number + 1) * ROWS;
    let x: Float64Array = n().map(|n| Some(value(n))).collect();
    let ts: TimestampMicrosecondArray = n().map(|n| Some(n * 1000)).collect();
    let n: Int64Array = n().map(Some).collect();
    RecordBatch::try_from_iter([("ts", Arc::new(ts) as _), ("n", Arc::new(n) as _), ("x", Arc::new(x) as _)])
        .unwrap()
}

fn value(n: i64) -> f64 {
    f64::from(i32::try_from(n % 1000).unwrap())
}

fn scored(rows: &RecordBatch) -> Vec<Scored> {
    let whole = |name: &str| rows.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
    let float = |name: &str| rows.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    let (n, version, y, shadow) = (whole("n"), whole("version"), float("y"), float("shadow"));
    let row = |row: usize| Scored {
        n: n.value(row),
        y: y.value(row),
        version: version.value(row),
        shadow: shadow.is_valid(row).then(|| shadow.value(row)),
    };
    (0..rows.num_rows()).map(row).collect()
}

/// Takes rows until one of them is as it should be; the longest that it waited.
fn until(
    rows: &mut Receiver<lineshaft::Batch>,
    all: &mut Vec<Scored>,
    done: impl Fn(&Scored) -> bool,
) -> Duration {
    let clock = Clock::system();
    let (started, mut longest) = (clock.steady(), 0);
    loop {
        let asked = clock.steady();
        let batch = rows.blocking_recv().expect("the program goes on");
        longest = longest.max(clock.steady() - asked);
        let found = scored(batch.rows());
        let is_done = found.iter().any(&done);
        all.extend(found);
        if is_done {
            return Duration::from_micros(longest.unsigned_abs());
        }
        assert!(clock.steady() - started < LONG_US, "no such row among {}", all.len());
    }
}

/// Sends batches until it is told to stop; gives the number of rows.
fn feed(input: lineshaft::Input, from: i64) -> (std::sync::mpsc::Sender<()>, std::thread::JoinHandle<i64>) {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let feeding = std::thread::spawn(move || {
        let mut number = from;
        while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            input.send(batch(number)).unwrap();
            number += 1;
        }
        number * ROWS
    });
    (stop, feeding)
}

/// Each row is there once, and was scored by the version that it says.
fn assert_whole(rows: &[Scored], count: i64) {
    let mut numbers: Vec<i64> = rows.iter().map(|row| row.n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "every row once");
    for row in rows {
        let expected = f64::from(i32::try_from(row.version).unwrap()) * value(row.n);
        assert!((row.y - expected).abs() < 1e-6, "{row:?}");
    }
}

/// The versions that scored, in the order of the rows.
fn versions(rows: &[Scored]) -> Vec<i64> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.n);
    let mut versions: Vec<i64> = rows.iter().map(|row| row.version).collect();
    versions.dedup();
    versions
}

#[test]
fn a_swap_under_load_loses_no_row_and_a_rollback_none_either() {
    let plant = Plant::new();
    let mut engine = plant.engine(&plant.data(), "", "").unwrap();
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    let (stop, feeding) = feed(input, 0);
    let mut all = Vec::new();
    until(&mut rows, &mut all, |row| row.version == 2);
    plant.alter("SET VERSION 1").unwrap();
    let down = until(&mut rows, &mut all, |row| row.version == 1);
    plant.alter("ROLLBACK").unwrap();
    let up = until(&mut rows, &mut all, |row| row.version == 2);
    eprintln!("longest wait for the next rows: {down:?} at the swap, {up:?} at the rollback");
    plant.alter("SET SHADOW VERSION 1").unwrap();
    until(&mut rows, &mut all, |row| row.shadow == Some(value(row.n)));
    plant.alter("DROP SHADOW").unwrap();
    until(&mut rows, &mut all, |row| row.shadow.is_none());
    drop(stop);
    while let Some(batch) = rows.blocking_recv() {
        all.extend(scored(batch.rows()));
    }
    let count = feeding.join().unwrap();
    running.wait().unwrap();
    assert_whole(&all, count);
    assert_eq!(versions(&all), [2, 1, 2]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_replay_scores_each_row_by_the_version_of_its_epoch() {
    let plant = Plant::new();
    let durability = Durability { checkpoint_every: Duration::from_secs(3600), ..Durability::default() };
    let mut engine = plant.engine(&plant.data(), "", "").unwrap();
    engine.durable(durability.clone());
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    let mut all = Vec::new();
    let changes = [("", 2), ("SET VERSION 1", 1), ("SET VERSION 2", 2), ("SET VERSION 1", 1)];
    let number = plant.swap_through(&changes, &input, &mut rows, &mut all);
    assert_eq!(versions(&all), [2, 1, 2, 1]);
    // As a crash leaves it; meanwhile somebody has chosen version 2 again.
    let crashed = plant.folder.path().join("crashed");
    copy(&plant.data(), &crashed);
    alter(&crashed, "SET VERSION 2").unwrap();
    running.stop();
    while rows.blocking_recv().is_some() {}
    running.wait().unwrap();

    let mut engine = plant.engine(&crashed, "", "").unwrap();
    engine.durable(durability);
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    let mut again = Vec::new();
    until(&mut rows, &mut again, |row| row.n == number * ROWS - 1);
    let sorted = |mut rows: Vec<Scored>| {
        rows.sort_by_key(|row| row.n);
        rows
    };
    assert_eq!(sorted(again.clone()), sorted(all));
    input.send(batch(number)).unwrap();
    until(&mut rows, &mut again, |row| row.n == (number + 1) * ROWS - 1);
    assert_whole(&again, (number + 1) * ROWS);
    assert_eq!(versions(&again), [2, 1, 2, 1, 2], "new rows are scored by what was chosen meanwhile");
    running.stop();
    while rows.blocking_recv().is_some() {}
    running.wait().unwrap();
}

#[test]
fn a_new_version_that_does_not_pass_its_gate_scores_beside_the_old_one() {
    let plant = Plant { folder: tempfile::tempdir().unwrap() };
    plant.learn(1, ", gate = 'mae < 0.5'");
    // A row that no line explains is among those that are held back.
    let path = plant.folder.path().join("history.csv");
    let worse = std::fs::read_to_string(&path).unwrap() + "60,9000\n";
    std::fs::write(&path, worse).unwrap();
    let mut engine = plant.engine(&plant.data(), ", gate = 'mae < 0.5'", "").unwrap();
    let input = engine.input("readings").unwrap();
    engine.subscribe("scored");
    let running = engine.start().unwrap();
    drop(input);
    running.wait().unwrap();
    let (_, rows) =
        history::query("SELECT version, is_live, is_shadow FROM lineshaft.models ORDER BY 1", &plant.data())
            .unwrap();
    let flags =
        |column: usize| rows[0].column(column).as_boolean().iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!((flags(1), flags(2)), (vec![true, false], vec![false, true]));
    // Without one to go on with there is nothing to score by.
    let other = plant.folder.path().join("other");
    let refused = plant.engine(&other, ", gate = 'mae < 0.5'", "").unwrap().start().err().unwrap();
    assert!(refused.to_string().contains("model \"power\" does not pass its gate: its mae is"), "{refused}");
}

#[test]
fn retraining_takes_up_new_data_while_the_program_runs() {
    let plant = Plant::new();
    let every = ") RETRAIN EVERY INTERVAL '300' MILLISECOND";
    let mut engine = plant.engine(&plant.data(), every, "").unwrap();
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    let (stop, feeding) = feed(input, 0);
    let mut all = Vec::new();
    until(&mut rows, &mut all, |row| row.version == 2);
    plant.history(3);
    until(&mut rows, &mut all, |row| row.version == 3);
    drop(stop);
    while let Some(batch) = rows.blocking_recv() {
        all.extend(scored(batch.rows()));
    }
    assert_whole(&all, feeding.join().unwrap());
    assert_eq!(versions(&all), [2, 3]);
    running.wait().unwrap();
}

/// A stream whose x rises by 500 at the row [`DRIFT`].
fn drifting(number: i64) -> RecordBatch {
    let whole = batch(number);
    let n = number * ROWS..(number + 1) * ROWS;
    let x: Float64Array = n.map(|n| Some(drifting_value(n))).collect();
    let columns = [whole.column(0), whole.column(1), &(Arc::new(x) as _)];
    RecordBatch::try_new(whole.schema(), columns.map(Arc::clone).into()).unwrap()
}

const DRIFT: i64 = 40 * ROWS;

fn drifting_value(n: i64) -> f64 {
    value(n % 7) + if n < DRIFT { 0.0 } else { 500.0 }
}

/// Rows before and after a drift of x, with new training data at hand from the start; the batches and rows. Two batches after the
/// first version of those data scores are the end.
fn drift_through(
    plant: &Plant,
    input: &lineshaft::Input,
    rows: &mut Receiver<lineshaft::Batch>,
) -> (i64, Vec<Scored>) {
    let (mut all, mut number) = (Vec::new(), 0);
    while number < 20 {
        answered(&drifting(number), input, rows, &mut all);
        number += 1;
    }
    plant.history(3);
    // Several looks after the models.
    std::thread::sleep(Duration::from_millis(700));
    let clock = Clock::system();
    let started = clock.steady();
    let mut newest = 0;
    while newest != 3 {
        answered(&drifting(number), input, rows, &mut all);
        number += 1;
        newest = all.iter().max_by_key(|row| row.n).unwrap().version;
        assert!(clock.steady() - started < LONG_US, "no training after {number} batches");
    }
    let first = all.iter().filter(|row| row.version == 3).map(|row| row.n).min().unwrap();
    assert!(first > DRIFT, "trained at row {first} by chance");
    assert_eq!(versions(&all), [2, 3]);
    for row in &all {
        let expected = f64::from(i32::try_from(row.version).unwrap()) * drifting_value(row.n);
        assert!((row.y - expected).abs() < 1e-6, "{row:?}");
    }
    (number, all)
}

#[test]
fn a_model_whose_features_drift_is_trained_on_new_data_and_only_then() {
    let plant = Plant::new();
    let mut engine = plant.engine(&plant.data(), ") RETRAIN ON DRIFT", "").unwrap();
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    drift_through(&plant, &input, &mut rows);
    drop(input);
    running.wait().unwrap();
}

#[test]
fn a_drift_is_what_a_query_says_and_a_replay_scores_as_before() {
    let plant = Plant::new();
    let on_drift = ") RETRAIN EVERY INTERVAL '1' DAY ON DRIFT (SELECT ts FROM watched WHERE has_risen)";
    let more = "CREATE VIEW watched AS SELECT ts, page_hinkley(x, 2000) OVER (ORDER BY ts) AS has_risen FROM readings;";
    let durability = Durability { checkpoint_every: Duration::from_secs(3600), ..Durability::default() };
    let mut engine = plant.engine(&plant.data(), on_drift, more).unwrap();
    engine.durable(durability.clone());
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    let (number, mut all) = drift_through(&plant, &input, &mut rows);
    let crashed = plant.folder.path().join("crashed");
    copy(&plant.data(), &crashed);
    running.stop();
    while rows.blocking_recv().is_some() {}
    running.wait().unwrap();
    let (_, drifts) = history::query("SELECT count(*) FROM power.drift", &plant.data()).unwrap();
    assert_eq!(drifts[0].column(0).as_primitive::<Int64Type>().value(0), 1, "they are kept");

    let mut engine = plant.engine(&crashed, on_drift, more).unwrap();
    engine.durable(durability);
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    let mut again = Vec::new();
    until(&mut rows, &mut again, |row| row.n == number * ROWS - 1);
    let by_number = |rows: &mut Vec<Scored>| rows.sort_by_key(|row| row.n);
    by_number(&mut all);
    by_number(&mut again);
    assert_eq!(again, all);
    drop(input);
    running.wait().unwrap();
    assert!(
        !crashed.join("models/power/v4.model").exists(),
        "the drift that was answered asks again in vain"
    );
}

#[test]
fn what_cannot_be_chosen_is_refused_with_a_reason() {
    let plant = Plant::new();
    let refused = |what: &str| plant.alter(what).unwrap_err().to_string();
    assert_eq!(refused("SET VERSION 7"), "model \"power\" has no version 7; there are 1, 2");
    assert_eq!(refused("SET SHADOW VERSION 2"), "version 2 of model \"power\" scores already");
    assert!(
        refused("SET VERSION 0").contains("the number of a version, from 1 up"),
        "{}",
        refused("SET VERSION 0")
    );
    assert!(refused("RENAME TO x").contains("SET VERSION, SET SHADOW VERSION, DROP SHADOW or ROLLBACK"));
    let other = history::query("ALTER MODEL wear SET VERSION 1", &plant.data()).unwrap_err().to_string();
    assert!(other.contains("there is no model \"wear\""), "{other}");
    let check = |more: &str| plant.engine(&plant.data(), "", more).err().unwrap().to_string();
    assert!(check("ALTER MODEL pwer SET VERSION 1;").contains("did you mean \"power\""));
    assert!(check("ALTER MODEL power ROLLBACK;").contains("would go back at every start"));
}

#[test]
fn a_program_may_say_which_version_scores() {
    let plant = Plant::new();
    let mut engine = plant.engine(&plant.data(), "", "ALTER MODEL power SET VERSION 1;").unwrap();
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    input.send(batch(0)).unwrap();
    let mut all = Vec::new();
    until(&mut rows, &mut all, |row| row.n == ROWS - 1);
    assert_eq!(versions(&all), [1]);
    drop(input);
    running.wait().unwrap();
}

#[test]
fn a_score_is_the_base_and_what_each_feature_adds() {
    let plant = Plant::new();
    let more = "CREATE SINK explained WITH (connector = 'parquet', path = 'explained') AS
        SELECT n, predict('power', x) AS y, model_value('power', 'base', x) AS base,
               contributions('power', 'prediction', x)[1] AS by_x FROM readings;";
    let engine = plant.engine(&plant.data(), "", more).unwrap();
    let input = engine.input("readings").unwrap();
    let running = engine.start().unwrap();
    input.send(batch(0)).unwrap();
    drop(input);
    running.wait().unwrap();
    let count = |sql: &str| {
        let (_, rows) = history::query(sql, &plant.data()).unwrap();
        rows[0].column(0).as_primitive::<Int64Type>().value(0)
    };
    assert_eq!(count("SELECT count(*) FROM explained WHERE abs(base + by_x - y) < 1e-9"), ROWS);
    let of =
        "SELECT count(*) FROM lineshaft.importance WHERE feature = 'x' AND metric = 'rmse' AND value > 1";
    assert_eq!(count(of), 2, "a row per version");
    let wrong = "CREATE VIEW w AS SELECT contributions('power', 'spe', x) FROM readings;";
    let refused = plant.engine(&plant.data(), "", wrong).err().unwrap().to_string();
    assert!(refused.contains("it has prediction"), "{refused}");
}

#[test]
fn a_row_that_is_taken_back_has_the_score_that_it_was_given() {
    let plant = Plant::new();
    let more =
        "CREATE VIEW greatest AS SELECT n % 3 AS k, max(CAST(n AS DOUBLE)) AS x FROM readings GROUP BY n % 3;
        CREATE VIEW greatest_scored AS SELECT k, x, predict('power', x) AS y FROM greatest;";
    let mut engine = plant.engine(&plant.data(), "", more).unwrap();
    let view = engine.read("greatest_scored");
    let (input, mut rows) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    plant.swap_through(
        &[("", 2), ("SET VERSION 1", 1), ("SET VERSION 2", 2)],
        &input,
        &mut rows,
        &mut Vec::new(),
    );
    drop(input);
    running.wait().unwrap();
    let (_, left) = view.rows().unwrap().unwrap();
    let values = |name: &str| -> Vec<f64> {
        left.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec()
    };
    assert_eq!(values("y").len(), 3, "a row per key, whatever scored it: {left:?}");
    for (x, y) in values("x").into_iter().zip(values("y")) {
        assert!((y - 2.0 * x).abs() < 1e-6, "the version with which the state began: {left:?}");
    }
}

#[test]
fn a_damaged_version_stands_in_the_way_of_no_other_table() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("history.csv"), "x,y\n1,2\n2,4\n3,6\n4,8\n5,10\n6,12\n").unwrap();
    let program = "CREATE SOURCE history (x DOUBLE, y DOUBLE) WITH (connector = 'file', path = 'history.csv', format = 'csv');
        CREATE MODEL line WITH (algorithm = 'ridge', target = 'y', test_fraction = 0) AS SELECT x, y FROM history;
        CREATE MATERIALIZED VIEW scored AS SELECT x, predict('line', x) AS y FROM history;";
    std::fs::write(folder.path().join("line.sql"), program).unwrap();
    lineshaft(folder.path(), &["run", "line.sql", "--data", "data"]).exits(0);
    let file = folder.path().join("data/models/line/v1.model");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let query =
        |sql: &str| lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "csv"]).exits(0);
    let said = query("SELECT count(*) AS n FROM scored")
        .tells("not in lineshaft.models")
        .tells("damaged or cut short");
    assert!(said.out.contains("n\n6"), "{}", said.out);
    assert!(query("SELECT count(*) AS n FROM lineshaft.models").out.contains("n\n0"));
    lineshaft(folder.path(), &["run", "line.sql", "--data", "data"]).exits(3).tells("damaged or cut short");
}
