//! SQL text in, Plan out: the parser, planner and functions of Lineshaft.
//!
//! ```text
//! text --parse--> statements --bind--> Program (names, types, logical plans) --plan--> engine Plan
//!                                         `--batch--> DataFusion's own execution: training, ad-hoc, oracle
//! ```
//!
//! - [`parse`]: text to [`statement`]s, each with its place ([`span`]); [`error`]: what can be wrong with them
//! - `bind`: what every name stands for, as a [`Program`]; `catalog`: sources; `context`: what DataFusion's planner asks us
//! - [`window_function`]: `TUMBLE` and its like in `FROM`; `as_of`: as-of joins; `event_time`: which columns are event time;
//!   `time_bound`: how a join bounds it
//! - [`plan`]: logical plan to engine plan; [`expression`]: DataFusion's expressions as the engine's; `partitions`: its
//!   window functions; `sorted`, `row_lists`: aggregates that keep rows
//! - [`functions`]: the SQL functions of Lineshaft; [`predict`]: models in SQL; `now`: the time of the epoch
//! - what SQL means and DataFusion plans in another way, or not at all: in the syntax tree `rewrite`, in the plan
//!   `subqueries`, `laterals`, `sets`, `total_order`, `distinct_on`, `durations`; `beforehand`: arguments of `OVER` that may fail
//! - `deep`: a stack for what is nested
//! - [`alter`]: which version of a model scores
//! - [`batch`]: batch execution; [`explain`]: a plan as text

pub mod alter;
mod as_of;
pub mod batch;
mod beforehand;
mod bind;
mod can_fail;
mod catalog;
mod context;
mod deep;
mod distinct_on;
mod durations;
pub mod error;
mod event_time;
pub mod explain;
pub mod expression;
mod frames;
pub mod functions;
mod integers;
mod laterals;
mod now;
mod optimize;
mod overload;
pub mod parse;
mod partitions;
pub mod plan;
pub mod predict;
mod program;
mod rewrite;
mod row_lists;
mod sets;
mod sorted;
pub mod span;
pub mod statement;
mod subqueries;
mod sums;
mod time_bound;
mod total_order;
mod using;
pub mod window_function;

pub use catalog::{Connectors, SourceEntry};
use error::QueryError;
use parse::Environment;
pub use program::{Model, ModelFile, Program};
use span::SourceFile;

/// Reads a program: all of its files, all of its errors at once.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn compile(
    files: &[SourceFile],
    connectors: &(dyn Connectors + Sync),
    environment: &(dyn Environment + Sync),
) -> Result<Program, Vec<QueryError>> {
    deep::deep(|| {
        let (statements, errors) = parse::parse_with(files, environment);
        bind::bind(files, statements, connectors, errors)
    })
}
