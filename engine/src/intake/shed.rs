//! What a source gives up while the workers are behind, if it may.
//!
//! Nothing is given up that could not be told again: a sample is taken before anything is kept; what waits in the journal and is
//! not worked on is named by a record there, which is durable before the first chunk is passed over. So a program that is
//! started again gives up the same.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::row::{RowConverter, SortField};

use super::{Intake, Line, Work};
use crate::background::blocking;
use crate::error::{Error, Result};
use crate::journal::{Control, Record};
use crate::plan::Overload;
use crate::source::{Chunk, Decoded, Decoder, Message, Payload, Rejected};
use crate::time::Epoch;

/// The kind of the records that say what is given up.
pub(super) const SHED: u16 = 1;

/// Chunks that may wait, such as while a checkpoint is taken, before input is given up.
const FEW: u64 = 64;

/// So many chunks of a source, from an epoch on, are not worked on as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Epoch,
    pub(super) chunks: u64,
}

impl Span {
    fn record(self, source: &str) -> Record {
        let mut body = self.from.to_le_bytes().to_vec();
        body.extend(self.chunks.to_le_bytes());
        body.extend(source.as_bytes());
        Record::Control(Control { kind: SHED, body })
    }

    /// Source and span of a record of this kind.
    pub(super) fn read(body: &[u8]) -> Option<(&str, Self)> {
        let (from, rest) = body.split_first_chunk()?;
        let (chunks, source) = rest.split_first_chunk()?;
        let span = Self { from: u64::from_le_bytes(*from), chunks: u64::from_le_bytes(*chunks) };
        Some((std::str::from_utf8(source).ok()?, span))
    }
}

/// What a source has given up, and is giving up.
#[derive(Debug, Default)]
pub(crate) struct Shedding {
    /// Decided, and not begun.
    next: VecDeque<Span>,
    /// Chunks that are left of the span that has begun.
    left: u64,
    /// The newest row of each key in it.
    newest: Option<RecordBatch>,
    rejected: Vec<Rejected>,
    /// Messages that came while a sample was taken.
    sampled: u64,
    /// What had been given up when this outage began; `None` while there is none.
    told: Option<u64>,
}

impl Shedding {
    pub(super) fn add(&mut self, span: Span) {
        self.next.push_back(span);
    }

    /// Takes note of a chunk; true if it is in a span.
    fn enter(&mut self, epoch: Epoch) -> bool {
        if self.left == 0
            && let Some(span) = self.next.pop_front_if(|span| span.from <= epoch)
        {
            self.left = span.chunks;
        }
        let is_in = self.left > 0;
        self.left -= u64::from(is_in);
        is_in
    }
}

impl Line {
    /// True between the first and the last chunk of what is given up: what is between them is in no checkpoint.
    pub(super) fn is_shedding(&self) -> bool {
        self.shedding.left > 0
    }

    /// How many of the chunks that wait are to be given up.
    fn to_shed(&self) -> u64 {
        let (chunks, bytes) = (self.waiting_chunks, self.waiting_bytes);
        match self.overload {
            Overload::Latest { .. } if chunks > FEW => chunks,
            // Down to half of what may wait, so that this is not decided chunk by chunk.
            Overload::DropOldest { limit } if bytes > limit => {
                let share = u128::from(chunks) * u128::from(bytes - limit / 2) / u128::from(bytes);
                u64::try_from(share).unwrap_or(chunks).clamp(1, chunks)
            }
            _ => 0,
        }
    }
}

impl Intake {
    /// Of the messages of a source that is sampled, drops all but one in `n` while the workers are behind.
    pub(super) fn sample(&mut self, line: usize, messages: &mut Vec<Message>) {
        let Overload::Sample { one_in } = self.lines[line].overload else { return };
        // A checkpoint is no overload, unless it takes long.
        let is_pressed = !self.credit.has_room() || self.lines[line].waiting_chunks > FEW;
        if self.input.is_none() || !is_pressed {
            return;
        }
        let (all, sampled) = (messages.len(), &mut self.lines[line].shedding.sampled);
        messages.retain(|_| {
            *sampled += 1;
            (*sampled - 1).is_multiple_of(one_in)
        });
        let dropped = all - messages.len();
        self.count_shed(line, dropped);
    }

    /// Decides whether what waits next is given up, and makes that durable.
    pub(super) async fn decide(&mut self) -> Result<()> {
        if !self.can_give_waiting() || self.lines.iter().all(|line| line.to_shed() == 0) {
            return Ok(());
        }
        let Some((source, from)) = self.peek_waiting().await? else { return Ok(()) };
        // After a crash what was there may have been worked on before, and is so again: that is no overload.
        if self.input.as_ref().is_none_or(|input| from < input.may_be_done_below()) {
            return Ok(());
        }
        let line = self.line(&source)?;
        let chunks = self.lines[line].to_shed();
        if chunks == 0 || self.lines[line].is_shedding() || !self.lines[line].shedding.next.is_empty() {
            return Ok(());
        }
        let span = Span { from, chunks };
        if self.note(span.record(&source)).await? {
            self.lines[line].shedding.add(span);
        }
        Ok(())
    }

    /// Passes over a chunk that waited, if it is given up; gives it back if it is not, or if it has become what is left of all
    /// that are.
    pub(super) async fn shed(&mut self, line: usize, mut work: Work) -> Result<Option<Work>> {
        if !is_input(&work.chunk) || !self.lines[line].shedding.enter(work.epoch) {
            return Ok(Some(work));
        }
        let keys = match &self.lines[line].overload {
            Overload::Latest { keys } => keys.clone(),
            _ => {
                self.count_shed(line, work.chunk.payload.records());
                return Ok(None);
            }
        };
        let decoder = Arc::clone(&self.lines[line].feed.decoder);
        let chunk = std::mem::replace(&mut work.chunk, Chunk::new(Payload::Empty));
        let before = self.lines[line].shedding.newest.take();
        let newest = blocking(move || newest(&*decoder, chunk, before, &keys)).await??;
        self.count_shed(line, newest.dropped);
        let shedding = &mut self.lines[line].shedding;
        shedding.rejected.extend(newest.rejected);
        shedding.newest = Some(newest.rows);
        if shedding.left > 0 {
            return Ok(None);
        }
        let (rows, rejected) = (shedding.newest.take(), std::mem::take(&mut shedding.rejected));
        let Some(rows) = rows else { return Ok(None) };
        work.chunk.payload = Payload::Decoded(Decoded::new(rows, rejected));
        work.is_decoded = true;
        Ok(Some(work))
    }

    fn count_shed(&mut self, line: usize, records: usize) {
        let metrics = &self.metrics.sources[line];
        let before = metrics.shed.get();
        metrics.received.add(records);
        metrics.shed.add(records);
        if records > 0 && self.lines[line].shedding.told.is_none() {
            let (name, policy) = (&metrics.name, self.lines[line].overload.name());
            tracing::warn!(
                "source {name:?} comes faster than it is worked on: input is given up (on_overload = '{policy}')"
            );
            self.lines[line].shedding.told = Some(before);
        }
    }

    /// Tells at the end of an outage how much was given up in it.
    pub(super) fn tell_shed(&mut self) {
        if self.is_behind() {
            return;
        }
        for (line, metrics) in self.lines.iter_mut().zip(&self.metrics.sources) {
            if let Some(before) = line.shedding.told.take() {
                let (name, shed) = (&metrics.name, metrics.shed.get() - before);
                tracing::warn!("source {name:?} has caught up: {shed} records were given up");
            }
        }
    }
}

/// True for chunks that are counted when input is given up: not for those that only move time.
pub(super) fn is_input(chunk: &Chunk) -> bool {
    !matches!(chunk.payload, Payload::Empty | Payload::Gap(_))
}

/// The newest row of each key.
struct Newest {
    rows: RecordBatch,
    rejected: Vec<Rejected>,
    dropped: usize,
}

/// Decodes a chunk and keeps the last row of each key, also of those `before` it.
fn newest(
    decoder: &dyn Decoder,
    chunk: Chunk,
    before: Option<RecordBatch>,
    keys: &[usize],
) -> Result<Newest> {
    let (mut batches, mut rejected): (Vec<RecordBatch>, _) = (before.into_iter().collect(), Vec::new());
    for decoded in decoder.decode(chunk)? {
        let decoded = decoded?;
        batches.push(decoded.rows);
        rejected.extend(decoded.rejected);
    }
    let schema = batches.first().map_or_else(|| decoder.schema(), RecordBatch::schema);
    let all = concat_batches(&schema, &batches)?;
    let columns: Vec<_> = keys.iter().map(|key| Arc::clone(all.column(*key))).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut seen = HashSet::new();
    let count = u32::try_from(all.num_rows()).map_err(|_| Error::Plan("too many rows".into()))?;
    let mut last: Vec<u32> = (0..count).rev().filter(|row| seen.insert(rows.row(*row as usize))).collect();
    last.reverse();
    let dropped = all.num_rows() - last.len();
    Ok(Newest { rows: take_record_batch(&all, &UInt32Array::from(last))?, rejected, dropped })
}
