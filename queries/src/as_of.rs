//! `ASOF JOIN` and `FOR SYSTEM_TIME AS OF`: in a logical plan an [`AsOfJoin`].
//!
//! DataFusion parses `ASOF JOIN` and does not plan it, but it asks a planner of ours for every relation in `FROM`. So each
//! such join is put in parentheses of its own ([`nest`]), which make it a relation.

use std::cmp::Ordering;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef, Diagnostic, JoinType, Span};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::builder::build_join_schema;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Extension, LogicalPlan, LogicalPlanBuilder, Operator, UserDefinedLogicalNodeCore,
};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, SetExpr, Spanned, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};
use lineshaft_operators::join::Nearest;

use crate::context::RelationSource;
use crate::error::QueryError;
use crate::window_function::{external, table};

/// What the parser puts around the condition: nobody else can write these names.
pub(crate) const LEFT: &str = "as of: left";
/// Around the time in `FOR SYSTEM_TIME AS OF time`.
pub(crate) const VERSION: &str = "as of: version";
/// In place of a condition that stands in `ON`.
pub(crate) const IN_ON: &str = "as of: in on";

/// Each row of the left with the nearest row of the right.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct AsOfJoin {
    pub(crate) left: LogicalPlan,
    pub(crate) right: LogicalPlan,
    /// What must be equal: of the left, of the right.
    pub(crate) on: Vec<(Expr, Expr)>,
    pub(crate) left_time: Expr,
    pub(crate) right_time: Expr,
    pub(crate) nearest: Nearest,
    pub(crate) keeps_left: bool,
    schema: DFSchemaRef,
}

impl AsOfJoin {
    /// The join of `plan`, if it is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Self> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        extension.node.as_any().downcast_ref()
    }

    fn with_schema(self) -> Result<Self> {
        let join_type = if self.keeps_left { JoinType::Left } else { JoinType::Inner };
        let schema = build_join_schema(self.left.schema(), self.right.schema(), &join_type)?;
        Ok(Self { schema: Arc::new(schema), ..self })
    }
}

impl fmt::Debug for AsOfJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_for_explain(f)
    }
}

impl PartialOrd for AsOfJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.on.partial_cmp(&other.on)
    }
}

impl UserDefinedLogicalNodeCore for AsOfJoin {
    fn name(&self) -> &str {
        "AsOfJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let times = [self.left_time.clone(), self.right_time.clone()];
        times
            .into_iter()
            .chain(self.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]))
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsOfJoin: {:?} {} {}", self.nearest, self.left_time, self.right_time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let missing = || DataFusionError::Internal("an as-of join without time or input".into());
        let mut inputs = inputs.into_iter();
        let mut exprs = exprs.into_iter();
        let mut next = || exprs.next().ok_or_else(missing);
        let (left_time, right_time) = (next()?, next()?);
        let on = (0..self.on.len()).map(|_| Ok((next()?, next()?))).collect::<Result<Vec<_>>>()?;
        let left = inputs.next().ok_or_else(missing)?;
        let right = inputs.next().ok_or_else(missing)?;
        Self { left, right, on, left_time, right_time, ..self.clone() }.with_schema()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) =
            output_columns.iter().partition(|column| **column < width);
        Some(vec![left, right.into_iter().map(|column| column - width).collect()])
    }
}

/// Puts each `ASOF JOIN` of a query in parentheses.
pub(crate) fn nest(query: &mut impl VisitMut) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Nester);
}

struct Nester;

impl VisitorMut for Nester {
    type Break = std::convert::Infallible;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        nest_in(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor
            && as_of(table_with_joins).is_none()
        {
            nest_joins(table_with_joins);
        }
        ControlFlow::Continue(())
    }
}

fn nest_in(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => select.from.iter_mut().for_each(nest_joins),
        SetExpr::SetOperation { left, right, .. } => {
            nest_in(left);
            nest_in(right);
        }
        // A query in parentheses is visited by itself; the others have no joins.
        _ => {}
    }
}

fn nest_joins(tables: &mut TableWithJoins) {
    let joins = std::mem::take(&mut tables.joins);
    for join in joins {
        if !matches!(join.join_operator, JoinOperator::AsOf { .. }) {
            tables.joins.push(join);
            continue;
        }
        nest_join(tables, join);
    }
}

/// Puts what is joined so far, with this join, in parentheses of its own.
pub(crate) fn nest_join(tables: &mut TableWithJoins, join: Join) {
    let mut relation = std::mem::replace(&mut tables.relation, table(Vec::new().into()));
    if !tables.joins.is_empty() {
        let joins = std::mem::take(&mut tables.joins);
        relation = parenthesised(TableWithJoins { relation, joins });
    }
    tables.relation = parenthesised(TableWithJoins { relation, joins: vec![join] });
}

fn parenthesised(tables: TableWithJoins) -> TableFactor {
    TableFactor::NestedJoin { table_with_joins: Box::new(tables), alias: None }
}

/// The join, if there is one and it is an `ASOF JOIN`.
fn as_of(tables: &TableWithJoins) -> Option<&Join> {
    match tables.joins.as_slice() {
        [join] if matches!(join.join_operator, JoinOperator::AsOf { .. }) => Some(join),
        _ => None,
    }
}

/// Plans what [`nest`] has put in parentheses.
#[derive(Debug)]
pub(crate) struct AsOfJoins;

impl RelationPlanner for AsOfJoins {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::NestedJoin { table_with_joins, alias } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(Join { relation: right, join_operator, .. }) = as_of(table_with_joins) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let JoinOperator::AsOf { match_condition, constraint } = join_operator else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let left = context.plan(table_with_joins.relation.clone())?;
        let planned = Sides { left, right: context.plan(right.clone())? }
            .join(match_condition, constraint, context)
            .map_err(|error| at(constraint, error))?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(planned) });
        let plan = match constraint {
            JoinConstraint::Using(names) => merged(plan, names)?,
            _ => plan,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// Gives an error of ours the place of the condition, if none is known nearer to it.
fn at(constraint: &JoinConstraint, error: DataFusionError) -> DataFusionError {
    let JoinConstraint::On(condition) = constraint else { return error };
    let span = Span::try_from_sqlparser_span(condition.span());
    match error {
        DataFusionError::External(_) if span.is_some() => {
            error.with_diagnostic(Diagnostic::new_error("", span))
        }
        other => other,
    }
}

struct Sides {
    left: LogicalPlan,
    right: LogicalPlan,
}

impl Sides {
    fn join(
        self,
        condition: &SqlExpr,
        constraint: &JoinConstraint,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<AsOfJoin> {
        let schema = self.left.schema().join(self.right.schema())?;
        let (keeps_left, condition) = match marked(condition, LEFT) {
            Some(condition) => (true, condition),
            None => (false, condition),
        };
        let mut times = Vec::new();
        if let Some(time) = marked(condition, VERSION) {
            let time = context.sql_to_expr(time.clone(), self.left.schema())?;
            times.push((time, Operator::GtEq, self.version_time()?));
        } else if !is_in_on(condition) {
            let condition = context.sql_to_expr(condition.clone(), &schema)?;
            let time = self.comparison(condition, &schema)?;
            times.push(
                time.ok_or_else(|| wrong("MATCH_CONDITION compares a time of the one side with the other"))?,
            );
        }
        let on = match constraint {
            JoinConstraint::Using(names) => self.using(names, &mut times)?,
            _ => self.equalities(constraint, &schema, &mut times, context)?,
        };
        let (left_time, nearest, right_time) = match times.as_slice() {
            [(left, op, right)] => (left.clone(), nearest(*op)?, right.clone()),
            _ => return Err(wrong("an ASOF JOIN compares event times exactly once")),
        };
        AsOfJoin {
            left: self.left,
            right: self.right,
            on,
            left_time,
            right_time,
            nearest,
            keeps_left,
            schema: Arc::new(schema),
        }
        .with_schema()
    }

    /// What must be equal; other comparisons are added to `times`.
    fn equalities(
        &self,
        constraint: &JoinConstraint,
        schema: &DFSchema,
        times: &mut Vec<(Expr, Operator, Expr)>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Vec<(Expr, Expr)>> {
        let condition = match constraint {
            JoinConstraint::None => return Ok(Vec::new()),
            JoinConstraint::On(condition) => context.sql_to_expr(condition.clone(), schema)?,
            JoinConstraint::Using(_) | JoinConstraint::Natural => {
                return Err(wrong("an ASOF JOIN needs ON or USING, such as ON a.machine = b.machine"));
            }
        };
        let mut on = Vec::new();
        for part in split_conjunction_owned(condition) {
            match self.comparison(part, schema)? {
                Some((left, Operator::Eq, right)) => on.push((left, right)),
                Some(time) => times.push(time),
                None => {
                    let error = wrong("ON of an ASOF JOIN compares columns of the one side with the other");
                    return Err(error);
                }
            }
        }
        Ok(on)
    }

    /// What must be equal by `USING`. Where no times are compared yet, the last column is a time of both sides, and that of
    /// the left is at or after that of the right.
    fn using(
        &self,
        names: &[ObjectName],
        times: &mut Vec<(Expr, Operator, Expr)>,
    ) -> Result<Vec<(Expr, Expr)>> {
        let mut on = Vec::with_capacity(names.len());
        for name in names {
            let name = name_of(name)?;
            let [left, right] = [&self.left, &self.right].map(|side| {
                side.schema()
                    .qualified_field_with_unqualified_name(&name)
                    .map(|field| Expr::Column(field.into()))
            });
            on.push((left?, right?));
        }
        if times.is_empty()
            && let Some((left, right)) = on.pop()
        {
            times.push((left, Operator::GtEq, right));
        }
        Ok(on)
    }

    /// A comparison of the left side with the right, of equal types.
    fn comparison(&self, condition: Expr, schema: &DFSchema) -> Result<Option<(Expr, Operator, Expr)>> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = crate::expression::coerced(condition, schema)?
        else {
            return Ok(None);
        };
        let is_of = |expr: &Expr, side: &LogicalPlan| {
            let columns = expr.column_refs();
            !columns.is_empty() && columns.iter().all(|column| side.schema().has_column(column))
        };
        if is_of(&left, &self.left) && is_of(&right, &self.right) {
            return Ok(Some((*left, op, *right)));
        }
        if is_of(&right, &self.left) && is_of(&left, &self.right) {
            return Ok(op.swap().map(|op| (*right, op, *left)));
        }
        Ok(None)
    }

    /// The column of event time of the table on the right.
    fn version_time(&self) -> Result<Expr> {
        let mut plan = &self.right;
        while let LogicalPlan::SubqueryAlias(alias) = plan {
            plan = &alias.input;
        }
        let source = match plan {
            LogicalPlan::TableScan(scan) => scan.source.downcast_ref::<RelationSource>(),
            _ => None,
        };
        let Some(source) = source else {
            return Err(wrong("FOR SYSTEM_TIME AS OF needs a table, or ASOF JOIN with MATCH_CONDITION"));
        };
        let column = source.event_time.ok_or_else(|| {
            let message = format!("{:?} has no column that says from when on a row holds", source.name);
            let help = "add WATERMARK FOR valid_from AS valid_from to the table, with the name of its column";
            external(QueryError::invalid(message, None).with_help(help))
        })?;
        let (relation, field) = self.right.schema().qualified_field(column);
        Ok(Expr::Column(Column::new(relation.cloned(), field.name())))
    }
}

/// The rows of a join with `USING`, in which its columns are those of the left side alone.
fn merged(plan: LogicalPlan, names: &[ObjectName]) -> Result<LogicalPlan> {
    let Some(AsOfJoin { left, .. }) = AsOfJoin::of(&plan) else { return Ok(plan) };
    let names = names.iter().map(name_of).collect::<Result<Vec<_>>>()?;
    let columns = plan.schema().columns().into_iter().enumerate();
    let width = left.schema().fields().len();
    let kept = columns.filter(|(place, column)| *place < width || !names.contains(&column.name));
    let kept: Vec<Expr> = kept.map(|(_, column)| Expr::Column(column)).collect();
    LogicalPlanBuilder::from(plan).project(kept)?.build()
}

/// A name in `USING`, folded as names are.
fn name_of(name: &ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [part] => match part.as_ident() {
            Some(name) if name.quote_style.is_some() => Ok(name.value.clone()),
            Some(name) => Ok(name.value.to_lowercase()),
            None => Err(wrong("USING names columns of both sides")),
        },
        _ => Err(wrong("USING names columns of both sides")),
    }
}

fn nearest(op: Operator) -> Result<Nearest> {
    Ok(match op {
        Operator::GtEq => Nearest::AtOrBefore,
        Operator::Gt => Nearest::Before,
        Operator::LtEq => Nearest::AtOrAfter,
        Operator::Lt => Nearest::After,
        _ => return Err(wrong("an ASOF JOIN compares event times with >=, >, <= or <")),
    })
}

fn wrong(message: &str) -> DataFusionError {
    let help = "write a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine; \
                conditions on one side go to WHERE or into a view";
    external(QueryError::invalid(message, None).with_help(help))
}

/// What stands inside of a mark.
fn marked<'a>(expr: &'a SqlExpr, mark: &str) -> Option<&'a SqlExpr> {
    let SqlExpr::Function(call) = expr else { return None };
    let is_mark =
        matches!(call.name.0.as_slice(), [part] if part.as_ident().is_some_and(|name| name.value == mark));
    match &call.args {
        FunctionArguments::List(arguments) if is_mark => match arguments.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] => Some(inner),
            _ => None,
        },
        _ => None,
    }
}

fn is_in_on(expr: &SqlExpr) -> bool {
    matches!(expr, SqlExpr::Identifier(name) if name.value == IN_ON)
}
