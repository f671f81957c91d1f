//! The state of windows that are given early and corrected, as tables.
//!
//! ```text
//! progress   the watermark, the last tick
//! bags       number of the pane, how often the row is there; the key and the arguments of the row
//! changed    names of the windows that are not as they were given
//! panes      number of the pane; the key; the partial results
//! given      name of the window; the key; the results
//! ```
//!
//! The last two come in parts, while the stream goes on: what they have does not change, and may be on disk.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::Watermark;
use lineshaft_engine::{Error, Result};

use super::super::groups::Partial;
use super::super::pieces::Piece;
use super::super::state::{StateTable, slice, stack};
use super::bag::Bag;
use super::{Pane, RevisedAggregate};

/// Rows of a part of a snapshot, at least, unless there are no more.
const PART: usize = if cfg!(test) { 3 } else { 32_768 };
const PANES: &str = "panes";
const GIVEN: &str = "given";

/// What a snapshot is still to give: of which table, and of which pane or window.
pub(super) struct Saved {
    table: &'static str,
    number: i64,
    piece: Piece,
}

/// In place of a tick: there was none.
const NO_TICK: i64 = i64::MIN;

impl RevisedAggregate {
    pub(super) fn save(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        let progress = vec![vec![self.watermark.0], vec![self.tick.unwrap_or(NO_TICK)]];
        put(&mut snapshot, "progress", progress, Vec::new(), Vec::new())?;
        if self.options.takes_changes {
            self.put_bags(&mut snapshot)?;
        }
        self.saved.clear();
        for (number, pane) in self.kept.iter_mut().filter(|(_, pane)| pane.rows().is_none()) {
            let pieces = pane.pieces(&self.aggregates, &self.spill)?.iter().cloned();
            self.saved.extend(pieces.map(|piece| Saved { table: PANES, number: *number, piece }));
        }
        let given = self.given.iter();
        let saved =
            given.map(|(window, given)| Saved { table: GIVEN, number: *window, piece: given.clone() });
        self.saved.extend(saved);
        let changed = vec![self.changed.iter().copied().collect()];
        put(&mut snapshot, "changed", changed, Vec::new(), Vec::new())?;
        Ok(snapshot)
    }

    /// The next part of the snapshot.
    pub(super) fn save_next(&mut self) -> Result<Option<Snapshot>> {
        let Some(first) = self.saved.pop_front() else { return Ok(None) };
        let (table, mut rows) = (first.table, first.piece.slots().len());
        let mut parts = vec![(first.number, first.piece.load()?)];
        while rows < PART
            && let Some(next) = self.saved.pop_front_if(|next| next.table == table)
        {
            rows += next.piece.slots().len();
            parts.push((next.number, next.piece.load()?));
        }
        let numbers = parts.iter().flat_map(|(number, part)| std::iter::repeat_n(*number, part.slots.len()));
        let slots: Vec<u32> = parts.iter().flat_map(|(_, part)| part.slots.iter().copied()).collect();
        let values = stack(parts.iter().map(|(_, part)| part.states.as_slice()))?;
        let mut snapshot = Snapshot::default();
        put(&mut snapshot, table, vec![numbers.collect()], self.interner.columns(&slots)?, values)?;
        Ok(Some(snapshot))
    }

    fn put_bags(&self, snapshot: &mut Snapshot) -> Result<()> {
        let (mut panes, mut counts, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let bags = self.kept.iter().filter_map(|(number, pane)| Some((number, pane.rows()?)));
        for (number, (row, count)) in bags.flat_map(|(number, bag)| bag.iter().map(move |row| (number, row)))
        {
            panes.push(*number);
            counts.push(count);
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.encoder.columns(rows.into_iter())?;
        put(snapshot, "bags", vec![panes, counts], Vec::new(), columns)
    }

    fn take_bags(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        let Some(table) = snapshot.take("bags") else { return Ok(()) };
        let table = StateTable::from_batch(&table, 2, 0)?;
        let mut columns = table.values;
        let arguments = columns.split_off(self.options.windows.keys.len().min(columns.len()));
        columns.extend(self.aggregates.restored(arguments, 1));
        let encoded = self.encoder.of(&columns)?.convert_columns(&columns)?;
        for (row, (pane, count)) in table.numbers[0].iter().zip(&table.numbers[1]).enumerate() {
            let kept = self.kept.entry(*pane).or_insert_with(|| Pane::Rows(Bag::default()));
            if let Pane::Rows(bag) = kept {
                bag.add(encoded.row(row), *count);
            }
        }
        Ok(())
    }

    pub(super) fn load(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let (Some(progress), Some(changed)) = (snapshot.take("progress"), snapshot.take("changed")) else {
            return Err(Error::operator("window", "a snapshot of another operator"));
        };
        let progress = StateTable::from_batch(&progress, 2, 0)?;
        self.watermark = Watermark(progress.numbers[0][0]);
        self.tick = Some(progress.numbers[1][0]).filter(|tick| *tick != NO_TICK);
        self.changed = StateTable::from_batch(&changed, 1, 0)?.numbers.swap_remove(0).into_iter().collect();
        self.take_bags(&mut snapshot)?;
        for table in snapshot.take_parts(PANES) {
            for (number, piece) in self.pieces_of(&table)? {
                if let Pane::Kept(pieces) = self.kept.entry(number).or_insert_with(|| Pane::Kept(Vec::new()))
                {
                    pieces.push(piece);
                }
            }
            self.make_room()?;
        }
        for table in snapshot.take_parts(GIVEN) {
            let given = self.pieces_of(&table)?;
            self.given.extend(given);
            self.make_room()?;
        }
        Ok(())
    }

    fn pieces_of(&mut self, table: &RecordBatch) -> Result<Vec<(i64, Piece)>> {
        let table = StateTable::from_batch(table, 1, self.options.windows.keys.len())?;
        let mut slots = Vec::new();
        self.interner.intern(&table.keys, table.rows(), &mut slots)?;
        let (mut pieces, mut start) = (Vec::new(), 0);
        for run in table.numbers[0].chunk_by(|a, b| a == b) {
            let of_run = Arc::new(slots[start..start + run.len()].to_vec());
            let partial = Partial { slots: of_run, states: slice(&table.values, start, run.len()) };
            pieces.push((run[0], partial.into()));
            start += run.len();
        }
        Ok(pieces)
    }
}

fn put(
    snapshot: &mut Snapshot,
    name: &str,
    numbers: Vec<Vec<i64>>,
    keys: Vec<ArrayRef>,
    values: Vec<ArrayRef>,
) -> Result<()> {
    snapshot.put(name, StateTable { numbers, keys, values }.into_batch()?);
    Ok(())
}
