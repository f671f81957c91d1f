//! The rows of each key that a frame still needs, and those of many keys gathered for one computation.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::ArrayRef;
use lineshaft_engine::time::EventTime;

use crate::window::row_store::Place;

/// A row of a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) time: EventTime,
    /// It differs from the row before in what is sorted by.
    pub(super) begins_peers: bool,
    /// Where its arguments are.
    pub(super) place: Place,
}

/// What is kept of a key.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// Rows before the first one that is kept.
    pub(super) before: u64,
    /// In order; all of the first are computed, the others wait for later ones.
    pub(super) rows: VecDeque<Kept>,
    pub(super) computed: usize,
    /// Where the rows that are not computed are as a whole; empty if no row ever waits.
    pub(super) unsent: VecDeque<Place>,
}

/// The rows of one partition among those gathered.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) slot: u32,
    /// Rows of the partition before the first one here.
    pub(super) before: u64,
    pub(super) rows: Range<usize>,
    /// Those that are computed now.
    pub(super) computed: Range<usize>,
}

impl Segment {
    /// The number of rows of the partition before place `at`.
    pub(super) fn number(&self, at: usize) -> u64 {
        self.before + (at - self.rows.start) as u64
    }

    /// The place that has `number` rows of the partition before it.
    pub(super) fn place(&self, number: u64) -> usize {
        let after = usize::try_from(number.saturating_sub(self.before)).unwrap_or(usize::MAX);
        self.rows.start.saturating_add(after).min(self.rows.end)
    }
}

/// The rows of some partitions, one partition after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) times: Vec<EventTime>,
    pub(super) begins_peers: Vec<bool>,
    /// The arguments.
    pub(super) columns: Vec<ArrayRef>,
    pub(super) segments: Vec<Segment>,
}

impl Rows {
    /// How many rows are computed.
    pub(super) fn computed(&self) -> usize {
        self.segments.iter().map(|segment| segment.computed.len()).sum()
    }

    /// The first row of the segment that is a peer of the one at `at`.
    pub(super) fn first_peer(&self, segment: &Segment, at: usize) -> usize {
        let before = &self.begins_peers[segment.rows.start..=at];
        segment.rows.start + before.iter().rposition(|begins| *begins).unwrap_or(0)
    }

    /// Each segment with the part of `values` that is about its computed rows.
    pub(super) fn by_segment<'a, T>(
        &'a self,
        values: &'a [T],
    ) -> impl Iterator<Item = (&'a Segment, &'a [T])> {
        let mut rest = values;
        self.segments.iter().map(move |segment| {
            let (these, others) = rest.split_at(segment.computed.len());
            rest = others;
            (segment, these)
        })
    }
}
