//! What is computed over the frames of rows, and what each function needs for it.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use lineshaft_engine::Result;
use lineshaft_engine::expression::{Aggregate, Expression, Moment};

use super::aggregate::{Running, Sliding};
use super::frame::Frame;
use super::moments::{CountRows, RunningMoment, SHORT, ShortMoment, SlidingMoment};
use super::online::Stepwise;
use super::other_plan;
use super::rank::{DenseRank, Rank, RowNumber};
use super::rows::Rows;
use super::value::{Carried, Value, Within};
use crate::online::Online;
use crate::shared::SavedState;

/// A function with the frame that it sees.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// The frame; functions that number rows have one of their own.
    pub frame: Frame,
}

/// What is computed of a frame.
#[derive(Clone, Debug)]
pub enum Function {
    /// An aggregate of its rows.
    Aggregate(Arc<dyn Aggregate>),
    /// One of its values.
    Value(Value),
    /// The number of the row in its partition.
    RowNumber,
    /// One more than the number of rows before its peers.
    Rank,
    /// The number of different values of `ORDER BY` so far.
    DenseRank,
    /// A function that goes from row to row.
    Online {
        /// The function before its first row.
        function: Online,
        /// Its arguments: doubles, and then the time if `is_timed`.
        arguments: Vec<Arc<dyn Expression>>,
        /// See `arguments`.
        is_timed: bool,
    },
}

/// Computes one function for the rows of all partitions.
pub(super) trait Evaluate: Debug {
    /// A value for each row that is computed; `spans` are their frames.
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef>;

    /// The first row of a partition whose arguments it needs for a frame that begins at row `frame`, and for all later
    /// ones.
    fn wants_from(&self, slot: usize, frame: usize) -> usize;

    /// Slots have new numbers; those without are forgotten.
    fn renumber(&mut self, _moved: &[Option<u32>]) {}

    /// What it remembers of the first `slots` partitions now, to be given later.
    fn save(&mut self, _slots: usize) -> Result<Option<Box<dyn SavedState>>> {
        Ok(None)
    }

    /// Puts back what [`Evaluate::save`] gave, one table after the other.
    fn restore(&mut self, _table: &RecordBatch) -> Result<()> {
        Ok(())
    }
}

/// A function that is ready to be computed.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) frame: Frame,
    pub(super) function: Box<dyn Evaluate>,
    /// True if what it remembers of a partition is never out of date.
    pub(super) remembers: bool,
}

/// Where the arguments of functions are among the columns that are computed for them.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) expressions: Vec<Arc<dyn Expression>>,
}

impl Arguments {
    /// The place of an argument; arguments that are one object are computed once.
    pub(super) fn place(&mut self, expression: &Arc<dyn Expression>) -> usize {
        let known = self.expressions.iter().position(|other| Arc::ptr_eq(other, expression));
        known.unwrap_or_else(|| {
            self.expressions.push(Arc::clone(expression));
            self.expressions.len() - 1
        })
    }
}

impl Call {
    pub(super) fn prepare(&self, arguments: &mut Arguments) -> Result<Prepared> {
        let has_start = self.frame.start.is_some();
        let (frame, function): (Frame, Box<dyn Evaluate>) = match &self.function {
            Function::RowNumber => (Frame::row(0), Box::new(RowNumber)),
            Function::Rank => (Frame::peers(), Box::new(Rank)),
            Function::DenseRank => (Frame::row(0), Box::<DenseRank>::default()),
            Function::Value(value) => {
                let argument = arguments.place(&value.argument);
                let value = value.clone();
                let function: Box<dyn Evaluate> = match has_start {
                    true => Box::new(Within { value, argument }),
                    false => Box::new(Carried::new(value, argument)),
                };
                (self.frame, function)
            }
            Function::Aggregate(aggregate) => (self.frame, prepare(aggregate, self.frame, arguments)?),
            Function::Online { function, arguments: inputs, is_timed } => {
                let places = inputs.iter().map(|input| arguments.place(input)).collect();
                (Frame::row(0), Box::new(Stepwise::new(function.clone(), places, *is_timed)))
            }
        };
        let remembers = !matches!(self.function, Function::Aggregate(_) | Function::Value(_));
        Ok(Prepared { frame, function, remembers: remembers || !frame.forgets() })
    }
}

fn prepare(
    aggregate: &Arc<dyn Aggregate>,
    frame: Frame,
    arguments: &mut Arguments,
) -> Result<Box<dyn Evaluate>> {
    let has_start = frame.start.is_some();
    if aggregate.moment() == Some(Moment::Rows) {
        return Ok(Box::new(CountRows));
    }
    let places: Vec<usize> = aggregate.arguments().iter().map(|argument| arguments.place(argument)).collect();
    if let (Some(moment), [argument]) = (aggregate.moment(), places.as_slice()) {
        let argument = *argument;
        return Ok(match has_start {
            true if frame.is_short(SHORT) || frame.may_go_back() => {
                Box::new(ShortMoment { moment, argument })
            }
            true => Box::new(SlidingMoment::new(moment, argument)),
            false => Box::new(RunningMoment::new(moment, argument)),
        });
    }
    let filter = aggregate.filter().map(|filter| arguments.place(filter));
    Ok(match has_start {
        true => Box::new(Sliding { aggregate: Arc::clone(aggregate), arguments: places, filter }),
        false => Box::new(Running::new(aggregate.running()?, places, filter)),
    })
}

/// For columns of numbers.
pub(super) fn signed(number: u64) -> i64 {
    i64::from_ne_bytes(number.to_ne_bytes())
}

/// See [`signed`].
pub(super) fn unsigned(number: i64) -> u64 {
    u64::from_ne_bytes(number.to_ne_bytes())
}

/// See [`signed`].
pub(super) fn number(number: i64) -> Result<usize> {
    usize::try_from(number).map_err(|_| other_plan())
}
