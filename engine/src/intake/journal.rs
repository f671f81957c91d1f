//! The part of the intake in the journal: what the connectors give is durable before it is worked on or acknowledged,
//! and after a restart it is worked on again.

use std::collections::HashMap;
use std::time::Duration;

use super::record::{self, Kept};
use super::{Intake, Line, Work};
use crate::error::{Error, Result};
use crate::journal::{Data, DataPayload, Epochs, Gap, Journal, JournalError, Record, Recovered, Settings};
use crate::source::{Chunk, Payload};
use crate::time::Epoch;

/// How long the intake waits until it tries again to write where there was no room.
const FULL_FOR: Duration = Duration::from_millis(500);

/// The journal of a program, and what it had at the start.
pub(crate) struct Input {
    /// `None` while it is written on another thread.
    journal: Option<Journal>,
    /// What is worked on again, until that is done.
    recovered: Option<Recovered>,
    /// A hash of the program.
    queries: u128,
    /// It has been told that there is no room.
    is_full: bool,
}

impl Input {
    /// Opens the journal of the program that `identity` names.
    ///
    /// # Errors
    /// If another engine writes it, or it is damaged.
    pub(crate) fn open(settings: Settings, identity: &str) -> Result<Self> {
        let (journal, recovered) = Journal::open(settings)?;
        let queries = xxhash_rust::xxh3::xxh3_128(identity.as_bytes());
        Ok(Self { journal: Some(journal), recovered: Some(recovered), queries, is_full: false })
    }

    /// The epoch after the last one that was kept.
    pub(crate) fn replayed_below(&self) -> Epoch {
        self.recovered.as_ref().map_or(0, |recovered| recovered.next_epoch)
    }

    /// Where each source stands that has said so since the epoch `from`.
    pub(crate) fn positions(&self, from: Epoch) -> Result<HashMap<String, Vec<u8>>> {
        let mut positions = HashMap::new();
        for record in self.replay(from)? {
            if let Record::Data(Data { source, chunk, .. }) = record?
                && let Some(position) = chunk.position
            {
                positions.insert(source, position);
            }
        }
        Ok(positions)
    }

    fn replay(&self, from: Epoch) -> Result<impl Iterator<Item = Result<Record, JournalError>> + use<>> {
        let recovered = self.recovered.as_ref().filter(|recovered| recovered.next_epoch > from);
        Ok(recovered.map(|recovered| recovered.replay_from(from)).transpose()?.into_iter().flatten())
    }
}

impl Intake {
    /// Works again on what came after the checkpoint.
    pub(super) async fn replay(&mut self) -> Result<()> {
        let Some(input) = &self.input else { return Ok(()) };
        let (from, to) = (self.next_epoch, input.replayed_below());
        if to > from {
            tracing::info!("works again on what was kept since the last checkpoint: epochs {from} to {to}");
        }
        for record in input.replay(from)? {
            match record? {
                Record::Data(data) => self.give_again(data).await?,
                Record::Gap(Gap { source, .. }) => {
                    if let Some(line) = self.line(&source) {
                        self.lines[line].packets.forget();
                        self.metrics.sources[line].gaps.add(1);
                    }
                }
                Record::Control(_) | Record::Commit(_) => {}
            }
            if self.control.has_failed() {
                break;
            }
        }
        if let Some(input) = &mut self.input {
            input.recovered = None;
        }
        Ok(())
    }

    fn line(&self, source: &str) -> Option<usize> {
        self.metrics.sources.iter().position(|metrics| metrics.name == source)
    }

    async fn give_again(&mut self, data: Data) -> Result<()> {
        let Data { source, epochs, chunk } = data;
        let no_source =
            || Error::Plan(format!("the journal has rows of source {source:?}, which is not here"));
        let line = self.line(&source).ok_or_else(no_source)?;
        let ends_source = chunk.ends_source;
        let again = match chunk.payload {
            DataPayload::Chunk(number) => Some(self.lines[line].again(number, &source).await?),
            _ => None,
        };
        let state = &mut self.lines[line];
        state.position = chunk.position.clone().or(state.position.take());
        state.has_ended |= ends_source;
        state.is_loaded |= chunk.is_loaded && again.is_some();
        state.given += u64::from(again.is_some());
        let chunk = record::chunk(chunk, again)?;
        if let Payload::Messages(messages) = &chunk.payload {
            for message in messages {
                state.packets.admit(message);
            }
        }
        self.wait_for_room().await;
        self.wall_clock.go_on(epochs.wall_clock);
        let (epoch, wall_clock) = (epochs.first, epochs.wall_clock);
        self.push(line, Work { epoch, epochs: epochs.count.into(), chunk, wall_clock, ends_source });
        Ok(())
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
        let Work { epoch, epochs, chunk, wall_clock, ends_source } = work;
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
        Ok(Some(Work { epoch, epochs, chunk, wall_clock, ends_source }))
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

    /// Commits one record. Waits as long as there is no room: meanwhile nothing is acknowledged.
    async fn commit(&mut self, record: Record, epochs: Epochs) -> Result<Option<Record>> {
        let (mut record, mut is_appended) = (record, false);
        loop {
            let Some(input) = &mut self.input else { return Ok(Some(record)) };
            let (Some(mut journal), queries) = (input.journal.take(), input.queries) else {
                return Err(Error::Plan("the journal is gone".into()));
            };
            let written = tokio::task::spawn_blocking(move || {
                let append = if is_appended { Ok(()) } else { journal.append(&record) };
                let is_appended = append.is_ok();
                let done = append.and_then(|()| journal.commit(epochs, queries));
                (journal, record, is_appended, done)
            });
            let written =
                written.await.map_err(|error| Error::Plan(format!("the journal failed: {error}")))?;
            let (journal, back, appended, done) = written;
            (record, is_appended) = (back, appended);
            let input = self.input.as_mut().expect("it was there");
            input.journal = Some(journal);
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
                    // What came before a new checkpoint need not be kept any more.
                    if is_news || self.is_checkpoint_due() {
                        self.checkpoint().await;
                    }
                    tokio::time::sleep(FULL_FOR).await;
                }
                Err(error) => return Err(error.into()),
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
    /// The payload of a chunk that the connector gives again.
    async fn again(&mut self, number: u64, source: &str) -> Result<Payload> {
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
