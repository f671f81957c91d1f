//! Random queries over random rows: what is streamed with 1, 2 and 4 workers equals batch execution.
//!
//! ```text
//! cargo test --test main random                              500 queries, the same ones at every run
//! RANDOM_QUERIES=10000 cargo test --test main random         more of them
//! RANDOM_SEED=17 RANDOM_QUERIES=20 cargo test --test main random    the program of seed 17 again
//! ```

mod expressions;
mod grammar;
mod relation;
mod subqueries;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lineshaft::queries::Program;
use lineshaft::queries::batch::Tables;

use crate::golden::input::SourceRows;
use crate::golden::script::RowsHead;
use crate::support::compare::{Row, consolidated, difference, floats, rows};
use crate::support::seeded::Seeded;
use crate::support::views::{batch, compile, streamed};
use grammar::{DECLARATIONS, Query};

/// Queries of one program, over one set of rows.
const QUERIES: u64 = 20;

/// Programs that run at a time.
const THREADS: usize = 3;

/// Most rows of a source.
const ROWS: usize = 150;

/// Steps of making a query smaller.
const MOST_STEPS: usize = 200;

const MACHINES: &str = "m0 north 10.5\nm1 south -20.25\nm2 north NULL\nm3 NULL 0.0\nm9 west 1.0";

#[test]
fn random_queries_over_random_rows_equal_batch() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let programs = number("RANDOM_QUERIES").unwrap_or(500).div_ceil(QUERIES);
    let first = number("RANDOM_SEED").unwrap_or(0);
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + programs || failures.lock().unwrap().len() > 5 {
                        break;
                    }
                    let found = std::panic::catch_unwind(|| program(seed));
                    let found = found.unwrap_or_else(|_| Some("panicked".into()));
                    failures.lock().unwrap().extend(found.map(|failure| format!("seed {seed}: {failure}")));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Runs the program of a seed; gives what is wrong with a query of it, the smallest that shows it.
fn program(seed: u64) -> Option<String> {
    let mut random = Seeded::new(seed);
    let queries: Vec<Query> = (0..QUERIES).map(|_| Query::random(&mut random)).collect();
    let most = 1 + random.index(ROWS);
    check(&queries, &inputs(seed, most)).err()?;
    let culprit =
        queries.iter().find(|query| check(std::slice::from_ref(query), &inputs(seed, most)).is_err());
    let Some(culprit) = culprit else {
        return Some("only all queries together fail".into());
    };
    Some(shrunk(seed, culprit.clone(), most))
}

/// The smallest query over the fewest rows that still fails, with what is wrong with it.
fn shrunk(seed: u64, mut query: Query, mut most: usize) -> String {
    let fails = |query: &Query, most: usize| check(std::slice::from_ref(query), &inputs(seed, most)).err();
    let mut steps = 0;
    'smaller: while steps < MOST_STEPS {
        for smaller in query.smaller() {
            steps += 1;
            if fails(&smaller, most).is_some() {
                query = smaller;
                continue 'smaller;
            }
        }
        break;
    }
    while most > 1 && fails(&query, most * 3 / 4).is_some() {
        most = most * 3 / 4;
    }
    let difference = fails(&query, most).unwrap_or_default();
    format!("of {most} rows\n{}\n{difference}", query.sql())
}

/// The rows of all sources, in the order of their arrival, in batches.
fn inputs(seed: u64, most: usize) -> Tables {
    let program = compile(DECLARATIONS).unwrap();
    let mut random = Seeded::new(seed.wrapping_mul(31));
    let mut tables = Tables::new();
    for (name, number) in [("readings", 1), ("others", 2), ("strict", 3)] {
        let head = RowsHead {
            source: name.to_owned(),
            in_order: false,
            generate: Some((seed * 8 + number, most)),
            differing_times: name == "strict",
        };
        tables.insert(name.to_owned(), arriving(&program, &head, "", &mut random));
    }
    let head = RowsHead { source: "machines".into(), in_order: true, generate: None, differing_times: false };
    tables.insert("machines".into(), arriving(&program, &head, MACHINES, &mut random));
    tables
}

fn arriving(
    program: &Program,
    head: &RowsHead,
    text: &str,
    random: &mut Seeded,
) -> Vec<arrow::array::RecordBatch> {
    let source = program.source(&head.source).unwrap();
    SourceRows::new(source, head, text, random).unwrap().streamed
}

/// Compares batch and stream.
fn check(queries: &[Query], tables: &Tables) -> Result<(), String> {
    let mut sql = DECLARATIONS.to_owned();
    let names: Vec<String> = (0..queries.len()).map(|number| format!("query_{number}")).collect();
    for (name, query) in names.iter().zip(queries) {
        sql.push_str(&format!("CREATE VIEW {name} AS {};\n", query.sql()));
    }
    let program = compile(&sql)?;
    let mut expected: BTreeMap<&str, (Vec<Row>, Vec<bool>)> = BTreeMap::new();
    for name in &names {
        let found = batch(&program, name, tables)?;
        expected.insert(name, (rows(&found), floats(&found)));
    }
    let mut first: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for workers in [1, 2, 4] {
        let streamed = streamed(&sql, &names, tables, workers)?;
        for name in &names {
            let found = consolidated(&streamed.batches[name])?;
            let (expected, is_float) = &expected[name.as_str()];
            if let Some(difference) = difference(&found, expected, is_float) {
                return Err(format!("{workers} workers stream other rows\n{difference}"));
            }
            if first.get(name.as_str()).is_some_and(|first| *first != found) {
                return Err(format!("{workers} workers give other digits than one"));
            }
            first.entry(name).or_insert(found);
        }
    }
    Ok(())
}
