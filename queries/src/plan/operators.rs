//! Makes the operators of the `operators` crate from what the planner knows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use lineshaft_engine::expression::{Aggregate, Expression};
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::sink::Worker;
use lineshaft_engine::time::{EpochHeader, Watermark};
use lineshaft_engine::{Batch, Error, Result};
use lineshaft_operators::join::{LookupJoin, LookupKind, LookupOptions, Side};
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

/// A join of a stream with a table.
#[derive(Clone)]
pub(super) struct Lookup {
    /// A row of the stream without a match is kept.
    pub(super) keeps_stream: bool,
    pub(super) stream_keys: Vec<usize>,
    pub(super) table_keys: Vec<usize>,
    /// Empty if the table has none.
    pub(super) primary_key: Vec<usize>,
    /// Over the columns of the stream, then those of the table.
    pub(super) residual: Option<Arc<dyn Expression>>,
    pub(super) table_is_left: bool,
    /// Columns of the left and right side that the result has.
    pub(super) widths: [usize; 2],
    pub(super) stream_schema: SchemaRef,
    pub(super) table_schema: SchemaRef,
    pub(super) schema: SchemaRef,
    /// Of a stream that is a changelog, a column of event time with its lag.
    pub(super) taken_back_by: Option<(usize, i64)>,
}

pub(super) fn lookup(spec: Lookup) -> impl Fn(Worker) -> Result<Box<dyn Operator>> + Send + Sync + 'static {
    move |_| {
        let spec = spec.clone();
        let sides =
            if spec.table_is_left { [Side::Table, Side::Stream] } else { [Side::Stream, Side::Table] };
        let columns = sides.into_iter().zip(spec.widths);
        let columns =
            columns.flat_map(|(side, width)| (0..width).map(move |column| (side, column))).collect();
        let lag = spec.taken_back_by.map_or(0, |(_, lag)| lag);
        let join = LookupJoin::new(LookupOptions {
            kind: if spec.keeps_stream { LookupKind::Left } else { LookupKind::Inner },
            stream_keys: spec.stream_keys,
            table_keys: spec.table_keys,
            primary_key: spec.primary_key,
            residual: spec.residual,
            output: columns,
            stream_schema: spec.stream_schema,
            table_schema: spec.table_schema,
            schema: spec.schema,
            taken_back_by: spec.taken_back_by.map(|(time, _)| time),
        })?;
        Ok(lagged(lag, Box::new(join)))
    }
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

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.operator.restore(snapshot)
    }
}
