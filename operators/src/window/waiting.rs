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
        let rows = (0_u32..).zip(self.slots.iter().zip(&self.times));
        let mut order: Vec<_> = rows.map(|(row, (slot, time))| (*slot, *time, row)).collect();
        if order.is_sorted() {
            return Ok(self);
        }
        order.sort_unstable();
        self.take(order.into_iter().map(|(_, _, row)| row).collect())
    }
}

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
