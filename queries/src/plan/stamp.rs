//! `now()` in an expression: a column with the time of the epoch, added below it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use lineshaft_engine::TIMESTAMP;
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::stamp::{Reading, Stamp};

use super::{Lowering, Result};
use crate::error::QueryError;
use crate::now::is_now;
use crate::window_function::external;

/// The column with the time; nobody else can write it.
const NOW: &str = "\u{1}now";

impl Lowering<'_> {
    /// [`Lowering::map`] for expressions in which `now()` stands.
    pub(super) fn stamped_map(
        &mut self,
        from: Origin,
        input: &DFSchema,
        predicate: Option<&Expr>,
        columns: Option<&[Expr]>,
        schema: SchemaRef,
    ) -> Result<Origin> {
        if self.plan.is_changelog(from) {
            let error = QueryError::not_supported("now() over rows that may be taken back", None);
            let help = "a row that is taken back must be the one that was given; use now() over the rows of a source or \
                        of a window, or the event time";
            return Err(external(error.with_help(help)));
        }
        let (from, stamped) = self.stamp(from, input)?;
        let predicate = predicate.map(|predicate| with_column(predicate.clone(), &stamped)).transpose()?;
        let all = || input.columns().into_iter().map(Expr::Column).collect();
        let columns: Vec<Expr> = columns.map_or_else(all, <[Expr]>::to_vec);
        let columns =
            columns.into_iter().map(|column| with_column(column, &stamped)).collect::<Result<Vec<_>>>()?;
        self.map(from, &stamped, predicate.as_ref(), Some(&columns), schema)
    }

    fn stamp(&mut self, from: Origin, input: &DFSchema) -> Result<(Origin, DFSchema)> {
        let now = Arc::new(Field::new(NOW, TIMESTAMP, true));
        let mut fields = self.plan.schema(from).fields().to_vec();
        fields.push(Arc::clone(&now));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let reading = if self.outputs.close_gates { Reading::Watermark } else { Reading::WallClock };
        let outputs = vec![Arc::clone(&schema)];
        let input_of = Input { from, route: Route::Local };
        let from = self.node("now()", vec![input_of], outputs, false, move |_| {
            Ok(Box::new(Stamp::new(reading, Arc::clone(&schema))))
        });
        let stamped = input.join(&DFSchema::new_with_metadata(vec![(None, now)], HashMap::new())?)?;
        Ok((from, stamped))
    }
}

/// The expression with the column in place of `now()`.
fn with_column(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let replaced = expr.transform_up(|part| {
        if !is_now(&part) {
            return Ok(Transformed::no(part));
        }
        let column = Expr::Column(Column::new_unqualified(NOW));
        let is_date = part.get_type(schema)? == DataType::Date32;
        Ok(Transformed::yes(if is_date { cast(column, DataType::Date32) } else { column }))
    })?;
    Ok(replaced.data)
}
