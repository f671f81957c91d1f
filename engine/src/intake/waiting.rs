//! Input that is kept in the journal and waits to be worked on, because the workers are behind or the program has started
//! again. Only where it stands is in memory, and about a MiB that was read ahead.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Intake, Line, Work};
use super::{record, shed};
use crate::background::sleep_until;
use crate::error::{Error, Result};
use crate::journal::{Committed, Data, DataPayload, Reader, Record};
use crate::plan::Overload;
use crate::source::Chunk;
use crate::time::Epoch;

/// Chunks of a source that blocks which may wait in the journal, so that others that are behind do not keep it from being read.
const BLOCKED: u64 = 2;

/// Where the waiting input stands.
#[derive(Debug)]
pub(super) struct Waiting {
    /// `None` while it is used on another thread.
    reader: Option<Reader>,
    /// Read and not given to the workers.
    ready: VecDeque<Data>,
    ready_bytes: u64,
    /// When the first of it came that is not ready.
    since: i64,
}

impl Waiting {
    pub(super) fn new(reader: Reader, since: i64) -> Self {
        Self { reader: Some(reader), ready: VecDeque::new(), ready_bytes: 0, since }
    }

    fn oldest(&self) -> i64 {
        self.ready.front().map_or(self.since, |data| data.epochs.wall_clock)
    }

    /// Adds what was read from the journal.
    fn add(&mut self, groups: Vec<Committed>, from: Epoch) {
        self.ready_bytes = groups.iter().map(|group| group.bytes).sum();
        for record in groups.into_iter().flat_map(|group| group.records) {
            // What the others did to the program was done when they were kept.
            if let Record::Data(data) = record
                && !data.epochs.are_before(from)
            {
                self.since = data.epochs.wall_clock;
                self.ready.push_back(data);
            }
        }
    }
}

impl Line {
    /// A chunk waits in the journal.
    pub(super) fn wait(&mut self, chunk: &Chunk) {
        if shed::is_input(chunk) {
            self.waiting_chunks += 1;
            self.waiting_bytes += chunk.payload.bytes() as u64;
        }
    }

    fn wait_no_more(&mut self, chunk: &Chunk) {
        if shed::is_input(chunk) {
            self.waiting_chunks = self.waiting_chunks.saturating_sub(1);
            // Rows that come back from the journal may take other memory than they took before.
            let bytes = self.waiting_bytes.saturating_sub(chunk.payload.bytes() as u64);
            self.waiting_bytes = if self.waiting_chunks == 0 { 0 } else { bytes };
        }
    }
}

impl Intake {
    /// True if input waits in the journal.
    pub(super) fn is_behind(&self) -> bool {
        self.given_epoch < self.next_epoch
    }

    /// True if the next chunk can be given to the workers at once.
    pub(super) fn can_give(&self) -> bool {
        !self.is_behind() && !self.holds && self.credit.has_room()
    }

    pub(super) fn can_give_waiting(&self) -> bool {
        self.is_behind() && !self.holds && !self.is_at_mark() && self.credit.has_room_for_waiting()
    }

    /// True if the head of this line may be taken now. What is in the journal may wait there; of what the connector gives
    /// again at every run only the number is, and only its end can.
    pub(super) fn may_take(&self, line: &Line) -> bool {
        let may_wait = match line.overload {
            Overload::Block => line.waiting_chunks < BLOCKED,
            _ => true,
        };
        let can_wait = !line.repeats || line.has_ended;
        self.input.is_some() && can_wait && may_wait || self.can_give()
    }

    /// The chunk that was kept last waits.
    pub(super) fn let_wait(&mut self, line: usize, chunk: &Chunk) {
        self.lines[line].wait(chunk);
        if self.waiting.is_none() {
            let place = self.input.as_ref().and_then(super::Input::last_group);
            self.waiting = place.map(|place| Waiting::new(place, self.wall_clock.at()));
        }
    }

    /// Gives the workers what waits, as far as there is credit.
    pub(super) async fn give_waiting(&mut self) {
        self.note_completed();
        while self.can_give_waiting() && !self.control.has_failed() {
            if let Err(error) = self.give_next().await {
                self.control.fail(error);
                return;
            }
        }
        self.tell_lag();
    }

    /// Gives all that waits before the program ends; after a stop for some time only.
    pub(super) async fn work_off(&mut self) {
        let clock = self.wall_clock.clock().clone();
        let mut stops_at = None;
        loop {
            let control = Arc::clone(&self.control);
            let changed = control.changed.notified();
            self.give_waiting().await;
            if !control.is_stopping() {
                self.checkpoint_if_due().await;
            }
            if !self.is_behind() || control.has_failed() {
                return;
            }
            let is_shedding = self.lines.iter().any(Line::is_shedding);
            if !control.is_stopping() || is_shedding {
                changed.await;
                continue;
            }
            let until = *stops_at.get_or_insert_with(|| clock.steady().saturating_add(self.works_off_us));
            let is_over = tokio::select! {
                biased;
                () = sleep_until(&clock, until) => true,
                () = changed => false,
            };
            if is_over {
                let bytes = self.bytes_waiting();
                tracing::info!(
                    "{bytes} bytes wait in the journal: they are worked on when the program is started again"
                );
                return;
            }
        }
    }

    /// The same, after it was decided what of it is given up.
    pub(super) async fn decide_and_give(&mut self) {
        if let Err(error) = self.decide().await {
            self.control.fail(error);
        }
        self.give_waiting().await;
        self.tell_shed();
    }

    /// Source and epoch of the chunk that waits next, if there is one.
    pub(super) async fn peek_waiting(&mut self) -> Result<Option<(String, Epoch)>> {
        let Some(data) = self.next_waiting().await? else { return Ok(None) };
        let next = (data.source.clone(), data.epochs.first);
        if let Some(waiting) = &mut self.waiting {
            waiting.ready.push_front(data);
        }
        Ok(Some(next))
    }

    async fn give_next(&mut self) -> Result<()> {
        let Some(data) = self.next_waiting().await? else {
            return Err(Error::Plan(format!("the journal ends before epoch {}", self.next_epoch)));
        };
        self.give_again(data).await?;
        if !self.is_behind() {
            self.waiting = None;
        }
        Ok(())
    }

    async fn next_waiting(&mut self) -> Result<Option<Data>> {
        loop {
            let (Some(waiting), Some(input)) = (&mut self.waiting, &mut self.input) else { return Ok(None) };
            if let Some(data) = waiting.ready.pop_front() {
                return Ok(Some(data));
            }
            let Some(reader) = waiting.reader.take() else { return Ok(None) };
            let (reader, groups) = input.read(reader).await?;
            waiting.reader = Some(reader);
            if groups.is_empty() {
                return Ok(None);
            }
            waiting.add(groups, self.given_epoch);
        }
    }

    async fn give_again(&mut self, data: Data) -> Result<()> {
        let Data { source, epochs, chunk } = data;
        let line = self.line(&source)?;
        let ends_source = chunk.ends_source;
        let again = match chunk.payload {
            DataPayload::Chunk(number) => Some(self.lines[line].again(number, &source).await?),
            _ => None,
        };
        let state = &mut self.lines[line];
        let is_again = again.is_some();
        state.is_loaded |= chunk.is_loaded && is_again;
        state.given += u64::from(is_again);
        let chunk = record::chunk(chunk, again)?;
        if is_again {
            state.waiting_chunks = state.waiting_chunks.saturating_sub(1);
        } else {
            state.wait_no_more(&chunk);
        }
        let (epoch, wall_clock) = (epochs.first, epochs.wall_clock);
        let epochs = epochs.count.into();
        let (is_decoded, is_history) = (false, false);
        let work = Work { epoch, epochs, chunk, wall_clock, ends_source, is_decoded, is_history };
        let end = work.end();
        match self.shed(line, work).await? {
            Some(work) => self.push(line, work),
            None => self.pass_to(end, None),
        }
        Ok(())
    }

    /// Bytes of the journal that the workers have not been given.
    fn bytes_waiting(&self) -> u64 {
        let (Some(waiting), Some(input)) = (&self.waiting, &self.input) else { return 0 };
        let left = waiting.reader.as_ref().map_or(0, |reader| input.bytes_left(reader));
        left + if waiting.ready.is_empty() { 0 } else { waiting.ready_bytes }
    }

    /// Takes note of the epochs that are complete.
    pub(super) fn note_completed(&mut self) {
        self.credit.complete(self.control.completed());
    }

    /// Shows how far the workers are behind.
    pub(super) fn tell_lag(&self) {
        // Before the first one is complete, nothing since the start is.
        let completed = self.control.completed().max(self.first_epoch);
        let open = self.next_epoch.saturating_sub(completed);
        let oldest = self.credit.oldest().or_else(|| self.waiting.as_ref().map(Waiting::oldest));
        self.metrics.lag.set(open, self.bytes_waiting(), self.credit.bytes(), oldest);
    }
}
