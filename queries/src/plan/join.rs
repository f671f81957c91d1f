//! A stream joined with a table, or with what is made of tables alone: every worker has all of its rows and looks the
//! rows of the stream up in them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, JoinType, NullEquality, ScalarValue, TableReference};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, lit};
use lineshaft_engine::expression::Expression;
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::join::{self as lookup, LookupJoin, LookupKind, LookupOptions, Residual};

use super::{Lowering, Result, arrow_schema, compact};
use crate::context::RelationSource;
use crate::event_time::is_reference;
use crate::expression::{as_key, expression};

/// One side of a join, with the columns of its key.
pub(super) struct Side {
    pub(super) origin: Origin,
    pub(super) keys: Vec<usize>,
}

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Origin> {
        if let Some(plain) = without_null_aware(join) {
            return self.join(&plain);
        }
        let table_is_left = match (is_reference(&join.left), is_reference(&join.right)) {
            (false, true) => false,
            (true, false) => true,
            (true, true) => return self.changelog_join(join),
            (false, false) => return self.interval_join(join),
        };
        let Some(kind) = lookup_kind(join, table_is_left) else { return self.changelog_join(join) };
        self.lookup_join(join, kind, table_is_left)
    }

    /// Each row of the stream is looked up in the table, as it is then.
    fn lookup_join(&mut self, join: &Join, kind: LookupKind, table_is_left: bool) -> Result<Origin> {
        let (mut stream_plan, mut table_plan) = (&join.left, &join.right);
        let (mut stream_keys, mut table_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        if table_is_left {
            std::mem::swap(&mut stream_plan, &mut table_plan);
            std::mem::swap(&mut stream_keys, &mut table_keys);
        }
        // The look-up itself keeps one row for each primary key, unless it does not see all rows or all of the key.
        let primary_key = self.primary_key(table_plan);
        let outer = std::mem::replace(&mut self.reads_tables, false);
        let stream = self.lower_compact(stream_plan);
        self.reads_tables = outer;
        let is_changelog = self.plan.is_changelog(stream?);
        let taken_back_by = if is_changelog { self.taken_back_by(stream_plan) } else { None };
        if is_changelog && taken_back_by.is_none() {
            return self.changelog_join(join);
        }
        self.reads_tables = false;
        let stream = self.compact_side(stream_plan, &stream_keys);
        self.reads_tables = primary_key.is_some();
        if table_plan.schema().fields().is_empty() && table_keys.is_empty() {
            // Rows of which only the number counts; they need a column to be kept.
            table_keys.push(lit(true));
        }
        let table = self.side(table_plan, &table_keys);
        self.reads_tables = outer;
        let (stream, table) = (stream?, table?);
        let sides = [(stream_plan.as_ref(), &stream), (table_plan.as_ref(), &table)];
        let filter = join.filter.as_ref().filter(|filter| !is_true(filter));
        let residual = filter.map(|filter| self.lookup_residual(filter, sides)).transpose()?;
        let output = output_columns(kind, stream_plan, table_plan, table_is_left);
        let mut schema: SchemaRef = Arc::new(join.schema.as_arrow().clone());
        if taken_back_by.is_none() {
            let stream = self.plan.schema(stream.origin);
            schema = compact::joined(
                &schema,
                output.iter().map(|(side, column)| match side {
                    lookup::Side::Stream => Some(stream.field(*column)),
                    lookup::Side::Table => None,
                }),
            );
        }
        let (lag, taken_back_by) = taken_back_by.map_or((0, None), |(time, lag)| (lag, Some(time)));
        let compared = join.on.len();
        let options = LookupOptions {
            kind,
            stream_keys: stream.keys[..compared].to_vec(),
            table_keys: table.keys[..compared].to_vec(),
            primary_key: primary_key.unwrap_or_default(),
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            residual,
            output,
            stream_schema: self.plan.schema(stream.origin),
            table_schema: self.plan.schema(table.origin),
            schema: Arc::clone(&schema),
            taken_back_by,
        };
        let inputs = vec![
            Input { from: stream.origin, route: Route::Local },
            Input { from: table.origin, route: Route::Broadcast },
        ];
        let joined = self.node(node_name(kind), inputs, vec![schema], false, move |_| {
            Ok(super::operators::lagged(lag, Box::new(LookupJoin::new(options.clone())?)))
        });
        if is_changelog {
            self.mark_changelog(joined);
        } else {
            self.mark_ordered(joined);
        }
        Ok(joined)
    }

    /// A condition over the columns of a stream and a table; only those that it names are put together for it.
    fn lookup_residual(&self, condition: &Expr, sides: [(&LogicalPlan, &Side); 2]) -> Result<Residual> {
        let [stream, table] = sides.map(|(plan, side)| self.fields(plan, side));
        let of = |side, fields: Vec<Named>| {
            fields.into_iter().enumerate().map(move |(place, field)| ((side, place), field))
        };
        let all = of(lookup::Side::Stream, stream).chain(of(lookup::Side::Table, table));
        let named = condition.column_refs();
        let is_named = |(table, field): &Named| {
            named.iter().any(|column| {
                column.name == *field.name() && (column.relation.is_none() || column.relation == *table)
            })
        };
        let (columns, fields): (Vec<_>, Vec<Named>) = all.filter(|(_, field)| is_named(field)).unzip();
        let holds = expression(condition, &DFSchema::new_with_metadata(fields, HashMap::new())?)?;
        Ok(Residual { columns, holds })
    }

    /// Lowers a side; a key that is computed becomes a column after the others.
    pub(super) fn side(&mut self, plan: &LogicalPlan, keys: &[Expr]) -> Result<Side> {
        let origin = self.lower(plan)?;
        self.keyed(origin, plan, keys)
    }

    /// The same; text of rows that are not taken back may come as dictionaries.
    pub(super) fn compact_side(&mut self, plan: &LogicalPlan, keys: &[Expr]) -> Result<Side> {
        let mut origin = self.lower_compact(plan)?;
        if self.plan.is_changelog(origin) {
            origin = self.plain(origin, &arrow_schema(plan));
        }
        self.keyed(origin, plan, keys)
    }

    fn keyed(&mut self, origin: Origin, plan: &LogicalPlan, keys: &[Expr]) -> Result<Side> {
        let input = plan.schema();
        let mut columns: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
        let width = columns.len();
        let mut places = Vec::with_capacity(keys.len());
        for key in keys {
            let place = columns.iter().position(|column| column == key);
            places.push(place.unwrap_or_else(|| {
                columns.push(key.clone());
                columns.len() - 1
            }));
        }
        if columns.len() == width {
            return Ok(Side { origin, keys: places });
        }
        let schema = with_keys(input, &columns[width..])?;
        let origin = self.map(origin, input, None, Some(&columns), schema)?;
        Ok(Side { origin, keys: places })
    }

    /// A condition over the columns of two lowered sides.
    pub(super) fn residual(
        &self,
        condition: &Expr,
        sides: [(&LogicalPlan, &Side); 2],
    ) -> Result<Arc<dyn Expression>> {
        let fields = sides.into_iter().flat_map(|(plan, side)| self.fields(plan, side)).collect();
        expression(condition, &DFSchema::new_with_metadata(fields, HashMap::new())?)
    }

    /// The columns of a lowered side under the names that the query has for them.
    pub(super) fn fields(&self, plan: &LogicalPlan, side: &Side) -> Vec<Named> {
        let lowered = self.plan.schema(side.origin);
        let named = plan.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field)));
        let width = plan.schema().fields().len();
        let computed = lowered.fields().iter().skip(width).enumerate().map(|(number, field)| {
            let origin = format!("{:?} {number}", side.origin);
            (None, Arc::new(field.as_ref().clone().with_name(origin)))
        });
        named.chain(computed).collect()
    }

    /// The columns of a table's primary key, if it has one and the plan has all of its rows and all of these columns.
    fn primary_key(&self, plan: &LogicalPlan) -> Option<Vec<usize>> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.primary_key(&alias.input),
            LogicalPlan::Projection(projection) => {
                let (key, input) = (self.primary_key(&projection.input)?, projection.input.schema());
                let place = |column: usize| {
                    projection.expr.iter().position(|expr| match expr.clone().unalias() {
                        Expr::Column(shown) => input.index_of_column(&shown).is_ok_and(|at| at == column),
                        _ => false,
                    })
                };
                key.into_iter().map(place).collect()
            }
            LogicalPlan::TableScan(scan) => {
                let name = &scan.source.downcast_ref::<RelationSource>()?.name;
                let key = &self.program.sources.get(name)?.statement.primary_key;
                let place = |column: &usize| match &scan.projection {
                    Some(columns) => columns.iter().position(|read| read == column),
                    None => Some(*column),
                };
                let key: Option<Vec<usize>> = key.iter().map(place).collect();
                key.filter(|key| !key.is_empty())
            }
            _ => None,
        }
    }
}

/// The keys of a side whose bits are compared.
pub(super) fn as_keys(plan: &LogicalPlan, keys: &[Expr]) -> Result<Vec<Expr>> {
    keys.iter().map(|key| as_key(key, plan.schema())).collect()
}

/// A column with the relation it belongs to.
type Named = (Option<TableReference>, FieldRef);

/// How the rows of the stream are looked up; `None` if rows of the table come out that have met none of them.
fn lookup_kind(join: &Join, table_is_left: bool) -> Option<LookupKind> {
    Some(match (join.join_type, table_is_left) {
        (JoinType::Inner, _) => LookupKind::Inner,
        (JoinType::Left, false) | (JoinType::Right, true) => LookupKind::Left,
        (JoinType::LeftSemi, false) | (JoinType::RightSemi, true) => LookupKind::Semi,
        (JoinType::LeftAnti, false) if join.null_aware && join.on.len() == 1 => LookupKind::NotIn,
        (JoinType::LeftAnti, false) | (JoinType::RightAnti, true) => LookupKind::Anti,
        (JoinType::LeftMark, false) | (JoinType::RightMark, true) => LookupKind::Mark,
        (JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark, true)
        | (JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark, false)
        | (JoinType::Full, _) => return None,
    })
}

fn node_name(kind: LookupKind) -> &'static str {
    match kind {
        LookupKind::Inner | LookupKind::Left => "lookup join",
        LookupKind::Semi => "lookup semi join",
        LookupKind::Anti | LookupKind::NotIn => "lookup anti join",
        LookupKind::Mark => "lookup mark join",
    }
}

/// The columns that the query has of a look-up: not those of computed keys.
fn output_columns(
    kind: LookupKind,
    stream: &LogicalPlan,
    table: &LogicalPlan,
    table_is_left: bool,
) -> Vec<(lookup::Side, usize)> {
    let of = |side, plan: &LogicalPlan| {
        (0..plan.schema().fields().len()).map(|column| (side, column)).collect::<Vec<_>>()
    };
    let stream = of(lookup::Side::Stream, stream);
    if !matches!(kind, LookupKind::Inner | LookupKind::Left) {
        return stream;
    }
    let table = of(lookup::Side::Table, table);
    if table_is_left { [table, stream].concat() } else { [stream, table].concat() }
}

/// `NOT IN` a subquery that is correlated compares more than one column, and NULL counts in the first of them only: a
/// row is left out if for any row of its subquery it is not false that they are equal.
fn without_null_aware(join: &Join) -> Option<Join> {
    let (first, rest) = join.on.split_first()?;
    if !join.null_aware || rest.is_empty() && join.filter.is_none() {
        return None;
    }
    let may_be_equal = first.0.clone().eq(first.1.clone()).is_not_false();
    let filter = conjunction(join.filter.iter().cloned().chain([may_be_equal]));
    Some(Join { on: rest.to_vec(), filter, null_aware: false, ..join.clone() })
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// The columns of `input`, and then those of computed keys.
pub(super) fn with_keys(input: &DFSchema, keys: &[Expr]) -> Result<SchemaRef> {
    let mut fields = input.as_arrow().fields().to_vec();
    for (number, key) in keys.iter().enumerate() {
        let (_, field) = key.to_field(input)?;
        fields.push(Arc::new(field.as_ref().clone().with_name(format!("key {number}"))));
    }
    Ok(Arc::new(Schema::new(fields)))
}
