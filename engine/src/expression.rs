//! `Expression` and `Aggregate`: what a query computes per row and per group. The `queries` crate implements them
//! with DataFusion; operators only call them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};

/// A column computed from the columns of a batch. Deterministic: the same rows give the same column.
pub trait Expression: Send + Sync + fmt::Debug {
    /// One value for each row.
    ///
    /// # Errors
    /// If a value cannot be computed (a cast that fails, an integer overflow).
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef>;

    /// The type of the values.
    fn data_type(&self) -> &DataType;

    /// The place of the column that it is, if it is one as it stands.
    fn column(&self) -> Option<usize> {
        None
    }
}

/// The column at an index, as an expression.
#[derive(Clone, Debug)]
pub struct Column {
    /// Place of the column.
    pub index: usize,
    /// Its type.
    pub data_type: DataType,
}

impl Expression for Column {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::clone(rows.column(self.index)))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn column(&self) -> Option<usize> {
        Some(self.index)
    }
}

/// Something that is computed of many rows together, such as their ranks. Deterministic: the same rows in the same
/// order give the same rows.
pub trait RowsFunction: Send + Sync + fmt::Debug {
    /// The rows with further columns.
    ///
    /// # Errors
    /// If a value cannot be computed.
    fn compute(&self, rows: RecordBatch) -> Result<RecordBatch>;
}

/// An aggregate function with its arguments: makes an accumulator for any number of groups.
pub trait Aggregate: Send + Sync + fmt::Debug {
    /// A new accumulator without groups.
    ///
    /// # Errors
    /// If the function does not support the types of its arguments.
    fn accumulator(&self) -> Result<Box<dyn Accumulator>>;

    /// The arguments, evaluated per batch; also the columns by which an ordered aggregate sorts.
    fn arguments(&self) -> &[Arc<dyn Expression>];

    /// Those of the arguments that accumulators read: without constants that were looked at when the aggregate was made. Either all
    /// arguments are given to an accumulator or these.
    fn arguments_of_rows(&self) -> &[Arc<dyn Expression>] {
        self.arguments()
    }

    /// `FILTER (WHERE ...)`.
    fn filter(&self) -> Option<&Arc<dyn Expression>>;

    /// Name and type of the result.
    fn result(&self) -> &Field;

    /// Names and types of the columns of [`Accumulator::state`].
    fn state(&self) -> &[Field];

    /// A new accumulator whose results are read again and again while rows are added.
    ///
    /// # Errors
    /// If the function has none.
    fn running(&self) -> Result<Box<dyn RunningAccumulator>> {
        Err(Error::Plan(format!("{} is not computed row by row", self.result().name())))
    }

    /// A new accumulator from which rows can be taken back without a trace, if the function has one.
    ///
    /// # Errors
    /// If it cannot be made.
    fn sliding(&self) -> Result<Option<Box<dyn SlidingAccumulator>>> {
        Ok(None)
    }

    /// The results of groups whose rows are all there, one group after the other: those of group `g` are the rows
    /// `ends[g - 1]..ends[g]` of the [arguments of rows](Self::arguments_of_rows). `None` if an accumulator does it as well; not
    /// asked where there is a filter.
    ///
    /// # Errors
    /// If a result cannot be computed.
    fn of_whole_groups(&self, _arguments: &[ArrayRef], _ends: &[usize]) -> Result<Option<ArrayRef>> {
        Ok(None)
    }

    /// Which moment of its only argument, a `DOUBLE` column, it is, if it is one. Moments of one argument may be
    /// computed together.
    fn moment(&self) -> Option<Moment> {
        None
    }
}

/// A statistic of a column. NULL is left out; of NaN only the variance takes no notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Number of rows; the argument is a constant.
    Rows,
    /// Number of values.
    Count,
    /// Their sum, in the order of the rows.
    Sum,
    /// Sum by count.
    Mean,
    /// The least one.
    Min,
    /// The greatest one.
    Max,
    /// With divisor `n - 1` if it is that of a sample, else `n`.
    Variance {
        /// Divisor `n - 1`.
        sample: bool,
    },
    /// The square root of the variance.
    Deviation {
        /// Divisor `n - 1`.
        sample: bool,
    },
}

/// The partial results of one aggregate for groups `0..n`.
pub trait Accumulator {
    /// Adds rows: row `i` belongs to group `groups[i]`; `total` is the number of groups so far. Rows for which
    /// `filter` is not true are left out.
    ///
    /// # Errors
    /// If a value cannot be added (an integer overflow).
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&arrow::array::BooleanArray>,
        total: usize,
    ) -> Result<()>;

    /// Adds partial results, as [`Accumulator::state`] gave them.
    ///
    /// # Errors
    /// If they cannot be merged.
    fn merge(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()>;

    /// The results of all groups; leaves the accumulator without groups.
    ///
    /// # Errors
    /// If a result cannot be computed.
    fn evaluate(&mut self) -> Result<ArrayRef>;

    /// The partial results of all groups as columns; leaves the accumulator without groups.
    ///
    /// # Errors
    /// If the state cannot be put into columns.
    fn state(&mut self) -> Result<Vec<ArrayRef>>;

    /// Memory in use, bytes.
    fn size(&self) -> usize;
}

/// The results of one aggregate for groups `0..n`, each over the rows of its group so far.
pub trait RunningAccumulator {
    /// Adds the rows `from..` of the arguments to `group`; keeps the result after the rows before each of `ends`, which
    /// never go back. Rows for which `filter` is not true are left out.
    ///
    /// # Errors
    /// If a value cannot be added or a result cannot be computed.
    fn advance(
        &mut self,
        group: usize,
        arguments: &[ArrayRef],
        filter: Option<&arrow::array::BooleanArray>,
        from: usize,
        ends: &[usize],
    ) -> Result<()>;

    /// All results since the last call, in order.
    ///
    /// # Errors
    /// If they are no column.
    fn results(&mut self) -> Result<ArrayRef>;

    /// The state of `groups` groups as columns, a row for each; the groups stay.
    ///
    /// # Errors
    /// If the state cannot be put into columns.
    fn state(&mut self, groups: usize) -> Result<Vec<ArrayRef>>;

    /// Puts back what [`RunningAccumulator::state`] gave, into a new accumulator.
    ///
    /// # Errors
    /// If it is of another plan.
    fn restore(&mut self, state: &[ArrayRef]) -> Result<()>;
}

/// The results of one aggregate over frames that move: rows come in at the end and leave at the start.
pub trait SlidingAccumulator {
    /// Keeps the result of each of the `frames` of the rows of one group; neither their starts nor their ends go back.
    /// Rows for which `filter` is not true are left out.
    ///
    /// # Errors
    /// If a value cannot be added or taken back, or a result cannot be computed.
    fn slide(
        &mut self,
        arguments: &[ArrayRef],
        filter: Option<&arrow::array::BooleanArray>,
        frames: &[std::ops::Range<usize>],
    ) -> Result<()>;

    /// All results since the last call, in order.
    ///
    /// # Errors
    /// If they are no column.
    fn results(&mut self) -> Result<ArrayRef>;
}
