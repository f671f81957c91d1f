//! What a program streams equals what DataFusion's batch execution gives over the same rows: for any batching, any
//! order within the declared disorder, and bit for bit the same with 1, 2 and 4 workers.

mod compare;
mod queries;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
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
fn program(queries: &[Query]) -> String {
    let mut sql = rows::DECLARATIONS.to_owned();
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
fn differences(queries: &[Query], input: &Input) -> Vec<String> {
    let sql = program(queries);
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
    if let Err(errors) = Engine::from_sql(&program(queries)) {
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
        let found = differences(queries, &input);
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
