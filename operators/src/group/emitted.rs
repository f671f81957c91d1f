//! What each group gave last, and the difference to what it gives now.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;

use crate::keys::KeyInterner;
use crate::shared::SharedVec;
use crate::window::row_store::{Place, RowStore};
use crate::window::state::StateTable;

/// The groups that an epoch has touched.
pub(super) struct Epoch {
    /// Groups that have a row.
    pub(super) slots: Vec<u32>,
    /// Their results, a column for each aggregate.
    pub(super) results: Vec<ArrayRef>,
    /// What is to be kept beside the results.
    pub(super) states: Vec<ArrayRef>,
    /// Groups that have no row.
    pub(super) gone: Vec<u32>,
}

/// The last results of each group, and what is kept beside them.
pub(super) struct Emitted {
    /// The key columns, then the results.
    schema: SchemaRef,
    keys: usize,
    /// Results, then states.
    store: RowStore,
    /// By slot.
    places: SharedVec<Option<Place>>,
    groups: usize,
    /// What a snapshot that has begun is still to give: the rows of slots from a number on.
    saved: Option<(SharedVec<Option<Place>>, usize)>,
}

/// Slots of a part of a snapshot.
const PART: usize = 65_536;

impl Emitted {
    pub(super) fn new(schema: SchemaRef, keys: usize) -> Self {
        Self {
            schema,
            keys,
            store: RowStore::default(),
            places: SharedVec::default(),
            groups: 0,
            saved: None,
        }
    }

    /// Groups that have a row.
    pub(super) fn len(&self) -> usize {
        self.groups
    }

    fn place(&self, slot: u32) -> Option<Place> {
        self.places.get(slot as usize).copied().flatten()
    }

    fn results(&self) -> Range<usize> {
        0..self.schema.fields().len() - self.keys
    }

    /// True if the group has a row.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.place(slot).is_some()
    }

    /// What is kept of `slots`, which all have a row.
    pub(super) fn states(&self, slots: &[u32], width: usize) -> Result<Vec<ArrayRef>> {
        let places: Vec<Place> = slots.iter().filter_map(|slot| self.place(*slot)).collect();
        let first = self.results().end;
        self.store.pick_columns(&places, first..first + width)
    }

    /// Keeps what the groups give now; tells the difference to what they gave.
    pub(super) fn replace(&mut self, epoch: Epoch, keys: &KeyInterner) -> Result<Option<Batch>> {
        let changes = self.changes(&epoch, keys)?;
        let rows = epoch.slots.len();
        self.groups += epoch.slots.iter().filter(|slot| !self.has(**slot)).count();
        let last = epoch.slots.iter().max().map_or(0, |slot| *slot as usize + 1);
        self.places.grow(last, || None);
        let columns = [epoch.results, epoch.states].concat();
        for (slot, place) in epoch.slots.iter().zip(self.store.push(columns, rows)) {
            self.places[*slot as usize] = Some(place);
        }
        for slot in epoch.gone {
            if self.has(slot) {
                self.places[slot as usize] = None;
                self.groups -= 1;
            }
        }
        if self.saved.is_none() && self.store.is_sparse(self.groups) {
            self.store.compact(self.places.iter_mut().flatten())?;
        }
        Ok(changes)
    }

    fn changes(&self, epoch: &Epoch, keys: &KeyInterner) -> Result<Option<Batch>> {
        let known = epoch.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, self.place(*slot)?)));
        let (positions, mut places): (Vec<usize>, Vec<Place>) = known.unzip();
        let gone: Vec<u32> = epoch.gone.iter().copied().filter(|slot| self.has(*slot)).collect();
        places.extend(gone.iter().filter_map(|slot| self.place(*slot)));
        let old = match places.is_empty() {
            true => epoch.results.iter().map(|column| column.slice(0, 0)).collect(),
            false => self.store.pick_columns(&places, self.results())?,
        };
        let mut rows = Rows::default();
        let differs = differing(&old, &epoch.results, &positions)?;
        let mut of_old = positions.iter().zip(differs).enumerate().peekable();
        for (at, slot) in epoch.slots.iter().enumerate() {
            let before = of_old.next_if(|(_, (position, _))| **position == at);
            if before.is_some_and(|(_, (_, differs))| !differs) {
                continue;
            }
            if let Some((old, _)) = before {
                rows.push(*slot, old, -1);
            }
            rows.push(*slot, places.len() + at, 1);
        }
        for (at, slot) in gone.into_iter().enumerate() {
            rows.push(slot, positions.len() + at, -1);
        }
        if rows.slots.is_empty() {
            return Ok(None);
        }
        rows.batch(&self.schema, keys, &old, &epoch.results).map(Some)
    }

    /// Slots have new numbers; what is gone had no row.
    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) {
        self.places.renumber(moved, || None);
    }

    /// True if a snapshot has begun that has not given all: it has noted places and numbers of slots.
    pub(super) fn is_saving(&self) -> bool {
        self.saved.is_some()
    }

    /// From now on [`Emitted::next_saved`] gives the rows as they are now.
    pub(super) fn save(&mut self) {
        self.saved = Some((self.places.clone(), 0));
    }

    /// The next part of them for a snapshot; `None` if those were all.
    pub(super) fn next_saved(&mut self) -> Result<Option<RecordBatch>> {
        let Some((saved, next)) = &mut self.saved else { return Ok(None) };
        if *next >= saved.len() {
            self.saved = None;
            return Ok(None);
        }
        let numbered = (0_i64..).skip(*next).zip(saved.iter_from(*next).take(PART));
        let (slots, places): (Vec<i64>, Vec<Place>) =
            numbered.filter_map(|(slot, place)| Some((slot, (*place)?))).unzip();
        *next += PART;
        let values = if places.is_empty() { Vec::new() } else { self.store.pick(&places)? };
        StateTable { numbers: vec![slots], keys: Vec::new(), values }.into_batch().map(Some)
    }

    /// Puts back a part that [`Emitted::next_saved`] gave.
    pub(super) fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let table = StateTable::from_batch(table, 1, 0)?;
        let rows = table.rows();
        self.groups += rows;
        for (slot, place) in table.numbers[0].iter().zip(self.store.push(table.values, rows)) {
            let slot = usize::try_from(*slot).unwrap_or_default();
            self.places.grow(slot + 1, || None);
            self.places[slot] = Some(place);
        }
        Ok(())
    }
}

/// Rows of a difference: whose they are, where their results lie (the old ones before the new ones), and weights.
#[derive(Default)]
struct Rows {
    slots: Vec<u32>,
    places: Vec<u32>,
    weights: Vec<i64>,
}

impl Rows {
    fn push(&mut self, slot: u32, place: usize, weight: i64) {
        self.slots.push(slot);
        // Slots are u32, and a group has two rows at most.
        self.places.push(narrow(place));
        self.weights.push(weight);
    }

    fn batch(
        self,
        schema: &SchemaRef,
        keys: &KeyInterner,
        old: &[ArrayRef],
        new: &[ArrayRef],
    ) -> Result<Batch> {
        let mut columns = keys.columns(&self.slots)?;
        let places = UInt32Array::from(self.places);
        for (old, new) in old.iter().zip(new) {
            columns.push(take(&concat(&[old.as_ref(), new.as_ref()])?, &places, None)?);
        }
        let rows = RecordBatch::try_new(Arc::clone(schema), columns)?;
        Ok(Batch::with_weights(rows, Int64Array::from(self.weights)))
    }
}

/// For each of `positions` whether its new values differ from the old ones, which stand first in `old`.
fn differing(old: &[ArrayRef], new: &[ArrayRef], positions: &[usize]) -> Result<Vec<bool>> {
    let mut differs = vec![false; positions.len()];
    for (old, new) in old.iter().zip(new) {
        if old.data_type().is_nested() {
            let compare = make_comparator(old, new, SortOptions::default())?;
            for (at, (differs, position)) in differs.iter_mut().zip(positions).enumerate() {
                *differs |= compare(at, *position).is_ne();
            }
            continue;
        }
        let old = old.slice(0, positions.len());
        let is_all = positions.len() == new.len();
        let new = match is_all {
            true => Arc::clone(new),
            false => take(new, &UInt32Array::from_iter_values(positions.iter().map(|at| narrow(*at))), None)?,
        };
        for (differs, column) in differs.iter_mut().zip(distinct(&old, &new)?.values()) {
            *differs |= column;
        }
    }
    Ok(differs)
}

/// Slots are u32, so there are no more positions than that.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
