//! Which rows of a batch are in which pane.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use lineshaft_engine::Result;
use lineshaft_engine::time::EventTime;

use super::{Panes, state};

/// Rows of one pane.
pub(super) struct Part {
    pub(super) pane: i64,
    rows: Rows,
}

enum Rows {
    /// Neighbours: their columns are not copied.
    Range(Range<usize>),
    Picked(Vec<u32>),
}

/// If neighbours of one pane are fewer than this on average, the rows of a pane are picked together: a call of the
/// accumulators costs about as much as copying so many rows.
const SHORT_RUN: usize = 256;

/// The rows of each pane, in their order.
pub(super) fn split(times: &[EventTime], panes: Panes) -> Vec<Part> {
    let runs = runs(times, panes);
    if runs.len() <= 1 || times.len() / runs.len() >= SHORT_RUN {
        let part = |(pane, range)| Part {
            pane,
            rows: Rows::Range(range),
        };
        return runs.into_iter().map(part).collect();
    }
    let mut picked: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (pane, range) in runs {
        // A batch has fewer than 2^32 rows.
        let rows = range.filter_map(|row| u32::try_from(row).ok());
        picked.entry(pane).or_default().extend(rows);
    }
    let part = |(pane, rows)| Part {
        pane,
        rows: Rows::Picked(rows),
    };
    picked.into_iter().map(part).collect()
}

fn runs(times: &[EventTime], panes: Panes) -> Vec<(i64, Range<usize>)> {
    let mut runs: Vec<(i64, Range<usize>)> = Vec::new();
    let mut start = 0;
    while start < times.len() {
        let pane = panes.of(times[start]);
        let window = panes.window(pane, 1);
        // The first time is inside whatever the rounding at the end of all times.
        let inside = |time: &&EventTime| (window.start..window.end).contains(time);
        let len = 1 + times[start + 1..].iter().take_while(inside).count();
        runs.push((pane, start..start + len));
        start += len;
    }
    runs
}

impl Part {
    pub(super) fn len(&self) -> usize {
        match &self.rows {
            Rows::Range(range) => range.len(),
            Rows::Picked(rows) => rows.len(),
        }
    }

    /// The part's rows of `slots` and `columns`.
    pub(super) fn pick(self, slots: &[u32], columns: &[ArrayRef]) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        match self.rows {
            Rows::Range(range) => Ok((
                slots[range.clone()].to_vec(),
                state::slice(columns, range.start, range.len()),
            )),
            Rows::Picked(rows) => {
                let slots = rows.iter().map(|row| slots[*row as usize]).collect();
                let rows = UInt32Array::from(rows);
                let columns = columns.iter().map(|column| Ok(take(column, &rows, None)?));
                Ok((slots, columns.collect::<Result<_>>()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(times: &[i64]) -> Vec<(i64, Vec<u32>)> {
        let slots: Vec<u32> = (0..).zip(times).map(|(row, _)| row).collect();
        let pick = |part: Part| (part.pane, part.pick(&slots, &[]).unwrap().0);
        split(times, Panes::new(10).unwrap())
            .into_iter()
            .map(pick)
            .collect()
    }

    #[test]
    fn long_runs_stay_together_and_short_ones_are_picked() {
        assert_eq!(parts(&[]), []);
        assert_eq!(parts(&[1, 2, 3]), [(0, vec![0, 1, 2])]);
        assert_eq!(
            parts(&[1, 12, -3, 4, 15]),
            [(-1, vec![2]), (0, vec![0, 3]), (1, vec![1, 4])]
        );
        let long: Vec<i64> = (0..600).map(|row| row / 300 * 10).collect();
        let found = parts(&long);
        assert_eq!((found[0].0, found[0].1.len()), (0, 300));
        assert_eq!((found[1].0, found[1].1[0]), (1, 300));
    }
}
