//! `INTERSECT ALL` and `EXCEPT ALL`: a row as often as both sides have it, or as often as the left has it beyond the right.
//! DataFusion plans them as joins that only ask whether the other side has the row.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, NullEquality, NullHandling, UnnestOptions};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::{coalesce, least};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_nested::range::range_udf as range;
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, ident, lit};

/// The plan with such joins replaced.
///
/// # Errors
/// If a part of it cannot be put together.
pub(crate) fn counted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let counted = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) if keeps_counts(join) => Ok(Transformed::yes(with_counts(join)?)),
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(counted.data)
}

/// True for a set operation with `ALL`. Nobody can write a semi join in which NULL equals NULL.
fn keeps_counts(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

fn with_counts(join: &Join) -> Result<LogicalPlan> {
    const LEFT: &str = "rows of the left";
    const RIGHT: &str = "rows of the right";
    let width = join.left.schema().fields().len();
    let side = |plan: &LogicalPlan, name: &str| {
        let columns = plan.schema().columns().into_iter().map(Expr::Column);
        let number = |(place, column): (usize, Expr)| column.alias(format!("{name} {place}"));
        let columns: Vec<Expr> = columns.enumerate().map(number).collect();
        let keys: Vec<String> = (0..width).map(|place| format!("{name} {place}")).collect();
        let grouped = LogicalPlanBuilder::from(plan.clone())
            .project(columns)?
            .aggregate(keys.iter().map(ident), vec![count(lit(1_i64)).alias(name)])?
            .build()?;
        Ok::<_, datafusion::error::DataFusionError>((grouped, keys))
    };
    let (left, left_keys) = side(&join.left, LEFT)?;
    let (right, right_keys) = side(&join.right, RIGHT)?;
    let (join_type, times) = match join.join_type {
        JoinType::LeftSemi => (JoinType::Inner, least(vec![ident(LEFT), ident(RIGHT)])),
        _ => (JoinType::Left, ident(LEFT) - coalesce(vec![ident(RIGHT), lit(0_i64)])),
    };
    let keys =
        (left_keys.iter().map(String::as_str).collect(), right_keys.iter().map(String::as_str).collect());
    let joined = LogicalPlanBuilder::from(left).join_detailed(
        right,
        join_type,
        keys,
        None,
        NullEquality::NullEqualsNull,
    )?;
    let copies = range().call(vec![lit(0_i64), times]).alias(LEFT);
    let columns = left_keys.iter().map(ident).chain([copies]).collect::<Vec<_>>();
    let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
    let named = left_keys.iter().zip(join.left.schema().columns());
    let named = named.map(|(key, column)| ident(key).alias_qualified(column.relation, column.name));
    joined
        .project(columns)?
        .unnest_column_with_options(LEFT, options)?
        .project(named.collect::<Vec<_>>())?
        .build()
}
