//! Functions over the rows around a row: `f(...) OVER (PARTITION BY key ORDER BY time ROWS | RANGE BETWEEN ...)`.
//!
//! ```text
//! rows wait until the watermark passes them     (window/waiting.rs)
//!   -> sorted per key: event time, further columns of ORDER BY, order of arrival
//!   -> kept per key as long as a frame needs them      rows.rs, frame.rs
//!   -> computed once their frame is complete, all keys together:
//!        aggregate.rs  any aggregate      moments.rs, track.rs  those of doubles, fast
//!        value.rs      LAG, FIRST_VALUE   rank.rs               ROW_NUMBER, RANK
//!        online.rs     functions that go from row to row
//! ```
//!
//! - Rows: append-only in and out; a row comes out once, with a column more for each function.
//! - A frame that ends after its row waits: in rows until they are there, in time until the watermark is past it.
//! - State: the rows above the watermark, and per key what the frames to come need: rows, or sums, or where a frame has no
//!   start an accumulator. A snapshot shares it (`shared/`): what changes meanwhile is copied first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::Watermark;
use lineshaft_engine::{Error, Result};

mod aggregate;
mod call;
mod frame;
mod moments;
mod online;
mod pair;
mod rank;
mod rows;
mod saved;
#[cfg(test)]
mod tests;
mod track;
mod track_table;
mod upkeep;
mod value;

use call::{Arguments, Prepared};
use rows::{Kept, Partition, Rows, Segment};
use saved::Saving;
use upkeep::FEW_SLOTS;

pub use call::{Call, Function};
pub use frame::{Frame, Units};
pub use value::Value;

use crate::keys::KeyInterner;
use crate::shared::SharedVec;
use crate::window::row_store::{Place, RowStore};
use crate::window::waiting::{Rows as Settled, Waiting};
use crate::window::{columns_at, timed_rows, times};

/// Arguments of `OVER`.
#[derive(Clone, Debug)]
pub struct OverOptions {
    /// The column of event time, by which rows are sorted first.
    pub time: usize,
    /// Columns of `PARTITION BY`.
    pub keys: Vec<usize>,
    /// Further columns of `ORDER BY`.
    pub order: Vec<(usize, SortOptions)>,
    /// What is computed.
    pub calls: Vec<Call>,
    /// The columns of the input.
    pub input: SchemaRef,
    /// The columns of the output: some of the first columns of the input, then a column for each call.
    pub schema: SchemaRef,
}

/// Functions of one `PARTITION BY` and `ORDER BY`.
pub struct Over {
    options: OverOptions,
    arguments: Arguments,
    calls: Vec<Prepared>,
    interner: KeyInterner,
    waiting: Waiting,
    /// What is kept of each slot.
    partitions: SharedVec<Partition>,
    /// The arguments of the rows that are kept.
    kept: RowStore,
    live: usize,
    /// Whole rows that wait for later ones, and the slots that have some.
    unsent: RowStore,
    unsent_rows: usize,
    unsent_slots: BTreeSet<u32>,
    ignored: u64,
    slots: Vec<u32>,
    reclaim_at: usize,
    /// What a snapshot that has begun is still to give.
    saving: Option<Saving>,
}

/// The frames of the rows that are computed, as numbers of rows of their partitions.
type Spans = Vec<(Frame, Vec<Range<usize>>)>;

/// Rows that became final, of one key after the other.
struct Arrived {
    /// Where each key's rows are.
    runs: BTreeMap<u32, Range<usize>>,
    columns: Vec<ArrayRef>,
    arguments: Vec<ArrayRef>,
}

impl Over {
    /// The operator.
    ///
    /// # Errors
    /// If a function or key is of a type that is not supported.
    pub fn new(options: OverOptions) -> Result<Self> {
        let types: Vec<_> =
            options.keys.iter().map(|key| options.input.field(*key).data_type().clone()).collect();
        let mut arguments = Arguments::default();
        let calls =
            options.calls.iter().map(|call| call.prepare(&mut arguments)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            interner: KeyInterner::new(&types)?,
            waiting: Waiting::default(),
            partitions: SharedVec::default(),
            kept: RowStore::default(),
            live: 0,
            unsent: RowStore::default(),
            unsent_rows: 0,
            unsent_slots: BTreeSet::new(),
            ignored: 0,
            slots: Vec::new(),
            reclaim_at: FEW_SLOTS,
            saving: None,
            options,
            arguments,
            calls,
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// True if a row may have to wait for later ones.
    fn waits(&self) -> bool {
        self.calls.iter().any(|call| call.frame.waits())
    }

    /// The rows that are final now, sorted, and which of them are no peers of the row before.
    fn arrived(&mut self, watermark: Watermark) -> Result<(Settled, Vec<bool>)> {
        let settled = self.waiting.settle(watermark)?;
        let mut same: Vec<bool> = Vec::with_capacity(settled.len());
        let rows = settled.slots.iter().zip(&settled.times);
        let mut before = None;
        for row in rows {
            same.push(before == Some(row));
            before = Some(row);
        }
        if self.options.order.is_empty() || !same.contains(&true) {
            return Ok((settled, same.into_iter().map(|same| !same).collect()));
        }
        self.sort_peers(settled, &same)
    }

    /// Sorts rows of one key and time by the further columns of `ORDER BY`; arrival decides last.
    fn sort_peers(&self, settled: Settled, same: &[bool]) -> Result<(Settled, Vec<bool>)> {
        let (places, options): (Vec<usize>, Vec<SortOptions>) = self.options.order.iter().copied().unzip();
        let types = places.iter().map(|place| self.options.input.field(*place).data_type().clone());
        let fields = types.zip(options).map(|(of, options)| SortField::new_with_options(of, options));
        let columns: Vec<_> = places.iter().map(|place| Arc::clone(&settled.columns[*place])).collect();
        let keys = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        let mut order: Vec<u32> = (0..).take(settled.len()).collect();
        let mut start = 0;
        while start < order.len() {
            let run = 1 + same[start + 1..].iter().take_while(|same| **same).count();
            order[start..start + run].sort_by_key(|row| keys.row(*row as usize));
            start += run;
        }
        let row = |at: usize| keys.row(order[at] as usize);
        let begins = (0..order.len()).map(|at| !same[at] || row(at) != row(at - 1)).collect();
        Ok((settled.take(order)?, begins))
    }

    /// Adds rows to their partitions.
    fn add(&mut self, settled: Settled, begins_peers: &[bool]) -> Result<Arrived> {
        let rows = settled.len();
        if rows == 0 {
            return Ok(Arrived { runs: BTreeMap::new(), columns: Vec::new(), arguments: Vec::new() });
        }
        let Settled { times, slots, columns } = settled;
        let batch = RecordBatch::try_new(Arc::clone(&self.options.input), columns)?;
        let expressions = &self.arguments.expressions;
        let arguments: Vec<_> = expressions.iter().map(|e| e.evaluate(&batch)).collect::<Result<_>>()?;
        let columns = batch.columns()[..self.options.schema.fields().len() - self.calls.len()].to_vec();
        self.partitions.grow(self.interner.len(), Partition::default);
        let mut runs = BTreeMap::new();
        let mut start = 0;
        for run in slots.chunk_by(|a, b| a == b) {
            runs.insert(run[0], start..start + run.len());
            start += run.len();
        }
        let mut places = self.kept.push(arguments.clone(), rows);
        // The runs are in the order of the rows.
        for (slot, run) in &runs {
            let partition = &mut self.partitions[*slot as usize];
            let rows = run.clone().map(|row| Kept { time: times[row], begins_peers: begins_peers[row] });
            partition.rows.extend(rows);
            partition.stored.extend(places.by_ref().take(run.len()));
        }
        self.live += rows;
        if self.waits() {
            let mut places = self.unsent.push(columns.clone(), rows);
            for (slot, run) in &runs {
                self.partitions[*slot as usize].unsent.extend(places.by_ref().take(run.len()));
            }
            self.unsent_rows += rows;
            self.unsent_slots.extend(runs.keys());
        }
        Ok(Arrived { runs, columns, arguments })
    }

    /// The rows of a partition that can be computed.
    fn ready(&self, partition: &Partition, watermark: Watermark) -> Range<usize> {
        let is_complete =
            |at: &usize| self.calls.iter().all(|call| call.frame.is_complete(partition, *at, watermark));
        let ready = (partition.computed..partition.end()).take_while(is_complete).count();
        partition.computed..partition.computed + ready
    }

    /// What is computed now, and the frames for each different one of the calls.
    fn gather(&self, arrived: &Arrived, watermark: Watermark) -> Result<(Rows, Spans)> {
        let mut rows = Rows::default();
        let mut spans = self.frames();
        let mut places: Vec<Place> = Vec::new();
        let slots: BTreeSet<u32> = match self.waits() {
            true => self.unsent_slots.clone(),
            false => arrived.runs.keys().copied().collect(),
        };
        for slot in slots {
            let partition = &self.partitions[slot as usize];
            let computed = self.ready(partition, watermark);
            if computed.is_empty() {
                continue;
            }
            for (frame, spans) in &mut spans {
                frame.spans(partition, computed.clone(), spans);
            }
            let begin = |frame: Frame| {
                let known = spans.iter().find(|(known, _)| *known == frame);
                let own =
                    known.and_then(|(_, spans)| spans.get(rows.begins_peers.len()..)).unwrap_or_default();
                let own = if frame.may_go_back() { own } else { &own[..own.len().min(1)] };
                own.iter().map(|span| span.start).min().unwrap_or(0)
            };
            let wanted =
                self.calls.iter().map(|call| call.function.wants_from(slot as usize, begin(call.frame)));
            let first = wanted.min().unwrap_or(usize::MAX).clamp(partition.first_stored, partition.end());
            let start = places.len();
            let from = first - partition.first_stored;
            places.extend(partition.stored.range(from..partition.stored.len()));
            rows.begins_peers.extend(computed.clone().map(|row| partition.row(row).begins_peers));
            rows.segments.push(Segment { slot, first, rows: start..places.len(), computed });
        }
        let is_new = |segment: &Segment| arrived.runs.get(&segment.slot) == Some(&segment.rows);
        let all_new = rows.segments.iter().all(is_new)
            && arrived.arguments.first().is_some_and(|column| column.len() == places.len());
        rows.columns = if all_new { arrived.arguments.clone() } else { self.kept.pick(&places)? };
        Ok((rows, spans))
    }

    /// The different frames of the calls, without spans.
    fn frames(&self) -> Spans {
        let mut frames = Spans::new();
        for call in &self.calls {
            if !frames.iter().any(|(frame, _)| *frame == call.frame) {
                frames.push((call.frame, Vec::new()));
            }
        }
        frames
    }

    /// The columns of the input for the rows that are computed.
    fn columns(&mut self, arrived: Arrived, rows: &Rows) -> Result<Vec<ArrayRef>> {
        if !self.waits() {
            return Ok(arrived.columns);
        }
        let mut places = Vec::with_capacity(rows.computed());
        for segment in &rows.segments {
            let unsent = &mut self.partitions[segment.slot as usize].unsent;
            places.extend(unsent.range(0..segment.computed.len()));
            unsent.drop_front(segment.computed.len());
            if unsent.is_empty() {
                self.unsent_slots.remove(&segment.slot);
            }
        }
        self.unsent_rows -= places.len();
        self.unsent.pick(&places)
    }

    fn work(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let (settled, begins_peers) = self.arrived(watermark)?;
        let arrived = self.add(settled, &begins_peers)?;
        let (rows, spans) = self.gather(&arrived, watermark)?;
        if rows.segments.is_empty() {
            return Ok(());
        }
        let mut results = Vec::with_capacity(self.calls.len());
        for call in &mut self.calls {
            let spans = spans.iter().find(|(frame, _)| *frame == call.frame);
            results.push(call.function.evaluate(&rows, spans.map_or(&[], |(_, spans)| spans))?);
        }
        let mut columns = self.columns(arrived, &rows)?;
        columns.extend(results);
        output.send(RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?);
        for segment in &rows.segments {
            self.partitions[segment.slot as usize].computed = segment.computed.end;
            self.prune(segment.slot, watermark);
        }
        self.compact()
    }
}

impl Operator for Over {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        let rows = timed_rows(batch, self.options.time)?;
        let keys = columns_at(&rows, &self.options.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let late = self.waiting.push(Settled {
            times: times(&rows, self.options.time)?.to_vec(),
            slots: self.slots.clone(),
            columns: rows.columns().to_vec(),
        })?;
        self.ignored += late as u64;
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        self.work(watermark, output)?;
        self.reclaim(watermark)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.save()
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.next_saved()
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.put_back(snapshot)
    }
}

/// What is said of a snapshot that does not fit.
fn other_plan() -> Error {
    Error::operator("over", "a snapshot of another plan")
}
