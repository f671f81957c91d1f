//! Functions that pick a value of the frame: `FIRST_VALUE`, `LAST_VALUE`, `NTH_VALUE`, `LAG`, `LEAD`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, interleave, take};
use lineshaft_engine::Result;
use lineshaft_engine::expression::Expression;

use super::call::{Evaluate, number, signed, unsigned};
use super::rows::{Rows, Segment};
use crate::shared::{BySlot, SavedState, SharedVec};
use crate::window::state::StateTable;

/// Picks the `n`-th value of a frame.
#[derive(Clone, Debug)]
pub struct Value {
    /// What is picked.
    pub argument: Arc<dyn Expression>,
    /// 1 is the first of the frame, -1 the last; never 0.
    pub n: i64,
    /// Rows without a value do not count.
    pub ignore_nulls: bool,
    /// What there is if the frame has no such row: one value, of the type of the argument. NULL if it is left out.
    pub default: Option<ArrayRef>,
}

impl Value {
    fn wanted(&self) -> usize {
        usize::try_from(self.n.unsigned_abs()).unwrap_or(usize::MAX)
    }

    fn counts(&self, column: &dyn Array, row: usize) -> bool {
        !self.ignore_nulls || column.is_valid(row)
    }
}

/// The value of a frame that has a start: all its rows are at hand.
#[derive(Debug)]
pub(super) struct Within {
    pub(super) value: Value,
    pub(super) argument: usize,
}

impl Within {
    fn place(&self, span: &Range<usize>, counting: Option<&[usize]>) -> Option<usize> {
        let (rows, place): (Range<usize>, &dyn Fn(usize) -> usize) = match counting {
            None => (span.clone(), &|row| row),
            Some(places) => {
                let from = places.partition_point(|place| *place < span.start);
                let to = places.partition_point(|place| *place < span.end);
                (from..to, &|row| places[row])
            }
        };
        let wanted = self.value.wanted();
        if wanted > rows.len() {
            return None;
        }
        Some(place(if self.value.n > 0 { rows.start + wanted - 1 } else { rows.end - wanted }))
    }
}

impl Evaluate for Within {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = &rows.columns[self.argument];
        let places: Option<Vec<usize>> = (self.value.ignore_nulls && column.null_count() > 0)
            .then(|| (0..column.len()).filter(|row| column.is_valid(*row)).collect());
        let spans = rows.places(spans);
        let picked = spans.iter().map(|span| self.place(span, places.as_deref()));
        match &self.value.default {
            None => {
                let picked = picked.map(|place| place.and_then(|place| u32::try_from(place).ok()));
                Ok(take(column, &picked.collect::<UInt32Array>(), None)?)
            }
            Some(default) => {
                let picked: Vec<_> = picked.map(|place| place.map_or((1, 0), |place| (0, place))).collect();
                Ok(interleave(&[column.as_ref(), default.as_ref()], &picked)?)
            }
        }
    }

    fn wants_from(&self, _slot: usize, frame: usize) -> usize {
        frame
    }
}

/// The value of a frame that begins with the partition: what it needs of the rows that are gone is kept.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) value: Value,
    pub(super) argument: usize,
    pub(super) kept: SharedVec<Carry>,
}

/// What is kept of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Carry {
    /// The first row of the partition that was in no frame so far.
    rows: usize,
    /// Of them those that count.
    counted: u64,
    /// The `n`-th value once it is known; counted from the end, the last `n` values.
    values: Option<ArrayRef>,
}

impl Carried {
    pub(super) fn new(value: Value, argument: usize) -> Self {
        Self { value, argument, kept: SharedVec::default() }
    }

    /// Takes a row that counts in; `known` are the values that are kept, as places of arrays.
    fn count(&self, carry: &mut Carry, known: &mut VecDeque<(usize, usize)>, place: (usize, usize)) {
        carry.counted += 1;
        if self.value.n > 0 {
            if carry.counted == self.value.n.unsigned_abs() {
                known.push_back(place);
            }
            return;
        }
        if known.len() == self.value.wanted() {
            known.pop_front();
        }
        known.push_back(place);
    }

    /// The places of the results of a segment; array 0 is the argument, the last one is what was kept.
    fn segment(
        &self,
        (segment, spans): (&Segment, &[Range<usize>]),
        carry: &mut Carry,
        arrays: &mut Vec<ArrayRef>,
        picked: &mut Vec<(usize, usize)>,
    ) -> Result<()> {
        let column = Arc::clone(&arrays[0]);
        let mut known = VecDeque::new();
        if let Some(values) = carry.values.take() {
            known.extend((0..values.len()).map(|row| (arrays.len(), row)));
            arrays.push(values);
        }
        let mut at = carry.rows;
        for span in spans {
            for row in segment.place(at)..segment.place(span.end) {
                if self.value.counts(&column, row) {
                    self.count(carry, &mut known, (0, row));
                }
            }
            at = at.max(span.end);
            let is_known = self.value.n > 0 && !known.is_empty() || known.len() == self.value.wanted();
            // Array 1 is the default.
            picked.push(known.front().copied().filter(|_| is_known).unwrap_or((1, 0)));
        }
        carry.rows = at;
        if !known.is_empty() {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            carry.values = Some(interleave(&arrays, &Vec::from(known))?);
        }
        Ok(())
    }
}

impl Evaluate for Carried {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = &rows.columns[self.argument];
        let default = match &self.value.default {
            Some(default) => Arc::clone(default),
            None => new_null_array(column.data_type(), 1),
        };
        let mut arrays = vec![Arc::clone(column), default];
        let mut picked = Vec::with_capacity(spans.len());
        for part in rows.by_segment(spans) {
            let slot = part.0.slot as usize;
            self.kept.grow(slot + 1, Carry::default);
            let mut carry = std::mem::take(&mut self.kept[slot]);
            self.segment(part, &mut carry, &mut arrays, &mut picked)?;
            self.kept[slot] = carry;
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(interleave(&arrays, &picked)?)
    }

    fn wants_from(&self, slot: usize, _frame: usize) -> usize {
        self.kept.get(slot).map_or(0, |carry| carry.rows)
    }

    fn save(&mut self, slots: usize) -> Result<Option<Box<dyn SavedState>>> {
        self.kept.grow(slots, Carry::default);
        let none = new_null_array(self.value.argument.data_type(), 1);
        Ok(Some(BySlot::boxed(&self.kept, move |first, carries| Carry::table(first, carries, &none))))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let table = StateTable::from_batch(table, 4, 0)?;
        let mut start = 0;
        for rows in table.numbers[0].chunk_by(|a, b| a == b) {
            let known = table.numbers[3][start] == 1;
            self.kept.push(Carry {
                rows: number(table.numbers[1][start])?,
                counted: unsigned(table.numbers[2][start]),
                values: known.then(|| table.values[0].slice(start, rows.len())),
            });
            start += rows.len();
        }
        Ok(())
    }
}

impl Carry {
    /// A row for each value that is kept, and one for each partition without; `none` is a value that is NULL.
    fn table(first: usize, carries: &[&Self], none: &ArrayRef) -> Result<StateTable> {
        let mut numbers = vec![Vec::new(); 4];
        let mut values: Vec<&dyn Array> = vec![none.as_ref()];
        for (slot, carry) in (signed(first as u64)..).zip(carries) {
            let (count, array) = match &carry.values {
                Some(array) => (array.len(), array),
                None => (0, none),
            };
            values.push(array.as_ref());
            for _ in 0..array.len() {
                let row = [slot, signed(carry.rows as u64), signed(carry.counted), i64::from(count > 0)];
                numbers.iter_mut().zip(row).for_each(|(column, number)| column.push(number));
            }
        }
        let values = concat(&values)?.slice(1, numbers[0].len());
        Ok(StateTable { numbers, keys: Vec::new(), values: vec![values] })
    }
}
