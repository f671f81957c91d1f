//! Partial results of complete panes in pieces, which may be in memory or in files.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use lineshaft_engine::Result;
use lineshaft_engine::spill::{Spill, SpillFile};

use super::groups::{Partial, renumber};
use super::range::table;

/// The partial results of some groups. They do not change, so copies share them.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    slots: Arc<Vec<u32>>,
    states: States,
}

#[derive(Clone, Debug)]
enum States {
    InMemory(Vec<ArrayRef>),
    OnDisk(Arc<SpillFile>),
}

impl From<Partial> for Piece {
    fn from(partial: Partial) -> Self {
        Self { slots: partial.slots, states: States::InMemory(partial.states) }
    }
}

impl Piece {
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) {
        let slots: &mut Vec<u32> = Arc::make_mut(&mut self.slots);
        renumber(slots, moved);
    }

    /// All of it in memory.
    pub(super) fn load(&self) -> Result<Partial> {
        let slots = Arc::clone(&self.slots);
        let file = match &self.states {
            States::InMemory(states) => return Ok(Partial { slots, states: states.clone() }),
            States::OnDisk(file) => file,
        };
        let parts = file
            .read()?
            .map(|states| Ok(Partial { slots: Arc::default(), states: states?.columns().to_vec() }));
        let states = Partial::stacked(&parts.collect::<Result<Vec<_>>>()?)?.states;
        Ok(Partial { slots, states })
    }

    /// Bytes of partial results in memory, about.
    pub(super) fn size(&self) -> usize {
        match &self.states {
            States::InMemory(states) => states.iter().map(|column| column.get_array_memory_size()).sum(),
            States::OnDisk(_) => 0,
        }
    }

    /// Moves the partial results to a file, if that is possible; gives the bytes that are free then.
    pub(super) fn move_to_disk(&mut self, spill: &Spill) -> Result<usize> {
        let size = self.size();
        if let States::InMemory(states) = &self.states
            && size > 0
            && let Some(file) = spill.write(&table(states.clone())?)
        {
            self.states = States::OnDisk(Arc::new(file));
            return Ok(size);
        }
        Ok(0)
    }
}
