//! A DataFusion session with our functions, for tests.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;

use super::{ArrayForms, aggregates, mark_calls, scalars};

/// Row `i` of the table `noise`: group, time out of order, sample; some NULL, some NaN.
pub(super) fn noise_row(i: u32) -> (&'static str, Option<i64>, Option<f64>) {
    let group = ["a", "b", "c"][(i * 7 % 3) as usize];
    let hash = i.wrapping_mul(2_654_435_761) >> 8;
    let x = f64::from(hash) / 16_777_216.0 - 0.4;
    // Pairs of rows are swapped: the order of arrival is not that of time.
    let time = i64::from(i ^ 1) * 1_000;
    match i % 50 {
        7 => (group, Some(time), None),
        11 => (group, Some(time), Some(f64::NAN)),
        13 => (group, None, Some(x)),
        17 => (group, Some(time), Some(0.0)),
        _ => (group, Some(time), Some(x)),
    }
}

pub(super) const NOISE_ROWS: u32 = 3_000;

/// The tables `t`, `arrays` and `noise` (in 3 partitions of many batches), and our functions.
pub(super) fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(3);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for function in aggregates() {
        context.register_udaf(function.as_ref().clone());
    }
    for function in scalars() {
        context.register_udf(function.as_ref().clone());
    }
    let state = context.state_ref();
    state.write().register_expr_planner(Arc::new(ArrayForms)).unwrap();
    register(
        &context,
        "t",
        vec![vec![rows(&[
            ("a", Some(4), Some(-2.0)),
            ("a", Some(1), Some(2.0)),
            ("a", Some(3), Some(f64::NAN)),
            ("a", Some(2), None),
            ("b", Some(1), Some(3.0)),
        ])]],
    );
    let items = vec![
        Some(vec![Some(-2.0), None, Some(2.0), Some(f64::NAN), Some(2.0)]),
        Some(vec![Some(3.0), Some(3.0)]),
        None,
    ];
    let arrays = RecordBatch::try_from_iter_with_nullable([
        ("g", Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef, false),
        ("w", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(items)), true),
    ]);
    register(&context, "arrays", vec![vec![arrays.unwrap()]]);
    let all: Vec<_> = (0..NOISE_ROWS).map(noise_row).collect();
    let partitions = all.chunks(1000).map(|part| part.chunks(64).map(rows).collect());
    register(&context, "noise", partitions.collect());
    context
}

fn rows(rows: &[(&str, Option<i64>, Option<f64>)]) -> RecordBatch {
    let g: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let ts: TimestampMicrosecondArray = rows.iter().map(|row| row.1).collect();
    let x: Float64Array = rows.iter().map(|row| row.2).collect();
    let columns: [(&str, ArrayRef, bool); 3] =
        [("g", Arc::new(g), true), ("ts", Arc::new(ts), true), ("x", Arc::new(x), true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn register(context: &SessionContext, name: &str, partitions: Vec<Vec<RecordBatch>>) {
    let table = MemTable::try_new(partitions[0][0].schema(), partitions).unwrap();
    context.register_table(name, Arc::new(table)).unwrap();
}

/// Parses, marks and plans a query.
pub(super) async fn plan(context: &SessionContext, sql: &str) -> Result<LogicalPlan> {
    let state = context.state();
    let mut statement = state.sql_to_statement(sql, &datafusion::config::Dialect::PostgreSQL)?;
    if let Statement::Statement(statement) = &mut statement {
        mark_calls(statement.as_mut());
    }
    state.statement_to_plan(statement).await
}

pub(super) async fn plan_and_optimize(context: &SessionContext, sql: &str) -> Result<LogicalPlan> {
    context.state().optimize(&plan(context, sql).await?)
}

/// The rows of a query as text.
pub(super) async fn table(context: &SessionContext, sql: &str) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let batches = execute(context, sql).await.unwrap();
    let line = |batch: &RecordBatch, row: usize| {
        let cell = |column: &ArrayRef| {
            ArrayFormatter::try_new(column.as_ref(), &options).unwrap().value(row).to_string()
        };
        batch.columns().iter().map(cell).collect::<Vec<_>>().join(" | ")
    };
    let lines = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| line(batch, row)));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) async fn execute(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    context.execute_logical_plan(plan(context, sql).await?).await?.collect().await
}
