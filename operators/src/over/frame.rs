//! Frames: which rows around a row a function sees.

use std::ops::Range;

use lineshaft_engine::time::{EventTime, Watermark};

use super::rows::{Partition, Rows, Segment};

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

    /// True if all rows of the frame of row `at` of the partition are known.
    pub(super) fn is_complete(&self, partition: &Partition, at: usize, watermark: Watermark) -> bool {
        if self.end <= 0 || watermark == Watermark::END {
            return true;
        }
        match self.units {
            Units::Rows => {
                let known = partition.rows.len() - at;
                i64::try_from(known).is_ok_and(|known| self.end < known)
            }
            Units::Range => partition.rows[at].time.saturating_add(self.end) < watermark.0,
        }
    }

    /// The first row of the partition that a row not computed yet may need, if the frame has a start.
    pub(super) fn needed_from(&self, partition: &Partition, watermark: Watermark) -> Option<usize> {
        let next = partition.computed;
        match (self.units, self.start?) {
            (Units::Rows, start) => Some(moved(next, start.min(0))),
            (Units::Range, start) => {
                let row = partition.rows.get(next);
                let time = row.map_or(watermark.0, |row| row.time).saturating_add(start.min(0));
                Some(partition.rows.partition_point(|row| row.time < time).min(next))
            }
        }
    }

    /// The frames of all rows that are computed, as places in the gathered rows.
    pub(super) fn spans(&self, rows: &Rows) -> Vec<Range<usize>> {
        let mut spans = Vec::with_capacity(rows.computed());
        for segment in &rows.segments {
            match self.units {
                Units::Rows => self.rows_of(segment, &mut spans),
                Units::Range => self.range_of(rows, segment, &mut spans),
            }
        }
        spans
    }

    fn rows_of(&self, segment: &Segment, spans: &mut Vec<Range<usize>>) {
        let Range { start: first, end: last } = segment.rows;
        spans.extend(segment.computed.clone().map(|at| {
            let start = self.start.map_or(first, |offset| moved(at, offset).clamp(first, last));
            // The place after the last row.
            let end = moved(at + 1, self.end).clamp(start, last);
            start..end
        }));
    }

    fn range_of(&self, rows: &Rows, segment: &Segment, spans: &mut Vec<Range<usize>>) {
        let last = segment.rows.end;
        let (mut start, mut end) = (segment.rows.start, segment.rows.start);
        for at in segment.computed.clone() {
            let time = rows.times[at];
            match self.start {
                None => {}
                Some(0) => start = rows.first_peer(segment, at),
                Some(offset) => start = advance(start, last, |row| below(rows.times[row], time, offset)),
            }
            end = match self.end {
                0 => advance(end.max(at + 1), last, |row| !rows.begins_peers[row]),
                offset => advance(end, last, |row| !above(rows.times[row], time, offset)),
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
