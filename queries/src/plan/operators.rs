//! Makes the operators of the `operators` crate from what the planner knows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::{EpochHeader, Watermark};
use lineshaft_engine::{Batch, Error, Result};
use lineshaft_operators::window::{
    AssignOptions, AssignWindows, CountAggregate, CountOptions, EarlyOptions, EarlyWindows, FixedWindows,
    MakeWindows, RevisedAggregate, RevisedOptions, SessionAggregate, SessionOptions, StateAggregate,
    StateOptions, WindowAggregate, WindowOptions,
};

use super::revision::Revision;
use super::window::Shape;

use crate::window_function::WindowKind;

type Make = Box<dyn Fn() -> Result<Box<dyn Operator>> + Send + Sync>;

/// The operator of a window; column 0 of its input is the event time. Its input is a changelog if it `takes_changes`.
pub(super) fn window(
    shape: Shape,
    aggregates: Vec<Arc<dyn Aggregate>>,
    schema: SchemaRef,
    takes_changes: bool,
) -> Make {
    let lag = shape.lag;
    let WindowKind::Fixed(windows) = shape.kind else { return by_rows(shape, aggregates, schema) };
    Box::new(move || {
        let (keys, aggregates, schema) = (shape.keys.clone(), aggregates.clone(), Arc::clone(&schema));
        let windows = WindowOptions { time: 0, windows, keys, aggregates, schema };
        let operator: Box<dyn Operator> = match shape.revision {
            None => Box::new(WindowAggregate::new(windows)?),
            Some(Revision { every, lateness }) => {
                let options = RevisedOptions { windows, every, lateness, takes_changes };
                Box::new(RevisedAggregate::new(options)?)
            }
        };
        Ok(lagged(lag, operator))
    })
}

/// The operator of a window whose bounds depend on its rows.
fn by_rows(shape: Shape, aggregates: Vec<Arc<dyn Aggregate>>, schema: SchemaRef) -> Make {
    let (lag, keys) = (shape.lag, shape.keys.len());
    let every = shape.revision.and_then(|revision| revision.every);
    let given = Arc::clone(&schema);
    let windows: MakeWindows = Arc::new(move || {
        let (keys, aggregates, schema) = (shape.keys.clone(), aggregates.clone(), Arc::clone(&schema));
        let time = 0;
        let operator: Box<dyn Operator> = match shape.kind {
            WindowKind::Session { gap } => {
                Box::new(SessionAggregate::new(SessionOptions { time, gap, keys, aggregates, schema })?)
            }
            WindowKind::Count { slide, size } => {
                Box::new(CountAggregate::new(CountOptions { time, slide, size, keys, aggregates, schema })?)
            }
            WindowKind::State | WindowKind::Fixed(_) => {
                let state = shape.state.ok_or_else(|| Error::Plan("a state window without state".into()))?;
                Box::new(StateAggregate::new(StateOptions { time, state, keys, aggregates, schema })?)
            }
        };
        Ok(operator)
    });
    Box::new(move || {
        let operator = match every {
            None => windows()?,
            Some(every) => {
                let (windows, schema) = (Arc::clone(&windows), Arc::clone(&given));
                Box::new(EarlyWindows::new(EarlyOptions { windows, every, keys, schema })?)
            }
        };
        Ok(lagged(lag, operator))
    })
}

/// Adds the bounds of its windows to each row.
pub(super) fn assign(time: usize, windows: FixedWindows, schema: SchemaRef) -> Make {
    Box::new(move || {
        let options = AssignOptions { time, windows, schema: Arc::clone(&schema) };
        Ok(Box::new(AssignWindows::new(options)?))
    })
}

/// `operator`, for which event time is `lag` microseconds behind the watermark.
pub(super) fn lagged(lag: i64, operator: Box<dyn Operator>) -> Box<dyn Operator> {
    if lag == 0 { operator } else { Box::new(Lagged { lag, operator }) }
}

struct Lagged {
    lag: i64,
    operator: Box<dyn Operator>,
}

impl Operator for Lagged {
    fn on_batch(&mut self, input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        self.operator.on_batch(input, batch, output)
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        self.operator.on_watermark(watermark.less(self.lag), output)
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        self.operator.on_epoch_end(header, output)
    }

    fn use_spill(&mut self, spill: Spill) {
        self.operator.use_spill(spill);
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.operator.snapshot()
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.operator.rest_of_snapshot()
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.operator.restore(snapshot)
    }
}
