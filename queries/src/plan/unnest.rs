//! `UNNEST`: a row for each item of a list.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::NullHandling;
use datafusion::logical_expr::Unnest;
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::unnest::{Unnest as Operator, UnnestOptions};

use super::{Lowering, Result};
use crate::error::QueryError;
use crate::program::arrow_schema;
use crate::window_function::external;

impl Lowering<'_> {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<Origin> {
        let input = arrow_schema(&unnest.input);
        let is_list = |column: &usize| unnest.list_type_columns.iter().any(|(list, _)| list == column);
        let depth = unnest.list_type_columns.iter().map(|(_, list)| list.depth).max().unwrap_or(1);
        let is_plain = |(list, _): &(usize, _)| matches!(input.field(*list).data_type(), DataType::List(_));
        if depth > 1
            || !unnest.struct_type_columns.is_empty()
            || !unnest.list_type_columns.iter().all(is_plain)
        {
            let error =
                QueryError::not_supported("UNNEST of a struct, or of more than one level of lists", None);
            return Err(external(error.with_help("unnest the inner list in a view of its own")));
        }
        let schema = Arc::new(unnest.schema.as_arrow().clone());
        let columns = unnest.dependency_indices.iter().map(|column| (*column, is_list(column))).collect();
        let keeps_empty = unnest.options.null_handling == NullHandling::PreserveAndExpandEmpty;
        let options = UnnestOptions { columns, keeps_empty, schema: Arc::clone(&schema) };
        let from = self.lower(&unnest.input)?;
        let input = Input { from, route: Route::Local };
        Ok(self.node("UNNEST", vec![input], vec![schema], true, move |_| {
            Ok(Box::new(Operator::new(options.clone())))
        }))
    }
}
