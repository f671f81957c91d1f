//! `Feed`: the chunks of one source on their way to the workers.
//!
//! Each chunk belongs to the worker that has had least so far, which decodes it. So decoding runs on all of them, and a chunk
//! is on the same worker whenever it is worked on again: what is written of it is written there. What a worker decoded goes
//! on only when its turn comes, in the order of the chunks: there the watermark is made and late rows are told apart, so
//! that both are the same for any number of workers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use timely::scheduling::SyncActivator;

use crate::checkpoint::{column, number, numbers};
use crate::control::lock;
use crate::deduplicate::Deduplicator;
use crate::error::Result;
use crate::operator::Snapshot;
use crate::plan::Plan;
use crate::source::{Chunk, Decoded, Decoder, Payload};
#[cfg(doc)]
use crate::time::EpochHeader;
use crate::time::{Epoch, EventTime, Watermark};
use crate::watermark::{SourceClock, Stamped};

/// The table of a snapshot with the number of chunks.
const PUSHED: &str = "pushed";
/// The table of a snapshot with what each worker has had.
const LOADS: &str = "loads";
/// Of the epochs of history, one in so many is the last before changes are given: about a million rows of Parquet.
const SETTLE_EVERY: Epoch = 32;

/// A chunk with its place in the order of the program.
#[derive(Debug)]
pub(crate) struct Work {
    /// The epoch of its first batch; each further batch has the next one.
    pub(crate) epoch: Epoch,
    /// How many epochs are set apart for it.
    pub(crate) epochs: u64,
    pub(crate) chunk: Chunk,
    pub(crate) wall_clock: i64,
    /// The source has no more rows after it.
    pub(crate) ends_source: bool,
    /// The intake has decoded it.
    pub(crate) is_decoded: bool,
    /// It is history, which is read as fast as it can be: see [`EpochHeader::more_follows`].
    pub(crate) is_history: bool,
}

impl Work {
    /// The epoch after its last one.
    pub(crate) fn end(&self) -> Epoch {
        self.epoch + self.epochs
    }
}

/// The chunks of one source, shared by the intake and all workers.
pub(crate) struct Feed {
    pub(crate) decoder: Arc<dyn Decoder>,
    state: Mutex<State>,
    /// The other sources that have a watermark.
    others: OnceLock<Vec<Weak<Feed>>>,
}

struct State {
    clock: SourceClock,
    deduplicator: Option<Deduplicator>,
    /// Not claimed yet.
    queue: VecDeque<Queued>,
    /// What each worker has had, in rows or bytes, beyond the one that has had least.
    loads: Vec<u64>,
    /// Chunks that were pushed, those before a checkpoint included.
    pushed: u64,
    /// Claimed or not: the next epoch and the end of each chunk that is not done, in order.
    open: VecDeque<(Epoch, Epoch)>,
    /// The number of the chunk whose turn it is.
    turn: u64,
    /// Below it nothing more will come.
    floor: Epoch,
    closed: bool,
    workers: Vec<SyncActivator>,
}

/// A chunk that waits for its worker.
struct Queued {
    number: u64,
    work: Work,
    /// `None` until a worker asks: only then it is known how many there are.
    worker: Option<usize>,
}

/// A claimed chunk, without the raw input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// Its number among the chunks of the source.
    pub(crate) number: u64,
    pub(crate) partition: usize,
    pub(crate) wall_clock: i64,
    /// The last one of its partition.
    pub(crate) ends_partition: bool,
    pub(crate) ends_source: bool,
    /// It need not be decoded.
    pub(crate) is_decoded: bool,
    is_history: bool,
    /// See [`Chunk::rest`].
    rest: Option<EventTime>,
    /// Its first epoch, if it is only there to let time pass.
    tick: Option<Epoch>,
}

impl Ticket {
    /// True if its turn depends on the other sources.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.tick.is_some()
    }

    /// True if an epoch is set apart after the rows, in which the watermark moves because something ended.
    pub(crate) fn has_end(&self) -> bool {
        self.ends_partition || self.ends_source
    }
}

/// What a worker learns from [`Feed::stamp`].
pub(crate) struct Turn {
    pub(crate) epoch: Epoch,
    pub(crate) stamped: Option<Stamped>,
    pub(crate) watermark: Watermark,
    /// See [`EpochHeader::more_follows`].
    pub(crate) more_follows: bool,
}

impl Feed {
    pub(crate) fn new(
        decoder: Arc<dyn Decoder>,
        clock: SourceClock,
        deduplicator: Option<Deduplicator>,
    ) -> Self {
        let state = State {
            clock,
            deduplicator,
            queue: VecDeque::new(),
            loads: Vec::new(),
            pushed: 0,
            open: VecDeque::new(),
            turn: 0,
            floor: 0,
            closed: false,
            workers: Vec::new(),
        };
        Self { decoder, state: Mutex::new(state), others: OnceLock::new() }
    }

    /// Tells each source of the others whose watermarks it follows while it is silent.
    pub(crate) fn introduce(feeds: &[Arc<Self>], plan: &Plan) {
        let streams =
            || feeds.iter().zip(&plan.sources).filter(|(_, node)| node.watermark.is_some() && !node.is_table);
        for (feed, _) in streams() {
            let others = streams().filter(|(other, _)| !Arc::ptr_eq(other, feed));
            feed.others.get_or_init(|| others.map(|(other, _)| Arc::downgrade(other)).collect());
        }
    }

    fn others(&self) -> impl Iterator<Item = Arc<Self>> {
        self.others.get().into_iter().flatten().filter_map(Weak::upgrade)
    }

    pub(crate) fn add_worker(&self, activator: SyncActivator) {
        lock(&self.state).workers.push(activator);
    }

    // The side of the intake.

    /// Adds a chunk; nothing below its end will come any more.
    pub(crate) fn push(&self, work: Work) {
        let mut state = lock(&self.state);
        state.open.push_back((work.epoch, work.end()));
        state.floor = work.end();
        let number = state.pushed;
        state.queue.push_back(Queued { number, work, worker: None });
        state.pushed += 1;
        state.wake();
    }

    /// Nothing below `floor` will come any more; other sources have those epochs.
    pub(crate) fn advance(&self, floor: Epoch) {
        let mut state = lock(&self.state);
        state.floor = floor;
        state.wake();
    }

    /// What it knows of time and of the rows before, while nothing is on its way.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let state = lock(&self.state);
        let mut snapshot = state.clock.snapshot()?;
        if let Some(deduplicator) = &state.deduplicator {
            for part in deduplicator.snapshot()? {
                snapshot.put("passed", part);
            }
        }
        snapshot.put(PUSHED, numbers([(PUSHED, vec![state.pushed.cast_signed()])])?);
        let loads = state.loads.iter().map(|load| load.cast_signed()).collect();
        snapshot.put(LOADS, numbers([(LOADS, loads)])?);
        Ok(snapshot)
    }

    /// Puts back what [`Feed::snapshot`] gave.
    pub(crate) fn restore(&self, snapshot: &mut Snapshot) -> Result<()> {
        let mut state = lock(&self.state);
        state.clock.restore(snapshot)?;
        // Earlier versions did not count them.
        if let Some(pushed) = snapshot.take(PUSHED) {
            state.pushed = number(&pushed, PUSHED)?.cast_unsigned();
            state.turn = state.pushed;
        }
        if let Some(loads) = snapshot.take(LOADS) {
            state.loads = column(&loads, LOADS)?.iter().map(|load| load.cast_unsigned()).collect();
        }
        let Some(deduplicator) = &mut state.deduplicator else { return Ok(()) };
        snapshot.take_parts("passed").iter().try_for_each(|part| deduplicator.restore(part))
    }

    /// Nothing will come any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.wake();
    }

    // The side of the workers.

    /// The next chunk of this worker, one of so many.
    pub(crate) fn claim(&self, worker: usize, workers: usize) -> Option<(Ticket, Chunk)> {
        let mut state = lock(&self.state);
        state.share_out(workers);
        let at = state.queue.iter().position(|queued| queued.worker == Some(worker))?;
        let Queued { number, work, .. } = state.queue.remove(at)?;
        let is_end = work.chunk.last || work.ends_source;
        let is_tick = matches!(work.chunk.payload, Payload::Empty) && !is_end;
        let ticket = Ticket {
            number,
            partition: work.chunk.partition,
            wall_clock: work.wall_clock,
            ends_partition: work.chunk.last,
            ends_source: work.ends_source,
            is_decoded: work.is_decoded,
            is_history: work.is_history,
            rest: work.chunk.rest,
            tick: is_tick.then_some(work.epoch),
        };
        Some((ticket, work.chunk))
    }

    /// True if the batches of this chunk are next. Where only time passes, the other sources must have come to the same
    /// epoch, so that what their watermarks are does not depend on which worker is faster.
    pub(crate) fn is_turn(&self, ticket: &Ticket) -> bool {
        let is_there = |tick: Epoch| self.others().all(|o| o.frontier().is_none_or(|at| at > tick));
        lock(&self.state).turn == ticket.number && ticket.tick.is_none_or(is_there)
    }

    /// The watermark, unless the source has ended or nobody waits for it.
    fn counted_watermark(&self, now: i64) -> Option<Watermark> {
        let mut state = lock(&self.state);
        (!state.clock.is_idle(now)).then(|| state.clock.watermark(now))
    }

    /// Gives the next batch of the chunk whose turn it is its epoch, tells late rows apart and moves the watermark.
    /// The last batch of a partition or source is followed by a call without rows.
    pub(crate) fn stamp(&self, ticket: &Ticket, decoded: Option<&Decoded>) -> Result<Turn> {
        let (partition, now) = (ticket.partition, ticket.wall_clock);
        let others = || self.others().filter_map(|other| other.counted_watermark(now)).min();
        let others = ticket.tick.and_then(|_| others());
        let mut state = lock(&self.state);
        let stamped = match decoded {
            Some(decoded) => {
                let State { clock, deduplicator, .. } = &mut *state;
                let mut stamped = clock.stamp(decoded.rows.clone(), partition, now)?;
                if let Some(deduplicator) = deduplicator {
                    stamped.deduplicate(deduplicator, clock.passed(now))?;
                }
                Some(stamped)
            }
            None => {
                if ticket.ends_partition {
                    state.clock.end_partition(partition);
                }
                if ticket.ends_source {
                    state.clock.end();
                }
                if let Some(others) = others {
                    state.clock.follow(others, now);
                }
                None
            }
        };
        let watermark = state.clock.watermark(now);
        let front = state.open.front_mut().expect("the chunk is open until it is done");
        let epoch = front.0;
        assert!(epoch < front.1, "a decoder gave more batches than it said");
        front.0 += 1;
        state.wake();
        let more_follows =
            ticket.is_history && decoded.is_some() && !(epoch + 1).is_multiple_of(SETTLE_EVERY);
        Ok(Turn { epoch, stamped, watermark, more_follows })
    }

    /// The chunk whose turn it is is done; the turn passes on.
    pub(crate) fn finish(&self, ticket: &Ticket) {
        let mut state = lock(&self.state);
        state.clock.set_rest(ticket.partition, ticket.rest);
        state.open.pop_front();
        state.turn += 1;
        state.wake();
    }

    /// The least epoch that may still come; `None` if none will.
    pub(crate) fn frontier(&self) -> Option<Epoch> {
        let state = lock(&self.state);
        match state.open.front() {
            Some((next, _)) => Some(*next),
            None => (!state.closed).then_some(state.floor),
        }
    }
}

/// What a chunk costs a worker, about: the same number whenever it is worked on.
fn weight(chunk: &Chunk) -> u64 {
    let weight = match &chunk.payload {
        Payload::Rows(_) | Payload::Decoded(_) => chunk.payload.records() as u64,
        other => other.estimated_bytes(1),
    };
    weight.max(1)
}

impl State {
    /// Gives each chunk to the worker that has had least.
    fn share_out(&mut self, workers: usize) {
        self.loads.resize(workers, 0);
        for queued in self.queue.iter_mut().filter(|queued| queued.worker.is_none()) {
            let least = self.loads.iter().enumerate().min_by_key(|(_, load)| **load);
            let Some((worker, _)) = least else { return };
            queued.worker = Some(worker);
            self.loads[worker] += weight(&queued.work.chunk);
            let least = self.loads.iter().copied().min().unwrap_or(0);
            self.loads.iter_mut().for_each(|load| *load -= least);
        }
    }

    fn wake(&self) {
        for worker in &self.workers {
            // A worker that is gone already needs no waking.
            worker.activate().ok();
        }
    }
}
