//! Frames: which rows around a row a function sees.

use std::ops::Range;

use lineshaft_engine::time::{EventTime, Watermark};

use super::rows::{Kept, Partition};

/// What the bounds of a frame count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Rows.
    Rows,
    /// Microseconds of event time. Rows that are equal in all of `ORDER BY` are peers: offset 0 has all of them.
    Range,
}

/// The rows from one offset to another, both included. Offsets before the row are negative, 0 is the row itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the offsets count.
    pub units: Units,
    /// `None`: from the first row of the partition.
    pub start: Option<i64>,
    /// The last row of the frame.
    pub end: i64,
}

impl Frame {
    /// Only the row `offset` rows further on.
    pub fn row(offset: i64) -> Self {
        Self { units: Units::Rows, start: Some(offset), end: offset }
    }

    /// The peers of a row.
    pub fn peers() -> Self {
        Self { units: Units::Range, start: Some(0), end: 0 }
    }

    /// True if a row must wait for later ones.
    pub(super) fn waits(&self) -> bool {
        self.end > 0
    }

    /// True if the rows that are kept of a silent key are all dropped in the end.
    pub(super) fn forgets(&self) -> bool {
        self.units == Units::Range && self.start.is_some()
    }

    /// True if it is so short that adding it up is as cheap as anything else.
    pub(super) fn is_short(&self, most: i64) -> bool {
        self.units == Units::Rows && self.start.is_some_and(|start| self.end - start < most)
    }

    /// True if all rows of the frame of row `at` of the partition are known.
    pub(super) fn is_complete(&self, partition: &Partition, at: usize, watermark: Watermark) -> bool {
        if self.end <= 0 || watermark == Watermark::END {
            return true;
        }
        match self.units {
            Units::Rows => moved(at, self.end) < partition.end(),
            Units::Range => partition.row(at).time.saturating_add(self.end) < watermark.0,
        }
    }

    /// The first row whose time is needed for frames to come.
    pub(super) fn times_from(&self, partition: &Partition, watermark: Watermark) -> usize {
        match self.units {
            Units::Rows => partition.computed,
            Units::Range => {
                let lowest = self.start.unwrap_or(0).min(self.end).min(0);
                self.first_within(partition, watermark, lowest)
            }
        }
    }

    /// The first row of the next frame that is not computed yet; 0 if frames begin with the partition.
    pub(super) fn next_start(&self, partition: &Partition, watermark: Watermark) -> usize {
        match (self.units, self.start) {
            (_, None) => 0,
            (Units::Rows, Some(start)) => moved(partition.computed, start.min(0)),
            (Units::Range, Some(start)) => self.first_within(partition, watermark, start.min(0)),
        }
    }

    /// The first row that is at most `-offset` before the next one, which is above the watermark if it is not there.
    fn first_within(&self, partition: &Partition, watermark: Watermark, offset: i64) -> usize {
        let next = partition.computed;
        let time = if next < partition.end() { partition.row(next).time } else { watermark.0 };
        partition.first_but(|row| below(row.time, time, offset)).min(next)
    }

    /// The frames of rows of a partition.
    pub(super) fn spans(&self, partition: &Partition, rows: Range<usize>, spans: &mut Vec<Range<usize>>) {
        match self.units {
            Units::Rows => self.spans_of_rows(partition.end(), rows, spans),
            Units::Range => self.spans_of_times(partition, rows, spans),
        }
    }

    fn spans_of_rows(&self, known: usize, rows: Range<usize>, spans: &mut Vec<Range<usize>>) {
        spans.extend(rows.map(|at| {
            let start = self.start.map_or(0, |offset| moved(at, offset).min(known));
            // The number after the last row.
            let end = moved(at + 1, self.end).min(known);
            start..end.max(start)
        }));
    }

    fn spans_of_times(&self, partition: &Partition, rows: Range<usize>, spans: &mut Vec<Range<usize>>) {
        let known = partition.end();
        let Some(first) = rows.clone().next() else { return };
        let time = partition.row(first).time;
        let mut start = match self.start {
            None => 0,
            Some(0) => {
                let peers = (partition.first..=first).rev();
                peers.into_iter().find(|row| partition.row(*row).begins_peers).unwrap_or(partition.first)
            }
            Some(offset) => partition.first_but(|row| below(row.time, time, offset)),
        };
        let mut end = match self.end {
            0 => first + 1,
            offset => partition.first_but(|row| !above(row.time, time, offset)),
        };
        for at in rows {
            let Kept { time, begins_peers } = *partition.row(at);
            match self.start {
                None => {}
                Some(0) => start = if begins_peers { at } else { start },
                Some(offset) => {
                    start = advance(start, known, |row| below(partition.row(row).time, time, offset));
                }
            }
            end = match self.end {
                0 => advance(end.max(at + 1), known, |row| !partition.row(row).begins_peers),
                offset => advance(end, known, |row| !above(partition.row(row).time, time, offset)),
            };
            spans.push(start..end.max(start));
        }
    }
}

/// `at + offset`, not below zero.
fn moved(at: usize, offset: i64) -> usize {
    let by = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if offset < 0 { at.saturating_sub(by) } else { at.saturating_add(by) }
}

fn below(row: EventTime, time: EventTime, offset: i64) -> bool {
    row < time.saturating_add(offset)
}

fn above(row: EventTime, time: EventTime, offset: i64) -> bool {
    row > time.saturating_add(offset)
}

/// The first place from `from` on where `is` does not hold.
fn advance(from: usize, last: usize, is: impl Fn(usize) -> bool) -> usize {
    (from..last).find(|row| !is(*row)).unwrap_or(from.max(last))
}
