//! Aggregates that keep all samples of a group, with their times if these count, and call the kernel at the end.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeListArray, PrimitiveArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float64Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::aggregate::Call;
use super::value::{Value, Values};

/// The rows of a batch that count: those with a sample that is neither NULL nor NaN, with a time if there are times,
/// and for which the filter is true.
pub(super) struct Rows<'a> {
    samples: &'a [f64],
    times: Option<&'a [i64]>,
    valid: Option<NullBuffer>,
}

impl<'a> Rows<'a> {
    /// `columns` are the arguments of the aggregate; the times come last.
    pub(super) fn of(columns: &'a [ArrayRef], timed: bool, filter: Option<&BooleanArray>) -> Self {
        let samples = columns[0].as_primitive::<Float64Type>();
        let times = columns.last().filter(|_| timed);
        let times = times.map(|times| times.as_primitive::<TimestampMicrosecondType>());
        let filter = filter.map(|filter| match filter.nulls() {
            Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
            None => NullBuffer::new(filter.values().clone()),
        });
        let nulls = NullBuffer::union(samples.nulls(), times.and_then(|times| times.nulls()));
        Self {
            samples: samples.values(),
            times: times.map(|times| times.values().as_ref()),
            valid: NullBuffer::union(nulls.as_ref(), filter.as_ref()),
        }
    }

    /// Calls `take` with row number, sample and time (0 without times), in the order of the rows.
    pub(super) fn for_each(&self, mut take: impl FnMut(usize, f64, i64)) {
        let mut row = |row: usize, x: f64| {
            if !x.is_nan() {
                take(row, x, self.times.map_or(0, |times| times[row]));
            }
        };
        match &self.valid {
            Some(valid) => valid.valid_indices().for_each(|i| row(i, self.samples[i])),
            None => self.samples.iter().enumerate().for_each(|(i, x)| row(i, *x)),
        }
    }
}

impl Rows<'_> {
    /// Calls `take` with the group and the numbers of rows that follow each other, are of one group and all count: where a window is
    /// full at once, its rows need not be taken one by one.
    pub(super) fn for_each_run(&self, groups: &[usize], mut take: impl FnMut(usize, Range<usize>)) {
        let mut start = 0;
        for run in groups.chunk_by(|a, b| a == b) {
            let rows = start..start + run.len();
            start = rows.end;
            if self.valid.is_none() && !self.samples[rows.clone()].iter().any(|x| x.is_nan()) {
                take(run[0], rows);
                continue;
            }
            let counts = |row: &usize| {
                !self.samples[*row].is_nan() && self.valid.as_ref().is_none_or(|valid| valid.is_valid(*row))
            };
            rows.filter(counts).for_each(|row| take(run[0], row..row + 1));
        }
    }

    /// The samples of some rows.
    pub(super) fn samples(&self, rows: Range<usize>) -> &[f64] {
        &self.samples[rows]
    }

    /// The times of some rows; none without times.
    fn times(&self, rows: Range<usize>) -> &[i64] {
        self.times.map_or(&[], |times| &times[rows])
    }
}

/// The columns of the partial result: a list of samples, and of times in microseconds.
pub(super) fn state_fields(prefix: &str, timed: bool) -> Vec<FieldRef> {
    let field = |name: &str, item: DataType| {
        let item = Arc::new(Field::new_list_field(item, true));
        Arc::new(Field::new(format!("{prefix}[{name}]"), DataType::LargeList(item), true))
    };
    let mut fields = vec![field("samples", DataType::Float64)];
    fields.extend(timed.then(|| field("times", DataType::Int64)));
    fields
}

/// One group; also for `OVER` frames, where the rows that leave are those that came first.
#[derive(Debug)]
pub(super) struct Single {
    call: Call,
    samples: VecDeque<f64>,
    times: VecDeque<i64>,
}

impl Single {
    pub(super) fn new(call: Call) -> Self {
        Self { call, samples: VecDeque::new(), times: VecDeque::new() }
    }

    fn push(&mut self, x: f64, time: i64) {
        self.samples.push_back(x);
        if self.call.timed {
            self.times.push_back(time);
        }
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        Rows::of(values, self.call.timed, None).for_each(|_, x, time| self.push(x, time));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            self.samples.extend(list::<Float64Type>(&states[0], row).values());
            if self.call.timed {
                self.times.extend(list::<Int64Type>(&states[1], row).values());
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        Rows::of(values, self.call.timed, None).for_each(|_, _, _| {
            self.samples.pop_front();
            self.times.pop_front();
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let samples = lists::<Float64Type>([&*self.samples.make_contiguous()]);
        let mut state = vec![ScalarValue::LargeList(Arc::new(samples))];
        if self.call.timed {
            let times = lists::<Int64Type>([&*self.times.make_contiguous()]);
            state.push(ScalarValue::LargeList(Arc::new(times)));
        }
        Ok(state)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let samples = Cow::Borrowed(&*self.samples.make_contiguous());
        let times = Cow::Borrowed(&*self.times.make_contiguous());
        Ok(match self.call.evaluate(samples, times) {
            Value::Number(number) => ScalarValue::Float64(number),
            list @ Value::List(_) => {
                let mut values = Values::new(&self.call.data_type(), 1);
                values.push(list);
                ScalarValue::try_from_array(&values.finish(), 0)?
            }
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.samples.capacity() * size_of::<f64>()
            + self.times.capacity() * size_of::<i64>()
    }
}

/// Samples and times by group number.
#[derive(Debug)]
pub(super) struct Groups {
    call: Call,
    groups: Vec<Group>,
    /// Bytes that the groups hold, kept up to date because adding them up would cost a pass over all groups.
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Group {
    samples: Vec<f64>,
    times: Vec<i64>,
}

impl Group {
    fn bytes(&self) -> usize {
        self.samples.capacity() * size_of::<f64>() + self.times.capacity() * size_of::<i64>()
    }
}

impl Groups {
    pub(super) fn new(call: Call) -> Self {
        Self { call, groups: Vec::new(), bytes: 0 }
    }

    /// Changes a group and keeps `bytes` right.
    fn change(&mut self, group: usize, change: impl FnOnce(&mut Group)) {
        let group = &mut self.groups[group];
        let before = group.bytes();
        change(group);
        self.bytes = self.bytes + group.bytes() - before;
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Group> {
        let groups = emit_to.take_needed(&mut self.groups);
        self.bytes -= groups.iter().map(Group::bytes).sum::<usize>();
        groups
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups.resize(total, Group::default());
        let of_batch = Rows::of(values, self.call.timed, filter);
        of_batch.for_each_run(groups, |group, rows| {
            self.change(group, |group| {
                group.samples.extend_from_slice(of_batch.samples(rows.clone()));
                group.times.extend_from_slice(of_batch.times(rows));
            });
        });
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize(total, Group::default());
        let timed = self.call.timed;
        for (row, group) in groups.iter().enumerate() {
            self.change(*group, |group| {
                group.samples.extend_from_slice(list::<Float64Type>(&states[0], row).values());
                if timed {
                    group.times.extend_from_slice(list::<Int64Type>(&states[1], row).values());
                }
            });
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit_to);
        let mut values = Values::new(&self.call.data_type(), groups.len());
        for group in groups {
            values.push(self.call.evaluate(group.samples.into(), group.times.into()));
        }
        Ok(values.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.take(emit_to);
        let samples = lists::<Float64Type>(groups.iter().map(|group| group.samples.as_slice()));
        let mut state: Vec<ArrayRef> = vec![Arc::new(samples)];
        if self.call.timed {
            let times = lists::<Int64Type>(groups.iter().map(|group| group.times.as_slice()));
            state.push(Arc::new(times));
        }
        Ok(state)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut rows = Self::new(self.call.clone());
        let groups: Vec<usize> = (0..values[0].len()).collect();
        rows.update_batch(values, &groups, filter, groups.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.groups.capacity() * size_of::<Group>() + self.bytes
    }
}

/// A list for each slice.
fn lists<'a, T: ArrowPrimitiveType>(slices: impl IntoIterator<Item = &'a [T::Native]>) -> LargeListArray {
    let slices: Vec<&[T::Native]> = slices.into_iter().collect();
    let offsets = OffsetBuffer::from_lengths(slices.iter().map(|slice| slice.len()));
    let items = PrimitiveArray::<T>::from_iter_values(slices.into_iter().flatten().copied());
    let field = Arc::new(Field::new_list_field(T::DATA_TYPE, true));
    LargeListArray::new(field, offsets, Arc::new(items), None)
}

fn list<T: ArrowPrimitiveType>(lists: &ArrayRef, row: usize) -> PrimitiveArray<T> {
    lists.as_list::<i64>().value(row).as_primitive::<T>().clone()
}
