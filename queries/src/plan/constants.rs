//! Rows that stand in the query: `VALUES`, or `SELECT` without `FROM`.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat};
use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan, Values};
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::constants::Constants;

use super::{Lowering, Result, unsupported};
use crate::expression::expression;
use crate::program::arrow_schema;

impl Lowering<'_> {
    /// The rows of `VALUES`.
    pub(super) fn values(&mut self, plan: &LogicalPlan, values: &Values) -> Result<Origin> {
        let (none, row) = (DFSchema::empty(), without_columns(1)?);
        let mut columns = Vec::new();
        for (place, field) in arrow_schema(plan).fields().iter().enumerate() {
            let cells = values.values.iter().map(|cells| {
                let cell = expression(&cells[place], &none)?.evaluate(&row);
                let cell = cell.map_err(|error| DataFusionError::External(Box::new(error)))?;
                Ok(cast(&cell, field.data_type())?)
            });
            let cells = cells.collect::<Result<Vec<_>>>()?;
            columns.push(concat(&cells.iter().map(AsRef::as_ref).collect::<Vec<_>>())?);
        }
        self.constants(plan, RecordBatch::try_new(arrow_schema(plan), columns)?)
    }

    /// What `SELECT` without `FROM` selects from: a row without columns; or nothing.
    pub(super) fn empty(&mut self, plan: &LogicalPlan, empty: &EmptyRelation) -> Result<Origin> {
        let rows = if empty.produce_one_row {
            without_columns(1)?
        } else {
            RecordBatch::new_empty(arrow_schema(plan))
        };
        self.constants(plan, rows)
    }

    /// The first source tells when the program begins.
    fn constants(&mut self, plan: &LogicalPlan, rows: RecordBatch) -> Result<Origin> {
        if self.plan.sources.is_empty() {
            return Err(unsupported(plan));
        }
        let inputs = vec![Input { from: Origin::Source(0), route: Route::Local }];
        let outputs = vec![rows.schema()];
        Ok(self.node("values", inputs, outputs, false, move |worker| {
            Ok(Box::new(Constants::new((worker.index == 0).then(|| rows.clone()))))
        }))
    }
}

/// Rows without columns.
fn without_columns(count: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
}
