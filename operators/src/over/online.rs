//! Functions that go from row to row, each key with what it remembers: [`Online`].

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use lineshaft_engine::Result;

use super::call::Evaluate;
use super::other_plan;
use super::rows::Rows;
use crate::online::{Inputs, Online};
use crate::window::state::StateTable;

/// A function of some arguments, of which the last one may be the time.
#[derive(Debug)]
pub(super) struct Stepwise {
    fresh: Online,
    arguments: Vec<usize>,
    is_timed: bool,
    /// By slot.
    functions: Vec<Online>,
}

impl Stepwise {
    pub(super) fn new(fresh: Online, arguments: Vec<usize>, is_timed: bool) -> Self {
        Self { fresh, arguments, is_timed, functions: Vec::new() }
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
            if self.functions.len() <= slot {
                self.functions.resize(slot + 1, self.fresh.clone());
            }
            let function = &mut self.functions[slot];
            values.extend(spans.iter().map(|span| inputs.step(function, segment.place(span.start))));
        }
        Ok(self.fresh.column(values))
    }

    fn wants_from(&self, _slot: usize, frame: usize) -> usize {
        frame
    }

    fn state(&mut self, slots: usize) -> Result<Option<StateTable>> {
        self.functions.resize(slots, self.fresh.clone());
        let written = self.functions.iter().map(postcard::to_allocvec);
        let written = written.collect::<Result<Vec<_>, _>>().map_err(|_| other_plan())?;
        let slots = (0..).take(written.len()).collect();
        let values: ArrayRef = Arc::new(BinaryArray::from_iter_values(written));
        Ok(Some(StateTable { numbers: vec![slots], keys: Vec::new(), values: vec![values] }))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let table = StateTable::from_batch(table, 1, 0)?;
        let [written] = table.values.as_slice() else { return Err(other_plan()) };
        let written = written.as_binary_opt::<i32>().ok_or_else(other_plan)?;
        let read = (0..written.len()).map(|slot| postcard::from_bytes(written.value(slot)));
        self.functions = read.collect::<Result<_, _>>().map_err(|_| other_plan())?;
        Ok(())
    }
}
