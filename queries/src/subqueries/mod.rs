//! Subqueries in expressions, brought to forms that become joins.
//!
//! ```text
//! SELECT x IN (S)                  as counts of S, which are scalar subqueries: three-valued, as in SQL
//! SELECT EXISTS (S)                likewise
//! sum(CASE WHEN (S) ...)           (S) becomes a column below the aggregate
//! (S) that names outer columns     [`dependent`], where DataFusion's own rules cannot do it: a comparison other than
//!                                  equality below an aggregate, `LIMIT`, ...
//! (S) by the primary key of a table   [`keyed`]: an aggregate of the one row
//! ```
//!
//! What DataFusion turns into a join itself stays as it is.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue, Spans};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, lit, when,
};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

mod dependent;
mod keyed;

/// The plan without subqueries that neither DataFusion nor we could run.
///
/// # Errors
/// If a part of it cannot be put together.
pub(crate) fn joined(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut joiner = Joiner::default();
    Ok(plan.transform_up_with_subqueries(|node| joiner.node(node))?.data)
}

/// Subqueries become joins one by one, each with a name of its own.
#[derive(Default)]
struct Joiner {
    names: usize,
}

impl Joiner {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("__subquery_{}", self.names)
    }

    fn node(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut has_any = false;
        node.apply_expressions(|expr| {
            has_any |= expr.exists(|part| Ok(is_subquery(part)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !has_any {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(match node {
            LogicalPlan::Filter(filter) => self.filter(filter)?,
            LogicalPlan::Projection(projection) => self.projection(projection)?,
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate)?,
            other => return Ok(Transformed::no(other)),
        }))
    }

    fn filter(&mut self, filter: Filter) -> Result<LogicalPlan> {
        let rows = Arc::unwrap_or_clone(filter.input);
        let mut input = rows.clone();
        let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let mut conditions = Vec::new();
        for condition in split_conjunction_owned(filter.predicate) {
            let condition = as_condition(condition, input.schema())?;
            conditions.push(self.joined_to(condition, &rows, &mut input)?);
        }
        let width = columns.len();
        let filtered =
            LogicalPlanBuilder::from(input).filter(conjunction(conditions).unwrap_or(lit(true)))?;
        if filtered.schema().fields().len() == width {
            return filtered.build();
        }
        filtered.project(columns)?.build()
    }

    fn projection(&mut self, projection: Projection) -> Result<LogicalPlan> {
        let rows = Arc::unwrap_or_clone(projection.input);
        let mut input = rows.clone();
        let names = projection.schema.columns();
        let mut columns = Vec::with_capacity(projection.expr.len());
        for (expr, name) in projection.expr.into_iter().zip(names) {
            if !expr.exists(|part| Ok(is_subquery(part)))? {
                columns.push(expr);
                continue;
            }
            let value = as_value(expr.unalias(), input.schema())?;
            columns.push(self.joined_to(value, &rows, &mut input)?.alias_qualified(name.relation, name.name));
        }
        LogicalPlanBuilder::from(input).project(columns)?.build()
    }

    /// The subqueries become columns below it.
    fn aggregate(&mut self, aggregate: Aggregate) -> Result<LogicalPlan> {
        let input = aggregate.input;
        let mut below: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let mut outside = |expr: Expr| {
            let name = expr.schema_name().to_string();
            let replaced = as_value(expr, input.schema())?.transform_down(|part| {
                if !matches!(part, Expr::ScalarSubquery(_)) {
                    return Ok(Transformed::no(part));
                }
                let column = Column::new_unqualified(self.name());
                below.push(part.alias(&column.name));
                Ok(Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump))
            })?;
            Ok(if replaced.transformed { replaced.data.unalias().alias(name) } else { replaced.data })
        };
        let groups = aggregate.group_expr.into_iter().map(&mut outside).collect::<Result<Vec<_>>>()?;
        let calls = aggregate.aggr_expr.into_iter().map(&mut outside).collect::<Result<Vec<_>>>()?;
        let below = self.projection(Projection::try_new(below, input)?)?;
        Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(below), groups, calls)?))
    }

    /// `expr` over `input`, to which those scalar subqueries are joined that DataFusion would not join; `rows` is what it was
    /// before the first of them.
    fn joined_to(&mut self, expr: Expr, rows: &LogicalPlan, input: &mut LogicalPlan) -> Result<Expr> {
        let joined = expr.transform_down(|part| {
            let Expr::ScalarSubquery(subquery) = &part else { return Ok(Transformed::no(part)) };
            if let Some(one) = keyed::as_one_row(subquery)? {
                return Ok(Transformed::new(Expr::ScalarSubquery(one), true, TreeNodeRecursion::Jump));
            }
            if can_be_pulled_up(subquery, false) {
                return Ok(Transformed::no(part));
            }
            match dependent::join(rows, input, subquery, &self.name())? {
                Some((plan, value)) => {
                    *input = plan;
                    Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(part)),
            }
        })?;
        Ok(joined.data)
    }
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_))
}

/// True if DataFusion makes a join of it.
fn can_be_pulled_up(subquery: &Subquery, is_exists: bool) -> bool {
    if subquery.outer_ref_columns.is_empty() {
        return true;
    }
    let mut pull_up =
        PullUpCorrelatedExpr::new().with_need_handle_count_bug(!is_exists).with_exists_sub_query(is_exists);
    let pulled = subquery.subquery.as_ref().clone().rewrite(&mut pull_up);
    pulled.is_ok() && pull_up.can_pull_up
}

/// A condition of `WHERE`: what is joined as it stands stays, the rest becomes a value.
fn as_condition(condition: Expr, outer: &DFSchema) -> Result<Expr> {
    let is_joined = |part: &Expr| match part {
        Expr::InSubquery(found) => can_be_pulled_up(&found.subquery, false),
        Expr::Exists(found) => can_be_pulled_up(&found.subquery, true),
        _ => false,
    };
    let is_whole = match &condition {
        Expr::Not(inner) => is_joined(inner),
        other => is_joined(other),
    };
    if is_whole { Ok(condition) } else { as_part(condition, outer, &is_joined) }
}

/// A part of a condition. Below `AND` and `OR` alone, `IN` that is not known is as good as false; `NOT IN` is not.
fn as_part(part: Expr, outer: &DFSchema, is_joined: &dyn Fn(&Expr) -> bool) -> Result<Expr> {
    match part {
        Expr::BinaryExpr(mut both) if both.op.is_logic_operator() => {
            both.left = Box::new(as_part(*both.left, outer, is_joined)?);
            both.right = Box::new(as_part(*both.right, outer, is_joined)?);
            Ok(Expr::BinaryExpr(both))
        }
        Expr::InSubquery(InSubquery { negated: false, .. }) | Expr::Exists(_) if is_joined(&part) => Ok(part),
        other => as_value(other, outer),
    }
}

/// An expression in which `IN` and `EXISTS` are counts.
fn as_value(expr: Expr, outer: &DFSchema) -> Result<Expr> {
    let counted = expr.transform_up(|part| {
        Ok(match part {
            Expr::Exists(Exists { subquery, negated }) => {
                let count = count_of(subquery.subquery.as_ref().clone())?;
                Transformed::yes(if negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) })
            }
            Expr::InSubquery(found) => Transformed::yes(is_in(found, outer)?),
            other => Transformed::no(other),
        })
    })?;
    Ok(counted.data)
}

/// `x IN (S)`: true if a row of S is equal, NULL if one may be, else false.
fn is_in(found: InSubquery, outer: &DFSchema) -> Result<Expr> {
    let InSubquery { expr: value, subquery, negated } = found;
    let list = subquery.subquery.as_ref();
    let Some(member) = list.schema().columns().pop().map(Expr::Column) else {
        return Ok(lit(negated));
    };
    let some = |condition: Option<Expr>| {
        let list = LogicalPlanBuilder::from(list.clone());
        let list = match condition {
            Some(condition) => list.filter(condition)?,
            None => list,
        };
        Ok::<_, datafusion::error::DataFusionError>(count_of(list.build()?)?.gt(lit(0_i64)))
    };
    let mut known = when(some(Some(as_outer(*value.clone(), outer)?.eq(member.clone())))?, lit(!negated));
    let null = lit(ScalarValue::Boolean(None));
    if value.nullable(outer)? {
        known = known.when(value.is_null().and(some(None)?), null.clone());
    }
    if member.nullable(list.schema().as_ref())? {
        known = known.when(some(Some(member.is_null()))?, null);
    }
    known.otherwise(lit(negated))
}

/// How many rows a plan has, as a scalar subquery.
fn count_of(plan: LogicalPlan) -> Result<Expr> {
    let counted =
        LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64))])?.build()?;
    let outer_ref_columns = counted.all_out_ref_exprs();
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(counted), outer_ref_columns, spans: Spans::new() }))
}

/// The columns of an expression as those of the outer query.
fn as_outer(expr: Expr, outer: &DFSchema) -> Result<Expr> {
    let outside = expr.transform_up(|part| match part {
        Expr::Column(column) => {
            let field = Arc::clone(outer.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outside.data)
}
