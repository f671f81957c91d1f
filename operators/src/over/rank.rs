//! `ROW_NUMBER`, `RANK`, `DENSE_RANK`: where a row stands in its partition.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use lineshaft_engine::Result;

use super::call::{Evaluate, signed, unsigned};
use super::rows::Rows;
use crate::shared::{BySlot, SavedState, SharedVec};
use crate::window::state::StateTable;

/// `ROW_NUMBER`.
#[derive(Debug)]
pub(super) struct RowNumber;

impl Evaluate for RowNumber {
    fn evaluate(&mut self, rows: &Rows, _spans: &[Range<usize>]) -> Result<ArrayRef> {
        let numbers = rows.segments.iter().flat_map(|segment| segment.computed.clone());
        Ok(Arc::new(UInt64Array::from_iter_values(numbers.map(|number| number as u64 + 1))))
    }

    fn wants_from(&self, _slot: usize, _frame: usize) -> usize {
        usize::MAX
    }
}

/// `RANK`: one more than the rows before the peers of a row.
#[derive(Debug)]
pub(super) struct Rank;

impl Evaluate for Rank {
    /// The frame of a row is its peers.
    fn evaluate(&mut self, _rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        Ok(Arc::new(UInt64Array::from_iter_values(spans.iter().map(|span| span.start as u64 + 1))))
    }

    fn wants_from(&self, _slot: usize, _frame: usize) -> usize {
        usize::MAX
    }
}

/// `DENSE_RANK`: the number of groups of peers so far.
#[derive(Debug, Default)]
pub(super) struct DenseRank {
    /// Groups of each partition, with the last row that was computed.
    groups: SharedVec<u64>,
}

impl Evaluate for DenseRank {
    fn evaluate(&mut self, rows: &Rows, _spans: &[Range<usize>]) -> Result<ArrayRef> {
        let mut ranks = Vec::with_capacity(rows.computed());
        for (segment, begins_peers) in rows.by_segment(&rows.begins_peers) {
            let slot = segment.slot as usize;
            self.groups.grow(slot + 1, || 0);
            let groups = &mut self.groups[slot];
            for begins in begins_peers {
                *groups += u64::from(*begins);
                ranks.push(*groups);
            }
        }
        Ok(Arc::new(UInt64Array::from(ranks)))
    }

    fn wants_from(&self, _slot: usize, _frame: usize) -> usize {
        usize::MAX
    }

    fn save(&mut self, slots: usize) -> Result<Option<Box<dyn SavedState>>> {
        self.groups.grow(slots, || 0);
        Ok(Some(BySlot::boxed(&self.groups, |_, groups| {
            let numbers = vec![groups.iter().map(|groups| signed(**groups)).collect()];
            Ok(StateTable { numbers, keys: Vec::new(), values: Vec::new() })
        })))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let table = StateTable::from_batch(table, 1, 0)?;
        table.numbers[0].iter().for_each(|groups| self.groups.push(unsigned(*groups)));
        Ok(())
    }
}
