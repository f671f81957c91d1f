//! Points of a time grid between rows, and the values of columns there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Float64Type;
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};

/// How a column gets its value at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filling {
    /// It is the time of the point.
    Time,
    /// It is the same in all rows of the key.
    Key,
    /// Only a row exactly at the point gives one.
    None,
    /// That of the last row at or before the point.
    Previous,
    /// On the straight line between the rows before and after it; a column of `DOUBLE`.
    Linear,
}

/// Where a point is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Position {
    /// At a row, which is both the one before and the one after.
    Row,
    /// Between two rows, at this share of the way.
    Between(f64),
    /// Between two rows that are too far apart.
    Gap,
}

/// A point of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// A multiple of the interval.
    pub time: EventTime,
    /// The last row at or before it.
    pub before: u32,
    /// The first row at or after it.
    pub after: u32,
    /// Where it is between them.
    pub position: Position,
}

/// The grid, and where it has no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// From one point to the next, microseconds.
    pub interval: i64,
    /// Rows that are further apart have no values between them.
    pub max_gap: Option<i64>,
    /// Nor any points.
    pub skip_gaps: bool,
}

/// Two rows with more points between them than this are a gap without points: a device that comes back after a year
/// must not fill the memory.
pub const MOST_POINTS: i64 = 1_000_000;

impl Grid {
    /// Adds the points after row `before` up to row `row`, both with their times, of one key. The first row of a key
    /// has none before it.
    pub fn points(&self, before: Option<(EventTime, u32)>, row: (EventTime, u32), points: &mut Vec<Point>) {
        let (end, after) = row;
        if let Some((start, before)) = before {
            let position = |time: EventTime| match self.max_gap {
                Some(most) if end.saturating_sub(start) > most => Position::Gap,
                _ => Position::Between(share(time - start, end - start)),
            };
            let first = start.div_euclid(self.interval).saturating_add(1).saturating_mul(self.interval);
            let count = end.saturating_sub(first).saturating_add(self.interval - 1).div_euclid(self.interval);
            let is_gap = position(first) == Position::Gap;
            if count <= MOST_POINTS && !(is_gap && self.skip_gaps) {
                let times = (0..count).map(|step| first + step * self.interval);
                points.extend(times.map(|time| Point { time, before, after, position: position(time) }));
            }
        }
        if end.rem_euclid(self.interval) == 0 {
            points.push(Point { time: end, before: after, after, position: Position::Row });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "spans of time far below 2^53 us, 285 years")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

/// The columns at the points.
///
/// # Errors
/// If a column that is filled linearly is not `DOUBLE`.
pub fn fill(columns: &[ArrayRef], points: &[Point], fillings: &[Filling]) -> Result<Vec<ArrayRef>> {
    let rows = |is: fn(Position) -> bool| -> UInt32Array {
        points.iter().map(|point| is(point.position).then_some(point.before)).collect()
    };
    let column = |(column, filling): (&ArrayRef, &Filling)| -> Result<ArrayRef> {
        Ok(match filling {
            Filling::Time => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(points.iter().map(|point| point.time)))
            }
            Filling::Key => take(column, &rows(|_| true), None)?,
            Filling::None => take(column, &rows(|position| position == Position::Row), None)?,
            Filling::Previous => take(column, &rows(|position| position != Position::Gap), None)?,
            Filling::Linear => Arc::new(linear(column, points)?),
        })
    };
    columns.iter().zip(fillings).map(column).collect()
}

fn linear(column: &ArrayRef, points: &[Point]) -> Result<Float64Array> {
    let wrong = || Error::operator("resample", "a column that is filled linearly is not DOUBLE");
    let column = column.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
    let value = |row: u32| column.is_valid(row as usize).then(|| column.value(row as usize));
    let at = |point: &Point| match point.position {
        Position::Row => value(point.before),
        Position::Gap => None,
        Position::Between(share) => {
            let (before, after) = (value(point.before)?, value(point.after)?);
            Some(before + (after - before) * share)
        }
    };
    Ok(points.iter().map(at).collect())
}
