//! Brings the rows of a batch that are in one pane together.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use lineshaft_engine::Result;
use lineshaft_engine::time::EventTime;

use super::fixed::Panes;

/// Panes, each with a range of rows.
pub(super) type Runs = Vec<(i64, Range<usize>)>;

/// The panes of a batch.
pub(super) struct Split {
    /// Rows of `parts`, after [`Split::arrange`]; a pane may come more than once.
    pub(super) parts: Runs,
    /// Row numbers in the order of `parts`, if it is not that of the batch.
    order: Option<Vec<u32>>,
}

/// If neighbours of one pane are at least this many on average, rows stay where they are: a call of the accumulators
/// costs about as much as copying so many rows.
const LONG_RUN: usize = 256;

impl Split {
    pub(super) fn new(times: &[EventTime], panes: Panes) -> Self {
        let parts = runs(times, panes);
        if parts.len() <= 1 || times.len() / parts.len() >= LONG_RUN {
            return Self { parts, order: None };
        }
        let mut by_pane: BTreeMap<i64, Vec<Range<usize>>> = BTreeMap::new();
        for (pane, rows) in &parts {
            by_pane.entry(*pane).or_default().push(rows.clone());
        }
        if by_pane.len() == parts.len() {
            return Self { parts, order: None };
        }
        Self::sorted(by_pane, times.len())
    }

    fn sorted(by_pane: BTreeMap<i64, Vec<Range<usize>>>, rows: usize) -> Self {
        let (mut parts, mut order) = (Vec::new(), Vec::with_capacity(rows));
        for (pane, runs) in by_pane {
            let start = order.len();
            // A batch has fewer than 2^32 rows.
            order.extend(runs.into_iter().flatten().filter_map(|row| u32::try_from(row).ok()));
            parts.push((pane, start..order.len()));
        }
        Self { parts, order: Some(order) }
    }

    /// The same for slots, and the numbers of the rows in columns that stay as they are.
    pub(super) fn arrange_numbers(&mut self, slots: &mut Vec<u32>, numbers: &mut Vec<u32>) {
        if let Some(order) = self.order.take() {
            for of_rows in [slots, numbers] {
                *of_rows = order.iter().map(|row| of_rows[*row as usize]).collect();
            }
        }
    }

    /// Brings slots and columns of the batch into the order of `parts`; within a pane it stays as it is.
    pub(super) fn arrange(&mut self, slots: &mut Vec<u32>, columns: &mut [ArrayRef]) -> Result<()> {
        let Some(order) = self.order.take() else {
            return Ok(());
        };
        *slots = order.iter().map(|row| slots[*row as usize]).collect();
        let order = UInt32Array::from(order);
        for column in columns {
            *column = take(column, &order, None)?;
        }
        Ok(())
    }
}

fn runs(times: &[EventTime], panes: Panes) -> Runs {
    let mut runs = Runs::new();
    let mut start = 0;
    while start < times.len() {
        let pane = panes.of(times[start]);
        let window = panes.window(pane, 1);
        let inside = |time: &&EventTime| (window.start..window.end).contains(time);
        // The first one is in its pane whatever the rounding at the end of all times.
        let len = 1 + times[start + 1..].iter().take_while(inside).count();
        runs.push((pane, start..start + len));
        start += len;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::super::fixed::FixedWindows;
    use super::*;

    fn parts(times: &[i64]) -> Vec<(i64, Vec<u32>)> {
        let mut slots: Vec<u32> = (0..).take(times.len()).collect();
        let mut split = Split::new(times, FixedWindows::tumbling(10).panes().unwrap().0);
        split.arrange(&mut slots, &mut []).unwrap();
        split.parts.into_iter().map(|(pane, rows)| (pane, slots[rows].to_vec())).collect()
    }

    #[test]
    fn rows_of_a_pane_are_brought_together_in_their_order() {
        assert_eq!(parts(&[]), []);
        assert_eq!(parts(&[1, 12, -3, 4, 15]), [(-1, vec![2]), (0, vec![0, 3]), (1, vec![1, 4])]);
    }

    #[test]
    fn rows_that_are_together_stay_where_they_are() {
        assert_eq!(parts(&[1, 2, 3]), [(0, vec![0, 1, 2])]);
        assert_eq!(parts(&[25, 1, 2, 12]), [(2, vec![0]), (0, vec![1, 2]), (1, vec![3])]);
    }

    #[test]
    fn long_runs_are_not_copied_though_their_pane_comes_again() {
        let times: Vec<i64> = (0..900).map(|row| row / 300 % 2 * 10).collect();
        let panes: Vec<_> = parts(&times).into_iter().map(|(pane, rows)| (pane, rows.len())).collect();
        assert_eq!(panes, [(0, 300), (1, 300), (0, 300)]);
    }
}
