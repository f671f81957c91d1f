//! The part of the intake in the journal: what the connectors give is durable before it is worked on or acknowledged,
//! and after a restart it is worked on again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::record::{self, Kept};
use super::shed;
use super::swaps::SWAP;
use super::waiting::Waiting;
use super::{Intake, Keys, Line, Work};
use crate::background::{self, Task, blocking};
use crate::error::{Error, Result};
use crate::journal::{
    Committed, Control, Data, DataChunk, DataPayload, Epochs, Gap, Journal, JournalError, Locked, Reader,
    Record, Recovered, Spare,
};
use crate::metrics::Metrics;
use crate::source::{Chunk, Payload};
use crate::swap::{Swap, Swaps};
use crate::time::Epoch;

/// How long the intake waits until it tries again to write where there was no room.
pub(super) const FULL_FOR_US: i64 = 500_000;

/// The kind of [`Control`] that says that a checkpoint was taken there.
const CHECKPOINT: u16 = 2;
/// The kind that says that a run has stopped in order: epochs from this one on it has not worked on; and its incarnation.
const STOPPED: u16 = 4;

/// The journal of a program, and what it had at the start.
pub(crate) struct Input {
    /// `None` while it is used on another thread.
    journal: Option<Journal>,
    /// What it had at the start is below it.
    replayed_below: Epoch,
    /// Epochs below it may have been worked on before the start.
    may_be_done_below: Epoch,
    /// The wall clock of the last of it.
    last_wall_clock: Option<i64>,
    /// A hash of the program.
    queries: u128,
    /// It has been told that there is no room.
    is_full: bool,
    /// Epochs before which checkpoints were taken, of those that are worked on again.
    marks: VecDeque<Epoch>,
    /// The next segment, while it is made.
    ahead: Option<Task<Option<Spare>>>,
}

/// Epoch and incarnation of a record of [`STOPPED`].
fn stopped(body: &[u8]) -> Option<(Epoch, u64)> {
    let (epoch, incarnation) = body.split_first_chunk()?;
    Some((u64::from_le_bytes(*epoch), u64::from_le_bytes(incarnation.try_into().ok()?)))
}

/// How often it is looked whether there is room for a start.
const ROOM_TRY: Duration = Duration::from_millis(500);

/// Opens the journal. A full disk does not end a start any more than it ends a program that runs: it waits for room.
fn open_when_there_is_room(locked: &Locked, needed: Epoch) -> Result<(Journal, Recovered)> {
    let mut is_full = false;
    loop {
        match locked.open(needed) {
            Err(full @ JournalError::Full { .. }) if !is_full => {
                tracing::warn!("STALLED(disk): {full}; the program starts when there is room");
                is_full = true;
            }
            Err(JournalError::Full { .. }) => {}
            opened => {
                if is_full && opened.is_ok() {
                    tracing::info!("there is room for the journal again: the program starts");
                }
                return Ok(opened?);
            }
        }
        sleep(ROOM_TRY);
        while !locked.has_room() {
            sleep(ROOM_TRY);
        }
    }
}

impl Input {
    /// Opens the journal of the program that `identity` names; what is before the epoch `needed` is read when it is worked on.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn open(locked: &Locked, needed: Epoch, identity: &str) -> Result<Self> {
        let (journal, recovered) = open_when_there_is_room(locked, needed)?;
        let queries = xxhash_rust::xxh3::xxh3_128(identity.as_bytes());
        let Recovered { next_epoch: replayed_below, wall_clock: last_wall_clock, .. } = recovered;
        Ok(Self {
            journal: Some(journal),
            replayed_below,
            may_be_done_below: replayed_below,
            last_wall_clock,
            queries,
            is_full: false,
            marks: VecDeque::new(),
            ahead: None,
        })
    }

    /// The epoch after the last one that was kept before the start.
    pub(crate) fn replayed_below(&self) -> Epoch {
        self.replayed_below
    }

    /// Epochs below it may have been worked on before the start, and their rows may be in the history: those that were kept, unless
    /// the run before has stopped in order.
    pub(super) fn may_be_done_below(&self) -> Epoch {
        self.may_be_done_below
    }

    /// How often the journal was opened.
    pub(crate) fn incarnation(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::incarnation)
    }

    /// Brings the lines to where they were when the program ended: what was kept since the epoch `from` is known to them, and
    /// what is given up since the epoch `given`.
    ///
    /// # Errors
    /// If the journal is damaged, or of other sources.
    pub(crate) fn review(
        &mut self,
        (given, from): (Epoch, Epoch),
        lines: &mut [Line],
        metrics: &Metrics,
        swaps: Option<&Swaps>,
    ) -> Result<()> {
        let Some(journal) = self.journal.as_ref().filter(|journal| journal.next_epoch() >= from) else {
            return Ok(());
        };
        let mut reader = journal.reader(from)?;
        loop {
            let groups = journal.read(&mut reader)?;
            if groups.is_empty() {
                return Ok(());
            }
            for record in groups.into_iter().flat_map(|group| group.records) {
                match record {
                    Record::Data(data) if !data.epochs.are_before(from) => {
                        lines[line_of(metrics, &data.source)?].review(data.chunk)?;
                    }
                    Record::Gap(Gap { source, .. }) => {
                        if let Ok(line) = line_of(metrics, &source) {
                            lines[line].packets.forget();
                            metrics.sources[line].gaps.add(1);
                        }
                    }
                    Record::Control(Control { kind: shed::SHED, body }) => {
                        if let Some((source, span)) =
                            shed::Span::read(&body).filter(|(_, it)| it.from >= given)
                        {
                            lines[line_of(metrics, source)?].shedding.add(span);
                        }
                    }
                    Record::Control(Control { kind: CHECKPOINT, body }) => {
                        let mark = body.try_into().map(Epoch::from_le_bytes).ok();
                        self.marks.extend(mark.filter(|mark| *mark > given));
                    }
                    Record::Control(Control { kind: STOPPED, body }) => {
                        let last = (given, self.incarnation().saturating_sub(1));
                        if stopped(&body) == Some(last) {
                            self.may_be_done_below = given;
                        }
                    }
                    Record::Control(Control { kind: SWAP, body }) => {
                        if let (Some(swaps), Some((from, swap))) = (swaps, Swap::decode(&body)) {
                            swaps.hold(from, &swap)?;
                        }
                    }
                    Record::Data(_) | Record::Control(_) | Record::Commit(_) => {}
                }
            }
        }
    }

    /// The place of what was kept last.
    pub(super) fn last_group(&self) -> Option<Reader> {
        self.journal.as_ref().map(Journal::last_group)
    }

    /// Reads on, on a thread that may block.
    pub(super) async fn read(&mut self, mut reader: Reader) -> Result<(Reader, Vec<Committed>)> {
        let Some(journal) = self.journal.take() else { return Err(gone()) };
        let read = blocking(move || {
            let found = journal.read(&mut reader);
            (journal, reader, found)
        });
        let (journal, reader, found) = read.await?;
        self.journal = Some(journal);
        Ok((reader, found?))
    }

    /// Commits one record on a thread that may block, and gives it back. Without room nothing is left of it.
    async fn write(&mut self, record: Record, epochs: Epochs) -> Result<(Record, Result<(), JournalError>)> {
        let (Some(mut journal), queries) = (self.journal.take(), self.queries) else { return Err(gone()) };
        let written = blocking(move || {
            let done = journal.append(&record).and_then(|()| journal.commit(epochs, queries));
            if done.is_err() {
                journal.abandon();
            }
            (journal, record, done)
        });
        let (journal, record, done) = written.await?;
        self.journal = Some(journal);
        self.make_ahead().await;
        Ok((record, done))
    }

    /// Has the next segment made before it is needed.
    async fn make_ahead(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if let Some(made) = self.ahead.take_if(|made| made.is_finished()) {
            journal.keep_spare(made.join().await.flatten());
        }
        if let Some(maker) = journal.wants_spare() {
            self.ahead = Some(background::spawn(move || maker.make()));
        }
    }

    /// Waits until nobody writes in the folder any more.
    pub(super) async fn settle(&mut self) {
        if let Some(made) = self.ahead.take() {
            made.join().await;
        }
    }

    pub(super) fn bytes_left(&self, reader: &Reader) -> u64 {
        self.journal.as_ref().map_or(0, |journal| journal.bytes_left(reader))
    }
}

fn gone() -> Error {
    Error::Plan("the journal is gone".into())
}

fn line_of(metrics: &Metrics, source: &str) -> Result<usize> {
    let line = metrics.sources.iter().position(|metrics| metrics.name == source);
    line.ok_or_else(|| Error::Plan(format!("the journal has rows of source {source:?}, which is not here")))
}

impl Intake {
    /// Goes on after what the journal had at the start. What came after the checkpoint waits to be worked on again.
    pub(super) fn go_on(&mut self) -> Result<()> {
        let Some(journal) = self.input.as_ref().and_then(|input| input.journal.as_ref()) else {
            return Ok(());
        };
        let (from, to) = (self.given_epoch, journal.next_epoch());
        if let Some(last) = self.input.as_ref().and_then(|input| input.last_wall_clock) {
            self.wall_clock.go_on(last);
        }
        self.wall_clock.compare();
        if to > from {
            tracing::info!("works again on what was kept since the last checkpoint: epochs {from} to {to}");
            self.waiting = Some(Waiting::new(journal.reader(from)?, self.wall_clock.at()));
            self.next_epoch = to;
        }
        Ok(())
    }

    pub(super) fn line(&self, source: &str) -> Result<usize> {
        line_of(&self.metrics, source)
    }

    /// Makes a chunk durable, or only its `number` if the connector gives it again; gives it back once it is. `None` if the program stops or fails before.
    pub(super) async fn keep(&mut self, line: usize, work: Work, number: Option<u64>) -> Option<Work> {
        if self.input.is_none() {
            return Some(work);
        }
        match self.try_keep(line, work, number).await {
            Ok(kept) => kept,
            Err(error) => {
                self.control.fail(error);
                None
            }
        }
    }

    async fn try_keep(&mut self, line: usize, work: Work, number: Option<u64>) -> Result<Option<Work>> {
        let Work { epoch, epochs, chunk, wall_clock, ends_source, is_decoded, is_history } = work;
        let Kept { data: chunk, aside } = Kept::new(chunk, number, ends_source)?;
        let count = u32::try_from(epochs).unwrap_or(u32::MAX);
        let span = Epochs { first: epoch, count, wall_clock };
        let source = self.metrics.sources[line].name.clone();
        let record = Record::Data(Data { source, epochs: span, chunk });
        let Some(Record::Data(Data { chunk, .. })) = self.commit(record, span).await? else {
            return Ok(None);
        };
        self.lines[line].position = chunk.position.clone().or(self.lines[line].position.take());
        let chunk = Kept { data: chunk, aside }.into_chunk()?;
        Ok(Some(Work { epoch, epochs, chunk, wall_clock, ends_source, is_decoded, is_history }))
    }

    /// Notes in the journal that input is lost.
    pub(super) async fn keep_gap(&mut self, line: usize, reason: &str) {
        if self.input.is_none() {
            return;
        }
        let (source, from, to) =
            (self.metrics.sources[line].name.clone(), self.wall_clock.at(), self.wall_clock.now());
        let record = Record::Gap(Gap { source, reason: reason.to_owned(), from, to });
        let none = Epochs { first: self.next_epoch, count: 0, wall_clock: to };
        if let Err(error) = self.commit(record, none).await {
            self.control.fail(error);
        }
    }

    /// Notes in the journal that a checkpoint is taken here: sinks end their files, and whoever works on the journal again ends
    /// them at the same place. Where there is no room for that, the checkpoint makes some.
    pub(super) async fn keep_mark(&mut self) -> Result<()> {
        let epoch = self.given_epoch;
        let Some(input) = self.input.as_mut().filter(|_| epoch > 0) else { return Ok(()) };
        let is_known = input.marks.front().is_some_and(|mark| *mark <= epoch);
        input.marks.retain(|mark| *mark > epoch);
        if is_known {
            return Ok(());
        }
        let mark = Control { kind: CHECKPOINT, body: epoch.to_le_bytes().to_vec() };
        self.note(Record::Control(mark)).await?;
        Ok(())
    }

    /// True if there was a checkpoint here when the journal was written, which is taken again.
    pub(super) fn is_at_mark(&self) -> bool {
        let mark = self.input.as_ref().and_then(|input| input.marks.front());
        mark.is_some_and(|mark| *mark <= self.given_epoch) && !self.control.is_stopping()
    }

    /// Commits one record. Waits as long as there is no room: meanwhile nothing is acknowledged.
    async fn commit(&mut self, record: Record, epochs: Epochs) -> Result<Option<Record>> {
        let mut record = record;
        loop {
            let Some(input) = &mut self.input else { return Ok(Some(record)) };
            let (back, done) = input.write(record, epochs).await?;
            record = back;
            match done {
                Ok(()) => {
                    if std::mem::take(&mut input.is_full) {
                        tracing::info!("there is room for the journal again: the program goes on");
                    }
                    return Ok(Some(record));
                }
                Err(full @ JournalError::Full { .. }) => {
                    let is_news = !std::mem::replace(&mut input.is_full, true);
                    if is_news {
                        tracing::warn!(
                            "STALLED(disk): {full}; nothing is taken or acknowledged until there is room"
                        );
                    }
                    if self.control.is_stopping() {
                        return Ok(None);
                    }
                    self.make_room(is_news).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Commits a record of no epochs, if there is room.
    pub(super) async fn note(&mut self, record: Record) -> Result<bool> {
        let epochs = Epochs { first: self.next_epoch, count: 0, wall_clock: self.wall_clock.at() };
        let Some(input) = &mut self.input else { return Ok(false) };
        match input.write(record, epochs).await?.1 {
            Ok(()) => Ok(true),
            Err(JournalError::Full { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that nothing was worked on beyond the last checkpoint; without room that is not known at the next start.
    pub(super) async fn note_stop(&mut self) -> Result<()> {
        let Some(input) = &self.input else { return Ok(()) };
        let mut body = self.given_epoch.to_le_bytes().to_vec();
        body.extend(input.incarnation().to_le_bytes());
        self.note(Record::Control(Control { kind: STOPPED, body })).await.map(|_| ())
    }

    /// Works on while nothing can be kept: what came before a new checkpoint need not be kept any more.
    async fn make_room(&mut self, is_news: bool) {
        let is_shedding = self.lines.iter().any(Line::is_shedding);
        if (is_news || self.is_checkpoint_due() || self.is_at_mark()) && !is_shedding {
            self.checkpoint().await;
        }
        let clock = self.wall_clock.clock().clone();
        let until = clock.steady().saturating_add(FULL_FOR_US);
        loop {
            self.give_waiting().await;
            let control = Arc::clone(&self.control);
            // Whoever waits next looks for himself whether something has changed.
            tokio::select! {
                () = control.changed.notified() => {}
                () = background::sleep_until(&clock, until) => return,
            }
        }
    }

    /// What is before the checkpoints is not needed any more.
    pub(super) fn cut_journal(&mut self, epoch: Epoch) -> Result<()> {
        match self.input.as_mut().and_then(|input| input.journal.as_mut()) {
            Some(journal) => Ok(journal.cut(epoch)?),
            None => Ok(()),
        }
    }
}

impl Line {
    /// Takes note of a chunk that was kept before the start.
    fn review(&mut self, chunk: DataChunk) -> Result<()> {
        self.position = chunk.position.clone().or(self.position.take());
        self.has_ended |= chunk.ends_source;
        if let DataPayload::Chunk(_) = chunk.payload {
            self.waiting_chunks += 1;
            return Ok(());
        }
        let chunk = record::chunk(chunk, None)?;
        self.wait(&chunk);
        if let Payload::Messages(messages) = &chunk.payload {
            for message in messages {
                self.packets.remember(message);
            }
            self.keys.remember(Keys::of(messages));
        }
        Ok(())
    }

    /// The payload of a chunk that the connector gives again.
    pub(super) async fn again(&mut self, number: u64, source: &str) -> Result<Payload> {
        while self.skip > 0 && self.chunks.recv().await.is_some() {
            self.skip -= 1;
        }
        if number != self.given {
            let reason = format!("the journal has its chunk {number}, where {} is next", self.given);
            return Err(Error::connector("source", source, reason));
        }
        let Some(Chunk { payload, .. }) = self.chunks.recv().await else {
            let reason = "it ends sooner than before: has a file changed?";
            return Err(Error::connector("source", source, reason));
        };
        Ok(payload)
    }
}
