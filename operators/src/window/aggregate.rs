//! Aggregates of the rows of each key in windows of a fixed length: `TUMBLE`, `HOP` and `CUMULATE`.
//!
//! A window is emitted when the watermark passes its end, with a row for each key that has a row in it; without key
//! columns there is no row for an empty window. Hopping windows begin at every multiple of the slide: those that
//! begin before the first row count too. Windows that cumulate begin at every multiple of their size and come once for
//! each step by which they grow, from the step on in which the first row is.
//!
//! - Rows: append-only in and out. Output: the key, `window_start`, `window_end`, the results.
//! - State: per key and pane (tumbling: window) the partial results; for hopping windows of the panes of one window.
//! - Cost: a row is added once, to its pane. A pane is merged about six times, however many windows share it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::Watermark;
use lineshaft_engine::{Error, Result};

use super::arguments::{Aggregates, Values};
use super::cumulating::Cumulating;
use super::fixed::{FixedWindows, Panes};
use super::groups::{Groups, Partial, Results};
use super::overlap::{OPEN, Overlap, Part};
use super::pieces::{self, Measured, Piece};
use super::sliding::Sliding;
use super::split::{Runs, Split};
use super::state::{StateTable, slice};
use super::{Window, columns_at, send_all, timed_rows, times};
use crate::keys::KeyInterner;

/// Arguments of `TUMBLE`, `HOP` and `CUMULATE` with `GROUP BY`.
#[derive(Clone, Debug)]
pub struct WindowOptions {
    /// The column of event time.
    pub time: usize,
    /// The windows.
    pub windows: FixedWindows,
    /// Columns of the key.
    pub keys: Vec<usize>,
    /// What is computed; arguments that are one object are computed once.
    pub aggregates: Vec<Arc<dyn Aggregate>>,
    /// The key columns, `window_start`, `window_end`, the results.
    pub schema: SchemaRef,
}

/// `GROUP BY window, key` over `TUMBLE`, `HOP` or `CUMULATE`.
pub struct WindowAggregate {
    options: WindowOptions,
    aggregates: Aggregates,
    panes: Panes,
    interner: KeyInterner,
    /// Panes that may still get rows.
    open: BTreeMap<i64, Groups>,
    /// Complete panes; `None` if windows do not overlap.
    overlap: Option<Box<dyn Overlap>>,
    /// Panes before this one are complete.
    complete: i64,
    ignored: u64,
    slots: Vec<u32>,
    /// Most keys of a closed window since slots were last taken back.
    busiest: usize,
    /// What a snapshot that has begun is to give before the open panes.
    saved: VecDeque<Part>,
    is_saving: bool,
    spill: Spill,
    measured: Measured,
}

/// The table of the panes in a snapshot.
const PANES: &str = "panes";
/// Fewer slots than this are not worth taking back.
const FEW_SLOTS: usize = 1024;
/// Nor are they while there are not so many times the keys of a window: a key that comes in every window keeps its
/// slot, although it has no state between two windows.
const IDLE_SHARE: usize = 4;

impl WindowAggregate {
    /// The operator.
    ///
    /// # Errors
    /// If the size is not a multiple of the slide, or an aggregate or key is of a type that is not supported.
    pub fn new(options: WindowOptions) -> Result<Self> {
        let aggregates = Aggregates::new(&options.aggregates);
        let (panes, count) = options.windows.panes()?;
        let overlap: Option<Box<dyn Overlap>> = match count {
            1 => None,
            _ if options.windows.grows => Some(Box::new(Cumulating::new(count, &aggregates)?)),
            _ => Some(Box::new(Sliding::new(count, &aggregates)?)),
        };
        let fields = options.schema.fields().iter().take(options.keys.len());
        let types: Vec<_> = fields.map(|field| field.data_type().clone()).collect();
        Ok(Self {
            panes,
            interner: KeyInterner::new(&types)?,
            aggregates,
            options,
            open: BTreeMap::new(),
            overlap,
            complete: i64::MIN,
            ignored: 0,
            slots: Vec::new(),
            busiest: 0,
            saved: VecDeque::new(),
            is_saving: false,
            spill: Spill::default(),
            measured: Measured::default(),
        })
    }

    /// Rows whose window had closed.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The results of windows that end when all panes before `end` are complete.
    fn close(&mut self, end: i64) -> Result<Vec<RecordBatch>> {
        let still_open = self.open.split_off(&end);
        let mut results = Vec::new();
        for (pane, mut groups) in std::mem::replace(&mut self.open, still_open) {
            while let Some(partial) = groups.next_held(&self.aggregates, &self.spill)? {
                let mut piece = Piece::from(partial);
                if self.make_room()? > 0 {
                    piece.move_to_disk(&self.spill)?;
                }
                self.saved.push_back((OPEN, pane, piece));
            }
            match &mut self.overlap {
                Some(overlap) => overlap.add(pane, groups.pieces(&self.aggregates, &self.spill)?),
                None => {
                    let closed = groups.evaluate(&self.aggregates)?;
                    self.put_rows(self.panes.window(pane, 1), closed, &mut results)?;
                }
            }
        }
        while let Some((window, closed)) = self.close_overlapping(end)? {
            self.put_rows(window, closed, &mut results)?;
            self.make_room()?;
        }
        Ok(results)
    }

    fn close_overlapping(&mut self, end: i64) -> Result<Option<(Window, Vec<Results>)>> {
        let Some(overlap) = &mut self.overlap else {
            return Ok(None);
        };
        let Some(window) = overlap.close_next(end) else {
            return Ok(None);
        };
        let closed = overlap.evaluate(window, &self.aggregates, self.interner.len())?;
        let (first, count) = overlap.span(window);
        Ok(Some((self.panes.window(first, count), closed)))
    }

    fn put_rows(&mut self, window: Window, closed: Vec<Results>, to: &mut Vec<RecordBatch>) -> Result<()> {
        self.busiest = self.busiest.max(closed.iter().map(|(slots, _)| slots.len()).sum());
        for range in closed {
            to.push(self.rows(window, range)?);
        }
        Ok(())
    }

    fn rows(&self, window: Window, (slots, results): Results) -> Result<RecordBatch> {
        let mut columns = self.interner.columns(&slots)?;
        for bound in [window.start, window.end] {
            columns.push(Arc::new(TimestampMicrosecondArray::from_value(bound, slots.len())));
        }
        columns.extend(results);
        Ok(RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?)
    }

    /// Takes back the slots of keys without state, once most have none.
    fn reclaim(&mut self) -> Result<()> {
        // What is saved has the numbers of slots.
        if self.is_saving || self.interner.len() < FEW_SLOTS.max(self.busiest * IDLE_SHARE) {
            return Ok(());
        }
        let mut live: HashSet<u32> = self.open.values().flat_map(Groups::slots).copied().collect();
        if let Some(overlap) = &mut self.overlap {
            live.extend(overlap.pieces().flat_map(|piece| piece.slots()).copied());
        }
        let moved = self.interner.retain(|slot| live.contains(&slot))?;
        for groups in self.open.values_mut() {
            groups.renumber(&moved);
        }
        if let Some(overlap) = &mut self.overlap {
            overlap.pieces().for_each(|piece| piece.renumber(&moved));
        }
        self.busiest = live.len();
        Ok(())
    }
}

impl WindowAggregate {
    /// Adds rows to their panes. Their slots are known; `only` has their numbers in the columns, if these have more.
    fn add(&mut self, parts: &Runs, columns: &[ArrayRef], only: Option<&[u32]>) -> Result<()> {
        for (pane, part) in parts {
            if *pane < self.complete {
                self.ignored += part.len() as u64;
                continue;
            }
            let groups = match self.open.entry(*pane) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(new) => new.insert(Groups::new(&self.aggregates)?),
            };
            let (slots, known) = (&self.slots[part.clone()], self.interner.len());
            match only {
                Some(only) => {
                    let values = Values { columns, only: Some(&only[part.clone()]) };
                    groups.update(&self.aggregates, values, slots, known)?;
                }
                None => {
                    let columns = slice(columns, part.start, part.len());
                    groups.update(&self.aggregates, &columns, slots, known)?;
                }
            }
        }
        self.make_room()?;
        Ok(())
    }
}

impl Operator for WindowAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        let rows = timed_rows(batch, self.options.time)?;
        let mut columns = self.aggregates.evaluate(&rows)?;
        let keys = columns_at(&rows, &self.options.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let mut split = Split::new(times(&rows, self.options.time)?, self.panes);
        split.arrange(&mut self.slots, &mut columns)?;
        self.add(&split.parts, &columns, None)
    }

    fn on_rows_of(
        &mut self,
        input: usize,
        batch: &Batch,
        only: &UInt32Array,
        output: &mut Output,
    ) -> Result<()> {
        let rows = batch.rows();
        let has_gaps = batch.weights().is_some() || rows.column(self.options.time).null_count() > 0;
        let Some(columns) = self.aggregates.columns_of(rows).filter(|_| !has_gaps) else {
            return self.on_batch(input, batch.take(only)?, output);
        };
        let mut looked_at = self.options.keys.clone();
        looked_at.push(self.options.time);
        let looked_at = take_record_batch(&rows.project(&looked_at)?, only)?;
        let (keys, time) = (&looked_at.columns()[..self.options.keys.len()], self.options.keys.len());
        self.interner.intern(keys, only.len(), &mut self.slots)?;
        let mut split = Split::new(times(&looked_at, time)?, self.panes);
        let mut numbers = only.values().to_vec();
        split.arrange_numbers(&mut self.slots, &mut numbers);
        self.add(&split.parts, &columns, Some(&numbers))
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let complete = match watermark {
            Watermark::END => i64::MAX,
            Watermark(time) => self.panes.of(time),
        };
        if complete <= self.complete {
            return Ok(());
        }
        self.complete = complete;
        let results = self.close(complete)?;
        send_all(&self.options.schema, results, output)?;
        self.reclaim()
    }

    fn use_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    /// The panes come later: those that are complete share their columns with the snapshot, and open ones hold back their rows.
    fn snapshot(&mut self) -> Result<Snapshot> {
        self.open.values_mut().for_each(Groups::hold);
        self.is_saving = true;
        let mut next = i64::MIN;
        if let Some(overlap) = &self.overlap {
            next = overlap.next();
            self.saved = overlap.parts().into();
        }
        let mut snapshot = Snapshot::default();
        let progress = StateTable {
            numbers: vec![vec![self.complete], vec![next]],
            keys: Vec::new(),
            values: Vec::new(),
        };
        snapshot.put("progress", progress.into_batch()?);
        Ok(snapshot)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        let Some(part) = self.next_saved()? else {
            self.is_saving = false;
            return Ok(None);
        };
        let mut snapshot = Snapshot::default();
        snapshot.put(PANES, self.pane_table(part)?);
        Ok(Some(snapshot))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let progress = snapshot.take("progress");
        let progress = progress.ok_or_else(|| Error::operator("window", "a snapshot of another operator"))?;
        let progress = StateTable::from_batch(&progress, 2, 0)?;
        self.complete = progress.numbers[0][0];
        if let Some(overlap) = &mut self.overlap {
            overlap.restart_at(progress.numbers[1][0]);
        }
        self.restore_panes(&snapshot.take_parts(PANES))
    }
}

impl WindowAggregate {
    fn next_saved(&mut self) -> Result<Option<Part>> {
        if let Some(part) = self.saved.pop_front() {
            return Ok(Some(part));
        }
        for (pane, groups) in &mut self.open {
            if let Some(partial) = groups.next_held(&self.aggregates, &self.spill)? {
                return Ok(Some((OPEN, *pane, partial.into())));
            }
        }
        Ok(None)
    }

    fn pane_table(&self, (kind, pane, piece): Part) -> Result<RecordBatch> {
        let partial = piece.load()?;
        let rows = partial.slots.len();
        StateTable {
            numbers: vec![vec![kind; rows], vec![pane; rows]],
            keys: self.interner.columns(&partial.slots)?,
            values: partial.states,
        }
        .into_batch()
    }

    fn restore_panes(&mut self, tables: &[RecordBatch]) -> Result<()> {
        for table in tables {
            let table = StateTable::from_batch(table, 2, self.options.keys.len())?;
            let mut all = Vec::new();
            self.interner.intern(&table.keys, table.rows(), &mut all)?;
            let place = |row: usize| (table.numbers[0][row], table.numbers[1][row]);
            let mut start = 0;
            while start < table.rows() {
                let (kind, pane) = place(start);
                let len = (start..table.rows()).take_while(|row| place(*row) == (kind, pane)).count();
                let slots = Arc::new(all[start..start + len].to_vec());
                let partial = Partial { slots, states: slice(&table.values, start, len) };
                match &mut self.overlap {
                    Some(overlap) if kind != OPEN => overlap.restore((kind, pane, partial.into())),
                    _ => self.restore_open(pane, &partial)?,
                }
                start += len;
            }
            self.make_room()?;
        }
        Ok(())
    }

    fn restore_open(&mut self, pane: i64, partial: &Partial) -> Result<()> {
        let groups = match self.open.entry(pane) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(new) => new.insert(Groups::new(&self.aggregates)?),
        };
        groups.merge(&self.aggregates, partial, self.interner.len())
    }
}

/// What does not fit into memory.
impl WindowAggregate {
    /// Moves state to disk if the program has too much; gives the bytes that were too many.
    fn make_room(&mut self) -> Result<usize> {
        if self.spill.is_unlimited() {
            return Ok(0);
        }
        let mut size = self.overlap.as_mut().map_or(0, |overlap| self.measured.of(overlap.pieces()));
        let (of, spill) = (&self.aggregates, &mut self.spill);
        for groups in self.open.values_mut() {
            groups.tidy(of, spill)?;
            size += groups.size();
        }
        let excess = usize::try_from(spill.report(size as u64)).unwrap_or(usize::MAX);
        if excess == 0 {
            return Ok(0);
        }
        let mut free = 0;
        if let Some(overlap) = &mut self.overlap {
            free = pieces::move_to_disk(overlap.pieces(), spill, excess)?;
            self.measured = Measured::default();
        }
        for groups in self.open.values_mut() {
            if free < excess {
                free += groups.move_to_disk(of, spill, excess - free)?;
            }
        }
        spill.report(size.saturating_sub(free) as u64);
        Ok(excess)
    }
}

#[cfg(test)]
mod tests;
