//! The arguments of a function as columns, row by row.

use std::ops::Range;

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
        match self {
            Self::One(column) => numbers.push(value(column, row)),
            Self::List(lists, values) => {
                let offsets = lists.is_valid(row).then(|| lists.value_offsets())?;
                let [start, end] =
                    [offsets[row], offsets[row + 1]].map(|offset| offset.unsigned_abs() as usize);
                match values.null_count() {
                    0 => numbers.extend_from_slice(&values.values()[start..end]),
                    _ => numbers.extend((start..end).map(|item| value(values, item))),
                }
            }
        }
        Some(())
    }
}

/// The number of a row; NaN for NULL.
fn value(column: &Float64Array, row: usize) -> f64 {
    if column.is_valid(row) { column.value(row) } else { f64::NAN }
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

    /// Adds the values of some rows to `values`, NaN for none; see [`Inputs::step`].
    pub fn extend(&mut self, function: &mut Online, rows: Range<usize>, values: &mut Vec<f64>) {
        if let ([Numbers::One(column)], None) = (self.numbers.as_slice(), self.times) {
            if column.null_count() == 0 {
                return function.extend(&column.values()[rows], values);
            }
            self.row.clear();
            self.row.extend(rows.map(|row| value(column, row)));
            return function.extend(&self.row, values);
        }
        if let ([Numbers::List(lists, numbers)], None) = (self.numbers.as_slice(), self.times)
            && lists.null_count() + numbers.null_count() == 0
        {
            let offsets = &lists.value_offsets()[rows.start..=rows.end];
            let numbers = numbers.values();
            let places =
                offsets.array_windows().map(|place| place.map(|offset| offset.unsigned_abs() as usize));
            let mut next = |[start, end]: [usize; 2]| function.next(&numbers[start..end], 0);
            return values.extend(places.map(|place| next(place).unwrap_or(f64::NAN)));
        }
        values.extend(rows.map(|row| self.step(function, row).unwrap_or(f64::NAN)));
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
