//! What a program streams equals what DataFusion's batch execution gives over the same rows: for any batching, any
//! order within the declared disorder, and bit for bit the same with 1, 2 and 4 workers.

mod compare;
mod files;
mod groups;
mod joins;
mod lookups;
mod over;
mod queries;
mod rows;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use lineshaft::Engine;
use lineshaft::engine::declaration::{OptionError, SinkDeclaration, SourceDeclaration};
use lineshaft::engine::metrics::Metrics;
use lineshaft::engine::testing::Collected;
use lineshaft::queries::Connectors;
use lineshaft::queries::batch::Tables;
use lineshaft::queries::parse::ProcessEnvironment;
use lineshaft::queries::span::SourceFile;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use compare::{bits, difference};
use queries::Query;
use rows::Input;

/// Inputs tried for each list of queries.
const CASES: u32 = 3;

/// Every connector is there and every source ends: the oracle reads tables in memory.
struct AnyConnector;

impl Connectors for AnyConnector {
    fn check_source(&self, _declaration: &SourceDeclaration) -> Vec<OptionError> {
        Vec::new()
    }

    fn check_sink(&self, _declaration: &SinkDeclaration) -> Vec<OptionError> {
        Vec::new()
    }

    fn is_bounded(&self, _declaration: &SourceDeclaration) -> bool {
        true
    }
}

/// Sources, queries as views, and a sink for each that is compared.
fn program(declarations: &str, queries: &[Query]) -> String {
    let mut sql = declarations.to_owned();
    for query in queries {
        sql.push_str(&format!("CREATE VIEW {} AS {};\n", query.name, query.sql));
        sql.push_str(&format!("CREATE SINK {0} FROM {0} WITH (connector = 'memory');\n", query.name));
    }
    sql
}

/// What each view gives over all rows at once.
fn batch(sql: &str, queries: &[Query], tables: &Tables) -> BTreeMap<String, Vec<RecordBatch>> {
    let files = [SourceFile::new("oracle.sql", sql)];
    let program = lineshaft::queries::compile(&files, &AnyConnector, &ProcessEnvironment);
    let program = program.expect("the engine has taken the same program");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rows = |query: &Query| {
        let rows = runtime.block_on(program.batch(query.name, tables));
        (query.name.to_owned(), rows.unwrap_or_else(|error| panic!("{}: {error}", query.name)))
    };
    queries.iter().map(rows).collect()
}

/// What each view gives when the rows are streamed.
fn streamed(
    sql: &str,
    queries: &[Query],
    tables: &Tables,
    workers: usize,
) -> (BTreeMap<String, Vec<RecordBatch>>, Arc<Metrics>) {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::from_sql(sql).unwrap();
    engine.data(folder.path()).workers(workers);
    let mut sinks = BTreeMap::new();
    for query in queries {
        let collected = Collected::default();
        engine.add_sink(query.name, Arc::new(collected.clone()));
        sinks.insert(query.name.to_owned(), collected);
    }
    let senders: Vec<_> = tables
        .iter()
        .map(|(name, rows)| {
            let (input, rows) = (engine.input(name).unwrap(), rows.clone());
            // A source that no query reads takes nothing.
            std::thread::spawn(move || rows.into_iter().all(|rows| input.send(rows).is_ok()))
        })
        .collect();
    let running = engine.start().unwrap();
    let metrics = running.metrics();
    running.wait().unwrap();
    senders.into_iter().for_each(|sender| {
        sender.join().unwrap();
    });
    (sinks.into_iter().map(|(name, collected)| (name, collected.batches())).collect(), metrics)
}

/// What differs between streaming and batch, and between numbers of workers.
fn differences(declarations: &str, queries: &[Query], input: &Input) -> Vec<String> {
    let sql = program(declarations, queries);
    let tables = input.tables();
    let expected = batch(&sql, queries, &tables);
    let mut found = Vec::new();
    let mut first: Option<BTreeMap<String, Vec<String>>> = None;
    for workers in [1, 2, 4] {
        let (rows, metrics) = streamed(&sql, queries, &tables, workers);
        for source in &metrics.sources {
            assert_eq!(source.received.get(), source.processed.get(), "{}: late or bad rows", source.name);
        }
        let exact: BTreeMap<String, Vec<String>> =
            rows.iter().map(|(name, rows)| (name.clone(), bits(rows))).collect();
        match &first {
            None => {
                for query in queries.iter().filter(|query| !query.is_approximate) {
                    let difference = difference(&rows[query.name], &expected[query.name]);
                    found.extend(difference.map(|difference| format!("{}: {difference}", query.name)));
                }
                first = Some(exact);
            }
            Some(first) => {
                let differs = exact.iter().filter(|(name, rows)| first[*name] != **rows);
                found.extend(differs.map(|(name, rows)| {
                    let pair = first[name].iter().zip(rows).find(|(a, b)| a != b);
                    format!("{name}: other rows with {workers} workers: {pair:?}")
                }));
            }
        }
    }
    found
}

/// Streams the queries over random inputs, the same ones at every run.
fn check(queries: &[Query]) {
    check_under(rows::DECLARATIONS, queries);
}

fn check_under(declarations: &str, queries: &[Query]) {
    if let Err(errors) = Engine::from_sql(&program(declarations, queries)) {
        panic!("{errors}");
    }
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 12,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&rows::input(), |input| {
        let found = differences(declarations, queries, &input);
        proptest::prop_assert!(found.is_empty(), "\n{}", found.join("\n"));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn aggregates_of_datafusion_over_tumbling_windows_equal_batch() {
    check(queries::AGGREGATES);
}

#[test]
fn features_over_tumbling_windows_equal_batch() {
    check(queries::FEATURES);
}

#[test]
fn hopping_session_and_count_windows_equal_batch() {
    check(queries::WINDOWS);
}

#[test]
fn cumulating_and_state_windows_equal_batch() {
    check(windows::KINDS);
}

#[test]
fn distinct_ordered_and_filtered_aggregates_of_every_kind_of_window_equal_batch() {
    check(windows::AGGREGATES);
}

#[test]
fn grouping_sets_over_windows_equal_batch() {
    check(windows::GROUPING_SETS);
}

#[test]
fn functions_per_window_equal_batch() {
    check(windows::PER_WINDOW);
}

#[test]
fn windows_of_windows_of_every_kind_equal_batch() {
    check(windows::NESTED);
}

#[test]
fn rows_of_windows_and_bounds_among_other_columns_equal_batch() {
    check(windows::ROWS);
}

/// The same sources, of which the first allows for late rows where it declared disorder.
fn patient() -> String {
    let declared = "INTERVAL '2' SECOND\n) WITH (connector = 'memory', bounded = true);";
    let patient = "INTERVAL '300' MILLISECOND\n) WITH (connector = 'memory', bounded = true, allowed_lateness = '2 s');";
    assert!(rows::DECLARATIONS.contains(declared));
    rows::DECLARATIONS.replacen(declared, patient, 1)
}

#[test]
fn windows_that_late_rows_correct_equal_batch() {
    check_under(&patient(), windows::CORRECTED);
    check_under(&patient(), windows::NESTED);
}

#[test]
fn windows_that_are_given_early_equal_batch() {
    check(windows::EARLY);
}

#[test]
fn keys_filters_and_expressions_equal_batch() {
    check(queries::EXPRESSIONS);
}

#[test]
fn nested_views_diamonds_and_unions_equal_batch() {
    check(queries::GRAPHS);
}

#[test]
fn joins_of_a_stream_with_a_table_equal_batch() {
    check(queries::JOINS);
}

#[test]
fn look_ups_of_a_stream_in_what_is_made_of_tables_equal_batch() {
    check(lookups::LOOKUPS);
}

#[test]
fn functions_over_the_rows_around_a_row_equal_batch() {
    check(over::OVER);
}

#[test]
fn rows_at_fixed_times_equal_batch() {
    check(over::RESAMPLE);
}

#[test]
fn changelogs_add_up_to_batch() {
    check(queries::CHANGELOGS);
}

#[test]
fn groups_that_event_time_closes_equal_batch() {
    check(groups::CLOSING_GROUPS);
}

#[test]
fn groups_without_a_window_add_up_to_batch() {
    check(groups::GROUPS);
}

#[test]
fn groups_among_joins_subqueries_and_top_k_add_up_to_batch() {
    check(groups::GROUPS_AND_JOINS);
}

#[test]
fn groups_of_groups_add_up_to_batch() {
    check(groups::GROUPS_OF_GROUPS);
}

#[test]
fn joins_of_windows_equal_batch() {
    check(joins::WINDOWS);
}

#[test]
fn joins_within_an_interval_equal_batch() {
    check(joins::INTERVALS);
}

#[test]
fn as_of_joins_equal_batch() {
    check(joins::AS_OF);
}

/// Runs a program of one file over the rows of an input; gives its rows and what went where.
fn from_file(sql: &str, folder: &std::path::Path) -> Vec<String> {
    let mut engine = Engine::from_sql(sql).unwrap();
    let collected = Collected::default();
    engine.data(folder.join("data")).workers(2).add_sink("sums", Arc::new(collected.clone()));
    engine.start().unwrap().wait().unwrap();
    bits(&collected.batches())
}

#[test]
fn files_of_every_format_and_compression_give_the_rows_of_memory() {
    let columns = "ts TIMESTAMP NOT NULL, id BIGINT, machine TEXT, line TEXT, x DOUBLE, y DOUBLE, n BIGINT, ok BOOLEAN, \
                   \"room temp\" DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND";
    let queries = [
        "SELECT window_start, machine, count(*) AS a, sum(x) AS b, avg(\"room temp\") AS c, bool_or(ok) AS d, \
         max(line) AS e, min(n) AS f FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, machine",
        "SELECT machine, count(*) AS a, sum(x) AS b, max(line) AS c, count(DISTINCT line) AS d FROM readings \
         GROUP BY machine",
        "SELECT DISTINCT machine, line FROM readings",
    ];
    let queries = queries.map(|sql| Query { name: "sums", sql, is_approximate: false });
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let result = runner.run(&rows::input(), |input| {
        let folder = tempfile::tempdir().unwrap();
        let files = files::write(folder.path(), &input.readings());
        for query in queries {
            let (rows, _) = streamed(&program(rows::DECLARATIONS, &[query]), &[query], &input.tables(), 1);
            let expected = bits(&rows["sums"]);
            for (file, format) in &files {
                let path = folder.path().join(file);
                let sql = format!(
                    "CREATE SOURCE readings ({columns}) WITH (connector = 'file', path = '{}', format = '{format}');
                     CREATE VIEW sums AS {};
                     CREATE SINK sums FROM sums WITH (connector = 'memory');",
                    path.display(),
                    query.sql
                );
                proptest::prop_assert_eq!(&from_file(&sql, folder.path()), &expected, "{}", file);
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Ids of the rows that are below the watermark when they come, told by a plain loop.
fn late_ids(rows: &RecordBatch, disorder: i64) -> Vec<i64> {
    let times = rows["ts"].as_primitive::<TimestampMicrosecondType>();
    let ids = rows["id"].as_primitive::<Int64Type>();
    let mut greatest = i64::MIN;
    let mut late = Vec::new();
    for (time, id) in times.values().iter().zip(ids.values()) {
        if *time < greatest.saturating_sub(disorder) {
            late.push(*id);
        }
        greatest = greatest.max(*time);
    }
    late.sort_unstable();
    late
}

#[test]
fn rows_below_the_watermark_are_exactly_those_in_late_and_every_row_is_counted_once() {
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let declarations = rows::DECLARATIONS.replacen("INTERVAL '2' SECOND", "INTERVAL '300' MILLISECOND", 1);
    let sql = format!(
        "{declarations} CREATE SINK late FROM readings.late WITH (connector = 'memory');
         CREATE SINK seen AS SELECT id FROM readings WITH (connector = 'memory');"
    );
    let result = runner.run(&rows::input(), |input| {
        let expected = late_ids(&input.readings(), 300_000);
        for workers in [1, 2, 4] {
            let sinks = ["late", "seen"].map(|name| Query { name, sql: "", is_approximate: false });
            let mut tables = input.tables();
            tables.retain(|name, _| name == "readings");
            let (rows, metrics) = streamed(&sql, &sinks, &tables, workers);
            let ids = |name: &str| {
                let ids = rows[name]
                    .iter()
                    .flat_map(|rows| rows["id"].as_primitive::<Int64Type>().values().to_vec());
                let mut ids: Vec<i64> = ids.collect();
                ids.sort_unstable();
                ids
            };
            proptest::prop_assert_eq!(&ids("late"), &expected);
            let source = &metrics.sources[0];
            let (received, late) = (source.received.get(), source.late.get());
            proptest::prop_assert_eq!(received, input.readings().num_rows() as u64);
            proptest::prop_assert_eq!(late, expected.len() as u64);
            proptest::prop_assert_eq!(received, source.processed.get() + late + source.quarantined.get());
            let mut all = [ids("late"), ids("seen")].concat();
            all.sort_unstable();
            proptest::prop_assert!(all.iter().copied().eq(0..i64::try_from(received).unwrap()));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
