//! `Feed`: the chunks of one source on their way to the workers.
//!
//! Any free worker claims the next chunk and decodes it, so decoding runs on all of them. What a worker decoded goes on
//! only when its turn comes, in the order of the chunks: there the watermark is made and late rows are told apart, so
//! that both are the same for any number of workers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use timely::scheduling::SyncActivator;

use crate::control::lock;
use crate::error::Result;
use crate::source::{Chunk, Decoded, Decoder};
use crate::time::{Epoch, Watermark};
use crate::watermark::{SourceClock, Stamped};

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
}

struct State {
    clock: SourceClock,
    /// Not claimed yet.
    queue: VecDeque<Work>,
    /// Claimed or not: the next epoch and the end of each chunk that is not done, in order.
    open: VecDeque<(Epoch, Epoch)>,
    /// Number of chunks claimed and done so far.
    claimed: u64,
    done: u64,
    /// Below it nothing more will come.
    floor: Epoch,
    closed: bool,
    workers: Vec<SyncActivator>,
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
}

impl Ticket {
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
}

impl Feed {
    pub(crate) fn new(decoder: Arc<dyn Decoder>, clock: SourceClock) -> Self {
        let state = State {
            clock,
            queue: VecDeque::new(),
            open: VecDeque::new(),
            claimed: 0,
            done: 0,
            floor: 0,
            closed: false,
            workers: Vec::new(),
        };
        Self { decoder, state: Mutex::new(state) }
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
        state.queue.push_back(work);
        state.wake();
    }

    /// Nothing below `floor` will come any more; other sources have those epochs.
    pub(crate) fn advance(&self, floor: Epoch) {
        let mut state = lock(&self.state);
        state.floor = floor;
        state.wake();
    }

    /// Nothing will come any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.wake();
    }

    // The side of the workers.

    /// The next chunk that nobody has claimed.
    pub(crate) fn claim(&self) -> Option<(Ticket, Chunk)> {
        let mut state = lock(&self.state);
        let work = state.queue.pop_front()?;
        state.claimed += 1;
        let ticket = Ticket {
            number: state.claimed - 1,
            partition: work.chunk.partition,
            wall_clock: work.wall_clock,
            ends_partition: work.chunk.last,
            ends_source: work.ends_source,
        };
        Some((ticket, work.chunk))
    }

    /// True if the batches of chunk `number` are next.
    pub(crate) fn is_turn(&self, number: u64) -> bool {
        lock(&self.state).done == number
    }

    /// Gives the next batch of the chunk whose turn it is its epoch, tells late rows apart and moves the watermark.
    /// The last batch of a partition or source is followed by a call without rows.
    pub(crate) fn stamp(&self, ticket: &Ticket, decoded: Option<&Decoded>) -> Result<Turn> {
        let mut state = lock(&self.state);
        let (partition, now) = (ticket.partition, ticket.wall_clock);
        let stamped = match decoded {
            Some(decoded) => Some(state.clock.stamp(decoded.rows.clone(), partition, now)?),
            None => {
                if ticket.ends_partition {
                    state.clock.end_partition(partition);
                }
                if ticket.ends_source {
                    state.clock.end();
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
        Ok(Turn { epoch, stamped, watermark })
    }

    /// The chunk whose turn it is is done; the turn passes on.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        state.open.pop_front();
        state.done += 1;
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

impl State {
    fn wake(&self) {
        for worker in &self.workers {
            // A worker that is gone already needs no waking.
            worker.activate().ok();
        }
    }
}
