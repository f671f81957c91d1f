//! `(SELECT line FROM machines AS m WHERE m.machine = r.machine)`: by its primary key a table has one row at most, so the
//! subquery needs no aggregate that says so.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery};

use crate::context::RelationSource;

/// The subquery with an aggregate, if it is such a one.
pub(super) fn as_one_row(subquery: &Subquery) -> Result<Option<Subquery>> {
    let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() else { return Ok(None) };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return Ok(None) };
    let Some(key) = primary_key(&filter.input) else { return Ok(None) };
    let conditions = split_conjunction(&filter.predicate);
    let is_compared = |column: &Column| conditions.iter().any(|condition| is_equality(condition, column));
    if key.is_empty() || !key.iter().all(is_compared) {
        return Ok(None);
    }
    let Some(value) = projection.schema.columns().pop() else { return Ok(None) };
    let first = first_value_udaf().call(vec![Expr::Column(value)]);
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .aggregate(Vec::<Expr>::new(), vec![first])?
        .build()?;
    Ok(Some(Subquery { subquery: Arc::new(plan), ..subquery.clone() }))
}

/// True for `column = outer`.
fn is_equality(condition: &Expr, column: &Column) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(found) if found == column);
    let is_outside = |expr: &Expr| expr.contains_outer() && expr.column_refs().is_empty();
    is_column(left) && is_outside(right) || is_column(right) && is_outside(left)
}

/// The columns of the key of a table, under the names that they have here.
fn primary_key(plan: &LogicalPlan) -> Option<Vec<Column>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let columns = alias.input.schema().columns();
            let place = |key: &Column| columns.iter().position(|column| column == key);
            let places: Option<Vec<usize>> = primary_key(&alias.input)?.iter().map(place).collect();
            Some(
                places?
                    .into_iter()
                    .filter_map(|place| alias.schema.columns().into_iter().nth(place))
                    .collect(),
            )
        }
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<RelationSource>()?;
            let columns = source.primary_key.iter();
            let name = |column: &usize| source.schema.field(*column).name();
            Some(columns.map(|column| Column::new(Some(scan.table_name.clone()), name(column))).collect())
        }
        _ => None,
    }
}
