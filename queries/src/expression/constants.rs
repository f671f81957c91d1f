//! What is wrong with the constants of a function, such as `date_trunc('foo', ts)`, is told when a query is read, and not for
//! each of its rows.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::error::strip_prefix;

/// Functions of DataFusion that look at their constants whatever the row is.
const LOOKING: [&str; 6] =
    ["date_trunc", "date_part", "regexp_replace", "regexp_like", "regexp_match", "regexp_count"];

/// # Errors
/// If such a function has no value even for a row of NULLs.
pub(super) fn check(physical: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<()> {
    physical.apply(|part| {
        if let Some(call) = part.downcast_ref::<ScalarFunctionExpr>()
            && LOOKING.contains(&call.name())
            && let Err(error) = call.evaluate(&row_of_nulls(schema)?)
        {
            let reason = strip_prefix(&error.strip_backtrace());
            return Err(DataFusionError::Plan(format!("{}: {reason}", call.name())));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn row_of_nulls(schema: &Schema) -> Result<RecordBatch> {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let fields: Vec<_> = fields.collect();
    let columns = fields.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let one = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &one)?)
}
