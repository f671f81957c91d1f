//! Aggregates over `TUMBLE`, `HOP` and `CUMULATE` that are given before they are final: with `EMIT EVERY` while a window
//! is open, and with `allowed_lateness` once the watermark has passed its end, to be corrected by late rows.
//!
//! What was given and is no longer right is taken back, and what is right is given, in one epoch. A result that has
//! not changed is not given again.
//!
//! - Rows: append-only in, or those of corrected windows; a changelog out. Output: the key, `window_start`, `window_end`,
//!   the results.
//! - State: the partial results of each pane, or its rows if they may be taken back, and the rows given of each window,
//!   until the lateness of the window has passed. Partial results and rows that were given may be on disk (`on_disk.rs`).
//! - Cost: a row is added once, to its pane. A window that is given merges all its panes.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::{EpochHeader, EventTime, Watermark};

use super::aggregate::WindowOptions;
use super::arguments::Aggregates;
use super::early::is_next_tick;
use super::fixed::Panes;
use super::groups::{Groups, Partial};
use super::pieces::{Measured, Piece};
use super::split::Split;
use super::state::{slice, stack};
use super::{columns_at, timed_rows, times};
use crate::keys::{ABSENT, KeyInterner};
use bag::{Bag, Encoder};
use saved::Saved;

/// Arguments of `TUMBLE`, `HOP` and `CUMULATE` with `GROUP BY`, given more than once.
#[derive(Clone, Debug)]
pub struct RevisedOptions {
    /// The windows.
    pub windows: WindowOptions,
    /// `EMIT EVERY`: open windows are given at every multiple of so many microseconds of wall clock.
    pub every: Option<i64>,
    /// Rows may come so far below the watermark, microseconds.
    pub lateness: i64,
    /// Rows may be taken back, as long as they may come.
    pub takes_changes: bool,
}

/// `GROUP BY window, key` over `TUMBLE`, `HOP` or `CUMULATE`, given early and corrected.
pub struct RevisedAggregate {
    options: RevisedOptions,
    aggregates: Aggregates,
    panes: Panes,
    /// Panes of the longest window.
    count: i64,
    interner: KeyInterner,
    slots: Vec<u32>,
    kept: BTreeMap<i64, Pane>,
    /// What was given of each window, as long as it may change. A window is named by its first pane, one that grows by
    /// its last; so their ends are in the order of their names.
    given: BTreeMap<i64, Piece>,
    /// Windows that are not as they were given.
    changed: BTreeSet<i64>,
    watermark: Watermark,
    /// The multiple of `every` that was reached last.
    tick: Option<i64>,
    ignored: u64,
    /// Empty between two merges.
    merged: Groups,
    results: RowConverter,
    /// Of rows that may be taken back.
    encoder: Encoder,
    reclaim_at: usize,
    spill: Spill,
    measured: Measured,
    /// What a snapshot that has begun is still to give.
    saved: VecDeque<Saved>,
}

/// The partial results of a pane, or its rows.
enum Pane {
    Open(Groups),
    Kept(Vec<Piece>),
    Rows(Bag),
}

/// Rows with their weights, on their way out.
#[derive(Default)]
struct Changes {
    rows: Vec<RecordBatch>,
    weights: Vec<i64>,
}

/// Fewer slots than this are not worth taking back.
const FEW_SLOTS: usize = 1024;

impl RevisedAggregate {
    /// The operator.
    ///
    /// # Errors
    /// If the size is not a multiple of the slide, or an aggregate or key is of a type that is not supported.
    pub fn new(options: RevisedOptions) -> Result<Self> {
        let windows = &options.windows;
        let (panes, count) = windows.windows.panes()?;
        let aggregates = Aggregates::new(&windows.aggregates);
        let fields = windows.schema.fields();
        let types: Vec<_> = fields.iter().take(windows.keys.len()).map(|f| f.data_type().clone()).collect();
        let results = fields.iter().skip(windows.keys.len() + 2);
        let results = results.map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self {
            panes,
            count,
            interner: KeyInterner::new(&types)?,
            slots: Vec::new(),
            kept: BTreeMap::new(),
            given: BTreeMap::new(),
            changed: BTreeSet::new(),
            watermark: Watermark::START,
            tick: None,
            ignored: 0,
            merged: Groups::new(&aggregates)?,
            results: RowConverter::new(results)?,
            encoder: Encoder::default(),
            reclaim_at: FEW_SLOTS,
            spill: Spill::default(),
            measured: Measured::default(),
            saved: VecDeque::new(),
            aggregates,
            options,
        })
    }

    /// Rows whose window had closed for good.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The first pane of a window and the number of its panes.
    fn span(&self, window: i64) -> (i64, i64) {
        if self.options.windows.windows.grows {
            let start = window.div_euclid(self.count).saturating_mul(self.count);
            (start, window - start + 1)
        } else {
            (window, self.count)
        }
    }

    /// The windows that a pane is in.
    fn windows_of(&self, pane: i64) -> RangeInclusive<i64> {
        if self.options.windows.windows.grows {
            let start = pane.div_euclid(self.count).saturating_mul(self.count);
            pane..=start.saturating_add(self.count - 1)
        } else {
            pane.saturating_sub(self.count - 1)..=pane
        }
    }

    fn end(&self, window: i64) -> EventTime {
        let (first, count) = self.span(window);
        self.panes.window(first, count).end
    }

    /// No row can change the window any more.
    fn is_final(&self, window: i64) -> bool {
        self.watermark.less(self.options.lateness).passes(self.end(window))
    }

    fn add(&mut self, pane: i64, columns: &[ArrayRef], slots: &[u32]) -> Result<()> {
        let windows = self.windows_of(pane);
        if self.is_final(*windows.end()) {
            self.ignored += slots.len() as u64;
            return Ok(());
        }
        let mut groups = match self.kept.remove(&pane) {
            Some(Pane::Open(groups)) => groups,
            Some(Pane::Kept(pieces)) => {
                let mut groups = Groups::new(&self.aggregates)?;
                groups.merge_pieces(&self.aggregates, &pieces, self.interner.len())?;
                groups
            }
            Some(Pane::Rows(_)) | None => Groups::new(&self.aggregates)?,
        };
        groups.update(&self.aggregates, columns, slots, self.interner.len())?;
        self.kept.insert(pane, Pane::Open(groups));
        let changed: Vec<i64> = windows.filter(|window| !self.is_final(*window)).collect();
        self.changed.extend(changed);
        Ok(())
    }

    /// Adds rows to their panes, or takes them back.
    fn change(&mut self, batch: Batch) -> Result<()> {
        let options = &self.options.windows;
        let weights = batch.weights().map(|weights| weights.values().to_vec());
        let rows = batch.into_rows();
        let mut columns = columns_at(&rows, &options.keys);
        columns.extend(self.aggregates.evaluate(&rows)?);
        // There may be no other.
        columns.push(new_null_array(&DataType::Null, rows.num_rows()));
        let encoded = self.encoder.of(&columns)?.convert_columns(&columns)?;
        for (row, time) in times(&rows, options.time)?.iter().enumerate() {
            let pane = self.panes.of(*time);
            let windows = self.windows_of(pane);
            if self.is_final(*windows.end()) {
                self.ignored += 1;
                continue;
            }
            let kept = self.kept.entry(pane).or_insert_with(|| Pane::Rows(Bag::default()));
            if let Pane::Rows(bag) = kept {
                bag.add(encoded.row(row), weights.as_ref().map_or(1, |weights| weights[row]));
            }
            let changed: Vec<i64> = windows.filter(|window| !self.is_final(*window)).collect();
            self.changed.extend(changed);
        }
        Ok(())
    }

    /// Adds up the rows of a pane that may be taken back.
    fn add_up(&mut self, bag: &Bag) -> Result<()> {
        let present = bag.iter().filter(|(_, count)| *count > 0);
        let repeated = present.flat_map(|(row, count)| (0..count).map(move |_| row));
        let rows: Vec<_> = repeated.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns = self.encoder.columns(rows.iter().copied())?;
        columns.pop();
        let (keys, arguments) = columns.split_at(self.options.windows.keys.len());
        let mut slots = Vec::new();
        self.interner.intern(keys, rows.len(), &mut slots)?;
        self.merged.update(&self.aggregates, arguments, &slots, self.interner.len())
    }

    /// The keys of a window and their results.
    fn evaluate(&mut self, window: i64) -> Result<Partial> {
        let (first, count) = self.span(window);
        let panes = first..first.saturating_add(count);
        if self.options.takes_changes {
            let bags: Vec<Bag> =
                self.kept.range(panes).filter_map(|(_, pane)| pane.rows().cloned()).collect();
            bags.iter().try_for_each(|bag| self.add_up(bag))?;
        } else {
            for pane in self.kept.range_mut(panes).map(|(_, pane)| pane) {
                let pieces = pane.pieces(&self.aggregates, &self.spill)?;
                self.merged.merge_pieces(&self.aggregates, pieces, self.interner.len())?;
            }
        }
        let ranges = self.merged.evaluate(&self.aggregates)?;
        let (slots, results): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Ok(Partial { slots: Arc::new(slots.concat()), states: stack(results.iter().map(Vec::as_slice))? })
    }

    /// Takes back what is no longer right of a window, and gives what is.
    fn revise(&mut self, window: i64, changes: &mut Changes) -> Result<()> {
        let new = self.evaluate(window)?;
        let (mut gone, mut fresh): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let old = self.given.remove(&window).map(|old| old.load()).transpose()?;
        match &old {
            None => fresh.extend((0..).take(new.slots.len())),
            Some(old) => {
                let encoded = [self.encoded(old)?, self.encoded(&new)?];
                let mut places = vec![ABSENT; self.interner.len()];
                (0..).zip(old.slots.iter()).for_each(|(place, slot)| places[*slot as usize] = place);
                for (row, slot) in (0_u32..).zip(new.slots.iter()) {
                    let before = places[*slot as usize];
                    if before == ABSENT {
                        fresh.push(row);
                    } else if let [Some(old), Some(new)] = &encoded
                        && old.row(before as usize) != new.row(row as usize)
                    {
                        gone.push(before);
                        fresh.push(row);
                    }
                }
                // What has no rows any more.
                new.slots.iter().for_each(|slot| places[*slot as usize] = ABSENT);
                gone.extend(old.slots.iter().map(|slot| places[*slot as usize]).filter(|at| *at != ABSENT));
            }
        }
        if let Some(old) = &old {
            changes.add(self.rows(window, old, gone)?, -1);
        }
        changes.add(self.rows(window, &new, fresh)?, 1);
        if !self.is_final(window) {
            self.given.insert(window, new.into());
        }
        Ok(())
    }

    /// The results so that they can be compared. Without an aggregate, as of `DISTINCT`, there are none.
    fn encoded(&self, given: &Partial) -> Result<Option<Rows>> {
        if given.states.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.results.convert_columns(&given.states)?))
    }

    fn rows(&self, window: i64, given: &Partial, rows: Vec<u32>) -> Result<RecordBatch> {
        let mut columns = self.interner.columns(&given.slots)?;
        let (first, count) = self.span(window);
        let bounds = self.panes.window(first, count);
        for bound in [bounds.start, bounds.end] {
            columns.push(Arc::new(TimestampMicrosecondArray::from_value(bound, given.slots.len())));
        }
        columns.extend(given.states.iter().map(Arc::clone));
        let all = RecordBatch::try_new(Arc::clone(&self.options.windows.schema), columns)?;
        Ok(take_record_batch(&all, &UInt32Array::from(rows))?)
    }

    /// Windows that end at or below the watermark, or all of them when it is time to give them early.
    fn due(&mut self, is_early: bool) -> BTreeSet<i64> {
        if is_early {
            return std::mem::take(&mut self.changed);
        }
        let open = self.changed.iter().copied().find(|window| !self.watermark.passes(self.end(*window)));
        match open {
            Some(open) => {
                let open = self.changed.split_off(&open);
                std::mem::replace(&mut self.changed, open)
            }
            None => std::mem::take(&mut self.changed),
        }
    }

    fn is_early(&mut self, wall_clock: i64) -> bool {
        self.options.every.is_some_and(|every| is_next_tick(&mut self.tick, every, wall_clock))
    }

    /// Forgets what is final, and the slots of keys without state, once these may be half of all.
    fn forget(&mut self) -> Result<()> {
        while let Some(window) = self.given.keys().next().copied().filter(|window| self.is_final(*window)) {
            self.given.remove(&window);
        }
        while let Some(pane) = self.kept.keys().next().copied()
            && self.is_final(*self.windows_of(pane).end())
        {
            self.kept.remove(&pane);
        }
        // What is saved has the numbers of slots.
        if self.interner.len() < self.reclaim_at || !self.saved.is_empty() {
            return Ok(());
        }
        let mut live = HashSet::new();
        self.kept.values().for_each(|pane| pane.add_slots(&mut live));
        live.extend(self.given.values().flat_map(Piece::slots));
        let moved = self.interner.retain(|slot| live.contains(&slot))?;
        for pane in self.kept.values_mut() {
            match pane {
                Pane::Open(groups) => groups.renumber(&moved),
                Pane::Kept(pieces) => pieces.iter_mut().for_each(|piece| piece.renumber(&moved)),
                Pane::Rows(_) => {}
            }
        }
        self.given.values_mut().for_each(|given| given.renumber(&moved));
        self.reclaim_at = FEW_SLOTS.max(self.interner.len() * 2);
        Ok(())
    }
}

impl Pane {
    fn add_slots(&self, to: &mut HashSet<u32>) {
        match self {
            Self::Open(groups) => to.extend(groups.slots()),
            Self::Kept(pieces) => to.extend(pieces.iter().flat_map(Piece::slots)),
            Self::Rows(_) => {}
        }
    }

    fn rows(&self) -> Option<&Bag> {
        match self {
            Self::Rows(bag) => Some(bag),
            Self::Open(_) | Self::Kept(_) => None,
        }
    }

    fn pieces(&mut self, of: &Aggregates, spill: &Spill) -> Result<&[Piece]> {
        if let Self::Open(groups) = self {
            *self = Self::Kept(groups.pieces(of, spill)?);
        }
        match self {
            Self::Kept(pieces) => Ok(pieces),
            Self::Open(_) | Self::Rows(_) => {
                Err(lineshaft_engine::Error::operator("window", "a pane without partial results"))
            }
        }
    }
}

impl Changes {
    fn add(&mut self, rows: RecordBatch, weight: i64) {
        self.weights.resize(self.weights.len() + rows.num_rows(), weight);
        self.rows.push(rows);
    }
}

impl Operator for RevisedAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        if self.options.takes_changes {
            return self.change(batch);
        }
        let windows = &self.options.windows;
        let rows = timed_rows(batch, windows.time)?;
        let mut columns = self.aggregates.evaluate(&rows)?;
        let keys = columns_at(&rows, &windows.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let mut split = Split::new(times(&rows, windows.time)?, self.panes);
        split.arrange(&mut self.slots, &mut columns)?;
        let slots = std::mem::take(&mut self.slots);
        for (pane, part) in split.parts {
            self.add(pane, &slice(&columns, part.start, part.len()), &slots[part])?;
        }
        self.slots = slots;
        self.make_room()
    }

    fn on_watermark(&mut self, watermark: Watermark, _output: &mut Output) -> Result<()> {
        self.watermark = watermark;
        Ok(())
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        let is_early = self.is_early(header.wall_clock);
        let mut changes = Changes::default();
        for window in self.due(is_early) {
            self.revise(window, &mut changes)?;
            self.make_room()?;
        }
        if !changes.weights.is_empty() {
            let rows = concat_batches(&self.options.windows.schema, &changes.rows)?;
            output.send(Batch::with_weights(rows, Int64Array::from(changes.weights)));
        }
        self.forget()
    }

    fn use_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.save()
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.save_next()
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.load(snapshot)
    }
}

mod bag;
mod on_disk;
mod saved;
#[cfg(test)]
mod tests;
