//! The part of the intake in swaps: it decides between which two epochs one falls, and notes that in the journal.

use super::Intake;
use crate::journal::{Control, Record};
use crate::swap::Swap;

/// The kind of the records that say from which epoch on a value counts.
pub(super) const SWAP: u16 = 3;

/// The table of a checkpoint.
pub(crate) const SWAPS: &str = "swaps";

impl Intake {
    /// Does what was asked for. Where there is no room in the journal, it is done when there is.
    pub(super) async fn swap_what_was_asked_for(&mut self) {
        let Some(swaps) = self.swaps.clone() else { return };
        while let Some(swap) = swaps.next() {
            match self.swap(&swap).await {
                Ok(true) => {}
                Ok(false) => return swaps.put_back(swap),
                Err(error) => return self.control.fail(error),
            }
        }
    }

    async fn swap(&mut self, swap: &Swap) -> crate::Result<bool> {
        let Some(swaps) = self.swaps.clone() else { return Ok(true) };
        let from = self.next_epoch;
        if self.input.is_some() {
            let noted = Record::Control(Control { kind: SWAP, body: swap.encode(from) });
            if !self.note(noted).await? {
                return Ok(false);
            }
        }
        swaps.forget_before(self.control.completed());
        swaps.hold(from, swap)?;
        Ok(true)
    }
}
