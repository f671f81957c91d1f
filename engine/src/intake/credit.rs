//! How much may be on its way through the workers at a time: the only back-pressure, for timely's queues have no bound.

use std::collections::VecDeque;

use crate::time::Epoch;

/// Small chunks that may be open while the input is behind: what an epoch costs beside its rows is then shared.
const MANY: usize = 64;
/// Chunks are small as long as all that are open have no more bytes than this.
const SMALL: u64 = 1 << 20;

/// A chunk that was given to the workers and is not complete.
#[derive(Clone, Copy, Debug)]
struct Open {
    end: Epoch,
    bytes: u64,
    wall_clock: i64,
}

/// The chunks that are open, and how many may be.
#[derive(Debug)]
pub(super) struct Credit {
    max_chunks: usize,
    max_bytes: u64,
    open: VecDeque<Open>,
    bytes: u64,
}

impl Credit {
    pub(super) fn new(workers: usize, max_bytes: u64) -> Self {
        Self { max_chunks: 4 + 2 * workers, max_bytes, open: VecDeque::new(), bytes: 0 }
    }

    /// True if another chunk may be opened. One may always be, however large it is.
    pub(super) fn has_room(&self) -> bool {
        self.open.is_empty() || self.open.len() < self.max_chunks && self.bytes < self.max_bytes
    }

    /// The same for one of many chunks that wait.
    pub(super) fn has_room_for_waiting(&self) -> bool {
        let are_small = self.open.len() < MANY && self.bytes < SMALL.min(self.max_bytes);
        are_small || self.has_room()
    }

    pub(super) fn open(&mut self, end: Epoch, bytes: u64, wall_clock: i64) {
        self.open.push_back(Open { end, bytes, wall_clock });
        self.bytes += bytes;
    }

    /// All epochs below `completed` are.
    pub(super) fn complete(&mut self, completed: Epoch) {
        while let Some(done) = self.open.pop_front_if(|open| open.end <= completed) {
            self.bytes -= done.bytes;
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes of raw input that are open.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the first chunk came that is open.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.open.front().map(|open| open.wall_clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_few_chunks_and_for_few_bytes() {
        let mut credit = Credit::new(1, 1000);
        credit.open(1, 5000, 7);
        assert!(!credit.has_room(), "a large one alone");
        credit.complete(1);
        (0..6).for_each(|chunk| credit.open(chunk + 2, 100, 8 + i64::try_from(chunk).unwrap()));
        assert!(!credit.has_room() && credit.has_room_for_waiting());
        credit.complete(3);
        assert!(credit.has_room());
        assert_eq!((credit.oldest(), credit.bytes()), (Some(10), 400));
        credit.open(9, 600, 20);
        assert!(!credit.has_room() && !credit.has_room_for_waiting());
        credit.complete(9);
        assert!(credit.is_unused() && credit.has_room());
    }
}
