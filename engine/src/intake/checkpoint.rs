//! The part of the intake in a checkpoint: it waits until nothing is on its way, and knows where each source stands.

use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};

use super::journal::FULL_FOR_US;
use super::{Intake, Line, SWAPS};
use crate::background::sleep_until;
use crate::checkpoint::{Begun, Checkpoints, Parts, Restored, damaged, number, numbers};
use crate::error::Result;
use crate::metrics::SourceMetrics;
use crate::operator::Snapshot;
use crate::source::Chunk;
use crate::time::Epoch;

/// The owner of what is known of the program as a whole.
const INTAKE: &str = "intake";
/// What the owner of what is known of a source begins with.
const SOURCE: &str = "source ";

/// See [`Restored::kept_below`]; not in checkpoints of earlier versions.
const KEPT_BELOW: &str = "kept_below";
/// The table of the place where a connector stands.
const STANDS: &str = "stands";

fn stands(snapshot: &mut Snapshot) -> Result<Option<Vec<u8>>> {
    let Some(table) = snapshot.take(STANDS) else { return Ok(None) };
    let bytes = table.column(0).as_binary_opt::<i32>().filter(|bytes| !bytes.is_empty());
    Ok(Some(bytes.ok_or_else(damaged)?.value(0).to_vec()))
}

impl Restored {
    /// The snapshot of a source.
    pub(crate) fn source(&self, name: &str) -> Snapshot {
        self.program.get(&owner(name)).cloned().unwrap_or_default()
    }

    /// The first epoch that is not in the state.
    pub(crate) fn next_epoch(&self) -> Result<Epoch> {
        Ok(number(&self.progress()?, "next_epoch")?.cast_unsigned())
    }

    /// The first epoch of which the sources know nothing: those between the two waited in the journal.
    pub(crate) fn kept_below(&self) -> Result<Epoch> {
        let progress = self.progress()?;
        let name = if progress.column_by_name(KEPT_BELOW).is_some() { KEPT_BELOW } else { "next_epoch" };
        Ok(number(&progress, name)?.cast_unsigned())
    }

    /// What counts between which epochs; `None` if nothing is swapped in this program.
    pub(crate) fn swaps(&self) -> Option<RecordBatch> {
        self.program.get(INTAKE).cloned().and_then(|mut own| own.take(SWAPS))
    }

    fn progress(&self) -> Result<RecordBatch> {
        self.program.get(INTAKE).cloned().and_then(|mut own| own.take("progress")).ok_or_else(damaged)
    }
}

/// A number that earlier versions did not keep; then 0.
fn optional(table: &RecordBatch, name: &str) -> Result<u64> {
    match table.column_by_name(name) {
        Some(_) => Ok(number(table, name)?.cast_unsigned()),
        None => Ok(0),
    }
}

fn owner(source: &str) -> String {
    format!("{SOURCE}{source}")
}

impl Line {
    /// The next chunk of the connector that has not been worked on before the checkpoint.
    pub(super) fn next_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        loop {
            match self.chunks.poll_recv(context) {
                Poll::Ready(Some(_)) if self.skips() => {}
                other => return other,
            }
        }
    }

    /// Counts a chunk; true if it has been worked on before.
    pub(super) fn skips(&mut self) -> bool {
        let is_known = self.skip > 0;
        self.skip -= u64::from(is_known);
        is_known
    }

    fn snapshot(&self, metrics: &SourceMetrics) -> Result<Snapshot> {
        let mut snapshot = self.feed.snapshot()?;
        self.packets.snapshot(&mut snapshot)?;
        self.keys.snapshot(&mut snapshot)?;
        let own = [
            ("given", self.given),
            ("waiting_chunks", self.waiting_chunks),
            ("waiting_bytes", self.waiting_bytes),
        ];
        let own = own.map(|(name, number)| (name, vec![number.cast_signed()]));
        let counts = metrics.counters().map(|(name, count)| (name, vec![count.get().cast_signed()]));
        snapshot.put("position", numbers(own.into_iter().chain(counts))?);
        if let Some(stands) = &self.position {
            let stands: ArrayRef = Arc::new(BinaryArray::from_iter_values([stands]));
            snapshot.put(STANDS, RecordBatch::try_from_iter([(STANDS, stands)])?);
        }
        Ok(snapshot)
    }

    /// Puts back what it had at the checkpoint. Connectors give the same chunks again, of which the first are skipped.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot, metrics: &SourceMetrics) -> Result<()> {
        let mut snapshot = snapshot.clone();
        let position = snapshot.take("position").ok_or_else(damaged)?;
        self.given = number(&position, "given")?.cast_unsigned();
        self.skip = if self.repeats { self.given } else { 0 };
        // Earlier versions did not have all of them.
        let is_there = |name: &str| position.column_by_name(name).is_some();
        self.waiting_chunks = optional(&position, "waiting_chunks")?;
        self.waiting_bytes = optional(&position, "waiting_bytes")?;
        for (name, count) in metrics.counters().into_iter().filter(|(name, _)| is_there(name)) {
            count.add(usize::try_from(number(&position, name)?).map_err(|_| damaged())?);
        }
        self.position = self.position.take().or(stands(&mut snapshot)?);
        self.packets.restore(&mut snapshot)?;
        self.keys.restore(&mut snapshot)?;
        self.feed.restore(&mut snapshot)
    }
}

impl Intake {
    pub(super) fn restore(&mut self, restored: &Restored) -> Result<()> {
        let own = restored.progress()?;
        self.next_epoch = restored.kept_below()?;
        self.given_epoch = restored.next_epoch()?;
        self.wall_clock.go_on(number(&own, "wall_clock")?);
        // A program that is killed again and again must come to the next one, too.
        self.checkpoint_at = self.wall_clock.at();
        for (number, sink) in self.metrics.sinks.iter().enumerate() {
            let rows = crate::checkpoint::number(&own, &format!("sink {number}"))?;
            sink.rows.add(usize::try_from(rows).map_err(|_| damaged())?);
        }
        self.metrics.failed.add(usize::try_from(number(&own, "failed")?).map_err(|_| damaged())?);
        for line in &self.lines {
            line.feed.advance(self.given_epoch);
        }
        Ok(())
    }

    /// Takes a checkpoint if it is time for the next one; one that is still being written delays it. Where there is a journal, input
    /// goes on to be kept there until the workers have finished what they have.
    pub(super) async fn checkpoint_if_due(&mut self) {
        let Some(checkpoints) = self.checkpoints.clone().filter(|it| it.round.is_over()) else { return };
        self.cut_at_checkpoint(&checkpoints);
        // Between the chunks that are given up there is no state to go on from.
        let is_wanted = self.is_checkpoint_due() || self.is_at_mark();
        if !is_wanted || self.lines.iter().any(Line::is_shedding) {
            return;
        }
        self.holds = self.input.is_some() && !self.credit.is_unused();
        if !self.holds {
            self.take_checkpoint(&checkpoints).await;
        }
    }

    pub(super) fn is_checkpoint_due(&mut self) -> bool {
        let every = self.checkpoints.as_ref().map(|checkpoints| checkpoints.store.every_us());
        every.is_some_and(|every| self.wall_clock.now().saturating_sub(self.checkpoint_at) >= every)
    }

    /// Takes a checkpoint, if there are any for this program, and waits until it is written.
    pub(super) async fn checkpoint(&mut self) {
        let Some(checkpoints) = self.checkpoints.clone() else { return };
        self.wait_until(|_| checkpoints.round.is_over()).await;
        self.take_checkpoint(&checkpoints).await;
        self.wait_until(|_| checkpoints.round.is_over()).await;
        self.cut_at_checkpoint(&checkpoints);
    }

    /// Takes the first checkpoint, unless the program goes on from one: later output is known as such from now on.
    pub(super) async fn checkpoint_first(&mut self) {
        let Some(checkpoints) = self.checkpoints.clone().filter(|it| it.restored.is_none()) else { return };
        loop {
            self.checkpoint().await;
            let is_there = checkpoints.store.oldest_epoch().is_some();
            if is_there || self.control.is_stopping() {
                return;
            }
            let clock = self.wall_clock.clock();
            sleep_until(clock, clock.steady().saturating_add(FULL_FOR_US)).await;
        }
    }

    /// Waits until nothing is on its way, and begins a checkpoint. A failure of it is one of the program.
    async fn take_checkpoint(&mut self, checkpoints: &Arc<Checkpoints>) {
        let end = self.given_epoch;
        self.wait_until(|intake| intake.control.completed() >= end).await;
        if self.control.has_failed() {
            return;
        }
        let stood_from = self.wall_clock.now();
        if let Err(error) = self.keep_mark().await {
            self.control.fail(error);
            return;
        }
        let begun = self.parts().and_then(|program| {
            checkpoints.begin(Begun { next_epoch: end, workers: self.workers, program }, &self.control)
        });
        match begun {
            Ok(()) => {
                self.control.wake_workers();
                self.wait_until(|_| checkpoints.round.is_taken()).await;
            }
            Err(error) => self.control.fail(error),
        }
        self.checkpoint_at = self.wall_clock.now();
        let stood = self.checkpoint_at - stood_from;
        tracing::debug!("a checkpoint before epoch {end}: the stream stood for {stood} us");
    }

    /// What is before the checkpoints that are kept is not needed any more.
    fn cut_at_checkpoint(&mut self, checkpoints: &Checkpoints) {
        let cut = checkpoints.store.oldest_epoch().map(|oldest| self.cut_journal(oldest));
        if let Some(Err(error)) = cut {
            self.control.fail(error);
        }
    }

    /// Waits for `done`, or for a failure.
    async fn wait_until(&self, done: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.control.changed.notified();
            if done(self) || self.control.has_failed() {
                return;
            }
            changed.await;
        }
    }

    fn parts(&self) -> Result<Parts> {
        let mut parts = Parts::new();
        for (line, metrics) in self.lines.iter().zip(&self.metrics.sources) {
            parts.insert(owner(&metrics.name), line.snapshot(metrics)?);
        }
        let sinks: Vec<String> = (0..self.metrics.sinks.len()).map(|sink| format!("sink {sink}")).collect();
        let rows = sinks.iter().map(String::as_str).zip(&self.metrics.sinks);
        let rows = rows.map(|(name, sink)| (name, vec![sink.rows.get().cast_signed()]));
        let own = [
            ("next_epoch", vec![self.given_epoch.cast_signed()]),
            (KEPT_BELOW, vec![self.next_epoch.cast_signed()]),
            ("wall_clock", vec![self.wall_clock.at()]),
            ("failed", vec![self.metrics.failed.get().cast_signed()]),
        ];
        let mut snapshot = Snapshot::default();
        snapshot.put("progress", numbers(own.into_iter().chain(rows))?);
        if let Some(swaps) = &self.swaps {
            swaps.forget_before(self.given_epoch);
            snapshot.put(SWAPS, swaps.snapshot()?);
        }
        parts.insert(INTAKE.to_owned(), snapshot);
        Ok(parts)
    }
}
