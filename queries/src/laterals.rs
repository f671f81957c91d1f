//! `FROM readings, UNNEST(waveform)`: a relation that is made of the columns of the relation before it, row by row. It becomes
//! what is done with the rows themselves.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{NullHandling, UnnestOptions};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection};

/// The plan in which such relations are no joins any more.
///
/// # Errors
/// If a part of it cannot be put together.
pub(crate) fn inlined(plan: LogicalPlan) -> Result<LogicalPlan> {
    let inlined = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
        match row_by_row(join)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(inlined.data)
}

/// The rows of the left with those that the right makes of each.
fn row_by_row(join: &Join) -> Result<Option<LogicalPlan>> {
    let keeps_left = join.join_type == JoinType::Left;
    let is_outer = !keeps_left && join.join_type != JoinType::Inner;
    if is_outer || !join.on.is_empty() || !is_of_one_row(&join.right) {
        return Ok(None);
    }
    let is_always = |filter: &Expr| matches!(filter, Expr::Literal(value, _) if value.to_string() == "true");
    if keeps_left && (!join.filter.as_ref().is_none_or(is_always) || has_filter(&join.right)) {
        return Ok(None);
    }
    let left: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let rows = Beside { rows: &join.left, columns: left.clone(), keeps_empty: keeps_left }.of(&join.right)?;
    let columns = left.into_iter().chain(join.right.schema().columns().into_iter().map(Expr::Column));
    let rows = match &join.filter {
        Some(filter) if !keeps_left => rows.filter(filter.clone())?,
        _ => rows,
    };
    Ok(Some(rows.project(columns.collect::<Vec<_>>())?.build()?))
}

/// True for what is made of one row without columns, and of columns of the outer relation.
fn is_of_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Subquery(subquery) => is_of_one_row(&subquery.subquery),
        LogicalPlan::SubqueryAlias(alias) => is_of_one_row(&alias.input),
        LogicalPlan::Projection(projection) => is_of_one_row(&projection.input),
        LogicalPlan::Filter(filter) => is_of_one_row(&filter.input),
        LogicalPlan::Unnest(unnest) => is_of_one_row(&unnest.input),
        _ => false,
    }
}

fn has_filter(plan: &LogicalPlan) -> bool {
    let is_filter =
        |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Subquery(_)));
    match plan {
        LogicalPlan::Subquery(subquery) => has_filter(&subquery.subquery),
        LogicalPlan::SubqueryAlias(alias) => has_filter(&alias.input),
        other => other.exists(is_filter).unwrap_or(true),
    }
}

fn projection_of(plan: &LogicalPlan) -> Option<&Projection> {
    match plan {
        LogicalPlan::Subquery(subquery) => projection_of(&subquery.subquery),
        LogicalPlan::Projection(projection) => Some(projection),
        _ => None,
    }
}

/// The rows of a relation instead of the one row, and their columns beside those of the plan.
struct Beside<'a> {
    rows: &'a LogicalPlan,
    columns: Vec<Expr>,
    keeps_empty: bool,
}

impl Beside<'_> {
    fn of(&self, plan: &LogicalPlan) -> Result<LogicalPlanBuilder> {
        match plan {
            LogicalPlan::Subquery(subquery) => self.of(&subquery.subquery),
            // Without a relation between, in which a name could be one of the rows, too.
            LogicalPlan::SubqueryAlias(alias) if let Some(projection) = projection_of(&alias.input) => {
                let named = projection.expr.iter().zip(alias.schema.columns());
                let own = named.map(|(expr, name)| {
                    Ok(inner(expr.clone())?.unalias().alias_qualified(name.relation, name.name))
                });
                let columns = self.columns.iter().cloned().map(Ok).chain(own).collect::<Result<Vec<_>>>()?;
                self.of(&projection.input)?.project(columns)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let renamed = alias.input.schema().columns().into_iter().zip(alias.schema.columns());
                let renamed =
                    renamed.map(|(from, to)| Expr::Column(from).alias_qualified(to.relation, to.name));
                self.of(&alias.input)?
                    .project(self.columns.iter().cloned().chain(renamed).collect::<Vec<_>>())
            }
            LogicalPlan::Projection(projection) => {
                let named = projection.expr.iter().zip(projection.schema.columns());
                let own = named.map(|(expr, name)| {
                    let inner = inner(expr.clone())?;
                    Ok(if inner == *expr {
                        inner
                    } else {
                        inner.unalias().alias_qualified(name.relation, name.name)
                    })
                });
                let columns = self.columns.iter().cloned().map(Ok).chain(own).collect::<Result<Vec<_>>>()?;
                self.of(&projection.input)?.project(columns)
            }
            LogicalPlan::Filter(filter) => self.of(&filter.input)?.filter(inner(filter.predicate.clone())?),
            LogicalPlan::Unnest(unnest) => {
                let null_handling = match self.keeps_empty {
                    true => NullHandling::PreserveAndExpandEmpty,
                    false => unnest.options.null_handling,
                };
                let options = UnnestOptions { null_handling, ..unnest.options.clone() };
                self.of(&unnest.input)?.unnest_columns_with_options(unnest.exec_columns.clone(), options)
            }
            _ => Ok(LogicalPlanBuilder::from(Arc::new(self.rows.clone()))),
        }
    }
}

/// The columns of the outer relation, which are beside the others now.
fn inner(expr: Expr) -> Result<Expr> {
    let inner = expr.transform_up(|part| match part {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(inner.data)
}
