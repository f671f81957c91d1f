//! The state of windows that are given early and corrected, as tables.
//!
//! ```text
//! progress   the watermark, the last tick
//! panes      number of the pane; the key; the partial results
//! bags       number of the pane, how often the row is there; the key and the arguments of the row
//! given      name of the window; the key; the results
//! changed    names of the windows that are not as they were given
//! ```

use std::sync::Arc;

use arrow::array::ArrayRef;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::Watermark;
use lineshaft_engine::{Error, Result};

use super::super::groups::Partial;
use super::super::state::{StateTable, slice, stack};
use super::bag::Bag;
use super::{Given, Pane, RevisedAggregate};

/// A number, and slots with columns of theirs.
type Part = (i64, Vec<u32>, Vec<ArrayRef>);

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
        let mut panes = Vec::new();
        for (number, pane) in self.kept.iter_mut().filter(|(_, pane)| pane.rows().is_none()) {
            panes.push((*number, pane.partial(&self.aggregates)?.clone()));
        }
        let panes = panes.iter().map(|(number, partial)| (*number, &*partial.slots, &partial.states));
        self.put_rows(&mut snapshot, "panes", panes.collect())?;
        let given = self.given.iter().map(|(window, given)| (*window, &given.slots, &given.results));
        self.put_rows(&mut snapshot, "given", given.collect())?;
        let changed = vec![self.changed.iter().copied().collect()];
        put(&mut snapshot, "changed", changed, Vec::new(), Vec::new())?;
        Ok(snapshot)
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

    fn put_rows(
        &self,
        snapshot: &mut Snapshot,
        name: &str,
        parts: Vec<(i64, &Vec<u32>, &Vec<ArrayRef>)>,
    ) -> Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        let numbers = parts.iter().flat_map(|part| std::iter::repeat_n(part.0, part.1.len())).collect();
        let slots: Vec<u32> = parts.iter().flat_map(|part| part.1.iter().copied()).collect();
        let values = stack(parts.iter().map(|part| part.2.as_slice()))?;
        put(snapshot, name, vec![numbers], self.interner.columns(&slots)?, values)
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
        for (number, slots, states) in self.take_rows(&mut snapshot, "panes")? {
            self.kept.insert(number, Pane::Kept(Partial { slots: Arc::new(slots), states }));
        }
        for (window, slots, results) in self.take_rows(&mut snapshot, "given")? {
            self.given.insert(window, Given { slots, results });
        }
        Ok(())
    }

    fn take_rows(&mut self, snapshot: &mut Snapshot, name: &str) -> Result<Vec<Part>> {
        let Some(table) = snapshot.take(name) else { return Ok(Vec::new()) };
        let table = StateTable::from_batch(&table, 1, self.options.windows.keys.len())?;
        let mut slots = Vec::new();
        self.interner.intern(&table.keys, table.rows(), &mut slots)?;
        let mut parts = Vec::new();
        let mut start = 0;
        for run in table.numbers[0].chunk_by(|a, b| a == b) {
            let rows = start..start + run.len();
            parts.push((run[0], slots[rows].to_vec(), slice(&table.values, start, run.len())));
            start += run.len();
        }
        Ok(parts)
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
