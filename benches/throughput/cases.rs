//! What is measured: the same question to Lineshaft and to the limit.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use lineshaft::Engine;

use crate::measure::{Timer, report};

/// A question, and who answers it besides us.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Which rows: `1k` or `100k` devices.
    pub(crate) devices: &'static str,
    pub(crate) input: Input,
    /// Our query.
    pub(crate) ours: &'static str,
    /// Options of our sink.
    pub(crate) sink: &'static str,
    /// The other side.
    pub(crate) limit: Limit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Parquet,
    Csv,
    Json,
}

/// What a case is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// DataFusion, batch, with this SQL, writing its result as Parquet.
    DataFusion(&'static str),
    /// The Arrow reader of the format alone, one thread a file half.
    Reader,
}

const TUMBLING: &str = "SELECT device_id, window_start, count(*) AS n,
    avg(temperature) AS t_avg, min(temperature) AS t_min, max(temperature) AS t_max, stddev_pop(temperature) AS t_std,
    avg(vibration) AS v_avg, min(vibration) AS v_min, max(vibration) AS v_max, stddev_pop(vibration) AS v_std,
    avg(pressure) AS p_avg, min(pressure) AS p_min, max(pressure) AS p_max, stddev_pop(pressure) AS p_std
    FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) GROUP BY device_id, window_start, window_end";
const TUMBLING_BATCH: &str = "SELECT device_id, date_bin(INTERVAL '10 seconds', ts) AS w, count(*) AS n,
    avg(temperature) AS t_avg, min(temperature) AS t_min, max(temperature) AS t_max, stddev_pop(temperature) AS t_std,
    avg(vibration) AS v_avg, min(vibration) AS v_min, max(vibration) AS v_max, stddev_pop(vibration) AS v_std,
    avg(pressure) AS p_avg, min(pressure) AS p_min, max(pressure) AS p_max, stddev_pop(pressure) AS p_std
    FROM readings GROUP BY device_id, date_bin(INTERVAL '10 seconds', ts)";
const HOPPING: &str = "SELECT device_id, window_start, avg(temperature) AS t_avg, max(temperature) AS t_max
    FROM HOP(readings, ts, INTERVAL '5' SECOND, INTERVAL '60' SECOND) GROUP BY device_id, window_start, window_end";
/// The cheap plan that a batch user would write: panes of 5 s, then each into its 12 windows.
const HOPPING_BATCH: &str = "WITH pane AS (SELECT device_id, CAST(ts AS BIGINT) / 5000000 AS p,
        sum(temperature) AS s, count(*) AS c, max(temperature) AS m FROM readings GROUP BY device_id, 2)
    SELECT device_id, p - k AS w, sum(s) / sum(c) AS t_avg, max(m) AS t_max
    FROM pane CROSS JOIN (VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11)) AS o(k) GROUP BY device_id, 2";
const FILTER: &str = "SELECT ts, device_id, temperature + 273.15 AS kelvin, vibration, pressure
    FROM readings WHERE status = 0 AND vibration > 1.5";
const SESSION: &str = "SELECT device_id, window_start, count(*) AS n, max(temperature) AS t_max
    FROM SESSION(readings, ts, INTERVAL '300' MILLISECOND, device_id) GROUP BY device_id, window_start, window_end";
const SESSION_BATCH: &str = "WITH g AS (SELECT device_id, ts, temperature,
        CASE WHEN ts - lag(ts) OVER w <= INTERVAL '300 milliseconds' THEN 0 ELSE 1 END AS b
        FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY ts)),
    s AS (SELECT device_id, ts, temperature, sum(b) OVER (PARTITION BY device_id ORDER BY ts
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS sid FROM g)
    SELECT device_id, min(ts) AS s_start, count(*) AS n, max(temperature) AS t_max FROM s GROUP BY device_id, sid";
const OVER: &str = "SELECT ts, device_id, avg(temperature) OVER w AS t_avg, max(vibration) OVER w AS v_max
    FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY ts ROWS 9 PRECEDING)";
/// Frames of about a thousand rows.
const OVER_LONG: &str =
    "SELECT ts, device_id, avg(temperature) OVER w AS t_avg, stddev(vibration) OVER w AS v_std
    FROM readings WINDOW w AS (PARTITION BY device_id ORDER BY ts ROWS 999 PRECEDING)";
/// A look-up in a table, and a window over what it gives.
const LOOK_UP: &str =
    "SELECT site, line, window_start, count(*) AS n FROM TUMBLE(above, ts, INTERVAL '1' MINUTE)
    GROUP BY site, line, window_start, window_end";
const LOOK_UP_BATCH: &str = "SELECT site, line, date_bin(INTERVAL '1 minute', ts) AS w, count(*) AS n
    FROM readings JOIN machines USING (device_id) WHERE temperature > limit_c
    GROUP BY site, line, date_bin(INTERVAL '1 minute', ts)";
const AS_OF: &str = "SELECT recipe_id, window_start, avg(off) AS off, count(*) AS n
    FROM TUMBLE(measured, ts, INTERVAL '1' MINUTE) GROUP BY recipe_id, window_start, window_end";
/// Each version with its end, as one who has no as-of join would write it.
const AS_OF_BATCH: &str = "WITH v AS (SELECT device_id, valid_from, recipe_id, set_point,
        lead(valid_from, 1, TIMESTAMP '2100-01-01') OVER (PARTITION BY device_id ORDER BY valid_from) AS valid_to FROM recipes)
    SELECT recipe_id, date_bin(INTERVAL '1 minute', ts) AS w, avg(abs(temperature - set_point)) AS off, count(*) AS n
    FROM readings r JOIN v ON r.device_id = v.device_id AND r.ts >= v.valid_from AND r.ts < v.valid_to
    GROUP BY recipe_id, date_bin(INTERVAL '1 minute', ts)";
/// Without a window: every change of a group is written, where batch writes the last one.
const GROUPED: &str = "SELECT device_id, status, count(*) AS n FROM readings GROUP BY device_id, status";
const UPSERT: &str = ", changelog = 'upsert', key = 'device_id, status'";
/// What the queries read besides the readings.
const VIEWS: &str = "CREATE VIEW above AS SELECT m.site, m.line, r.ts FROM readings r
        JOIN machines m ON r.device_id = m.device_id WHERE r.temperature > m.limit_c;
    CREATE VIEW measured AS SELECT v.recipe_id, r.ts, abs(r.temperature - v.set_point) AS off FROM readings r
        ASOF JOIN recipes v MATCH_CONDITION (r.ts >= v.valid_from) ON r.device_id = v.device_id;";
/// Reading alone: almost no row passes.
const SCAN: &str =
    "SELECT ts, device_id, temperature, vibration, pressure, status FROM readings WHERE vibration > 1e9";

pub(crate) const CASES: &[Case] = &[
    case("tumbling", "1k", Input::Parquet, TUMBLING, Limit::DataFusion(TUMBLING_BATCH)),
    case("hopping", "1k", Input::Parquet, HOPPING, Limit::DataFusion(HOPPING_BATCH)),
    case("filter", "1k", Input::Parquet, FILTER, Limit::DataFusion(FILTER)),
    case("session", "1k", Input::Parquet, SESSION, Limit::DataFusion(SESSION_BATCH)),
    case("over", "1k", Input::Parquet, OVER, Limit::DataFusion(OVER)),
    case("over long", "1k", Input::Parquet, OVER_LONG, Limit::DataFusion(OVER_LONG)),
    case("look-up", "1k", Input::Parquet, LOOK_UP, Limit::DataFusion(LOOK_UP_BATCH)),
    case("as of", "1k", Input::Parquet, AS_OF, Limit::DataFusion(AS_OF_BATCH)),
    Case { sink: UPSERT, ..case("grouped", "1k", Input::Parquet, GROUPED, Limit::DataFusion(GROUPED)) },
    case("tumbling 100k", "100k", Input::Parquet, TUMBLING, Limit::DataFusion(TUMBLING_BATCH)),
    case("csv", "1k", Input::Csv, SCAN, Limit::Reader),
    case("json", "1k", Input::Json, SCAN, Limit::Reader),
];

const fn case(
    name: &'static str,
    devices: &'static str,
    input: Input,
    ours: &'static str,
    limit: Limit,
) -> Case {
    Case { name, devices, input, ours, sink: "", limit }
}

/// One run in a process of its own: `ours|limit CASE FOLDER WORKERS`.
pub(crate) fn child(arguments: &[String]) {
    let [side, name, folder, workers] = arguments else { panic!("four arguments") };
    let case = CASES.iter().find(|case| case.name == name).expect("a case");
    let (folder, workers) = (Path::new(folder), workers.parse().expect("a number"));
    let timer = Timer::start();
    let rows = match (side.as_str(), case.limit) {
        ("ours", _) => ours(case, folder, workers),
        (_, Limit::DataFusion(sql)) => batch(sql, folder, workers),
        (_, Limit::Reader) => reader(case.input, folder, workers),
    };
    report(&timer, rows);
}

fn ours(case: &Case, folder: &Path, workers: usize) -> usize {
    let (path, format) = match case.input {
        Input::Parquet => (folder.join("parquet"), "parquet"),
        Input::Csv => (folder.join("all.csv"), "csv"),
        Input::Json => (folder.join("all.jsonl"), "jsonl"),
    };
    let sql = format!(
        "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, device_id TEXT NOT NULL, temperature DOUBLE, vibration DOUBLE,
             pressure DOUBLE, status INT, WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
             WITH (connector = 'file', path = '{}', format = '{format}');
         CREATE TABLE machines (device_id TEXT PRIMARY KEY, site TEXT, line TEXT, limit_c DOUBLE)
             WITH (connector = 'file', path = '{}/machines.parquet', format = 'parquet');
         CREATE TABLE recipes (device_id TEXT, valid_from TIMESTAMP, recipe_id TEXT, set_point DOUBLE)
             WITH (connector = 'file', path = '{}/recipes.parquet', format = 'parquet');
         {VIEWS}
         CREATE SINK result WITH (connector = 'parquet', path = 'result'{}) AS {};",
        path.display(),
        folder.display(),
        folder.display(),
        case.sink,
        case.ours
    );
    let output = tempfile::tempdir().expect("a folder");
    let mut engine = Engine::from_sql(&sql).unwrap_or_else(|error| panic!("{error}"));
    engine.data(output.path()).workers(workers);
    let running = engine.start().unwrap_or_else(|error| panic!("{error}"));
    let metrics = running.metrics();
    running.wait().unwrap_or_else(|error| panic!("{error}"));
    let readings = metrics.sources.iter().find(|source| source.name == "readings").expect("a source");
    assert_eq!(readings.late.get() + readings.quarantined.get(), 0);
    usize::try_from(readings.received.get()).expect("a number of rows")
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn batch(sql: &str, folder: &Path, workers: usize) -> usize {
    let output = tempfile::tempdir().expect("a folder");
    runtime(workers).block_on(async {
        let config = SessionConfig::new().with_target_partitions(workers);
        let context = SessionContext::new_with_config(config);
        let path = folder.join("parquet").display().to_string();
        context.register_parquet("readings", path, ParquetReadOptions::default()).await.expect("a table");
        for table in ["machines", "recipes"] {
            let path = folder.join(format!("{table}.parquet")).display().to_string();
            context.register_parquet(table, path, ParquetReadOptions::default()).await.expect("a table");
        }
        let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{error}"));
        let path = output.path().join("result").display().to_string();
        frame
            .write_parquet(&path, DataFrameWriteOptions::new(), None)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let count = context.sql("SELECT count(*) FROM readings").await.expect("a query");
        let count = count.collect().await.expect("rows");
        let count: &arrow::array::Int64Array = arrow::array::AsArray::as_primitive(count[0].column(0));
        usize::try_from(count.value(0)).expect("a number of rows")
    })
}

fn schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("device_id", DataType::Utf8, false),
        number("temperature"),
        number("vibration"),
        number("pressure"),
        Field::new("status", DataType::Int32, true),
    ]))
}

/// The Arrow reader alone, on as many threads as there are workers, each with its share of the lines.
fn reader(input: Input, folder: &Path, workers: usize) -> usize {
    let name = if input == Input::Csv { "all.csv" } else { "all.jsonl" };
    let mut bytes = Vec::new();
    File::open(folder.join(name)).expect("a file").read_to_end(&mut bytes).expect("read");
    let lines =
        if input == Input::Csv { bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1) } else { 0 };
    let bytes = &bytes[lines..];
    let mut cuts = vec![0];
    for share in 1..workers {
        let about = bytes.len() * share / workers;
        cuts.push(about + bytes[about..].iter().position(|b| *b == b'\n').map_or(0, |at| at + 1));
    }
    cuts.push(bytes.len());
    std::thread::scope(|scope| {
        let shares = cuts.windows(2).map(|cut| {
            let share = &bytes[cut[0]..cut[1]];
            scope.spawn(move || read(input, share))
        });
        shares.collect::<Vec<_>>().into_iter().map(|share| share.join().expect("read")).sum()
    })
}

fn read(input: Input, bytes: &[u8]) -> usize {
    let rows =
        |batch: Result<arrow::array::RecordBatch, arrow::error::ArrowError>| batch.expect("rows").num_rows();
    match input {
        Input::Csv => {
            let reader = arrow::csv::ReaderBuilder::new(schema())
                .with_batch_size(8192)
                .build(bytes)
                .expect("a reader");
            reader.map(rows).sum()
        }
        _ => {
            let reader = arrow::json::ReaderBuilder::new(schema()).with_batch_size(8192);
            reader.build(BufReader::new(bytes)).expect("a reader").map(rows).sum()
        }
    }
}
