//! The plan of an ad-hoc query: DataFusion's own, with window functions, `RESAMPLE` and `ASOF JOIN` as in views.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::with_ours;
use crate::as_of::{AsOfJoins, nest};
use crate::bind::in_known_forms;
use crate::error::QueryError;
use crate::functions::mark_calls;
use crate::optimize::without_subqueries;
use crate::parse::parse_select;
use crate::rewrite::replaced;
use crate::span::SourceFile;
use crate::using::UsingJoins;
use crate::window_function::WindowFunctions;

/// What begins a query; anything else, such as `SHOW TABLES`, is left to DataFusion.
const QUERIES: [&str; 4] = ["SELECT", "WITH", "VALUES", "("];

/// Plans `sql` over the tables of `context`; what DataFusion cannot run is replaced by its rows.
pub(super) async fn plan(context: &SessionContext, sql: &str) -> Result<LogicalPlan> {
    let text = sql.trim_start().to_uppercase();
    if !QUERIES.iter().any(|start| text.starts_with(start)) {
        return Ok(context.sql(sql).await?.into_unoptimized_plan());
    }
    context.register_relation_planner(Arc::new(AsOfJoins))?;
    context.register_relation_planner(Arc::new(UsingJoins))?;
    context.register_relation_planner(Arc::new(WindowFunctions { knows_others: true }))?;
    let mut query = parse_select(&SourceFile::new("query", sql)).map_err(|errors| told(&errors))?.query;
    crate::rewrite::rewrite(&mut query);
    nest(&mut query);
    crate::using::nest(&mut query);
    mark_calls(&mut query);
    let planned = |query| Statement::Statement(Box::new(SqlStatement::Query(query)));
    if let Some(query) = replaced::left_out(&query)
        && let Err(error) = context.state().statement_to_plan(planned(Box::new(query))).await
        && replaced::is_no_column(&error)
    {
        return Err(error);
    }
    let plan = context.state().statement_to_plan(planned(query)).await;
    let plan = plan.map_err(|error| match error.find_root() {
        DataFusionError::External(root) => match root.downcast_ref::<QueryError>() {
            Some(found) => told(std::slice::from_ref(found)),
            None => error,
        },
        _ => error,
    })?;
    let plan = in_known_forms(plan)?;
    let has_ours = plan.exists(|node| Ok(matches!(node, LogicalPlan::Extension(_))))?;
    if has_ours { with_ours(context, without_subqueries(plan)?).await } else { Ok(plan) }
}

/// Mistakes of ours as one of DataFusion.
fn told(errors: &[QueryError]) -> DataFusionError {
    let lines = errors.iter().map(|error| match error.help() {
        Some(help) => format!("{error}\n  = help: {help}"),
        None => error.to_string(),
    });
    DataFusionError::Plan(lines.collect::<Vec<_>>().join("\n"))
}
