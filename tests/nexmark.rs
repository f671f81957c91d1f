//! The queries of `benches/nexmark` give what batch execution gives, over a small stream.

#[path = "../benches/nexmark/generator.rs"]
mod generator;

use lineshaft::queries::batch::Tables;

use crate::support::compare::{consolidated, difference, floats, rows};
use crate::support::seeded::Seeded;
use crate::support::views::{batch, compile, streamed};
use crate::tidy::files;

/// 200 seconds of event time.
const EVENTS: i64 = 4_000;
const RATE: i64 = 20;

#[test]
fn every_query_of_nexmark_equals_batch() {
    let queries = files("benches/nexmark/queries", "sql");
    let mut sql = generator::declarations(|_| "connector = 'memory', bounded = true".to_owned());
    let mut names = Vec::new();
    for (path, text) in &queries {
        sql.push_str(text);
        names.push(path.rsplit('/').next().unwrap().trim_end_matches(".sql").to_owned());
    }
    let mut random = Seeded::new(7);
    let events = generator::generate(7, EVENTS, RATE);
    let tables: Tables = events.iter().map(|(name, rows)| ((*name).to_owned(), random.cut(rows))).collect();
    let program = compile(&sql).unwrap_or_else(|error| panic!("{error}"));
    for workers in [1, 2, 4] {
        let streamed = streamed(&sql, &names, &tables, workers).unwrap_or_else(|error| panic!("{error}"));
        for name in &names {
            let expected = batch(&program, name, &tables).unwrap_or_else(|error| panic!("{name}: {error}"));
            let found =
                consolidated(&streamed.batches[name]).unwrap_or_else(|error| panic!("{name}: {error}"));
            let difference = difference(&found, &rows(&expected), &floats(&expected));
            assert!(difference.is_none(), "{name} with {workers} workers\n{}", difference.unwrap());
            assert!(!found.is_empty(), "{name} has no rows");
        }
    }
}
