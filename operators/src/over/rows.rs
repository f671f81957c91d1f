//! The rows of each key that a frame still needs, and those of many keys gathered for one computation.
//!
//! The rows of a partition are numbered from 0 in their order, for ever: a frame is a range of such numbers.

use std::ops::Range;

use arrow::array::ArrayRef;
use lineshaft_engine::time::EventTime;

use crate::shared::SharedDeque;
use crate::window::row_store::Place;

/// A row of a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) time: EventTime,
    /// It differs from the row before in what is sorted by.
    pub(super) begins_peers: bool,
}

/// What is kept of a key. A snapshot shares the rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    /// The number of the first row that is kept.
    pub(super) first: usize,
    pub(super) rows: SharedDeque<Kept>,
    /// The number of the first row that is not computed; it waits for later ones.
    pub(super) computed: usize,
    /// The number of the first row whose arguments are kept, and where they are.
    pub(super) first_stored: usize,
    pub(super) stored: SharedDeque<Place>,
    /// Where the rows that are not computed are as a whole; empty if no row ever waits.
    pub(super) unsent: SharedDeque<Place>,
}

impl Partition {
    /// The number that the next row gets.
    pub(super) fn end(&self) -> usize {
        self.first + self.rows.len()
    }

    pub(super) fn row(&self, number: usize) -> &Kept {
        &self.rows[number - self.first]
    }

    /// The number of the first row for which `is` does not hold; it holds for none after that.
    pub(super) fn first_but(&self, is: impl Fn(&Kept) -> bool) -> usize {
        self.first + self.rows.partition_point(is)
    }

    /// Drops the rows below a number.
    pub(super) fn drop_rows(&mut self, below: usize) {
        let drop = below.min(self.computed).saturating_sub(self.first);
        self.rows.drop_front(drop);
        self.first += drop;
    }

    /// Drops the arguments of the rows below a number; tells how many.
    pub(super) fn drop_stored(&mut self, below: usize) -> usize {
        let drop = below.saturating_sub(self.first_stored).min(self.stored.len());
        self.stored.drop_front(drop);
        self.first_stored += drop;
        drop
    }
}

/// The rows of one partition among those gathered.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) slot: u32,
    /// The number of the first row that is gathered.
    pub(super) first: usize,
    /// The places of the rows that are gathered.
    pub(super) rows: Range<usize>,
    /// The numbers of the rows that are computed now.
    pub(super) computed: Range<usize>,
}

impl Segment {
    /// The place of the row `number`, or the nearest one.
    pub(super) fn place(&self, number: usize) -> usize {
        (self.rows.start + number.saturating_sub(self.first)).min(self.rows.end)
    }

    /// The places of a frame.
    pub(super) fn places(&self, span: &Range<usize>) -> Range<usize> {
        self.place(span.start)..self.place(span.end)
    }
}

/// The rows of some partitions, one partition after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The arguments.
    pub(super) columns: Vec<ArrayRef>,
    pub(super) segments: Vec<Segment>,
    /// Of each row that is computed, whether it is no peer of the one before.
    pub(super) begins_peers: Vec<bool>,
}

impl Rows {
    /// How many rows are computed.
    pub(super) fn computed(&self) -> usize {
        self.segments.iter().map(|segment| segment.computed.len()).sum()
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

    /// The places of frames.
    pub(super) fn places(&self, spans: &[Range<usize>]) -> Vec<Range<usize>> {
        let segments = self.by_segment(spans);
        segments.flat_map(|(segment, spans)| spans.iter().map(|span| segment.places(span))).collect()
    }
}
