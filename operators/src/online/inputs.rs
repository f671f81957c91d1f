//! The arguments of a function as columns, row by row.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use lineshaft_engine::{Error, Result};

use super::Online;

/// Columns of numbers, and of the time if the function takes one.
pub struct Inputs<'a> {
    numbers: Vec<&'a Float64Array>,
    times: Option<&'a TimestampMicrosecondArray>,
    /// The numbers of a row.
    row: Vec<f64>,
}

impl<'a> Inputs<'a> {
    /// Columns of doubles; with `is_timed` the last one is of timestamps in microseconds.
    ///
    /// # Errors
    /// If a column is of another type.
    pub fn new(columns: &'a [ArrayRef], is_timed: bool) -> Result<Self> {
        let wrong = || Error::operator("over", "an argument of another type");
        let (numbers, times) = columns.split_at(columns.len() - usize::from(is_timed));
        let numbers = numbers.iter().map(|column| column.as_primitive_opt::<Float64Type>().ok_or_else(wrong));
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        let times =
            times.first().map(|times| times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong));
        Ok(Self { row: vec![0.0; numbers.len()], times: times.transpose()?, numbers })
    }

    /// The value of a row; a row in which an argument is NULL changes nothing.
    pub fn step(&mut self, function: &mut Online, row: usize) -> Option<f64> {
        for (value, column) in self.row.iter_mut().zip(&self.numbers) {
            *value = column.is_valid(row).then(|| column.value(row))?;
        }
        let time = match self.times {
            Some(times) => times.is_valid(row).then(|| times.value(row))?,
            None => 0,
        };
        function.next(&self.row, time)
    }
}
