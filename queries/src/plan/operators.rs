//! Makes the operators of the `operators` crate from what the planner knows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EpochHeader, Watermark};
use lineshaft_engine::{Batch, Error, Result};
use lineshaft_operators::window::{
    AssignOptions, AssignWindows, CountAggregate, CountOptions, RevisedAggregate, RevisedOptions,
    SessionAggregate, SessionOptions, StateAggregate, StateOptions, WindowAggregate, WindowOptions,
};

use super::revision::Revision;
use super::window::Shape;

use crate::window_function::WindowKind;

type Make = Box<dyn Fn() -> Result<Box<dyn Operator>> + Send + Sync>;

/// The operator of a window; column 0 of its input is the event time.
pub(super) fn window(shape: Shape, aggregates: Vec<Arc<dyn Aggregate>>, schema: SchemaRef) -> Make {
    Box::new(move || {
        let (keys, aggregates, schema) = (shape.keys.clone(), aggregates.clone(), Arc::clone(&schema));
        let time = 0;
        let fixed = |slide, size, grows, keys, aggregates, schema| -> Result<Box<dyn Operator>> {
            let windows = WindowOptions { time, slide, size, grows, keys, aggregates, schema };
            Ok(match shape.revision {
                None => Box::new(WindowAggregate::new(windows)?),
                Some(Revision { every, lateness }) => {
                    Box::new(RevisedAggregate::new(RevisedOptions { windows, every, lateness })?)
                }
            })
        };
        let operator: Box<dyn Operator> = match shape.kind {
            WindowKind::Hop { slide, size } => fixed(slide, size, false, keys, aggregates, schema)?,
            WindowKind::Cumulate { step, size } => fixed(step, size, true, keys, aggregates, schema)?,
            WindowKind::Session { gap } => {
                Box::new(SessionAggregate::new(SessionOptions { time, gap, keys, aggregates, schema })?)
            }
            WindowKind::Count { slide, size } => {
                Box::new(CountAggregate::new(CountOptions { time, slide, size, keys, aggregates, schema })?)
            }
            WindowKind::State => {
                let state = shape.state.ok_or_else(|| Error::Plan("a state window without state".into()))?;
                Box::new(StateAggregate::new(StateOptions { time, state, keys, aggregates, schema })?)
            }
        };
        Ok(lagged(shape.lag, operator))
    })
}

/// Adds the bounds of its windows to each row: `(slide, size, grows)`.
pub(super) fn assign(time: usize, windows: (i64, i64, bool), schema: SchemaRef) -> Make {
    let (slide, size, grows) = windows;
    Box::new(move || {
        let options = AssignOptions { time, slide, size, grows, schema: Arc::clone(&schema) };
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
