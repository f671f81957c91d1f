//! `lineshaft.failed`: the rows that an expression had no value for, of all views.

use std::sync::Arc;

use lineshaft_engine::operator::Operator;
use lineshaft_engine::plan::{Input, Route};
use lineshaft_operators::failed::{FailedRows, Failures, failed_schema};

use super::{Lowering, Result};

/// The relation of the rows that could not be computed.
const FAILED: &str = "lineshaft.failed";

impl Lowering<'_> {
    /// What is told of rows of the view in work that cannot be computed.
    pub(super) fn failures(&mut self) -> Failures {
        let is_told = self.told.entry(self.view.clone()).or_default();
        Failures {
            relation: self.view.clone(),
            counter: Arc::clone(&self.plan.failed),
            is_told: Arc::clone(is_told),
        }
    }

    /// `lineshaft.failed`: the rows of all views that could not be computed.
    pub(super) fn keep_failed(&mut self) -> Result<()> {
        let failed = std::mem::take(&mut self.failed);
        if failed.is_empty() {
            return Ok(());
        }
        FAILED.clone_into(&mut self.view);
        let inputs = failed.into_iter().map(|from| Input { from, route: Route::Gather }).collect();
        let make = |_| Ok(Box::new(FailedRows::default()) as Box<dyn Operator>);
        let from = self.node("rows", inputs, vec![failed_schema()], false, make);
        let path = format!("aside/{FAILED}");
        let options =
            [("connector", "parquet"), ("path", path.as_str()), ("retain_size", super::QUARANTINE_SIZE)];
        self.add_sink(FAILED, from, options.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}
