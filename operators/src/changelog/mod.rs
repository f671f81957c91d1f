//! Operators on rows that may be taken back, on differential dataflow; and the two ends where rows become a changelog
//! ([`upsert`]) and where a changelog becomes rows again ([`operations`]).
//!
//! | file | SQL |
//! |---|---|
//! | [`join`] | `JOIN` without a window: inner, outer, semi, anti |
//! | [`top_k`] | `ORDER BY ... LIMIT`, `ROW_NUMBER() ... <= k`, kept |
//! | [`first_rows`] | the same, of rows that are only added |
//! | [`functions`] | `OVER` that needs all rows of its partition, or rows that may be taken back |
//! | [`recursion`] | `WITH RECURSIVE` |
//! | [`upsert`] | `CREATE TABLE ... PRIMARY KEY`: a row takes the place of the one with its key |
//! | [`operations`] | `changelog = 'rows'` and `'upsert'` of a sink |
//!
//! Rows are encoded as in [`lineshaft_engine::changelog`]. State of each is the rows of its inputs, by key.

pub mod first_rows;
pub mod functions;
pub mod join;
pub mod operations;
pub mod recursion;
mod steps;
#[cfg(test)]
mod tests;
pub mod top_k;
pub mod upsert;
