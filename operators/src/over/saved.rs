//! The state of [`Over`] as tables.

use lineshaft_engine::Result;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::Watermark;

use super::call::{number, signed};
use super::rows::{Kept, Partition};
use super::{Over, other_plan};
use crate::window::row_store::Place;
use crate::window::state::StateTable;
use crate::window::waiting::Rows;

const PROGRESS: &str = "progress";
const PARTITIONS: &str = "partitions";
const WAITING: &str = "waiting";
const ROWS: &str = "rows";
const STORED: &str = "stored";
const UNSENT: &str = "unsent";

/// The table of what a call remembers.
fn call_table(call: usize) -> String {
    format!("call_{call}")
}

impl Over {
    /// Slots keep their numbers: keys are written in the order of their slots.
    pub(super) fn save(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        let numbers = |numbers: Vec<Vec<i64>>| StateTable { numbers, keys: Vec::new(), values: Vec::new() };
        snapshot.put(PROGRESS, numbers(vec![vec![self.waiting.watermark().0]]).into_batch()?);
        self.partitions.resize_with(self.interner.len(), Partition::default);
        if self.partitions.is_empty() {
            return Ok(snapshot);
        }
        let slots: Vec<u32> = (0..).take(self.partitions.len()).collect();
        let of = |number: fn(&Partition) -> usize| {
            self.partitions.iter().map(|partition| signed(number(partition) as u64)).collect()
        };
        let partitions = StateTable {
            numbers: vec![
                of(|partition| partition.first),
                of(|partition| partition.computed),
                of(|partition| partition.first_stored),
                of(|partition| partition.rows.len()),
                of(|partition| partition.stored.len()),
                of(|partition| partition.unsent.len()),
            ],
            keys: self.interner.columns(&slots)?,
            values: Vec::new(),
        };
        snapshot.put(PARTITIONS, partitions.into_batch()?);
        let Rows { times, slots, columns } = self.waiting.all()?;
        if !times.is_empty() {
            let slots = slots.into_iter().map(i64::from).collect();
            let waiting = StateTable { numbers: vec![times, slots], keys: Vec::new(), values: columns };
            snapshot.put(WAITING, waiting.into_batch()?);
        }
        self.save_rows(&mut snapshot)?;
        for (place, call) in self.calls.iter_mut().enumerate() {
            if let Some(state) = call.function.state(self.partitions.len())? {
                snapshot.put(&call_table(place), state.into_batch()?);
            }
        }
        Ok(snapshot)
    }

    /// The rows of all partitions, one partition after the other.
    fn save_rows(&self, snapshot: &mut Snapshot) -> Result<()> {
        let rows: Vec<&Kept> = self.partitions.iter().flat_map(|partition| &partition.rows).collect();
        if !rows.is_empty() {
            let times = rows.iter().map(|row| row.time).collect();
            let begins_peers = rows.iter().map(|row| i64::from(row.begins_peers)).collect();
            let table =
                StateTable { numbers: vec![times, begins_peers], keys: Vec::new(), values: Vec::new() };
            snapshot.put(ROWS, table.into_batch()?);
        }
        let stored: Vec<Place> =
            self.partitions.iter().flat_map(|partition| partition.stored.iter().copied()).collect();
        if !stored.is_empty() {
            snapshot.put(STORED, self.kept.table(&stored)?);
        }
        let unsent: Vec<Place> =
            self.partitions.iter().flat_map(|partition| partition.unsent.iter().copied()).collect();
        if !unsent.is_empty() {
            snapshot.put(UNSENT, self.unsent.table(&unsent)?);
        }
        Ok(())
    }

    pub(super) fn put_back(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let progress = snapshot.take(PROGRESS).ok_or_else(other_plan)?;
        let watermark = Watermark(StateTable::from_batch(&progress, 1, 0)?.numbers[0][0]);
        let waiting = match snapshot.take(WAITING) {
            Some(waiting) => {
                let table = StateTable::from_batch(&waiting, 2, 0)?;
                let slots = table.numbers[1].iter().map(|slot| u32::try_from(*slot));
                let slots = slots.collect::<Result<_, _>>().map_err(|_| other_plan())?;
                Some(Rows { times: table.numbers[0].clone(), slots, columns: table.values })
            }
            None => None,
        };
        self.waiting.restore(watermark, waiting);
        let Some(partitions) = snapshot.take(PARTITIONS) else { return Ok(()) };
        let partitions = StateTable::from_batch(&partitions, 6, self.options.keys.len())?;
        let mut slots = Vec::new();
        self.interner.intern(&partitions.keys, partitions.rows(), &mut slots)?;
        let mut counts = Vec::new();
        for row in 0..partitions.rows() {
            let [first, computed, first_stored, rows, stored, unsent] =
                [0, 1, 2, 3, 4, 5].map(|column: usize| number(partitions.numbers[column][row]));
            let (first, computed, first_stored) = (first?, computed?, first_stored?);
            self.partitions.push(Partition { first, computed, first_stored, ..Partition::default() });
            counts.push([rows?, stored?, unsent?]);
        }
        self.put_back_rows(&mut snapshot, &counts)?;
        for (place, call) in self.calls.iter_mut().enumerate() {
            if let Some(table) = snapshot.take(&call_table(place)) {
                call.function.restore(&table)?;
            }
        }
        Ok(())
    }

    fn put_back_rows(&mut self, snapshot: &mut Snapshot, counts: &[[usize; 3]]) -> Result<()> {
        if let Some(rows) = snapshot.take(ROWS) {
            let table = StateTable::from_batch(&rows, 2, 0)?;
            let mut rows = table.numbers[0]
                .iter()
                .zip(&table.numbers[1])
                .map(|(time, begins)| Kept { time: *time, begins_peers: *begins == 1 });
            for (partition, [count, ..]) in self.partitions.iter_mut().zip(counts) {
                partition.rows.extend(rows.by_ref().take(*count));
            }
        }
        if let Some(stored) = snapshot.take(STORED) {
            self.live = stored.num_rows();
            let mut places = self.kept.restore(&stored)?;
            for (partition, [_, count, _]) in self.partitions.iter_mut().zip(counts) {
                partition.stored.extend(places.by_ref().take(*count));
            }
        }
        if let Some(unsent) = snapshot.take(UNSENT) {
            self.unsent_rows = unsent.num_rows();
            let mut places = self.unsent.restore(&unsent)?;
            for (slot, [.., count]) in (0..).zip(counts) {
                self.partitions[slot as usize].unsent.extend(places.by_ref().take(*count));
                if *count > 0 {
                    self.unsent_slots.insert(slot);
                }
            }
        }
        Ok(())
    }
}
