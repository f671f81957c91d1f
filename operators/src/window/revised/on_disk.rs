//! Windows that may still change and do not fit into memory.
//!
//! The rows that were given go to disk first, those of the oldest windows before others: they are needed when a late row comes.
//! Then the partial results of panes of which something was given, and in the end those of panes that still get rows.

use std::collections::BTreeMap;

use lineshaft_engine::Result;

use super::{Pane, RevisedAggregate};
use crate::window::groups::Groups;
use crate::window::pieces::{Measured, Piece, move_to_disk};

impl RevisedAggregate {
    /// Moves state to disk if the program has too much.
    pub(super) fn make_room(&mut self) -> Result<()> {
        if self.spill.is_unlimited() {
            return Ok(());
        }
        let (of, spill) = (&self.aggregates, &mut self.spill);
        let mut size = self.measured.of(pieces(&mut self.given, &mut self.kept));
        for groups in self.kept.values_mut().filter_map(Pane::open) {
            groups.tidy(of, spill)?;
            size += groups.size();
        }
        let excess = usize::try_from(spill.report(size as u64)).unwrap_or(usize::MAX);
        if excess == 0 {
            return Ok(());
        }
        let mut free = move_to_disk(pieces(&mut self.given, &mut self.kept), spill, excess)?;
        self.measured = Measured::default();
        for groups in self.kept.values_mut().filter_map(Pane::open) {
            if free < excess {
                free += groups.move_to_disk(of, spill, excess - free)?;
            }
        }
        spill.report(size.saturating_sub(free) as u64);
        Ok(())
    }
}

impl Pane {
    fn open(&mut self) -> Option<&mut Groups> {
        match self {
            Self::Open(groups) => Some(groups),
            Self::Kept(_) | Self::Rows(_) => None,
        }
    }

    fn kept(&mut self) -> &mut [Piece] {
        match self {
            Self::Kept(pieces) => pieces,
            Self::Open(_) | Self::Rows(_) => &mut [],
        }
    }
}

/// In the order in which they go to disk.
fn pieces<'a>(
    given: &'a mut BTreeMap<i64, Piece>,
    kept: &'a mut BTreeMap<i64, Pane>,
) -> impl Iterator<Item = &'a mut Piece> {
    given.values_mut().chain(kept.values_mut().flat_map(Pane::kept))
}
