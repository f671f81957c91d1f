//! `GROUPING SETS`, `ROLLUP` and `CUBE`: an aggregate a set, and the rows of all of them together.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, cast, lit};
use lineshaft_engine::plan::{Input, Origin, Route};

use super::{Lowering, Result};
use crate::error::QueryError;
use crate::event_time::windows_of;
use crate::window_function::external;

impl Lowering<'_> {
    /// An aggregate whose only group is `sets`, over the rows of `from` as in [`Lowering::grouped`].
    pub(super) fn grouping_sets(
        &mut self,
        query: &Aggregate,
        sets: &GroupingSet,
        from: Origin,
        by_rows: bool,
    ) -> Result<Origin> {
        let all = sets.distinct_expr();
        let schema: SchemaRef = Arc::new(query.schema.as_arrow().clone());
        let mut inputs = Vec::new();
        let mut seen: Vec<u64> = Vec::new();
        for set in sets_of(sets) {
            check_window(query, &set)?;
            // The one group of all rows, of which nothing else is wanted.
            let calls = match set.is_empty() && query.aggr_expr.is_empty() {
                true => vec![count(lit(1))],
                false => query.aggr_expr.clone(),
            };
            let id = grouping_id(&all, &set);
            let ordinal = seen.iter().filter(|other| **other == id).count() as u64;
            seen.push(id);
            let part = Aggregate::try_new(Arc::clone(&query.input), set.clone(), calls)?;
            let from = self.grouped(&part, from, by_rows)?;
            let found = part.schema.columns();
            let mut columns = Vec::with_capacity(schema.fields().len());
            for (expr, field) in all.iter().zip(schema.fields()) {
                columns.push(match set.iter().position(|of_set| of_set == *expr) {
                    Some(place) => Expr::Column(found[place].clone()),
                    None => Expr::Literal(ScalarValue::try_from(field.data_type())?, None),
                });
            }
            let id_type: &DataType = schema.field(all.len()).data_type();
            columns.push(cast(lit(id | ordinal << all.len()), id_type.clone()));
            let results = found[set.len()..].iter().take(query.aggr_expr.len());
            columns.extend(results.cloned().map(Expr::Column));
            let from = self.map(from, &part.schema, None, Some(&columns), Arc::clone(&schema))?;
            let from = self.plain(from, &schema);
            inputs.push(Input { from, route: Route::Local });
        }
        Ok(self.union(inputs, schema))
    }
}

/// The sets, each with its expressions once.
pub(super) fn sets_of(sets: &GroupingSet) -> Vec<Vec<Expr>> {
    let sets = match sets {
        GroupingSet::Rollup(exprs) => (0..=exprs.len()).map(|len| exprs[..len].to_vec()).collect(),
        GroupingSet::Cube(exprs) => (0..1_usize << exprs.len())
            .map(|mask| {
                let chosen = exprs.iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1);
                chosen.map(|(_, expr)| expr.clone()).collect()
            })
            .collect(),
        GroupingSet::GroupingSets(sets) => sets.clone(),
    };
    let once = |set: Vec<Expr>| {
        let mut found: Vec<Expr> = Vec::with_capacity(set.len());
        for expr in set {
            if !found.contains(&expr) {
                found.push(expr);
            }
        }
        found
    };
    sets.into_iter().map(once).collect()
}

/// A bit for each expression that is not in the set, the last expression's first; what `grouping` is computed of.
fn grouping_id(all: &[&Expr], set: &[Expr]) -> u64 {
    all.iter().fold(0, |id, expr| id << 1 | u64::from(!set.contains(expr)))
}

fn check_window(query: &Aggregate, set: &[Expr]) -> Result<()> {
    let Some(windows) = windows_of(&query.input) else { return Ok(()) };
    let is_bound = |expr: &Expr| {
        let expr = windows.substituted(expr, &query.input).ok();
        expr.is_some_and(|expr| windows.bound(&expr).is_some())
    };
    if set.iter().any(is_bound) {
        return Ok(());
    }
    let message = "GROUP BY: every grouping set over a window must name window_start or window_end";
    let help = "keep the window out of the sets: GROUP BY window_start, window_end, ROLLUP (a, b)";
    Err(external(QueryError::invalid(message.to_owned(), None).with_help(help)))
}
