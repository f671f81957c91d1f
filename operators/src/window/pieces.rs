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
    /// A batch of a file, by the place where it begins. Pieces that went there together share the file.
    OnDisk(Arc<SpillFile>, u64),
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
        let states = match &self.states {
            States::InMemory(states) => states.clone(),
            States::OnDisk(file, at) => file.read_at(*at)?.columns().to_vec(),
        };
        Ok(Partial { slots: Arc::clone(&self.slots), states })
    }

    /// Bytes of partial results in memory, about.
    pub(super) fn size(&self) -> usize {
        match &self.states {
            States::InMemory(states) => states.iter().map(|column| column.get_array_memory_size()).sum(),
            States::OnDisk(..) => 0,
        }
    }

    /// Moves the partial results to a file of their own, if that is possible.
    pub(super) fn move_to_disk(&mut self, spill: &Spill) -> Result<()> {
        move_to_disk(std::iter::once(self), spill, usize::MAX)?;
        Ok(())
    }
}

/// Moves pieces to a file until so many bytes are free, if possible; gives those that are.
pub(super) fn move_to_disk<'a>(
    pieces: impl Iterator<Item = &'a mut Piece>,
    spill: &Spill,
    bytes: usize,
) -> Result<usize> {
    let (mut free, mut written) = (0, Vec::new());
    let mut file: Option<SpillFile> = None;
    for piece in pieces {
        let States::InMemory(states) = &piece.states else { continue };
        let size = piece.size();
        if size == 0 {
            continue;
        }
        let rows = table(states.clone())?;
        let at = file.as_ref().map_or(0, SpillFile::bytes);
        let is_written = match &mut file {
            Some(file) => file.append(&rows),
            None => {
                file = spill.write(&rows);
                file.is_some()
            }
        };
        if !is_written {
            break;
        }
        written.push((piece, at));
        free += size;
        if free >= bytes {
            break;
        }
    }
    if let Some(file) = file.map(Arc::new) {
        written.into_iter().for_each(|(piece, at)| piece.states = States::OnDisk(Arc::clone(&file), at));
    }
    Ok(free)
}

/// So many pieces are as quickly added up as a batch is worked on.
const PIECES_AT_ONCE: usize = 256;

/// What pieces had in memory when they were last added up. There may be a hundred thousand of them, so that it is not done for every
/// batch.
#[derive(Default)]
pub(super) struct Measured {
    bytes: usize,
    /// How often that will do.
    left: usize,
}

impl Measured {
    /// Bytes of the pieces in memory, about.
    pub(super) fn of<'a>(&mut self, pieces: impl Iterator<Item = &'a mut Piece>) -> usize {
        if self.left == 0 {
            let (mut count, mut bytes) = (0, 0);
            pieces.for_each(|piece| (count, bytes) = (count + 1, bytes + piece.size()));
            *self = Self { bytes, left: 1 + count / PIECES_AT_ONCE };
        }
        self.left -= 1;
        self.bytes
    }
}
