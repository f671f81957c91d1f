//! `RESAMPLE`: rows at fixed times.

use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::resample::{Resample as Operator, ResampleOptions};

use std::sync::Arc;

use super::revision::Expected;
use super::{Lowering, Result};
use crate::error::QueryError;
use crate::program::arrow_schema;
use crate::window_function::{Resample, external};

impl Lowering<'_> {
    /// Each key at the points of the grid.
    pub(super) fn resample(&mut self, resample: &Resample) -> Result<Origin> {
        let input = resample.input.schema();
        let time = input.index_of_column(&resample.time)?;
        let lag = self.times(&resample.input).get(time).copied().flatten().ok_or_else(|| {
            let name = &resample.time.name;
            let message = format!("RESAMPLE needs a watermark: column {name:?} has none");
            let help = format!("add WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND to the source");
            external(QueryError::invalid(message, None).with_help(help))
        })?;
        let keys = resample.keys.iter().map(|key| input.index_of_column(key));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let schema = datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(resample);
        let schema = Arc::new(schema.as_arrow().clone());
        let options = ResampleOptions {
            time,
            keys: keys.clone(),
            grid: resample.grid(),
            fillings: resample.fillings(),
            schema: Arc::clone(&schema),
        };
        let from = self.expecting(Expected::Final, |lowering| lowering.lower(&resample.input))?;
        self.only_added(from, "RESAMPLE")?;
        debug_assert_eq!(arrow_schema(&resample.input).fields().len(), options.fillings.len());
        let route = if keys.is_empty() { Route::Gather } else { Route::ByKey(keys) };
        Ok(self.node("RESAMPLE", vec![Input { from, route }], vec![schema], false, move |_| {
            Ok(super::operators::lagged(lag, Box::new(Operator::new(options.clone())?)))
        }))
    }
}
