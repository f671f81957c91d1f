//! Blocks of rows that are in files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take};
use lineshaft_engine::Result;
use lineshaft_engine::spill::{Spill, SpillFile};

use crate::window::flags::Columns;
use crate::window::range::table;
use crate::window::row_store::Place;

/// Blocks by their number; those that went to disk together share a file, which is deleted with the last of them.
#[derive(Debug, Default)]
pub(super) struct BlocksOnDisk {
    blocks: BTreeMap<usize, (Arc<SpillFile>, u64)>,
}

impl BlocksOnDisk {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn has(&self, block: usize) -> bool {
        self.blocks.contains_key(&block)
    }

    pub(super) fn columns(&self, block: usize) -> Option<Columns> {
        self.blocks.get(&block).map(|(file, at)| Columns::OnDisk(Arc::clone(file), *at))
    }

    /// Writes blocks, which are not empty; false if they have to stay in memory.
    pub(super) fn write(&mut self, blocks: &[(usize, &Vec<ArrayRef>)], spill: &Spill) -> Result<bool> {
        let batches = blocks.iter().map(|(_, columns)| table(columns.to_vec()));
        let batches: Vec<RecordBatch> = batches.collect::<Result<_>>()?;
        let Some((first, others)) = batches.split_first() else { return Ok(false) };
        let Some(mut file) = spill.write(first) else { return Ok(false) };
        let mut places = vec![0];
        for batch in others {
            places.push(file.bytes());
            if !file.append(batch) {
                return Ok(false);
            }
        }
        let file = Arc::new(file);
        let written = blocks.iter().zip(places).map(|((block, _), at)| (*block, (Arc::clone(&file), at)));
        self.blocks.extend(written);
        Ok(true)
    }

    pub(super) fn forget(&mut self, block: usize) {
        self.blocks.remove(&block);
    }

    /// Blocks have new numbers.
    pub(super) fn renumber(&mut self, moved: &[Option<usize>]) {
        let blocks = std::mem::take(&mut self.blocks).into_iter();
        self.blocks = blocks.filter_map(|(block, kept)| Some((moved[block]?, kept))).collect();
    }

    /// The columns of the rows at `places`, of which there is at least one, in that order. One block after the other is in
    /// memory.
    pub(super) fn pick(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        let mut by_block: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let mut order = Vec::with_capacity(places.len());
        for place in places {
            let rows = by_block.entry(place.block()).or_default();
            order.push((place.block(), rows.len()));
            rows.push(u32::try_from(place.row()).unwrap_or(u32::MAX));
        }
        let numbers: BTreeMap<usize, usize> = by_block.keys().copied().zip(0..).collect();
        order.iter_mut().for_each(|(block, _)| *block = numbers[block]);
        let mut parts = Vec::with_capacity(by_block.len());
        for (block, rows) in by_block {
            let (file, at) = &self.blocks[&block];
            let rows = UInt32Array::from(rows);
            let columns = file.read_at(*at)?;
            let picked = columns.columns().iter().map(|column| Ok(take(column, &rows, None)?));
            parts.push(picked.collect::<Result<Vec<_>>>()?);
        }
        interleaved(&parts, &order)
    }
}

/// Rows of several parts: `(part, row)` of each.
pub(super) fn interleaved(parts: &[Vec<ArrayRef>], order: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
    let width = parts.first().map_or(0, Vec::len);
    let column = |at: usize| {
        let parts: Vec<&dyn Array> = parts.iter().map(|columns| columns[at].as_ref()).collect();
        Ok(interleave(&parts, order)?)
    };
    (0..width).map(column).collect()
}
