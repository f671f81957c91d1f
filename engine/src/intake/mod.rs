//! The intake: takes chunks from the connectors, numbers them (epochs), and gives them to the workers.
//!
//! Tables are loaded before anything else. Bounded sources are read in step, always the one whose event time is
//! behind, so the order is the same at every run. Live sources are read as they come: while the workers are busy,
//! messages gather to larger chunks, so a burst costs few epochs and a quiet line waits for nothing.
//!
//! ```text
//! connectors --chunk--> epoch, journal -----------------------> workers    there is credit
//!                                     `--> waits in the journal --^        as soon as there is
//! ```
//!
//! Where there is a journal it is the buffer, too: while the workers are behind, live sources are still read, kept and
//! acknowledged; what waits is read again from the journal, in order. Otherwise sources wait.

mod checkpoint;
mod credit;
mod feed;
mod journal;
mod keys;
mod packets;
mod record;
mod shed;
mod silence;
mod swaps;
#[cfg(test)]
mod tests;
mod waiting;
mod wall_clock;

use std::future::{pending, poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::sync::mpsc;

pub(crate) use feed::{Feed, Ticket, Turn, Work};
pub(crate) use journal::Input;
pub(crate) use keys::Keys;
pub(crate) use packets::Packets;
pub(crate) use shed::Shedding;
pub(crate) use swaps::SWAPS;

use credit::Credit;
use silence::Silence;
use waiting::Waiting;
use wall_clock::WallClock;

use crate::background::sleep_until;
use crate::checkpoint::Checkpoints;
use crate::clock::Clock;
use crate::control::Control;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::plan::Overload;
use crate::run::Settings;
use crate::source::{Chunk, Message, Payload, Receipt};
use crate::swap::Swaps;
use crate::time::Epoch;

/// Messages that are gathered in one chunk, at most.
const MAX_RECORDS: usize = 4096;
/// Bytes of messages that are gathered in one chunk, about.
const MAX_BYTES: usize = 1 << 20;
/// How long more messages are gathered while the workers are behind, microseconds: in fewer epochs they catch up faster.
const BEHIND_US: i64 = 5_000;
/// How often the engine looks whether a source or key has become idle.
const TICK_US: i64 = 500_000;

/// One source, as the intake sees it.
pub(crate) struct Line {
    pub(crate) feed: Arc<Feed>,
    pub(crate) chunks: mpsc::Receiver<Chunk>,
    pub(crate) is_bounded: bool,
    pub(crate) is_table: bool,
    /// It says when it has given what was there at the start.
    pub(crate) loads: bool,
    /// It has said so. If it is bounded, what comes now are changes.
    pub(crate) is_loaded: bool,
    /// Its watermark depends on the wall clock.
    pub(crate) can_idle: bool,
    /// The next chunk, looked at but not given to the workers.
    pub(crate) head: Option<Chunk>,
    pub(crate) has_ended: bool,
    /// Chunks of the connector that have been given to the workers.
    pub(crate) given: u64,
    /// Chunks that had been given before the checkpoint from which the program goes on.
    pub(crate) skip: u64,
    /// The connector gives the same chunks at every run.
    pub(crate) repeats: bool,
    /// Where the connector stands after the last chunk that was given.
    pub(crate) position: Option<Vec<u8>>,
    /// What a broker may send again.
    pub(crate) packets: Packets,
    /// What a client may send again.
    pub(crate) keys: Keys,
    /// Columns of its rows.
    pub(crate) columns: usize,
    pub(crate) overload: Overload,
    pub(crate) shedding: Shedding,
    /// Its input that waits in the journal.
    pub(crate) waiting_chunks: u64,
    pub(crate) waiting_bytes: u64,
}

/// The task that forms epochs.
pub(crate) struct Intake {
    lines: Vec<Line>,
    wall_clock: WallClock,
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    /// What may be on its way through the workers.
    credit: Credit,
    /// The epoch of the next chunk that comes.
    next_epoch: Epoch,
    /// All before it has been given to the workers; what is between the two waits in the journal.
    given_epoch: Epoch,
    waiting: Option<Waiting>,
    /// How long it is worked on after a stop.
    works_off_us: i64,
    /// The first epoch that the workers are given in this run.
    first_epoch: Epoch,
    ticked_at: i64,
    /// When the last chunk came, or time passed for those that may become idle.
    came_at: i64,
    silence: Silence,
    /// Nothing more is given to the workers until a checkpoint is taken.
    holds: bool,
    checkpoints: Option<Arc<Checkpoints>>,
    checkpoint_at: i64,
    workers: usize,
    /// The journal, if there is one.
    input: Option<Input>,
    /// What is swapped between two epochs.
    swaps: Option<Swaps>,
}

/// What a chunk is, beside its payload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// One of the connector.
    Chunk,
    /// The source has ended.
    End,
    /// Only time passes.
    Tick,
}

impl Line {
    /// It is read in step with the others that end.
    fn is_in_step(&self) -> bool {
        self.is_bounded && !self.is_loaded
    }

    /// The next chunk, if there is one or it comes until then.
    async fn next_within(&mut self, clock: &Clock, until: Option<i64>) -> Option<Chunk> {
        let Some(until) = until else { return self.chunks.try_recv().ok() };
        tokio::select! {
            biased;
            chunk = self.chunks.recv() => chunk,
            () = sleep_until(clock, until) => None,
        }
    }

    /// A table that has been read, and is read again when it changes: nobody waits for that.
    fn gives_changes(&self) -> bool {
        self.is_bounded && self.is_loaded
    }
}

/// What comes next.
enum Event {
    /// The head of this line.
    Chunk(usize),
    /// Time has passed.
    Tick,
    /// An epoch is complete, or the workers can be given more.
    Changed,
    /// All sources have ended.
    End,
    /// The program stops.
    Stop,
}

impl Intake {
    pub(crate) fn new(
        lines: Vec<Line>,
        control: Arc<Control>,
        metrics: Arc<Metrics>,
        settings: &Settings,
        checkpoints: Option<Arc<Checkpoints>>,
        input: Option<Input>,
    ) -> Result<Self> {
        let (clock, workers) = (settings.clock.clone(), settings.workers);
        let works_off = settings.journal.as_ref().map(|journal| journal.works_off).unwrap_or_default();
        let mut intake = Self {
            checkpoint_at: clock.now(),
            lines,
            wall_clock: WallClock::new(clock.clone()),
            control,
            metrics,
            credit: Credit::new(workers, settings.input_bytes),
            next_epoch: 0,
            given_epoch: 0,
            waiting: None,
            works_off_us: i64::try_from(works_off.as_micros()).unwrap_or(i64::MAX),
            first_epoch: 0,
            ticked_at: i64::MIN,
            came_at: clock.steady(),
            silence: Silence::new(clock.steady()),
            holds: false,
            checkpoints,
            workers,
            input,
            swaps: settings.swaps.clone(),
        };
        let restored = intake.checkpoints.as_ref().and_then(|checkpoints| checkpoints.restored.clone());
        if let Some(restored) = restored {
            intake.restore(&restored)?;
        }
        intake.first_epoch = intake.given_epoch;
        intake.go_on()?;
        intake.tell_lag();
        Ok(intake)
    }

    /// Runs until all sources have ended or the program stops.
    pub(crate) async fn run(mut self) {
        self.swap_what_was_asked_for().await;
        self.checkpoint_first().await;
        let tables: Vec<usize> = self.lines_where(|line| line.is_table && (line.is_bounded || line.loads));
        self.read(&tables, |line| line.has_ended || line.is_loaded).await;
        let all: Vec<usize> = self.lines_where(|_| true);
        self.read(&all, |line| line.has_ended || line.gives_changes()).await;
        self.drain().await;
        self.work_off().await;
        if self.control.is_stopping() && !self.control.has_failed() {
            self.checkpoint().await;
            if let Err(error) = self.note_stop().await {
                self.control.fail(error);
            }
        }
        if let Some(input) = &mut self.input {
            input.settle().await;
        }
        for line in &self.lines {
            line.feed.close();
        }
    }

    fn lines_where(&self, wanted: impl Fn(&Line) -> bool) -> Vec<usize> {
        (0..self.lines.len()).filter(|line| wanted(&self.lines[*line])).collect()
    }

    /// Reads `lines` until all of them are done or the program stops.
    async fn read(&mut self, lines: &[usize], is_done: fn(&Line) -> bool) {
        loop {
            self.swap_what_was_asked_for().await;
            self.decide_and_give().await;
            self.checkpoint_if_due().await;
            match self.next(lines, is_done).await {
                Event::Chunk(line) => {
                    self.give_head(line).await;
                    self.came_at = self.wall_clock.clock().steady();
                    self.silence.end(self.came_at);
                    if self.wall_clock.at().saturating_sub(self.ticked_at) >= TICK_US {
                        self.tick().await;
                    }
                }
                Event::Tick => {
                    self.tick().await;
                    self.came_at = self.wall_clock.clock().steady();
                }
                Event::Changed => {}
                Event::End | Event::Stop => return,
            }
        }
    }

    async fn next(&mut self, lines: &[usize], is_done: fn(&Line) -> bool) -> Event {
        let control = Arc::clone(&self.control);
        let changed = control.changed.notified();
        if control.is_stopping() {
            return Event::Stop;
        }
        self.note_completed();
        let can_idle = lines.iter().any(|line| self.lines[*line].can_idle && !self.lines[*line].has_ended);
        // A source that is not read is not silent.
        let idle_at = can_idle.then(|| self.came_at.saturating_add(TICK_US));
        let tick_at = idle_at.into_iter().chain(self.silence.tick_at()).min();
        let can_tick = tick_at.is_some() && (self.input.is_some() || self.credit.has_room());
        let (clock, tick_at) = (self.wall_clock.clock().clone(), tick_at.unwrap_or(i64::MAX));
        let can_give = self.can_give_waiting();
        let swaps = self.swaps.clone();
        let is_asked = async {
            match &swaps {
                Some(swaps) => swaps.news().await,
                None => pending().await,
            }
        };
        let chunk = poll_fn(|context| self.poll_heads(lines, is_done, context));
        tokio::select! {
            biased;
            event = chunk => event,
            () = changed => Event::Changed,
            () = is_asked => Event::Changed,
            () = sleep_until(&clock, tick_at), if can_tick => Event::Tick,
            () = ready(()), if can_give => Event::Changed,
        }
    }

    /// Looks at the next chunk of each line and chooses one.
    fn poll_heads(
        &mut self,
        lines: &[usize],
        is_done: fn(&Line) -> bool,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Event> {
        for line in lines {
            let line = &mut self.lines[*line];
            // What it gives again may belong to what waits.
            let is_read = !line.repeats || line.waiting_chunks == 0;
            if line.head.is_none() && !line.has_ended && is_read {
                match line.next_chunk(context) {
                    Poll::Ready(Some(chunk)) => line.head = Some(chunk),
                    Poll::Ready(None) => {
                        line.has_ended = true;
                        line.head = Some(Chunk::new(Payload::Empty));
                    }
                    Poll::Pending => {}
                }
            }
        }
        let is_next = |line: &Line| !line.is_in_step() && line.head.is_some() && self.may_take(line);
        let live = lines.iter().find(|line| is_next(&self.lines[**line]));
        if let Some(live) = live {
            return Poll::Ready(Event::Chunk(*live));
        }
        let bounded =
            || lines.iter().map(|line| (*line, &self.lines[*line])).filter(|(_, line)| line.is_in_step());
        // In step: only when the next chunk of every bounded source is known can the first of them be told.
        if bounded().all(|(_, line)| line.head.is_some() || line.has_ended) {
            let heads = bounded().filter_map(|(index, line)| Some((index, line.head.as_ref()?)));
            if let Some((first, _)) = heads.min_by_key(|(_, chunk)| chunk.near) {
                let may_take = self.may_take(&self.lines[first]);
                return if may_take { Poll::Ready(Event::Chunk(first)) } else { Poll::Pending };
            }
        }
        if lines.iter().all(|line| is_done(&self.lines[*line])) {
            Poll::Ready(Event::End)
        } else {
            Poll::Pending
        }
    }

    async fn give_head(&mut self, line: usize) {
        let Some(mut chunk) = self.lines[line].head.take() else {
            return;
        };
        if let Payload::Messages(_) = chunk.payload {
            let clock = self.wall_clock.clock().clone();
            let until = self.is_behind().then(|| clock.steady().saturating_add(BEHIND_US));
            gather(&mut chunk, &mut self.lines[line], &clock, until).await;
        }
        let state = &mut self.lines[line];
        let ends_source = state.has_ended;
        state.is_loaded |= chunk.is_loaded;
        // The end itself was no chunk of the connector.
        state.given += u64::from(!ends_source);
        self.take(line, chunk, if ends_source { Given::End } else { Given::Chunk }).await;
    }

    /// Gives what is new of a chunk to the workers, and tells the connector that it is kept. False if it could not be kept,
    /// which is as if it had not come.
    async fn take(&mut self, line: usize, mut chunk: Chunk, given: Given) -> bool {
        let receipts = std::mem::take(&mut chunk.receipts);
        let is_kept = match &mut chunk.payload {
            Payload::Gap(reason) => {
                let reason = std::mem::take(reason);
                self.note_gap(line, &reason).await
            }
            Payload::Messages(messages) => {
                self.drop_repeated(line, messages);
                let delivered = messages.iter().filter(|message| message.packet.is_some()).count();
                self.sample(line, messages);
                let keys = Keys::of(messages);
                let is_kept = messages.is_empty() || self.give(line, chunk, given).await;
                if is_kept {
                    self.lines[line].keys.remember(keys);
                } else {
                    self.lines[line].packets.take_back(delivered);
                }
                is_kept
            }
            _ => self.give(line, chunk, given).await,
        };
        if is_kept {
            receipts.into_iter().for_each(Receipt::sign);
        } else {
            let line = &mut self.lines[line];
            line.given -= u64::from(given == Given::Chunk);
            // The program stops: what follows must not take its place.
            line.has_ended = true;
        }
        is_kept
    }

    /// The broker has forgotten us. Before the first message there is nothing that could be lost.
    async fn note_gap(&mut self, line: usize, reason: &str) -> bool {
        self.lines[line].packets.forget();
        let metrics = &self.metrics.sources[line];
        if metrics.received.get() > 0 {
            metrics.gaps.add(1);
            let name = &metrics.name;
            tracing::warn!("GAP in source {name:?}: {reason}; what was published meanwhile is lost");
            self.keep_gap(line, reason).await;
        }
        !self.control.has_failed()
    }

    /// Drops the messages that are kept already.
    fn drop_repeated(&mut self, line: usize, messages: &mut Vec<Message>) {
        let all = messages.len();
        messages.retain(|message| self.lines[line].packets.admit(message));
        let repeated = all - messages.len();
        self.metrics.sources[line].received.add(repeated);
        self.metrics.sources[line].deduplicated.add(repeated);
    }

    /// Keeps a chunk and gives it to the workers; false if it could not be kept.
    async fn give(&mut self, line: usize, chunk: Chunk, given: Given) -> bool {
        let wall_clock = self.wall_clock.now();
        let ends_source = given == Given::End;
        // The last epoch is for the watermark that moves because a partition or the source has ended.
        let epochs = (u64::from(chunk.batches) + u64::from(chunk.last || ends_source)).max(1);
        let is_history = given == Given::Chunk && self.input.is_none() && self.lines[line].is_in_step();
        let epoch = self.next_epoch;
        let work = Work { epoch, epochs, chunk, wall_clock, ends_source, is_decoded: false, is_history };
        let number = (self.lines[line].repeats && given == Given::Chunk).then(|| self.lines[line].given - 1);
        let waits = self.input.is_some() && number.is_none() && !self.can_give();
        let Some(work) = self.keep(line, work, number).await else { return false };
        self.next_epoch = work.end();
        if waits {
            self.let_wait(line, &work.chunk);
        } else {
            self.push(line, work);
        }
        true
    }

    /// Gives a chunk to the workers.
    fn push(&mut self, line: usize, work: Work) {
        self.metrics.sources[line].bytes.add(work.chunk.payload.bytes());
        self.pass_to(work.end(), Some(line));
        let bytes = work.chunk.payload.estimated_bytes(self.lines[line].columns);
        self.credit.open(work.end(), bytes, work.wall_clock);
        self.lines[line].feed.push(work);
    }

    /// All epochs below `epoch` have been given to the workers, or to nobody: only line `but` may still have some of them.
    fn pass_to(&mut self, epoch: Epoch, but: Option<usize>) {
        self.given_epoch = epoch;
        for (index, line) in self.lines.iter().enumerate() {
            if Some(index) != but {
                line.feed.advance(epoch);
            }
        }
    }

    /// Lets time pass for the sources of which nothing waits to be read.
    async fn tick(&mut self) {
        let is_silent = self.silence.is_time(self.wall_clock.clock().steady());
        for index in 0..self.lines.len() {
            let line = &self.lines[index];
            let waits = line.can_idle || is_silent && !line.is_bounded;
            if waits && !line.has_ended && line.head.is_none() && line.chunks.is_empty() {
                self.give(index, Chunk::new(Payload::Empty), Given::Tick).await;
            }
        }
        self.ticked_at = self.wall_clock.now();
    }

    /// After a stop: what the connectors have handed over is still kept.
    async fn drain(&mut self) {
        self.holds = false;
        if self.control.has_failed() {
            return;
        }
        for line in 0..self.lines.len() {
            self.lines[line].chunks.close();
            if self.lines[line].has_ended {
                continue;
            }
            let head = self.lines[line].head.take();
            if let Some(chunk) = head {
                self.take_last(line, chunk).await;
            }
            while let Some(chunk) = self.lines[line].chunks.recv().await {
                if !self.lines[line].has_ended && !self.lines[line].skips() {
                    self.take_last(line, chunk).await;
                }
            }
        }
        if self.checkpoints.is_none() {
            self.settle().await;
        }
    }

    /// What waits for the epochs that would have followed ([`crate::time::EpochHeader::more_follows`]) is given now.
    async fn settle(&mut self) {
        let history = self.lines_where(|line| line.is_in_step() && !line.has_ended);
        if let Some(line) = history.first() {
            self.give(*line, Chunk::new(Payload::Empty), Given::Tick).await;
        }
    }

    async fn take_last(&mut self, line: usize, chunk: Chunk) {
        // What the connector gives again at the next start must not overtake what waits.
        if !(self.lines[line].repeats && self.is_behind()) {
            self.lines[line].given += 1;
            self.take(line, chunk, Given::Chunk).await;
        }
    }
}

/// Adds the messages that have come meanwhile, and those that come until then.
async fn gather(chunk: &mut Chunk, line: &mut Line, clock: &Clock, until: Option<i64>) {
    let Payload::Messages(messages) = &mut chunk.payload else {
        return;
    };
    let mut bytes = messages.iter().map(|message| message.payload.len()).sum::<usize>();
    while messages.len() < MAX_RECORDS && bytes < MAX_BYTES {
        match line.next_within(clock, until).await {
            Some(Chunk { payload: Payload::Messages(more), receipts, .. }) => {
                chunk.receipts.extend(receipts);
                bytes +=
                    more.iter().map(|message| message.payload.len() + message.topic.len()).sum::<usize>();
                messages.extend(more);
            }
            Some(other) => {
                line.head = Some(other);
                return;
            }
            None => return,
        }
    }
}

/// Sets the totals of the status line, where they are known.
pub(crate) fn set_totals(metrics: &crate::metrics::SourceMetrics, rows: Option<u64>, bytes: Option<u64>) {
    metrics.total_rows.store(rows.unwrap_or(0), Ordering::Relaxed);
    metrics.total_bytes.store(bytes.unwrap_or(0), Ordering::Relaxed);
}
