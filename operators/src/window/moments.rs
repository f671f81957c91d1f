//! Count, sum, extremes and variance of one column of doubles, kept together.
//!
//! A query often asks for several of them (`avg`, `min`, `max`, `stddev` of one channel). Together they cost one pass
//! over the rows, with the state of a group in one cache line, instead of a pass each.
//!
//! - NULL is left out. NaN is a value to count, sum and mean, and the greatest to extremes; the variance leaves it out, as
//!   all functions of signals do.
//! - Variance: shifted by the first value `k` of the group, `(S2 - S1^2 / n) / (n - 1)` with `S1 = sum(x - k)` and
//!   `S2 = sum((x - k)^2)` (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance"). The shift
//!   lies within the data, so next to nothing cancels.
//! - Rows are added one after the other: the bits do not depend on batches.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use lineshaft_engine::expression::Moment;
use lineshaft_engine::{Error, Result};

/// Columns of [`Moments::state`].
pub(crate) const STATE_COLUMNS: usize = 8;

/// The state of one group: 64 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Group {
    /// Values that are not NULL.
    count: i64,
    /// Of them NaN.
    nans: i64,
    sum: f64,
    min: f64,
    max: f64,
    /// The first value that is not NaN.
    shift: f64,
    /// Sum of differences from the shift, and of their squares.
    s1: f64,
    s2: f64,
}

pub(crate) const EMPTY: Group =
    Group { count: 0, nans: 0, sum: 0.0, min: 0.0, max: 0.0, shift: 0.0, s1: 0.0, s2: 0.0 };

impl Group {
    #[inline]
    pub(crate) fn add(&mut self, x: f64) {
        if x.is_nan() || self.count == self.nans {
            return self.add_first(x);
        }
        self.count += 1;
        self.sum += x;
        // There is a number, so the least one is none but a number; NaN stays the greatest.
        self.min = if x < self.min { x } else { self.min };
        self.max = if x > self.max { x } else { self.max };
        let d = x - self.shift;
        self.s1 += d;
        self.s2 += d * d;
    }

    /// Adds NaN, or a value before which there is no other, or NaN only.
    #[cold]
    fn add_first(&mut self, x: f64) {
        if self.count == self.nans {
            self.shift = x;
        }
        if self.count == 0 {
            (self.min, self.max) = (x, x);
        }
        self.count += 1;
        self.sum += x;
        if order(x, self.min).is_lt() {
            self.min = x;
        }
        if order(x, self.max).is_gt() {
            self.max = x;
        }
        if x.is_nan() {
            self.nans += 1;
            return;
        }
        let d = x - self.shift;
        self.s1 += d;
        self.s2 += d * d;
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let is_first = self.count == self.nans;
        self.count += other.count;
        self.nans += other.nans;
        self.sum += other.sum;
        if order(other.min, self.min).is_lt() {
            self.min = other.min;
        }
        if order(other.max, self.max).is_gt() {
            self.max = other.max;
        }
        if is_first {
            (self.shift, self.s1, self.s2) = (other.shift, other.s1, other.s2);
        } else if other.count > other.nans {
            let d = other.shift - self.shift;
            let n = number(other.count - other.nans);
            self.s2 += other.s2 + 2.0 * d * other.s1 + n * d * d;
            self.s1 += other.s1 + n * d;
        }
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> i64 {
        self.count
    }

    /// A moment that is a `DOUBLE`; NULL if there is no value. The counts are in [`Group::count`].
    pub(crate) fn value(&self, moment: Moment) -> Option<f64> {
        let known = |value: f64| (self.count > 0).then_some(value);
        match moment {
            Moment::Rows | Moment::Count => Some(number(self.count)),
            Moment::Sum => known(self.sum),
            Moment::Mean => known(self.sum / number(self.count)),
            Moment::Min => known(self.min),
            Moment::Max => known(self.max),
            Moment::Variance { sample } => self.variance(i64::from(sample)),
            Moment::Deviation { sample } => Some(self.variance(i64::from(sample))?.sqrt()),
        }
    }

    /// The numbers of the group, and a group of such numbers.
    pub(crate) fn numbers(&self) -> [f64; STATE_COLUMNS] {
        [number(self.count), number(self.nans), self.sum, self.min, self.max, self.shift, self.s1, self.s2]
    }

    /// See [`Group::numbers`].
    #[expect(clippy::cast_possible_truncation, reason = "the counts were whole numbers")]
    pub(crate) fn from_numbers(numbers: [f64; STATE_COLUMNS]) -> Self {
        let [count, nans, sum, min, max, shift, s1, s2] = numbers;
        Self { count: count as i64, nans: nans as i64, sum, min, max, shift, s1, s2 }
    }

    /// The variance with divisor `n - less`; NULL with too few values or if it is not finite.
    fn variance(&self, less: i64) -> Option<f64> {
        let n = self.count - self.nans;
        if n <= less {
            return None;
        }
        let variance = (self.s2 - self.s1 * self.s1 / number(n)) / number(n - less);
        variance.is_finite().then_some(variance.max(0.0))
    }
}

/// NaN is the greatest number, as it is to `ORDER BY`.
#[inline]
pub(crate) fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
fn number(count: i64) -> f64 {
    count as f64
}

/// The state of all groups.
#[derive(Debug, Default)]
pub(super) struct Moments {
    groups: Vec<Group>,
}

impl Moments {
    /// Adds the rows of `column`, or those of them that `only` has; the `i`th one belongs to group `groups[i]`.
    pub(super) fn update(
        &mut self,
        column: &ArrayRef,
        only: Option<&[u32]>,
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        let column = column.as_primitive_opt::<Float64Type>();
        let column = column.ok_or_else(|| Error::operator("window", "a column of moments is not DOUBLE"))?;
        self.groups.resize(total, EMPTY);
        match (column.null_count() == 0, only) {
            (true, None) => {
                for (x, group) in column.values().iter().zip(groups) {
                    self.groups[*group].add(*x);
                }
            }
            (true, Some(only)) => {
                let values = column.values();
                for (row, group) in only.iter().zip(groups) {
                    self.groups[*group].add(values[*row as usize]);
                }
            }
            (false, None) => {
                for (x, group) in column.iter().zip(groups) {
                    x.into_iter().for_each(|x| self.groups[*group].add(x));
                }
            }
            (false, Some(only)) => {
                for (row, group) in only.iter().zip(groups) {
                    if column.is_valid(*row as usize) {
                        self.groups[*group].add(column.value(*row as usize));
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds partial results, as [`Moments::state`] gave them.
    pub(super) fn merge(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let wrong = || Error::operator("window", "a snapshot of another plan");
        let integers = |at: usize| state[at].as_primitive_opt::<Int64Type>().ok_or_else(wrong);
        let numbers = |at: usize| state[at].as_primitive_opt::<Float64Type>().ok_or_else(wrong);
        let (count, nans) = (integers(0)?, integers(1)?);
        let [sum, min, max, shift, s1, s2] =
            [numbers(2)?, numbers(3)?, numbers(4)?, numbers(5)?, numbers(6)?, numbers(7)?];
        self.groups.resize(total, EMPTY);
        for (row, group) in groups.iter().enumerate() {
            self.groups[*group].merge(&Group {
                count: count.value(row),
                nans: nans.value(row),
                sum: sum.value(row),
                min: min.value(row),
                max: max.value(row),
                shift: shift.value(row),
                s1: s1.value(row),
                s2: s2.value(row),
            });
        }
        Ok(())
    }

    /// The partial results as columns; no group is left.
    pub(super) fn state(&mut self) -> Vec<ArrayRef> {
        let groups = std::mem::take(&mut self.groups);
        let integers = |of: fn(&Group) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from(groups.iter().map(of).collect::<Vec<_>>()))
        };
        let numbers = |of: fn(&Group) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from(groups.iter().map(of).collect::<Vec<_>>()))
        };
        vec![
            integers(|group| group.count),
            integers(|group| group.nans),
            numbers(|group| group.sum),
            numbers(|group| group.min),
            numbers(|group| group.max),
            numbers(|group| group.shift),
            numbers(|group| group.s1),
            numbers(|group| group.s2),
        ]
    }

    /// One result of all groups.
    pub(super) fn result(&self, moment: Moment) -> ArrayRef {
        match moment {
            Moment::Rows | Moment::Count => {
                Arc::new(Int64Array::from(self.groups.iter().map(Group::count).collect::<Vec<_>>()))
            }
            _ => Arc::new(self.groups.iter().map(|group| group.value(moment)).collect::<Float64Array>()),
        }
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }

    /// Forgets all groups.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Moment; 8] = [
        Moment::Count,
        Moment::Sum,
        Moment::Mean,
        Moment::Min,
        Moment::Max,
        Moment::Variance { sample: true },
        Moment::Deviation { sample: false },
        Moment::Variance { sample: false },
    ];

    fn shown(moments: &Moments) -> Vec<String> {
        let shown = |moment| arrow::util::display::array_value_to_string(&moments.result(moment), 0).unwrap();
        ALL.into_iter().map(shown).collect()
    }

    fn of(values: &[Option<f64>]) -> Moments {
        let mut moments = Moments::default();
        let column: ArrayRef = Arc::new(values.iter().copied().collect::<Float64Array>());
        moments.update(&column, None, &vec![0; values.len()], 1).unwrap();
        moments
    }

    #[test]
    fn moments_of_a_few_values_are_those_by_hand() {
        let moments = of(&[Some(2.0), None, Some(4.0), Some(9.0)]);
        assert_eq!(
            shown(&moments),
            ["3", "15.0", "5.0", "2.0", "9.0", "13.0", "2.943920288775949", "8.666666666666666"]
        );
    }

    #[test]
    fn no_value_gives_null_and_one_value_has_no_sample_variance() {
        assert_eq!(shown(&of(&[None])), ["0", "", "", "", "", "", "", ""]);
        assert_eq!(shown(&of(&[Some(7.0)])), ["1", "7.0", "7.0", "7.0", "7.0", "", "0.0", "0.0"]);
    }

    #[test]
    fn a_large_offset_costs_no_digits() {
        let moments = of(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0].map(Some));
        assert_eq!(shown(&moments)[5], "30.0");
    }

    #[test]
    fn merged_parts_are_the_whole() {
        let values: Vec<Option<f64>> =
            (0..100).map(|i| (i % 7 != 0).then(|| f64::from(i * i % 31) + 1e6)).collect();
        let whole = of(&values);
        let mut merged = Moments::default();
        for part in values.chunks(9) {
            let state = of(part).state();
            assert_eq!(state.len(), STATE_COLUMNS);
            merged.merge(&state, &[0], 1).unwrap();
        }
        for (whole, merged) in shown(&whole).iter().zip(shown(&merged)) {
            let (whole, merged): (f64, f64) = (whole.parse().unwrap(), merged.parse().unwrap());
            assert!((whole - merged).abs() <= 1e-9 * whole.abs(), "{whole} {merged}");
        }
    }

    #[test]
    fn nan_is_the_greatest_number_wherever_it_stands() {
        for values in [[f64::NAN, 1.0, 3.0], [1.0, -f64::NAN, 3.0], [1.0, 3.0, f64::NAN]] {
            let shown = shown(&of(&values.map(Some)));
            assert_eq!((shown[3].as_str(), shown[4].as_str()), ("1.0", "NaN"));
        }
    }

    #[test]
    fn the_variance_leaves_nan_out() {
        let moments = of(&[Some(f64::NAN), Some(1.0), Some(3.0)]);
        let shown = shown(&moments);
        assert_eq!((shown[0].as_str(), shown[1].as_str(), shown[5].as_str()), ("3", "NaN", "2.0"));
    }
}
