//! Window functions (`OVER`) over the rows of one window: top-k per window, ranks, shares of a total.
//!
//! Where `PARTITION BY` names a bound of a window, or another event time, the rows of a partition are complete when
//! the watermark has passed it. They are kept until then and computed together, so nothing is ever taken back.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, Window};
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::window::{CompleteOptions, CompleteWindows};

use super::{Lowering, Result};
use crate::event_time::{common_partition, instant};
use crate::partitions::Partitions;
use crate::program::arrow_schema;

impl Lowering<'_> {
    /// The rows with the results of the functions; `None` if a partition is never complete.
    pub(super) fn per_window(&mut self, window: &Window) -> Result<Option<Origin>> {
        let (input, functions) = (window.input.as_ref(), &window.window_expr);
        let schema = input.schema();
        let common = common_partition(functions);
        let Some((time, lag)) = instant(input, &common, &|name| self.program.times_of(name)) else {
            return Ok(None);
        };
        let place = |expr: &Expr| match expr {
            Expr::Column(column) => schema.index_of_column(column).ok(),
            _ => None,
        };
        let keys: Vec<usize> = common.iter().filter_map(place).collect();
        let Some(time) = place(&common[time]) else { return Ok(None) };
        let from = self.final_rows(input)?;
        let from = self.plain(from, &arrow_schema(input));
        if self.plan.is_changelog(from) {
            return Ok(Some(self.per_window_of_changelog(window, from)?));
        }
        let output = Arc::new(window.schema.as_arrow().clone());
        let function = Partitions::new(functions, schema, Arc::clone(&output))?;
        let options = CompleteOptions {
            time,
            function: Arc::new(function),
            input: arrow_schema(input),
            schema: Arc::clone(&output),
        };
        let input = Input { from, route: Route::ByKey(keys) };
        Ok(Some(self.node("functions per window", vec![input], vec![output], false, move |_| {
            Ok(super::operators::lagged(lag, Box::new(CompleteWindows::new(options.clone()))))
        })))
    }
}
