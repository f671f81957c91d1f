//! The arguments of a function as columns, row by row.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use lineshaft_engine::{Error, Result};

use super::Online;

/// A number of each row, or a list of them.
enum Numbers<'a> {
    One(&'a Float64Array),
    List(&'a ListArray, &'a Float64Array),
}

impl<'a> Numbers<'a> {
    fn new(column: &'a ArrayRef) -> Option<Self> {
        match column.as_list_opt::<i32>() {
            Some(lists) => Some(Self::List(lists, lists.values().as_primitive_opt::<Float64Type>()?)),
            None => column.as_primitive_opt::<Float64Type>().map(Self::One),
        }
    }

    /// Adds the numbers of a row; a NULL is NaN. `None` if there is no list.
    fn push(&self, row: usize, numbers: &mut Vec<f64>) -> Option<()> {
        let value = |array: &Float64Array, row| if array.is_valid(row) { array.value(row) } else { f64::NAN };
        match self {
            Self::One(column) => numbers.push(value(column, row)),
            Self::List(lists, values) => {
                let offsets = lists.is_valid(row).then(|| lists.value_offsets())?;
                let [start, end] =
                    [offsets[row], offsets[row + 1]].map(|offset| offset.unsigned_abs() as usize);
                numbers.extend((start..end).map(|item| value(values, item)));
            }
        }
        Some(())
    }
}

/// Columns of numbers, or of lists of numbers, and of the time if the function takes one.
pub struct Inputs<'a> {
    numbers: Vec<Numbers<'a>>,
    times: Option<&'a TimestampMicrosecondArray>,
    /// The numbers of a row.
    row: Vec<f64>,
}

impl<'a> Inputs<'a> {
    /// Columns of doubles or lists of them; with `is_timed` the last one is of timestamps in microseconds.
    ///
    /// # Errors
    /// If a column is of another type.
    pub fn new(columns: &'a [ArrayRef], is_timed: bool) -> Result<Self> {
        let wrong = || Error::operator("over", "an argument of another type");
        let (numbers, times) = columns.split_at(columns.len() - usize::from(is_timed));
        let numbers = numbers.iter().map(|column| Numbers::new(column).ok_or_else(wrong));
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        let times =
            times.first().map(|times| times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong));
        Ok(Self { row: Vec::with_capacity(numbers.len()), times: times.transpose()?, numbers })
    }

    /// The value of a row; one in which an argument is NULL changes nothing, other than what is to be learned.
    pub fn step(&mut self, function: &mut Online, row: usize) -> Option<f64> {
        self.row.clear();
        for column in &self.numbers {
            column.push(row, &mut self.row)?;
        }
        let time = match self.times {
            Some(times) => times.is_valid(row).then(|| times.value(row))?,
            None => 0,
        };
        function.next(&self.row, time)
    }
}
