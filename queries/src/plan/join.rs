//! A stream joined with a table: every worker has the whole table and looks the keys of the stream up.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan};
use lineshaft_engine::expression::Expression;
use lineshaft_engine::plan::{Input, Origin, Route};

use super::{Lowering, Result};
use crate::context::RelationSource;
use crate::event_time::is_table;
use crate::expression::expression;

/// One side of a join, with the columns of its key.
pub(super) struct Side {
    pub(super) origin: Origin,
    pub(super) keys: Vec<usize>,
}

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Origin> {
        let (left_is_table, right_is_table) = (is_table(&join.left), is_table(&join.right));
        let table_is_left = match (left_is_table, right_is_table) {
            (false, true) => false,
            (true, false) => true,
            (true, true) => return self.changelog_join(join),
            (false, false) => return self.interval_join(join),
        };
        let keeps_stream = match (join.join_type, table_is_left) {
            (JoinType::Inner, _) => false,
            (JoinType::Left, false) | (JoinType::Right, true) => true,
            _ => return self.changelog_join(join),
        };
        if join.on.is_empty() {
            return self.changelog_join(join);
        }
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        let mut side = |plan: &LogicalPlan, keys: &[Expr], is_table: bool| {
            let outer = std::mem::replace(&mut self.reads_tables, is_table);
            let side = self.side(plan, keys);
            self.reads_tables = outer;
            side
        };
        let left = side(&join.left, &left_keys, table_is_left)?;
        let right = side(&join.right, &right_keys, !table_is_left)?;
        let widths = [join.left.schema().fields().len(), join.right.schema().fields().len()];
        let (stream, table) = if table_is_left { (right, left) } else { (left, right) };
        let (stream_plan, table_plan) =
            if table_is_left { (&join.right, &join.left) } else { (&join.left, &join.right) };
        let is_changelog = self.plan.is_changelog(stream.origin);
        let taken_back_by = if is_changelog { self.taken_back_by(stream_plan) } else { None };
        if is_changelog && taken_back_by.is_none() {
            return self.changelog_join(join);
        }
        let sides = [(stream_plan.as_ref(), &stream), (table_plan.as_ref(), &table)];
        let residual = join.filter.as_ref().map(|filter| self.residual(filter, sides)).transpose()?;
        let primary_key = self.primary_key(table_plan);
        let schema: SchemaRef = Arc::new(join.schema.as_arrow().clone());
        let spec = super::operators::Lookup {
            keeps_stream,
            stream_keys: stream.keys,
            table_keys: table.keys,
            primary_key,
            residual,
            table_is_left,
            widths,
            stream_schema: self.plan.schema(stream.origin),
            table_schema: self.plan.schema(table.origin),
            schema: Arc::clone(&schema),
            taken_back_by,
        };
        let inputs = vec![
            Input { from: stream.origin, route: Route::Local },
            Input { from: table.origin, route: Route::Broadcast },
        ];
        let joined = self.node("lookup join", inputs, vec![schema], false, super::operators::lookup(spec));
        if is_changelog {
            self.mark_changelog(joined);
        }
        Ok(joined)
    }

    /// Lowers a side; a key that is computed becomes a column after the others.
    pub(super) fn side(&mut self, plan: &LogicalPlan, keys: &[Expr]) -> Result<Side> {
        let origin = self.lower(plan)?;
        self.keyed(origin, plan, keys)
    }

    /// The same; text may come as dictionaries.
    pub(super) fn compact_side(&mut self, plan: &LogicalPlan, keys: &[Expr]) -> Result<Side> {
        let origin = self.lower_compact(plan)?;
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
    pub(super) fn fields(&self, plan: &LogicalPlan, side: &Side) -> Vec<(Option<TableReference>, FieldRef)> {
        let lowered = self.plan.schema(side.origin);
        let named = plan.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field)));
        let width = plan.schema().fields().len();
        let computed = lowered.fields().iter().skip(width).enumerate().map(|(number, field)| {
            let origin = format!("{:?} {number}", side.origin);
            (None, Arc::new(field.as_ref().clone().with_name(origin)))
        });
        named.chain(computed).collect()
    }

    /// The columns of a table's primary key, if all of them are in the rows that the join sees.
    fn primary_key(&self, plan: &LogicalPlan) -> Vec<usize> {
        let Some(name) = table_name(plan) else { return Vec::new() };
        let Some(source) = self.program.sources.get(&name) else { return Vec::new() };
        let place = |column: &usize| {
            let name = &source.statement.columns[*column].name.value;
            plan.schema()
                .index_of_column(&Column::new_unqualified(name))
                .ok()
                .or_else(|| plan.schema().columns().iter().position(|column| column.name == *name))
        };
        let places: Option<Vec<usize>> = source.statement.primary_key.iter().map(place).collect();
        places.unwrap_or_default()
    }
}

fn table_name(plan: &LogicalPlan) -> Option<String> {
    match plan {
        LogicalPlan::Filter(filter) => table_name(&filter.input),
        LogicalPlan::Projection(projection) => table_name(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => table_name(&alias.input),
        LogicalPlan::TableScan(scan) => Some(scan.source.downcast_ref::<RelationSource>()?.name.clone()),
        _ => None,
    }
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
