//! Frames: which rows around a row a function sees.

use std::ops::Range;

use chrono::{DateTime, Months};
use lineshaft_engine::time::{EventTime, Watermark};

use super::rows::{Kept, Partition};

/// What the bounds of a frame count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Rows.
    Rows,
    /// Microseconds of event time. Rows that are equal in all of `ORDER BY` are peers: offset 0 has all of them.
    Range,
    /// Months of event time, as the calendar has them; else the same.
    Months,
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
        self.units != Units::Rows && self.start.is_some()
    }

    /// True if a frame may begin before that of an earlier row: of the last days of a long month, each is the last day of the
    /// short one before, at its own time of the day.
    pub(super) fn may_go_back(&self) -> bool {
        self.units == Units::Months
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
            units => units.moved(partition.row(at).time, self.end) < watermark.0,
        }
    }

    /// The first row whose time is needed for frames to come.
    pub(super) fn times_from(&self, partition: &Partition, watermark: Watermark) -> usize {
        match self.units {
            Units::Rows => partition.computed,
            Units::Range | Units::Months => {
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
            (Units::Range | Units::Months, Some(start)) => {
                self.first_within(partition, watermark, start.min(0))
            }
        }
    }

    /// The first row that is at most `-offset` before the next one, which is above the watermark if it is not there.
    fn first_within(&self, partition: &Partition, watermark: Watermark, offset: i64) -> usize {
        let next = partition.computed;
        let time = if next < partition.end() { partition.row(next).time } else { watermark.0 };
        let first = self.units.moved(time, offset);
        let first = if self.may_go_back() { first.saturating_sub(DAY) } else { first };
        partition.first_but(|row| row.time < first).min(next)
    }

    /// The frames of rows of a partition.
    pub(super) fn spans(&self, partition: &Partition, rows: Range<usize>, spans: &mut Vec<Range<usize>>) {
        match self.units {
            Units::Rows => self.spans_of_rows(partition.end(), rows, spans),
            Units::Range => self.spans_of_times(partition, rows, spans),
            Units::Months => spans.extend(rows.map(|at| self.span_of_months(partition, at))),
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

    fn span_of_months(&self, partition: &Partition, at: usize) -> Range<usize> {
        let time = partition.row(at).time;
        let is_peer = |row: &usize| !partition.row(*row).begins_peers;
        let start = match self.start {
            None => 0,
            Some(0) => (partition.first..=at).rev().find(|row| !is_peer(row)).unwrap_or(partition.first),
            Some(months) => partition.first_but(|row| row.time < Units::Months.moved(time, months)),
        };
        let end = match self.end {
            0 => at + 1 + (at + 1..partition.end()).take_while(is_peer).count(),
            months => partition.first_but(|row| row.time <= Units::Months.moved(time, months)),
        };
        start..end.max(start)
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

/// Microseconds.
const DAY: i64 = 86_400_000_000;

impl Units {
    /// The time so far from another one.
    fn moved(self, time: EventTime, offset: i64) -> EventTime {
        let by_months = |time: EventTime| {
            let date = DateTime::from_timestamp_micros(time)?;
            let months = Months::new(u32::try_from(offset.unsigned_abs()).ok()?);
            let moved =
                if offset < 0 { date.checked_sub_months(months) } else { date.checked_add_months(months) };
            Some(moved?.timestamp_micros())
        };
        match self {
            Self::Months => {
                // Beyond the years of the calendar it does not matter.
                by_months(time).unwrap_or_else(|| time.saturating_add(offset.saturating_mul(31 * DAY)))
            }
            Self::Rows | Self::Range => time.saturating_add(offset),
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
