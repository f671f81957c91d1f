//! Functions that go from row to row, each key with what it remembers: [`Online`].

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use lineshaft_engine::Result;

use super::call::{Evaluate, signed};
use super::other_plan;
use super::rows::Rows;
use crate::online::{Inputs, Online};
use crate::shared::{BySlot, SavedState, SharedVec};
use crate::window::state::StateTable;

/// A function of some arguments, of which the last one may be the time.
#[derive(Debug)]
pub(super) struct Stepwise {
    fresh: Online,
    arguments: Vec<usize>,
    is_timed: bool,
    /// By slot.
    functions: SharedVec<Online>,
}

impl Stepwise {
    pub(super) fn new(fresh: Online, arguments: Vec<usize>, is_timed: bool) -> Self {
        Self { fresh, arguments, is_timed, functions: SharedVec::default() }
    }
}

impl Evaluate for Stepwise {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let arguments: Vec<ArrayRef> =
            self.arguments.iter().map(|place| Arc::clone(&rows.columns[*place])).collect();
        let mut inputs = Inputs::new(&arguments, self.is_timed)?;
        let mut values = Vec::with_capacity(spans.len());
        for (segment, spans) in rows.by_segment(spans) {
            let slot = segment.slot as usize;
            self.functions.grow(slot + 1, || self.fresh.clone());
            let function = &mut self.functions[slot];
            // Each row is a frame of its own, one after the other.
            if let [first, .., last] | [first @ last] = spans {
                let rows = segment.place(first.start)..segment.place(last.start) + 1;
                inputs.extend(function, rows, &mut values);
            }
        }
        Ok(self.fresh.column(values))
    }

    fn wants_from(&self, _slot: usize, frame: usize) -> usize {
        frame
    }

    fn save(&mut self, slots: usize) -> Result<Option<Box<dyn SavedState>>> {
        self.functions.grow(slots, || self.fresh.clone());
        Ok(Some(BySlot::boxed(&self.functions, |first, functions| {
            let written = functions.iter().map(postcard::to_allocvec);
            let written = written.collect::<Result<Vec<_>, _>>().map_err(|_| other_plan())?;
            let slots = (signed(first as u64)..).take(written.len()).collect();
            let values: ArrayRef = Arc::new(BinaryArray::from_iter_values(written));
            Ok(StateTable { numbers: vec![slots], keys: Vec::new(), values: vec![values] })
        })))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let table = StateTable::from_batch(table, 1, 0)?;
        let [written] = table.values.as_slice() else { return Err(other_plan()) };
        let written = written.as_binary_opt::<i32>().ok_or_else(other_plan)?;
        for slot in 0..written.len() {
            self.functions.push(postcard::from_bytes(written.value(slot)).map_err(|_| other_plan())?);
        }
        Ok(())
    }
}
