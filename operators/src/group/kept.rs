//! All values of each group, in order, with their weights: for aggregates that cannot be computed backwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use lineshaft_engine::Result;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::hash::as_key;

use super::state::Additions;
use crate::shared::{SavedState, SharedVec};
use crate::window::state::StateTable;

/// The values of one group as bytes that sort as the values do. A weight is never zero.
type Values = BTreeMap<Box<[u8]>, i64>;

/// Values of all groups: rows of the arguments of a call.
pub(super) struct Kept {
    types: Vec<DataType>,
    converter: RowConverter,
    groups: SharedVec<Values>,
    /// A row whose first argument is NULL is left out.
    skips_null: bool,
}

impl Kept {
    pub(super) fn new(types: &[DataType], skips_null: bool) -> Result<Self> {
        Ok(Self {
            converter: converter(types)?,
            types: types.to_vec(),
            groups: SharedVec::default(),
            skips_null,
        })
    }

    pub(super) fn add(&mut self, columns: &[ArrayRef], rows: &Additions<'_>) -> Result<()> {
        self.groups.grow(rows.total, Values::default);
        let values: Vec<ArrayRef> = columns.iter().map(as_key).collect();
        let values = self.converter.convert_columns(&values)?;
        for (row, (slot, weight)) in rows.slots.iter().zip(rows.weights).enumerate() {
            if self.skips_null && columns[0].is_null(row) {
                continue;
            }
            let group = &mut self.groups[*slot as usize];
            let value = values.row(row);
            match group.get_mut(value.as_ref()) {
                None => drop(group.insert(value.as_ref().into(), *weight)),
                Some(count) if *count + weight == 0 => drop(group.remove(value.as_ref())),
                Some(count) => *count += weight,
            }
        }
        Ok(())
    }

    /// The least or the greatest value of each of `slots`.
    pub(super) fn extreme(&self, slots: &[u32], is_least: bool) -> Result<ArrayRef> {
        let (parser, mut found, mut places) = (self.converter.parser(), Vec::new(), Vec::new());
        for slot in slots {
            let values = &self.groups[*slot as usize];
            let value = if is_least { values.keys().next() } else { values.keys().next_back() };
            places.push(value.map(|_| found.len()).and_then(|place| u32::try_from(place).ok()));
            found.extend(value.map(|value| parser.parse(value)));
        }
        let column = self.converter.convert_rows(found)?.swap_remove(0);
        Ok(take(&column, &UInt32Array::from(places), None)?)
    }

    /// What `aggregate` gives of the values of each of `slots`, each of them once or as often as it is there.
    pub(super) fn evaluate(
        &self,
        slots: &[u32],
        aggregate: &Arc<dyn Aggregate>,
        once: bool,
    ) -> Result<ArrayRef> {
        let (parser, mut rows, mut groups) = (self.converter.parser(), Vec::new(), Vec::new());
        for (group, slot) in slots.iter().enumerate() {
            for (value, weight) in &self.groups[*slot as usize] {
                let times = if once { (*weight).min(1) } else { *weight };
                let times = usize::try_from(times).unwrap_or(0);
                rows.extend(std::iter::repeat_n(parser.parse(value), times));
                groups.extend(std::iter::repeat_n(group, times));
            }
        }
        let columns = self.converter.convert_rows(rows)?;
        let mut accumulator = aggregate.accumulator()?;
        accumulator.update(&columns, &groups, None, slots.len())?;
        accumulator.evaluate()
    }

    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) {
        self.groups.renumber(moved, Values::default);
    }

    /// All as it is now.
    pub(super) fn save(&self) -> Result<SavedKept> {
        Ok(SavedKept { converter: converter(&self.types)?, groups: self.groups.clone(), next: 0 })
    }

    /// Puts back a table that [`Kept::save`] gave.
    pub(super) fn restore(&mut self, table: &RecordBatch, total: usize) -> Result<()> {
        let table = StateTable::from_batch(table, 2, 0)?;
        let slots: Vec<u32> =
            table.numbers[0].iter().map(|slot| u32::try_from(*slot).unwrap_or_default()).collect();
        self.add(&table.values, &Additions { slots: &slots, weights: &table.numbers[1], total })
    }
}

fn converter(types: &[DataType]) -> Result<RowConverter> {
    Ok(RowConverter::new(types.iter().cloned().map(SortField::new).collect())?)
}

/// Values of a part of a snapshot, about.
const PART: usize = 65_536;

/// The values of all groups as they were.
pub(super) struct SavedKept {
    converter: RowConverter,
    groups: SharedVec<Values>,
    next: usize,
}

impl SavedState for SavedKept {
    /// The group, the weight and the value, of all values of some groups.
    fn next(&mut self) -> Result<Option<StateTable>> {
        let parser = self.converter.parser();
        let (mut slots, mut weights, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let first = self.next;
        for (slot, values) in (0_i64..).skip(first).zip(self.groups.iter_from(first)) {
            if rows.len() >= PART || self.next >= first + PART {
                break;
            }
            for (value, weight) in values {
                slots.push(slot);
                weights.push(*weight);
                rows.push(parser.parse(value));
            }
            self.next += 1;
        }
        if self.next == first {
            return Ok(None);
        }
        let values = self.converter.convert_rows(rows)?;
        Ok(Some(StateTable { numbers: vec![slots, weights], keys: Vec::new(), values }))
    }
}
