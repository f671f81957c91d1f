//! Rows that wait until the watermark passes them: then they are final, and come out in event-time order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use lineshaft_engine::Result;
use lineshaft_engine::time::{EventTime, Watermark};

use super::groups::renumber;
use super::state::stack;

/// Rows: time, slot of the key, and the columns of the arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) times: Vec<EventTime>,
    pub(crate) slots: Vec<u32>,
    pub(crate) columns: Vec<ArrayRef>,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn take(&self, rows: Vec<u32>) -> Result<Self> {
        let times = rows.iter().map(|row| self.times[*row as usize]).collect();
        let slots = rows.iter().map(|row| self.slots[*row as usize]).collect();
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().map(|column| Ok(take(column, &rows, None)?));
        Ok(Self { times, slots, columns: columns.collect::<Result<_>>()? })
    }

    fn stacked(parts: Vec<Self>) -> Result<Self> {
        if let [_] = parts.as_slice() {
            return Ok(parts.into_iter().next().unwrap_or_default());
        }
        Ok(Self {
            times: parts.iter().flat_map(|part| part.times.iter().copied()).collect(),
            slots: parts.iter().flat_map(|part| part.slots.iter().copied()).collect(),
            columns: stack(parts.iter().map(|part| part.columns.as_slice()))?,
        })
    }

    /// By key, then event time, then order of arrival.
    fn sorted(self) -> Result<Self> {
        let key = |row: &usize| (self.slots[*row], self.times[*row]);
        if (0..self.len()).is_sorted_by_key(|row| key(&row)) {
            return Ok(self);
        }
        let order = self.order();
        self.take(order)
    }

    /// The numbers of the rows in that order.
    fn order(&self) -> Vec<u32> {
        let slots = self.slots.iter().max().map_or(0, |slot| *slot as usize + 1);
        if slots > MOST_COUNTS * self.len() {
            let rows = (0_u32..).zip(self.slots.iter().zip(&self.times));
            let mut order: Vec<_> = rows.map(|(row, (slot, time))| (*slot, *time, row)).collect();
            order.sort_unstable();
            return order.into_iter().map(|(_, _, row)| row).collect();
        }
        // Rows of a key mostly come in the order of time: it is enough to put them together.
        let mut ends = vec![0; slots];
        self.slots.iter().for_each(|slot| ends[*slot as usize] += 1);
        let mut begin = 0;
        for end in &mut ends {
            begin += std::mem::replace(end, begin);
        }
        let mut order = vec![0; self.len()];
        for (row, slot) in (0..).zip(&self.slots) {
            order[ends[*slot as usize]] = row;
            ends[*slot as usize] += 1;
        }
        let (slot, time) = (|row: u32| self.slots[row as usize], |row: u32| self.times[row as usize]);
        for run in order.chunk_by_mut(|a, b| slot(*a) == slot(*b)) {
            if !run.is_sorted_by_key(|row| time(*row)) {
                run.sort_by_key(|row| time(*row));
            }
        }
        order
    }
}

/// Where there are more keys for a row, rows are compared instead of counted by key.
const MOST_COUNTS: usize = 4;

/// Rows in order of arrival, of which none is final yet. A snapshot shares them.
#[derive(Debug)]
pub(crate) struct Waiting {
    parts: Vec<Arc<Rows>>,
    /// Rows below it are late.
    watermark: Watermark,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { parts: Vec::new(), watermark: Watermark::START }
    }
}

impl Waiting {
    /// Adds rows; tells how many were late and so left out.
    pub(crate) fn push(&mut self, rows: Rows) -> Result<usize> {
        let on_time: Vec<u32> = self.rows_where(&rows, |time| !self.is_final(time));
        let late = rows.len() - on_time.len();
        let rows = if late == 0 { rows } else { rows.take(on_time)? };
        if rows.len() > 0 {
            self.parts.push(Arc::new(rows));
        }
        Ok(late)
    }

    fn is_final(&self, time: EventTime) -> bool {
        time < self.watermark.0 || self.watermark == Watermark::END
    }

    fn rows_where(&self, rows: &Rows, is: impl Fn(EventTime) -> bool) -> Vec<u32> {
        (0..).zip(&rows.times).filter(|(_, time)| is(**time)).map(|(row, _)| row).collect()
    }

    /// Takes out the rows that are final now, by key and then in event-time order, ties in order of arrival.
    pub(crate) fn settle(&mut self, watermark: Watermark) -> Result<Rows> {
        self.watermark = self.watermark.max(watermark);
        let (mut settled, mut waiting) = (Vec::new(), Vec::new());
        for part in std::mem::take(&mut self.parts) {
            let now = self.rows_where(&part, |time| self.is_final(time));
            match now.len() {
                0 => waiting.push(part),
                all if all == part.len() => settled.push(Arc::unwrap_or_clone(part)),
                _ => {
                    let later = self.rows_where(&part, |time| !self.is_final(time));
                    settled.push(part.take(now)?);
                    waiting.push(Arc::new(part.take(later)?));
                }
            }
        }
        self.parts = waiting;
        Rows::stacked(settled)?.sorted()
    }

    pub(crate) fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Slots of the rows, with repetitions.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        self.parts.iter().flat_map(|part| part.slots.iter().copied())
    }

    pub(crate) fn renumber(&mut self, moved: &[Option<u32>]) {
        for part in &mut self.parts {
            renumber(&mut Arc::make_mut(part).slots, moved);
        }
    }

    /// The rows as they are now, to be given later.
    pub(crate) fn save(&self) -> SavedRows {
        SavedRows(self.parts.iter().cloned().collect())
    }

    /// Puts back what [`SavedRows::next`] and [`Waiting::watermark`] gave.
    pub(crate) fn restore(&mut self, watermark: Watermark, rows: impl IntoIterator<Item = Rows>) {
        self.watermark = watermark;
        self.parts.extend(rows.into_iter().map(Arc::new));
    }
}

/// Rows of a part of a snapshot, about.
const PART: usize = 65_536;

/// Rows that waited when a snapshot began, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct SavedRows(VecDeque<Arc<Rows>>);

impl SavedRows {
    /// The next part of them; `None` if that were all.
    pub(crate) fn next(&mut self) -> Result<Option<Rows>> {
        let (mut parts, mut rows) = (Vec::new(), 0);
        while rows < PART
            && let Some(part) = self.0.pop_front()
        {
            rows += part.len();
            parts.push(Arc::unwrap_or_clone(part));
        }
        if parts.is_empty() { Ok(None) } else { Rows::stacked(parts).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    #[test]
    fn rows_are_put_in_order_the_same_way_whether_counted_or_compared() {
        let mut random = Random::new(3);
        for (rows, keys) in [(0, 1), (1, 1), (500, 7), (500, 400), (90, 1_000)] {
            let mut next = |n| u32::try_from(random.below(n)).unwrap();
            let slots: Vec<u32> = (0..rows).map(|_| next(keys)).collect();
            let times: Vec<EventTime> = (0..rows).map(|_| next(20).into()).collect();
            let rows = Rows { times, slots, columns: Vec::new() };
            let mut expected: Vec<u32> = (0..).take(rows.len()).collect();
            expected.sort_by_key(|row| (rows.slots[*row as usize], rows.times[*row as usize]));
            assert_eq!(rows.order(), expected);
        }
    }
}
