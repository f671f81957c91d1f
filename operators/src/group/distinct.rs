//! `f(DISTINCT x)`: lets a value of a group pass when it comes, and takes it back when its last row is gone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};
use lineshaft_engine::Result;
use lineshaft_engine::expression::Expression;

use crate::keys::KeyInterner;
use crate::shared::SharedVec;
use crate::window::state::StateTable;

/// The values that each group has, and how often.
pub(super) struct Distinct {
    arguments: Vec<Arc<dyn Expression>>,
    /// The group, then the values.
    types: Vec<DataType>,
    interner: KeyInterner,
    weights: SharedVec<i64>,
    numbers: Vec<u32>,
    /// Values with weight zero.
    dead: usize,
    /// What a snapshot that has begun is still to give: the weights from a number on.
    saved: Option<(SharedVec<i64>, usize)>,
}

/// Fewer values than this are not worth taking back.
const FEW_VALUES: usize = 1024;
/// Values of a part of a snapshot.
const PART: usize = 65_536;

impl Distinct {
    pub(super) fn new(arguments: &[Arc<dyn Expression>]) -> Result<Self> {
        let values = arguments.iter().map(|argument| argument.data_type().clone());
        let types: Vec<DataType> = std::iter::once(DataType::UInt32).chain(values).collect();
        Ok(Self {
            arguments: arguments.to_vec(),
            interner: KeyInterner::new(&types)?,
            types,
            weights: SharedVec::default(),
            numbers: Vec::new(),
            dead: 0,
            saved: None,
        })
    }

    /// The rows that bring a value or take it away, and with which weight. `slots` are the groups of `rows`.
    pub(super) fn pass(
        &mut self,
        rows: &RecordBatch,
        slots: &[u32],
        weights: &[i64],
    ) -> Result<(UInt32Array, Vec<i64>)> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(slots.to_vec()))];
        for argument in &self.arguments {
            columns.push(argument.evaluate(rows)?);
        }
        self.interner.intern(&columns, rows.num_rows(), &mut self.numbers)?;
        self.dead += self.interner.len() - self.weights.len();
        self.weights.grow(self.interner.len(), || 0);
        let (mut passed, mut signs) = (Vec::new(), Vec::new());
        for ((row, number), weight) in (0_u32..).zip(&self.numbers).zip(weights) {
            let count = &mut self.weights[*number as usize];
            let (was, was_zero) = (*count > 0, *count == 0);
            *count += weight;
            match (was_zero, *count == 0) {
                (true, false) => self.dead -= 1,
                (false, true) => self.dead += 1,
                _ => {}
            }
            if was != (*count > 0) {
                passed.push(row);
                signs.push(if was { -1 } else { 1 });
            }
        }
        if self.saved.is_none() && self.dead > FEW_VALUES && self.dead > self.weights.len() / 2 {
            self.keep(Some)?;
        }
        Ok((UInt32Array::from(passed), signs))
    }

    /// Groups have new slots; what is gone had no row.
    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) -> Result<()> {
        self.keep(|slot| moved.get(slot as usize).copied().flatten())
    }

    /// Keeps the values that are there, of the groups that have a slot.
    fn keep(&mut self, slot_of: impl Fn(u32) -> Option<u32>) -> Result<()> {
        let live: Vec<u32> =
            (0_u32..).zip(self.weights.iter()).filter(|(_, w)| **w != 0).map(|(number, _)| number).collect();
        let mut columns = self.interner.columns(&live)?;
        let slots: UInt32Array =
            columns[0].as_primitive::<UInt32Type>().values().iter().map(|slot| slot_of(*slot)).collect();
        columns[0] = Arc::new(slots);
        let weights: Vec<i64> = live.iter().map(|number| self.weights[*number as usize]).collect();
        self.fill(&columns, weights)
    }

    fn fill(&mut self, columns: &[ArrayRef], weights: Vec<i64>) -> Result<()> {
        self.interner = KeyInterner::new(&self.types)?;
        self.interner.intern(columns, weights.len(), &mut self.numbers)?;
        self.weights = weights.into_iter().collect();
        self.dead = 0;
        Ok(())
    }

    /// From now on [`Distinct::next_saved`] gives the values as they are now.
    pub(super) fn save(&mut self) {
        self.saved = Some((self.weights.clone(), 0));
    }

    /// The next part of them for a snapshot; `None` if those were all.
    pub(super) fn next_saved(&mut self) -> Result<Option<RecordBatch>> {
        let Some((weights, next)) = &mut self.saved else { return Ok(None) };
        let first = *next;
        let weights: Vec<i64> = weights.iter_from(first).take(PART).copied().collect();
        *next += weights.len();
        if weights.is_empty() {
            self.saved = None;
            return Ok(None);
        }
        let numbers: Vec<u32> = (0..).skip(first).take(weights.len()).collect();
        let keys = self.interner.columns(&numbers)?;
        StateTable { numbers: vec![weights], keys, values: Vec::new() }.into_batch().map(Some)
    }

    /// Puts back a part that [`Distinct::next_saved`] gave.
    pub(super) fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let table = StateTable::from_batch(table, 1, self.types.len())?;
        self.interner.intern(&table.keys, table.rows(), &mut self.numbers)?;
        for weight in &table.numbers[0] {
            self.weights.push(*weight);
            self.dead += usize::from(*weight == 0);
        }
        Ok(())
    }
}
