//! What [`Over`] forgets: rows that no frame needs, and keys of which nothing is left.

use lineshaft_engine::Result;
use lineshaft_engine::time::Watermark;

use super::Over;
use super::rows::Partition;

/// Fewer slots than this are not worth taking back.
pub(super) const FEW_SLOTS: usize = 1024;

impl Over {
    /// Drops the rows that no frame to come needs.
    pub(super) fn prune(&mut self, slot: u32, watermark: Watermark) {
        let partition = &self.partitions[slot as usize];
        let frames = || self.calls.iter().map(|call| call.frame);
        let times = frames().map(|frame| frame.times_from(partition, watermark)).min();
        let wanted = self
            .calls
            .iter()
            .map(|call| call.function.wants_from(slot as usize, call.frame.next_start(partition, watermark)));
        let (times, wanted) = (times.unwrap_or(0), wanted.min().unwrap_or(0));
        let partition = &mut self.partitions[slot as usize];
        partition.drop_rows(times);
        self.live -= partition.drop_stored(wanted);
    }

    pub(super) fn compact(&mut self) -> Result<()> {
        // What is saved has the places of rows.
        if self.saving.is_some() {
            return Ok(());
        }
        if self.kept.is_sparse(self.live) {
            self.kept
                .compact(self.partitions.iter_mut().flat_map(|partition| partition.stored.iter_mut()))?;
        }
        if self.waits() && self.unsent.is_sparse(self.unsent_rows) {
            let unsent = self.partitions.iter_mut().flat_map(|partition| partition.unsent.iter_mut());
            self.unsent.compact(unsent)?;
        }
        Ok(())
    }

    /// Forgets keys of which nothing is kept, once they may be half of all. Where a function remembers something of
    /// each key, none is forgotten.
    pub(super) fn reclaim(&mut self, watermark: Watermark) -> Result<()> {
        // What is saved has the numbers of slots.
        if self.saving.is_some()
            || self.interner.len() < self.reclaim_at
            || self.calls.iter().any(|call| call.remembers)
        {
            return Ok(());
        }
        self.partitions.grow(self.interner.len(), Partition::default);
        for slot in (0..).take(self.partitions.len()) {
            self.prune(slot, watermark);
        }
        let is_live = |partition: &Partition| !(partition.rows.is_empty() && partition.stored.is_empty());
        let mut is_live: Vec<bool> = self.partitions.iter().map(is_live).collect();
        self.waiting.slots().for_each(|slot| is_live[slot as usize] = true);
        let moved = self.interner.retain(|slot| is_live[slot as usize])?;
        self.waiting.renumber(&moved);
        self.calls.iter_mut().for_each(|call| call.function.renumber(&moved));
        self.partitions.renumber(&moved, Partition::default);
        let unsent = std::mem::take(&mut self.unsent_slots);
        self.unsent_slots = unsent.into_iter().filter_map(|slot| moved[slot as usize]).collect();
        self.reclaim_at = FEW_SLOTS.max(self.interner.len() * 2);
        Ok(())
    }
}
