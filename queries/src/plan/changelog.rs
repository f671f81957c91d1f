//! What has no window: joins, kept top-k and recursion, whose rows may be taken back; and the ends of a changelog.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, NullEquality, ScalarValue};
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Join, JoinType, Limit, LogicalPlan, Operator, Projection, Sort, Window, lit,
};
use lineshaft_engine::changelog::ChangelogOperator;
use lineshaft_engine::declaration::Options;
use lineshaft_engine::plan::{Input, Node, Origin, Route, Work};
use lineshaft_operators::changelog::first_rows::FirstRows;
use lineshaft_operators::changelog::join::{ChangelogJoin, JoinKind, JoinOptions};
use lineshaft_operators::changelog::operations::{ChangeRows, Upserts, with_operation};
use lineshaft_operators::changelog::top_k::{Ranking, TopK, TopKOptions};
use lineshaft_operators::changelog::upsert::Upsert;

use super::join::{Side, as_keys};
use super::{Lowering, Result};
use crate::error::QueryError;
use crate::event_time::{common_partition, instant};
use crate::expression::expression;
use crate::program::arrow_schema;
use crate::window_function::external;

impl Lowering<'_> {
    /// Adds a node on differential dataflow.
    pub(super) fn changelog_node(
        &mut self,
        name: &str,
        inputs: Vec<Origin>,
        schema: SchemaRef,
        operator: Arc<dyn ChangelogOperator>,
    ) -> Origin {
        let inputs = inputs.into_iter().map(|from| Input { from, route: Route::Local }).collect();
        self.plan.nodes.push(Node {
            name: format!("{}: {name}", self.view),
            inputs,
            outputs: vec![schema],
            is_stateless: false,
            is_changelog: true,
            takes_any_order: true,
            keeps_order: false,
            work: Work::Changelog(operator),
        });
        Origin::Node(self.plan.nodes.len() - 1, 0)
    }

    /// Refuses rows that may be taken back, for what cannot take them back itself.
    pub(super) fn only_added(&self, from: Origin, what: &str) -> Result<()> {
        if !self.plan.is_changelog(from) {
            return Ok(());
        }
        let error = QueryError::not_supported(format!("{what} over rows that may be taken back"), None);
        let help = "its input is a changelog (a join, aggregate or top-k without a window, a table with a primary \
                    key, or one that is read again when its file changes); use the rows of a source or of a window";
        Err(external(error.with_help(help)))
    }

    /// The rows of a table: with a primary key, one for each key.
    pub(super) fn table(&mut self, name: &str, from: Origin) -> Origin {
        let source = &self.program.sources[name];
        let Origin::Source(index) = from else { return from };
        let needed = &self.declarations[index].needed;
        let place = |column: &usize| needed.iter().position(|needed| needed == column);
        let key: Option<Vec<usize>> = source.statement.primary_key.iter().map(place).collect();
        let Some(key) = key.filter(|key| !key.is_empty()) else { return from };
        let declared = self.declared_schema(index);
        let from = self.plain(from, &declared);
        let schema = self.plan.schema(from);
        let inputs = vec![Input { from, route: Route::ByKey(key.clone()) }];
        let outputs = vec![Arc::clone(&schema)];
        let make = move |_| -> lineshaft_engine::Result<Box<dyn lineshaft_engine::operator::Operator>> {
            Ok(Box::new(Upsert::new(Arc::clone(&schema), key.clone())?))
        };
        let origin = self.node("table", inputs, outputs, false, make);
        self.mark_changelog(origin);
        origin
    }

    /// A node that takes the rows of its first input one batch at a time, after those of the others.
    pub(super) fn mark_ordered(&mut self, origin: Origin) {
        if let Origin::Node(node, _) = origin {
            self.plan.nodes[node].keeps_order = true;
        }
    }

    pub(super) fn mark_changelog(&mut self, origin: Origin) {
        if let Origin::Node(node, _) = origin {
            self.plan.nodes[node].is_changelog = true;
        }
    }

    /// A join that nothing bounds in time: both sides are kept.
    pub(super) fn changelog_join(&mut self, join: &Join) -> Result<Origin> {
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            JoinType::LeftSemi | JoinType::RightSemi => JoinKind::Semi,
            JoinType::LeftAnti | JoinType::RightAnti => JoinKind::Anti,
            JoinType::LeftMark | JoinType::RightMark => return self.mark_join(join),
        };
        let is_swapped = matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti);
        self.changelog_join_of(join, kind, is_swapped)
    }

    /// Each left row with whether it has a partner, as `x IN (...) OR y` needs it.
    fn mark_join(&mut self, join: &Join) -> Result<Origin> {
        let is_swapped = join.join_type == JoinType::RightMark;
        let side = if is_swapped { &join.right } else { &join.left };
        let schema: SchemaRef = Arc::new(join.schema.as_arrow().clone());
        let mut inputs = Vec::new();
        for (kind, mark) in [(JoinKind::Semi, true), (JoinKind::Anti, false)] {
            let from = self.changelog_join_of(join, kind, is_swapped)?;
            let mut columns: Vec<Expr> = side.schema().columns().into_iter().map(Expr::Column).collect();
            columns.push(lit(mark));
            let from = self.map(from, side.schema(), None, Some(&columns), Arc::clone(&schema))?;
            inputs.push(Input { from, route: Route::Local });
        }
        Ok(self.union(inputs, schema))
    }

    fn changelog_join_of(&mut self, join: &Join, kind: JoinKind, is_swapped: bool) -> Result<Origin> {
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        let mut plans = [&join.left, &join.right];
        let mut keys = [left_keys, right_keys];
        if is_swapped {
            plans.swap(0, 1);
            keys.swap(0, 1);
        }
        let keys = [as_keys(plans[0], &keys[0])?, as_keys(plans[1], &keys[1])?];
        let sides = [self.side(plans[0], &keys[0])?, self.side(plans[1], &keys[1])?];
        let options = self.join_options(join, kind, plans, &sides)?;
        let joined = joined_schema(&options);
        let inputs = sides.iter().map(|side| side.origin).collect();
        let widths = options.schemas.each_ref().map(|schema| schema.fields().len());
        let origin = self.changelog_node("join", inputs, joined, Arc::new(ChangelogJoin::new(options)));
        // Computed keys go again.
        let shown = plans.map(|plan| plan.schema().fields().len());
        let mut keep: Vec<usize> = (0..shown[0]).collect();
        if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            keep.extend(widths[0]..widths[0] + shown[1]);
        }
        let schema: SchemaRef = match join.join_type {
            JoinType::LeftMark | JoinType::RightMark => arrow_schema(plans[0]),
            _ => Arc::new(join.schema.as_arrow().clone()),
        };
        Ok(self.columns(origin, keep, schema))
    }

    pub(super) fn join_options(
        &self,
        join: &Join,
        kind: JoinKind,
        plans: [&Arc<LogicalPlan>; 2],
        sides: &[Side; 2],
    ) -> Result<JoinOptions> {
        let residual = match &join.filter {
            Some(filter) => {
                let mut fields = self.fields(plans[0], &sides[0]);
                fields.extend(self.fields(plans[1], &sides[1]));
                Some(expression(filter, &DFSchema::new_with_metadata(fields, HashMap::new())?)?)
            }
            None => None,
        };
        Ok(JoinOptions {
            kind,
            keys: [sides[0].keys.clone(), sides[1].keys.clone()],
            schemas: [self.plan.schema(sides[0].origin), self.plan.schema(sides[1].origin)],
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            is_not_in: join.null_aware,
            residual,
        })
    }

    /// `ORDER BY ... LIMIT ... OFFSET ...`: the first rows, kept up to date.
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Origin> {
        if let LogicalPlan::Projection(projection) = limit.input.as_ref() {
            // It is sorted by a column that is not selected: the first rows are taken before.
            let below = LogicalPlan::Limit(Limit { input: Arc::clone(&projection.input), ..limit.clone() });
            let above = Projection::try_new(projection.expr.clone(), Arc::new(below))?;
            return self.lower(&LogicalPlan::Projection(above));
        }
        let LogicalPlan::Sort(sort) = limit.input.as_ref() else {
            let error = QueryError::not_supported("LIMIT without ORDER BY in a view", None);
            return Err(external(error.with_help("add ORDER BY, so that it is known which rows are first")));
        };
        let number = |expr: &Option<Box<Expr>>, default: usize| match expr.as_deref() {
            None => Ok(default),
            Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Int64)? {
                ScalarValue::Int64(Some(number)) => Ok(usize::try_from(number).unwrap_or(0)),
                _ => Ok(default),
            },
            Some(other) => Err(external(QueryError::not_supported(
                format!("LIMIT with {other}, which is no number"),
                None,
            ))),
        };
        let (skip, fetch) = (number(&limit.skip, 0)?, number(&limit.fetch, usize::MAX)?);
        self.sorted(sort, skip, skip.saturating_add(sort.fetch.unwrap_or(usize::MAX).min(fetch)))
    }

    /// `ORDER BY` with a number of rows that the optimiser has found.
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<Origin> {
        match sort.fetch {
            Some(limit) => self.sorted(sort, 0, limit),
            None => {
                let error = QueryError::not_supported("ORDER BY in a view", None);
                Err(external(error.with_help("add LIMIT for the first rows, or sort when the rows are read")))
            }
        }
    }

    fn sorted(&mut self, sort: &Sort, skip: usize, limit: usize) -> Result<Origin> {
        let keys: Vec<Expr> = sort.expr.iter().map(|order| order.expr.clone()).collect();
        let side = self.side(&sort.input, &keys)?;
        let how = sort.expr.iter().map(sort_options);
        let schema = self.plan.schema(side.origin);
        let options = TopKOptions {
            schema: Arc::clone(&schema),
            partition: Vec::new(),
            order: side.keys.into_iter().zip(how).collect(),
            ranking: Ranking::RowNumber,
            skip,
            limit,
            with_rank: false,
        };
        let origin = self.first_rows(side.origin, schema, options);
        let width = sort.input.schema().fields().len();
        Ok(self.columns(origin, (0..width).collect(), arrow_schema(&sort.input)))
    }

    /// The first rows of each group; of rows that are only added no others need be kept.
    fn first_rows(&mut self, from: Origin, schema: SchemaRef, options: TopKOptions) -> Origin {
        if self.plan.is_changelog(from) {
            return self.changelog_node("top-k", vec![from], schema, Arc::new(TopK::new(options)));
        }
        let keys = options.partition.clone();
        let route = if keys.is_empty() { Route::Gather } else { Route::ByKey(keys) };
        let outputs = vec![Arc::clone(&schema)];
        let origin = self.node("first rows", vec![Input { from, route }], outputs, false, move |_| {
            Ok(Box::new(FirstRows::new(options.clone(), Arc::clone(&schema))?))
        });
        self.mark_changelog(origin);
        origin
    }

    /// `ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) <= k`: the first rows of each group, kept up to date. `None` if
    /// the filter is another.
    pub(super) fn ranked(&mut self, filter: &Filter) -> Result<Option<Origin>> {
        let Some((window, column)) = ranking_below(&filter.input) else { return Ok(None) };
        let times = |name: &str| self.program.times_of(name);
        if instant(&window.input, &common_partition(&window.window_expr), &times).is_some() {
            // The rows of a window are ranked once, when it closes.
            return Ok(None);
        }
        if is_by_event_time(window, &self.times(&window.input)) {
            // So are rows in the order of event time, when the watermark has passed them.
            return Ok(None);
        }
        let Some(limit) = limit_of(&filter.predicate, &filter.input, column) else { return Ok(None) };
        let from = self.ranking(window, limit)?;
        let from = self.over_ranking(&filter.input, from)?;
        let schema = arrow_schema(&filter.input);
        Ok(Some(self.map(from, filter.input.schema(), Some(&filter.predicate), None, schema)?))
    }

    /// The projections between a filter and the ranking below it.
    fn over_ranking(&mut self, plan: &LogicalPlan, from: Origin) -> Result<Origin> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.over_ranking(&alias.input, from),
            LogicalPlan::Projection(projection) => {
                let from = self.over_ranking(&projection.input, from)?;
                let input = projection.input.schema();
                self.map(from, input, None, Some(&projection.expr), arrow_schema(plan))
            }
            _ => Ok(from),
        }
    }

    /// The rows of a window whose rank is at most `limit`, with their rank.
    fn ranking(&mut self, window: &Window, limit: usize) -> Result<Origin> {
        let Some((ranking, partition, order)) = ranking_of(window) else {
            return Err(super::internal("a window that is no ranking"));
        };
        let mut keys = as_keys(&window.input, partition)?;
        keys.extend(order.iter().map(|order| order.expr.clone()));
        let side = self.side(&window.input, &keys)?;
        let (groups, orders) = side.keys.split_at(partition.len());
        let schema = self.plan.schema(side.origin);
        let options = TopKOptions {
            schema: Arc::clone(&schema),
            partition: groups.to_vec(),
            order: orders.iter().copied().zip(order.iter().map(sort_options)).collect(),
            ranking,
            skip: 0,
            limit,
            with_rank: true,
        };
        let mut fields: Vec<FieldRef> = schema.fields().to_vec();
        fields.push(Arc::new(Field::new("rank", DataType::UInt64, false)));
        let with_rank = Arc::new(Schema::new(fields));
        let origin = self.first_rows(side.origin, with_rank, options);
        let width = window.input.schema().fields().len();
        let keep = (0..width).chain([schema.fields().len()]).collect();
        Ok(self.columns(origin, keep, Arc::new(window.schema.as_arrow().clone())))
    }

    /// What a sink writes of its rows: a changelog as the sink wants it. The options that say so are taken out.
    pub(super) fn sink_rows(&mut self, from: Origin, options: &mut Options) -> Result<Origin> {
        let (changelog, key) = (options.remove(CHANGELOG), options.remove(KEY));
        let is_changelog = self.plan.is_changelog(from);
        let connector = options.get("connector").map_or("", String::as_str);
        // What is replayed is written as files, whatever the sink is.
        let shows_weights = connector == "memory" || connector == "stdout" && !self.outputs.close_gates;
        let schema = self.plan.schema(from);
        let written = with_operation(&schema);
        if key.is_some() && changelog.as_deref() != Some("upsert") {
            let error = QueryError::invalid("option \"key\" is that of changelog = 'upsert'", None);
            return Err(external(error.with_help("add changelog = 'upsert', or leave key out")));
        }
        let (name, key) = match changelog.as_deref() {
            None if !is_changelog || shows_weights => return Ok(from),
            None if self.outputs.close_gates => ("changes", None),
            Some("rows") => ("changes", None),
            Some("upsert") => ("upserts", Some(key_columns(key.as_deref().unwrap_or_default(), &schema)?)),
            None => {
                let message = "the rows of this sink may be taken back, and its connector only adds rows";
                let help = "add changelog = 'rows' (each change with a column operation), or changelog = 'upsert' \
                            with key = 'column, ...' (the row that each key has now)";
                return Err(external(QueryError::invalid(message, None).with_help(help)));
            }
            Some(other) => {
                let message = format!("changelog is 'rows' or 'upsert', not {other:?}");
                return Err(external(QueryError::invalid(message, None)));
            }
        };
        let route = key.as_ref().map_or(Route::Local, |key| Route::ByKey(key.clone()));
        let inputs = vec![Input { from, route }];
        let is_stateless = key.is_none();
        let origin = self.node(name, inputs, vec![written], is_stateless, move |_| match &key {
            None => Ok(Box::new(ChangeRows)),
            Some(key) => Ok(Box::new(Upserts::new(Arc::clone(&schema), key.clone())?)),
        });
        if let Origin::Node(node, _) = origin {
            self.plan.nodes[node].is_changelog = false;
            // Changes of a key add up in any order.
            self.plan.nodes[node].takes_any_order = !is_stateless;
        }
        Ok(origin)
    }
}

/// Options of a sink that say how it takes a changelog; the connector does not see them.
pub(crate) const CHANGELOG: &str = "changelog";
/// See [`CHANGELOG`].
pub(crate) const KEY: &str = "key";

fn key_columns(key: &str, schema: &SchemaRef) -> Result<Vec<usize>> {
    let names: Vec<&str> = key.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        let error = QueryError::invalid("changelog = 'upsert' needs a key", None);
        return Err(external(
            error.with_help("add key = 'column, ...': the columns that tell the rows apart"),
        ));
    }
    let place = |name: &&str| {
        schema.index_of(name).map_err(|_| {
            let known =
                schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            let error = QueryError::invalid(format!("key: column {name:?} not found"), None);
            external(error.with_help(format!("the columns are {known}")))
        })
    };
    names.iter().map(place).collect()
}

/// The columns of a join; those of a side that may be missing are nullable.
pub(super) fn joined_schema(options: &JoinOptions) -> SchemaRef {
    let [left, right] = &options.schemas;
    let (left_missing, right_missing) = match options.kind {
        JoinKind::Inner | JoinKind::Semi | JoinKind::Anti => (false, false),
        JoinKind::Left => (false, true),
        JoinKind::Right => (true, false),
        JoinKind::Full => (true, true),
    };
    let of = |schema: &SchemaRef, is_missing: bool| -> Vec<Field> {
        let field = |field: &FieldRef| {
            let is_nullable = field.is_nullable() || is_missing;
            field.as_ref().clone().with_nullable(is_nullable)
        };
        schema.fields().iter().map(field).collect()
    };
    let mut fields = of(left, left_missing);
    if !matches!(options.kind, JoinKind::Semi | JoinKind::Anti) {
        fields.extend(of(right, right_missing));
    }
    Arc::new(Schema::new(fields))
}

fn sort_options(order: &SortExpr) -> SortOptions {
    SortOptions { descending: !order.asc, nulls_first: order.nulls_first }
}

type RankingOf<'a> = (Ranking, &'a [Expr], &'a [SortExpr]);

/// The ranking that a window is, if it is one and nothing else.
fn ranking_of(window: &Window) -> Option<RankingOf<'_>> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let mut expr = expr;
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    let Expr::WindowFunction(function) = expr else { return None };
    let ranking = match function.fun.name() {
        "row_number" => Ranking::RowNumber,
        "rank" => Ranking::Rank,
        "dense_rank" => Ranking::DenseRank,
        _ => return None,
    };
    Some((ranking, &function.params.partition_by, &function.params.order_by))
}

/// True if the rows are sorted by event time, first come first.
fn is_by_event_time(window: &Window, times: &[Option<i64>]) -> bool {
    let Some((_, _, [first, ..])) = ranking_of(window) else { return false };
    let Expr::Column(column) = &first.expr else { return false };
    let place = window.input.schema().index_of_column(column).ok();
    first.asc && place.is_some_and(|place| times.get(place).copied().flatten().is_some())
}

/// The ranking below projections, and the column of `plan` that has its rank.
fn ranking_below(plan: &LogicalPlan) -> Option<(&Window, usize)> {
    match plan {
        LogicalPlan::Window(window) => ranking_of(window).map(|_| (window, window.schema.fields().len() - 1)),
        LogicalPlan::SubqueryAlias(alias) => ranking_below(&alias.input),
        LogicalPlan::Projection(projection) => {
            let (window, column) = ranking_below(&projection.input)?;
            let rank = projection.input.schema().columns().into_iter().nth(column)?;
            let is_rank = |expr: &Expr| matches!(expr.clone().unalias_nested().data, Expr::Column(found) if found == rank);
            Some((window, projection.expr.iter().position(is_rank)?))
        }
        _ => None,
    }
}

/// The rows that a filter ranks, if it lets only the first of each group pass.
pub(crate) fn ranked_rows(filter: &Filter) -> Option<&LogicalPlan> {
    let (window, column) = ranking_below(&filter.input)?;
    limit_of(&filter.predicate, &filter.input, column).map(|_| window.input.as_ref())
}

/// The largest rank that passes a condition such as `rank <= 3 AND ...`.
fn limit_of(predicate: &Expr, plan: &LogicalPlan, column: usize) -> Option<usize> {
    let rank = plan.schema().columns().into_iter().nth(column)?;
    let is_rank = |expr: &Expr| {
        let mut expr = expr;
        while let Expr::Cast(cast) = expr {
            expr = &cast.expr;
        }
        matches!(expr, Expr::Column(found) if *found == rank)
    };
    let number = |expr: &Expr| match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(number) => number,
            _ => None,
        },
        _ => None,
    };
    let limit = |condition: &Expr| {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
        let (op, bound) = if is_rank(left) {
            (*op, number(right)?)
        } else if is_rank(right) {
            (op.swap()?, number(left)?)
        } else {
            return None;
        };
        let limit = match op {
            Operator::LtEq | Operator::Eq => bound,
            Operator::Lt => bound - 1,
            _ => return None,
        };
        Some(usize::try_from(limit).unwrap_or(0))
    };
    split_conjunction(predicate).into_iter().filter_map(limit).min()
}
