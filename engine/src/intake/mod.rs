//! The intake: takes chunks from the connectors, numbers them (epochs), and gives them to the workers.
//!
//! Tables are loaded before anything else. Bounded sources are read in step, always the one whose event time is
//! behind, so the order is the same at every run. Live sources are read as they come: while the workers are busy,
//! messages gather to larger chunks, so a burst costs few epochs and a quiet line waits for nothing.

mod checkpoint;
mod feed;
mod journal;
mod packets;
mod record;
mod wall_clock;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;

pub(crate) use feed::{Feed, Ticket, Turn, Work};
pub(crate) use journal::Input;
pub(crate) use packets::Packets;
use wall_clock::WallClock;

use crate::checkpoint::Checkpoints;
use crate::clock::Clock;
use crate::control::Control;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::source::{Chunk, Message, Payload, Receipt};
use crate::time::Epoch;

/// Messages that are gathered in one chunk, at most.
const MAX_RECORDS: usize = 4096;
/// Bytes of messages that are gathered in one chunk, about.
const MAX_BYTES: usize = 1 << 20;
/// How often an idle engine looks whether a source or key has become idle.
const TICK: Duration = Duration::from_millis(500);
/// The same, for an engine that is busy with other sources.
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
}

/// The task that forms epochs.
pub(crate) struct Intake {
    lines: Vec<Line>,
    wall_clock: WallClock,
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    /// Chunks that may be open (given to the workers and not complete) at a time: the only back-pressure.
    max_open: usize,
    next_epoch: Epoch,
    ticked_at: i64,
    /// The end of each open chunk.
    open: VecDeque<Epoch>,
    checkpoints: Option<Arc<Checkpoints>>,
    checkpoint_at: i64,
    workers: usize,
    /// The journal, if there is one.
    input: Option<Input>,
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
    /// All sources have ended.
    End,
    /// The program stops.
    Stop,
}

impl Intake {
    pub(crate) fn new(
        lines: Vec<Line>,
        clock: Clock,
        control: Arc<Control>,
        metrics: Arc<Metrics>,
        workers: usize,
        checkpoints: Option<Arc<Checkpoints>>,
        input: Option<Input>,
    ) -> Result<Self> {
        let mut intake = Self {
            checkpoint_at: clock.now(),
            lines,
            wall_clock: WallClock::new(clock),
            control,
            metrics,
            max_open: 4 + 2 * workers,
            next_epoch: 0,
            ticked_at: i64::MIN,
            open: VecDeque::new(),
            checkpoints,
            workers,
            input,
        };
        let restored = intake.checkpoints.as_ref().and_then(|checkpoints| checkpoints.restored.clone());
        if let Some(restored) = restored {
            intake.restore(&restored)?;
        }
        Ok(intake)
    }

    /// Runs until all sources have ended or the program stops.
    pub(crate) async fn run(mut self) {
        self.checkpoint_first().await;
        if let Err(error) = self.replay().await {
            self.control.fail(error);
        }
        self.wall_clock.compare();
        let tables: Vec<usize> = self.lines_where(|line| line.is_table && (line.is_bounded || line.loads));
        self.read(&tables, |line| line.has_ended || line.is_loaded).await;
        let all: Vec<usize> = self.lines_where(|_| true);
        self.read(&all, |line| line.has_ended || line.gives_changes()).await;
        self.drain().await;
        if self.control.is_stopping() && !self.control.has_failed() {
            self.checkpoint().await;
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
            self.wait_for_room().await;
            match self.next(lines, is_done).await {
                Event::Chunk(line) => {
                    self.give_head(line).await;
                    self.checkpoint_if_due().await;
                    if self.wall_clock.at().saturating_sub(self.ticked_at) >= TICK_US {
                        self.tick().await;
                    }
                }
                Event::Tick => self.tick().await,
                Event::End | Event::Stop => return,
            }
        }
    }

    /// Waits until less than `max_open` chunks are open.
    async fn wait_for_room(&mut self) {
        loop {
            let changed = self.control.changed.notified();
            let completed = self.control.completed();
            while self.open.front().is_some_and(|end| *end <= completed) {
                self.open.pop_front();
            }
            if self.open.len() < self.max_open || self.control.is_stopping() {
                return;
            }
            changed.await;
        }
    }

    async fn next(&mut self, lines: &[usize], is_done: fn(&Line) -> bool) -> Event {
        let control = Arc::clone(&self.control);
        let can_idle = lines.iter().any(|line| self.lines[*line].can_idle && !self.lines[*line].has_ended);
        let tick =
            async { if can_idle { tokio::time::sleep(TICK).await } else { std::future::pending().await } };
        let stop = async {
            loop {
                let changed = control.changed.notified();
                if control.is_stopping() {
                    return;
                }
                changed.await;
            }
        };
        let chunk = poll_fn(|context| self.poll_heads(lines, is_done, context));
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            event = chunk => event,
            () = tick => Event::Tick,
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
            if line.head.is_none() && !line.has_ended {
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
        let live =
            lines.iter().find(|line| !self.lines[**line].is_in_step() && self.lines[**line].head.is_some());
        if let Some(live) = live {
            return Poll::Ready(Event::Chunk(*live));
        }
        let bounded =
            || lines.iter().map(|line| (*line, &self.lines[*line])).filter(|(_, line)| line.is_in_step());
        // In step: only when the next chunk of every bounded source is known can the first of them be told.
        if bounded().all(|(_, line)| line.head.is_some() || line.has_ended) {
            let heads = bounded().filter_map(|(index, line)| Some((index, line.head.as_ref()?)));
            if let Some((first, _)) = heads.min_by_key(|(_, chunk)| chunk.near) {
                return Poll::Ready(Event::Chunk(first));
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
        let state = &mut self.lines[line];
        if let Payload::Messages(_) = chunk.payload {
            gather(&mut chunk, state);
        }
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
                let is_new = self.drop_repeated(line, messages);
                let ids: Vec<u16> = messages.iter().filter_map(|it| Some(it.packet?.id)).collect();
                let is_kept = !is_new || self.give(line, chunk, given).await;
                if !is_kept {
                    self.lines[line].packets.take_back(&ids);
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

    /// Drops the messages that are kept already; false if nothing is left.
    fn drop_repeated(&mut self, line: usize, messages: &mut Vec<Message>) -> bool {
        let all = messages.len();
        messages.retain(|message| self.lines[line].packets.admit(message));
        let repeated = all - messages.len();
        self.metrics.sources[line].received.add(repeated);
        self.metrics.sources[line].deduplicated.add(repeated);
        !messages.is_empty()
    }

    /// Keeps a chunk and gives it to the workers; false if it could not be kept.
    async fn give(&mut self, line: usize, chunk: Chunk, given: Given) -> bool {
        let wall_clock = self.wall_clock.now();
        let ends_source = given == Given::End;
        // The last epoch is for the watermark that moves because a partition or the source has ended.
        let epochs = u64::from(chunk.batches) + u64::from(chunk.last || ends_source);
        let work = Work { epoch: self.next_epoch, epochs, chunk, wall_clock, ends_source };
        let number = (self.lines[line].repeats && given == Given::Chunk).then(|| self.lines[line].given - 1);
        let Some(work) = self.keep(line, work, number).await else { return false };
        self.push(line, work);
        true
    }

    fn push(&mut self, line: usize, work: Work) {
        self.metrics.sources[line].bytes.add(work.chunk.payload.bytes());
        self.next_epoch = work.end();
        self.open.push_back(work.end());
        for (index, other) in self.lines.iter().enumerate() {
            if index != line {
                other.feed.advance(self.next_epoch);
            }
        }
        self.lines[line].feed.push(work);
    }

    /// Lets time pass for the sources of which nothing waits to be read.
    async fn tick(&mut self) {
        for index in 0..self.lines.len() {
            let line = &self.lines[index];
            if line.can_idle && !line.has_ended && line.head.is_none() && line.chunks.is_empty() {
                self.give(index, Chunk::new(Payload::Empty), Given::Tick).await;
            }
        }
        self.ticked_at = self.wall_clock.now();
    }

    /// After a stop: what the connectors have handed over is still given to the workers.
    async fn drain(&mut self) {
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
                self.lines[line].given += 1;
                self.take(line, chunk, Given::Chunk).await;
            }
            while let Some(chunk) = self.lines[line].chunks.recv().await {
                if self.lines[line].has_ended || self.lines[line].skips() {
                    continue;
                }
                self.lines[line].given += 1;
                self.take(line, chunk, Given::Chunk).await;
            }
        }
    }
}

/// Adds the messages that have come meanwhile.
fn gather(chunk: &mut Chunk, line: &mut Line) {
    let Payload::Messages(messages) = &mut chunk.payload else {
        return;
    };
    let mut bytes = messages.iter().map(|message| message.payload.len()).sum::<usize>();
    while messages.len() < MAX_RECORDS && bytes < MAX_BYTES {
        match line.chunks.try_recv() {
            Ok(Chunk { payload: Payload::Messages(more), receipts, .. }) => {
                chunk.receipts.extend(receipts);
                bytes +=
                    more.iter().map(|message| message.payload.len() + message.topic.len()).sum::<usize>();
                messages.extend(more);
            }
            Ok(other) => {
                line.head = Some(other);
                return;
            }
            Err(_) => return,
        }
    }
}

/// Sets the totals of the status line, where they are known.
pub(crate) fn set_totals(metrics: &crate::metrics::SourceMetrics, rows: Option<u64>, bytes: Option<u64>) {
    metrics.total_rows.store(rows.unwrap_or(0), Ordering::Relaxed);
    metrics.total_bytes.store(bytes.unwrap_or(0), Ordering::Relaxed);
}
