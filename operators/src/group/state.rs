//! What is kept of each group to compute an aggregate whose rows may be taken back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, UInt64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use lineshaft_engine::expression::Moment;
use lineshaft_engine::{Error, Result};

use super::exact::ExactSum;
use super::kept::Kept;
use crate::shared::{BySlot, SavedState, SharedVec};
use crate::window::state::StateTable;

/// Rows that come with a weight, each for its group; there are `total` groups so far.
pub(super) struct Additions<'a> {
    pub(super) slots: &'a [u32],
    pub(super) weights: &'a [i64],
    pub(super) total: usize,
}

/// The state of one or several calls for all groups.
pub(super) enum State {
    /// Rows, or values that are not NULL.
    Count(SharedVec<i64>),
    /// Sums of integers and decimals.
    Integers(SharedVec<IntegerSum>),
    /// Sums of doubles, and of their squares if a variance is wanted.
    Floats { groups: SharedVec<FloatSum>, squares: bool },
    /// All values.
    Kept(Kept),
}

/// Values that are not NULL, and their sum.
#[derive(Clone, Debug, Default)]
pub(super) struct IntegerSum {
    count: i64,
    sum: i128,
}

/// Values that are not NULL, and their sums. What is not finite is counted, so that it can go again.
#[derive(Clone, Debug, Default)]
pub(super) struct FloatSum {
    count: i64,
    nans: i64,
    /// Positive and negative infinity.
    infinite: [i64; 2],
    /// Numbers whose square is out of range.
    huge: i64,
    sum: ExactSum,
    squares: ExactSum,
}

/// Numbers beyond this have no square.
const HUGE: f64 = 1e150;

impl FloatSum {
    fn add(&mut self, x: f64, weight: i64, squares: bool) {
        self.count += weight;
        if x.is_nan() {
            self.nans += weight;
            return;
        }
        if x.is_infinite() {
            self.infinite[usize::from(x < 0.0)] += weight;
            return;
        }
        match weight {
            1 => self.sum.add(x),
            -1 => self.sum.add(-x),
            _ => self.sum.add_product(x, number(weight)),
        }
        if !squares {
            return;
        }
        if x.abs() > HUGE {
            self.huge += weight;
        } else {
            let (square, error) = (x * x, x.mul_add(x, -(x * x)));
            self.squares.add_product(square, number(weight));
            self.squares.add_product(error, number(weight));
        }
    }

    fn sum(&self) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let [positive, negative] = self.infinite;
        Some(match (self.nans > 0, positive > 0, negative > 0) {
            (true, _, _) | (_, true, true) => f64::NAN,
            (_, true, _) => f64::INFINITY,
            (_, _, true) => f64::NEG_INFINITY,
            _ => self.sum.value(),
        })
    }

    /// The variance with divisor `n - less`; NULL with too few values or if it is not finite. As all functions of
    /// signals it leaves NaN out. Exact but for one rounding: `(n * sum(x^2) - sum(x)^2) / (n * (n - less))`.
    fn variance(&self, less: i64) -> Option<f64> {
        let n = self.count - self.nans;
        if n <= less || self.infinite != [0, 0] || self.huge != 0 {
            return None;
        }
        let mut difference = ExactSum::default();
        for part in self.squares.parts() {
            difference.add_product(*part, number(n));
        }
        for a in self.sum.parts() {
            for b in self.sum.parts() {
                difference.add_product(-a, *b);
            }
        }
        let variance = difference.value() / (number(n) * number(n - less));
        variance.is_finite().then_some(variance.max(0.0))
    }

    fn moment(&self, moment: Moment) -> Option<f64> {
        match moment {
            Moment::Mean => Some(self.sum()? / number(self.count)),
            Moment::Variance { sample } => self.variance(i64::from(sample)),
            Moment::Deviation { sample } => Some(self.variance(i64::from(sample))?.sqrt()),
            _ => self.sum(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
fn number(count: i64) -> f64 {
    count as f64
}

fn wrong_type(column: &ArrayRef) -> Error {
    Error::operator("group", format!("a sum of {}", column.data_type()))
}

/// Integers of any type whose sums can be kept.
fn integers(column: &ArrayRef) -> Result<Vec<Option<i128>>> {
    if let Some(column) = column.as_primitive_opt::<Int64Type>() {
        return Ok(column.iter().map(|x| x.map(i128::from)).collect());
    }
    if let Some(column) = column.as_primitive_opt::<UInt64Type>() {
        return Ok(column.iter().map(|x| x.map(i128::from)).collect());
    }
    let decimals = column.as_primitive_opt::<Decimal128Type>().ok_or_else(|| wrong_type(column))?;
    Ok(decimals.iter().collect())
}

impl State {
    /// True for the types whose sums are kept as integers.
    pub(super) fn sums_integers(of: &DataType) -> bool {
        matches!(of, DataType::Int64 | DataType::UInt64 | DataType::Decimal128(_, _))
    }

    /// Adds rows whose arguments are `columns`.
    pub(super) fn add(&mut self, columns: &[ArrayRef], rows: &Additions<'_>) -> Result<()> {
        let each = || rows.slots.iter().map(|slot| *slot as usize).zip(rows.weights.iter().copied());
        match self {
            Self::Count(counts) => {
                counts.grow(rows.total, || 0);
                match columns.first().filter(|column| column.logical_null_count() > 0) {
                    None => each().for_each(|(slot, weight)| counts[slot] += weight),
                    Some(column) => {
                        let nulls = column.logical_nulls();
                        let is_value = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                        let valued = each().enumerate().filter(|(row, _)| is_value(*row));
                        valued.for_each(|(_, (slot, weight))| counts[slot] += weight);
                    }
                }
            }
            Self::Integers(groups) => {
                groups.grow(rows.total, IntegerSum::default);
                for (value, (slot, weight)) in integers(&columns[0])?.into_iter().zip(each()) {
                    if let Some(value) = value {
                        groups[slot].count += weight;
                        groups[slot].sum = groups[slot].sum.wrapping_add(value.wrapping_mul(weight.into()));
                    }
                }
            }
            Self::Floats { groups, squares } => {
                groups.grow(rows.total, FloatSum::default);
                let column = &columns[0];
                let values = column.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(column))?;
                for (value, (slot, weight)) in values.iter().zip(each()) {
                    if let Some(value) = value {
                        groups[slot].add(value, weight, *squares);
                    }
                }
            }
            Self::Kept(kept) => kept.add(columns, rows)?,
        }
        Ok(())
    }

    /// A statistic of the groups `slots`, as a column of `data_type`.
    pub(super) fn result(&self, moment: Moment, slots: &[u32], data_type: &DataType) -> Result<ArrayRef> {
        let all = || slots.iter().map(|slot| *slot as usize);
        match self {
            Self::Count(counts) => Ok(Arc::new(all().map(|slot| Some(counts[slot])).collect::<Int64Array>())),
            Self::Integers(groups) => {
                let sums = all().map(|slot| (groups[slot].count != 0).then_some(groups[slot].sum));
                integer_column(sums, data_type)
            }
            Self::Floats { groups, .. } => {
                Ok(Arc::new(all().map(|slot| groups[slot].moment(moment)).collect::<Float64Array>()))
            }
            Self::Kept(kept) => kept.extreme(slots, moment == Moment::Min),
        }
    }

    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) {
        match self {
            Self::Count(counts) => counts.renumber(moved, || 0),
            Self::Integers(groups) => groups.renumber(moved, IntegerSum::default),
            Self::Floats { groups, .. } => groups.renumber(moved, FloatSum::default),
            Self::Kept(kept) => kept.renumber(moved),
        }
    }

    /// All as it is now, for a snapshot.
    pub(super) fn save(&self) -> Result<Box<dyn SavedState>> {
        Ok(match self {
            Self::Count(counts) => numbers_by_slot(counts),
            Self::Integers(groups) => BySlot::boxed(groups, |_, groups| Ok(integer_table(groups))),
            Self::Floats { groups, .. } => BySlot::boxed(groups, |_, groups| Ok(float_table(groups))),
            Self::Kept(kept) => Box::new(kept.save()?),
        })
    }

    /// Puts back a table that [`State::save`] gave, behind those before it; there are `total` groups.
    pub(super) fn restore(&mut self, table: &RecordBatch, total: usize) -> Result<()> {
        let other = || Error::operator("group", "a snapshot of another plan");
        match self {
            Self::Count(counts) => {
                let table = StateTable::from_batch(table, 1, 0)?;
                table.numbers[0].iter().for_each(|count| counts.push(*count));
            }
            Self::Integers(groups) => {
                let table = StateTable::from_batch(table, 1, 0)?;
                let sums = table.values.first().and_then(|sums| sums.as_primitive_opt::<Decimal128Type>());
                let rows = table.numbers[0].iter().zip(sums.ok_or_else(other)?.values());
                rows.for_each(|(count, sum)| groups.push(IntegerSum { count: *count, sum: *sum }));
            }
            Self::Floats { groups, .. } => {
                let table = StateTable::from_batch(table, 5, 0)?;
                let sums = |at: usize| {
                    let lists = table.values.get(at).and_then(|lists| lists.as_list_opt::<i32>());
                    lists.map(of_lists).ok_or_else(other)
                };
                let numbers = &table.numbers;
                let rows = sums(0)?.into_iter().zip(sums(1)?).enumerate();
                for (row, (sum, squares)) in rows {
                    groups.push(FloatSum {
                        count: numbers[0][row],
                        nans: numbers[1][row],
                        infinite: [numbers[2][row], numbers[3][row]],
                        huge: numbers[4][row],
                        sum,
                        squares,
                    });
                }
            }
            Self::Kept(kept) => kept.restore(table, total)?,
        }
        Ok(())
    }
}

/// Sums as a column of their type; as DataFusion's do, they wrap around.
#[expect(clippy::cast_possible_truncation, reason = "sums of integers wrap around, as DataFusion's do")]
fn integer_column(sums: impl Iterator<Item = Option<i128>>, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Int64 => Arc::new(sums.map(|sum| sum.map(|sum| sum as i64)).collect::<Int64Array>()),
        DataType::UInt64 => {
            Arc::new(sums.map(|sum| sum.map(|sum| (sum as i64).cast_unsigned())).collect::<UInt64Array>())
        }
        _ => Arc::new(sums.collect::<Decimal128Array>().with_data_type(data_type.clone())),
    })
}

/// A column of numbers of all slots.
pub(super) fn numbers_by_slot(numbers: &SharedVec<i64>) -> Box<dyn SavedState> {
    BySlot::boxed(numbers, |_, numbers| {
        let numbers = numbers.iter().map(|number| **number).collect();
        Ok(StateTable { numbers: vec![numbers], keys: Vec::new(), values: Vec::new() })
    })
}

fn integer_table(groups: &[&IntegerSum]) -> StateTable {
    let counts = groups.iter().map(|group| group.count).collect();
    let sums: ArrayRef = Arc::new(Decimal128Array::from_iter_values(groups.iter().map(|group| group.sum)));
    StateTable { numbers: vec![counts], keys: Vec::new(), values: vec![sums] }
}

fn float_table(groups: &[&FloatSum]) -> StateTable {
    let of = |number: fn(&FloatSum) -> i64| groups.iter().map(|group| number(group)).collect();
    let numbers = vec![
        of(|group| group.count),
        of(|group| group.nans),
        of(|group| group.infinite[0]),
        of(|group| group.infinite[1]),
        of(|group| group.huge),
    ];
    let values = vec![lists(groups, |group| &group.sum), lists(groups, |group| &group.squares)];
    StateTable { numbers, keys: Vec::new(), values }
}

fn lists(groups: &[&FloatSum], of: fn(&FloatSum) -> &ExactSum) -> ArrayRef {
    let parts = groups.iter().map(|group| Some(of(group).parts().iter().copied().map(Some)));
    Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(parts))
}

fn of_lists(lists: &ListArray) -> Vec<ExactSum> {
    let parts = |list: Option<ArrayRef>| -> Vec<f64> {
        let parts = list.and_then(|list| Some(list.as_primitive_opt::<Float64Type>()?.values().to_vec()));
        parts.unwrap_or_default()
    };
    lists.iter().map(|list| ExactSum::of_parts(parts(list))).collect()
}
