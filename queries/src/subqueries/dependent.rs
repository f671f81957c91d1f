//! A subquery that names columns of the outer query, joined for every value that these have.
//!
//! The values are a relation of their own. It is joined with the rows of the subquery, below whatever compares both, and
//! goes along with them: what is grouped is grouped by the values too, what is ordered is ordered for each of them. Then
//! each outer row finds its result by its values. (Neumann and Kemper, Unnesting Arbitrary Queries, BTW 2015.)

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef, JoinType, NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, ExprSchemable, Join, Limit, LogicalPlan, LogicalPlanBuilder,
    Projection, Subquery, lit, when,
};

/// `outer` with the value of `subquery` in a column; `None` if it has a form that is not known here. The values of the columns
/// that it names are those of `rows`, which has all rows of `outer`.
pub(super) fn join(
    rows: &LogicalPlan,
    outer: &LogicalPlan,
    subquery: &Subquery,
    name: &str,
) -> Result<Option<(LogicalPlan, Expr)>> {
    let mut named: Vec<Column> = Vec::new();
    for expr in subquery.subquery.all_out_ref_exprs() {
        if let Expr::OuterReferenceColumn(_, column) = expr
            && !named.contains(&column)
        {
            named.push(column);
        }
    }
    if !named.iter().all(|column| rows.schema().has_column(column)) || !gives_one_row(&subquery.subquery) {
        return Ok(None);
    }
    let mut values = Values { rows, named, name: name.to_owned(), copies: 0 };
    let Some((plan, keys)) = values.along(&subquery.subquery)? else { return Ok(None) };
    let Some(value) = subquery.subquery.schema().columns().pop() else { return Ok(None) };
    let result = |place: usize| format!("{name}_{place}");
    let columns = keys.into_iter().enumerate().map(|(place, key)| Expr::Column(key).alias(result(place)));
    let columns = columns.chain([Expr::Column(value).alias(name)]).collect::<Vec<_>>();
    let results = LogicalPlanBuilder::from(plan).project(columns)?.alias(name)?.build()?;
    let of_results = |place| Column::new(Some(name.to_owned()), result(place));
    let right = (0..values.named.len()).map(of_results).collect::<Vec<_>>();
    let joined = LogicalPlanBuilder::from(outer.clone())
        .join_detailed(
            results,
            JoinType::Left,
            (values.named.clone(), right),
            None,
            NullEquality::NullEqualsNull,
        )?
        .build()?;
    let value = Expr::Column(Column::new(Some(name.to_owned()), name));
    Ok(Some((joined, value)))
}

/// A scalar subquery has no more.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        LogicalPlan::Filter(filter) => gives_one_row(&filter.input),
        LogicalPlan::Sort(sort) => gives_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        other => other.max_rows().is_some_and(|most| most <= 1),
    }
}

/// The values that the columns of the outer query have.
struct Values<'a> {
    rows: &'a LogicalPlan,
    named: Vec<Column>,
    name: String,
    copies: usize,
}

/// A plan with the columns that it had and those of the values, and where these are.
type Along = Option<(LogicalPlan, Vec<Column>)>;

impl Values<'_> {
    /// Each combination of values once, with the names of the columns.
    fn relation(&mut self) -> Result<(LogicalPlan, Vec<Column>)> {
        self.copies += 1;
        let table = format!("{}_of_{}", self.name, self.copies);
        let name = |place: usize| format!("{table}_{place}");
        let columns = self.named.iter().enumerate();
        let columns = columns.map(|(place, column)| Expr::Column(column.clone()).alias(name(place)));
        let plan = LogicalPlanBuilder::from(self.rows.clone())
            .project(columns.collect::<Vec<_>>())?
            .distinct()?
            .alias(table.as_str())?
            .build()?;
        let keys = (0..self.named.len()).map(|place| Column::new(Some(table.clone()), name(place)));
        Ok((plan, keys.collect()))
    }

    /// The rows of `plan` for each combination of values.
    fn along(&mut self, plan: &LogicalPlan) -> Result<Along> {
        if plan.all_out_ref_exprs().is_empty() {
            let (values, keys) = self.relation()?;
            let plan = LogicalPlanBuilder::from(plan.clone()).cross_join(values)?.build()?;
            return Ok(Some((plan, keys)));
        }
        match plan {
            LogicalPlan::Subquery(subquery) => self.along(&subquery.subquery),
            LogicalPlan::Filter(filter) => {
                let Some((input, keys)) = self.along(&filter.input)? else { return Ok(None) };
                let predicate = self.inner(filter.predicate.clone(), &keys)?;
                Ok(Some((LogicalPlanBuilder::from(input).filter(predicate)?.build()?, keys)))
            }
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some((input, keys)) = self.along(&alias.input)? else { return Ok(None) };
                let renamed = alias.input.schema().columns().into_iter().zip(alias.schema.columns());
                let renamed =
                    renamed.map(|(from, to)| Expr::Column(from).alias_qualified(to.relation, to.name));
                let columns = renamed.chain(keys.iter().cloned().map(Expr::Column)).collect::<Vec<_>>();
                Ok(Some((LogicalPlanBuilder::from(input).project(columns)?.build()?, keys)))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Some((input, keys)) = self.along(input)? else { return Ok(None) };
                Ok(Some((LogicalPlanBuilder::from(input).distinct()?.build()?, keys)))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            // Without a limit it does not matter.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.along(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            _ => Ok(None),
        }
    }

    fn projection(&mut self, projection: &Projection) -> Result<Along> {
        let Some((input, keys)) = self.along(&projection.input)? else { return Ok(None) };
        let mut columns = Vec::with_capacity(projection.expr.len() + keys.len());
        for (expr, name) in projection.expr.iter().zip(projection.schema.columns()) {
            let has_outer = expr.contains_outer();
            let expr = self.inner(expr.clone(), &keys)?;
            columns.push(if has_outer {
                expr.unalias().alias_qualified(name.relation, name.name)
            } else {
                expr
            });
        }
        columns.extend(keys.iter().cloned().map(Expr::Column));
        Ok(Some((LogicalPlanBuilder::from(input).project(columns)?.build()?, keys)))
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Along> {
        if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
            return Ok(None);
        }
        let Some((input, keys)) = self.along(&aggregate.input)? else { return Ok(None) };
        let inner = |expr: &Expr| {
            let name = expr.schema_name().to_string();
            let has_outer = expr.contains_outer();
            let expr = self.inner(expr.clone(), &keys)?;
            Ok(if has_outer { expr.unalias().alias(name) } else { expr })
        };
        let calls = aggregate.aggr_expr.iter().map(inner).collect::<Result<Vec<_>>>()?;
        let groups = aggregate.group_expr.iter().map(inner).collect::<Result<Vec<_>>>()?;
        let is_one_row = groups.is_empty();
        let groups: Vec<Expr> = groups.into_iter().chain(keys.iter().cloned().map(Expr::Column)).collect();
        let grouped = LogicalPlanBuilder::from(input).aggregate(groups, calls)?.build()?;
        if is_one_row { self.one_row(grouped, &keys, aggregate) } else { Ok(Some((grouped, keys))) }
    }

    /// Without `GROUP BY` there is a row for every value, also where there is nothing to aggregate.
    fn one_row(&mut self, grouped: LogicalPlan, found: &[Column], aggregate: &Aggregate) -> Result<Along> {
        let is_there = format!("{}_there", self.name);
        let mut columns: Vec<Expr> = grouped.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(lit(true).alias(&is_there));
        let grouped = LogicalPlanBuilder::from(grouped).project(columns)?.build()?;
        let (values, keys) = self.relation()?;
        let joined = LogicalPlanBuilder::from(values)
            .join_detailed(
                grouped,
                JoinType::Left,
                (keys.clone(), found.to_vec()),
                None,
                NullEquality::NullEqualsNull,
            )?
            .build()?;
        let is_there = Expr::Column(Column::new_unqualified(is_there));
        let mut columns = Vec::new();
        for (call, column) in aggregate.aggr_expr.iter().zip(aggregate.schema.columns()) {
            let value = Expr::Column(column.clone());
            let value = match of_nothing(call, &aggregate.schema)? {
                Some(nothing) => when(is_there.clone().is_null(), lit(nothing)).otherwise(value)?,
                None => value,
            };
            columns.push(value.alias_qualified(column.relation, column.name));
        }
        columns.extend(keys.iter().cloned().map(Expr::Column));
        Ok(Some((LogicalPlanBuilder::from(joined).project(columns)?.build()?, keys)))
    }

    /// The first rows for each combination of values.
    fn limit(&mut self, limit: &Limit) -> Result<Along> {
        if let LogicalPlan::Projection(projection) = limit.input.as_ref() {
            // It is sorted by a column that is not selected.
            let below = LogicalPlan::Limit(Limit { input: Arc::clone(&projection.input), ..limit.clone() });
            return self.projection(&Projection::try_new(projection.expr.clone(), Arc::new(below))?);
        }
        let (input, order) = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => (&sort.input, sort.expr.clone()),
            _ => (&limit.input, by_all(limit.input.schema())),
        };
        let number = |expr: &Option<Box<Expr>>| match expr.as_deref() {
            None => Some(None),
            Some(Expr::Literal(value, _)) => i64::try_from(value.clone()).ok().map(Some),
            Some(_) => None,
        };
        let (Some(skip), Some(fetch)) = (number(&limit.skip), number(&limit.fetch)) else { return Ok(None) };
        let Some((input, keys)) = self.along(input)? else { return Ok(None) };
        let mut columns: Vec<Expr> = limit.input.schema().columns().into_iter().map(Expr::Column).collect();
        columns.extend(keys.iter().cloned().map(Expr::Column));
        let order =
            order.into_iter().map(|sort| Ok(SortExpr { expr: self.inner(sort.expr, &keys)?, ..sort }));
        let partition = keys.iter().cloned().map(Expr::Column).collect();
        let place = row_number().partition_by(partition).order_by(order.collect::<Result<_>>()?).build()?;
        let name = format!("{}_place", self.name);
        let numbered = LogicalPlanBuilder::from(input).window(vec![place.alias(&name)])?;
        let place = Expr::Column(Column::new_unqualified(name));
        let skip = skip.unwrap_or(0);
        let mut within = place.clone().gt(lit(skip));
        if let Some(fetch) = fetch {
            within = within.and(place.lt_eq(lit(skip.saturating_add(fetch))));
        }
        Ok(Some((numbered.filter(within)?.project(columns)?.build()?, keys)))
    }

    fn join(&mut self, join: &Join) -> Result<Along> {
        if matches!(
            join.join_type,
            JoinType::Full | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti
        ) || matches!(join.join_type, JoinType::RightMark)
        {
            return Ok(None);
        }
        let Some((left, keys)) = self.along(&join.left)? else { return Ok(None) };
        let mut on: Vec<(Expr, Expr)> = join.on.clone();
        let is_of_right = !join.right.all_out_ref_exprs().is_empty();
        let right = if is_of_right {
            let Some((right, right_keys)) = self.along(&join.right)? else { return Ok(None) };
            let equal = keys.iter().cloned().zip(right_keys);
            on.extend(equal.map(|(left, right)| (Expr::Column(left), Expr::Column(right))));
            right
        } else {
            join.right.as_ref().clone()
        };
        // NULL is a value like another for the keys, but not for what the join compares.
        if is_of_right && !join.on.is_empty() && join.null_equality == NullEquality::NullEqualsNothing {
            return Ok(None);
        }
        let null_equality = if is_of_right { NullEquality::NullEqualsNull } else { join.null_equality };
        let filter = join.filter.clone().map(|filter| self.inner(filter, &keys)).transpose()?;
        let joined = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            filter,
            join.join_type,
            join.join_constraint,
            null_equality,
            join.null_aware,
        )?;
        Ok(Some((LogicalPlan::Join(joined), keys)))
    }

    /// The columns of the outer query as those of the values.
    fn inner(&self, expr: Expr, keys: &[Column]) -> Result<Expr> {
        let inside = expr.transform_up(|part| match &part {
            Expr::OuterReferenceColumn(_, column) => {
                match self.named.iter().position(|named| named == column) {
                    Some(place) => Ok(Transformed::yes(Expr::Column(keys[place].clone()))),
                    None => Ok(Transformed::no(part)),
                }
            }
            _ => Ok(Transformed::no(part)),
        })?;
        Ok(inside.data)
    }
}

/// What an aggregate is of no rows, unless it is NULL.
fn of_nothing(call: &Expr, schema: &DFSchemaRef) -> Result<Option<ScalarValue>> {
    let Expr::AggregateFunction(function) = call.clone().unalias() else { return Ok(None) };
    let name = Column::new_unqualified(call.schema_name().to_string());
    let data_type = Expr::Column(name).get_type(schema.as_ref())?;
    let value = function.func.default_value(&data_type)?;
    Ok((!value.is_null()).then_some(value))
}

fn by_all(schema: &DFSchemaRef) -> Vec<SortExpr> {
    schema.columns().into_iter().map(|column| Expr::Column(column).sort(true, false)).collect()
}
