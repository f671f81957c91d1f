//! The timely operator of a source: claims chunks, decodes them, and sends their rows when it is their turn.
//!
//! It works in small steps (one batch a time) so that the operators behind it run in between, while the rows are
//! still in the cache. A worker whose turn has not come decodes ahead, up to a limit.

use std::collections::VecDeque;
use std::iter::once;
use std::sync::Arc;

use arrow::array::RecordBatch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use super::exchange::Rule;
use super::frame::{Frame, Mark, Part};
use crate::batch::Batch;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::intake::{Feed, Ticket, Turn};
use crate::metrics::Metrics;
use crate::plan::quarantine_rows;
use crate::source::{Decoded, Payload};
use crate::time::Epoch;

/// Batches that a worker decodes before their turn, at most. A chunk of a Parquet file has 8.
const AHEAD: usize = 16;
/// Batches that a worker sends before the operators behind it run, if there are other workers.
const BURST: usize = 2;

/// The streams of a source; `late` and `quarantine` are empty unless somebody reads them.
pub(super) struct SourceStreams<'scope> {
    pub(super) rows: Stream<'scope, Epoch, Frame>,
    pub(super) late: Stream<'scope, Epoch, Frame>,
    pub(super) quarantine: Stream<'scope, Epoch, Frame>,
}

type Port = OutputBuilder<Epoch, CapacityContainerBuilder<Frame>>;

/// Builds the operator of source number `index` on this worker.
pub(super) fn source<'scope>(
    scope: Scope<'scope, Epoch>,
    index: usize,
    feed: Arc<Feed>,
    control: &Arc<Control>,
    metrics: &Arc<Metrics>,
) -> SourceStreams<'scope> {
    let worker = scope.worker();
    let (here, workers) = (worker.index(), worker.peers());
    let mut builder = OperatorBuilder::new(metrics.sources[index].name.clone(), scope);
    let address = builder.operator_info().address;
    let activator = worker.activator_for(std::rc::Rc::clone(&address));
    feed.add_worker(worker.sync_activator_for(address.to_vec()));
    control.add_worker(worker.sync_activator_for(address.to_vec()));
    let (rows_port, rows) = builder.new_output();
    let (late_port, late) = builder.new_output();
    let (quarantine_port, quarantine) = builder.new_output();
    let ports = [rows_port, late_port, quarantine_port].map(Port::from);
    let reader =
        Reader { index, here, workers, feed, metrics: Arc::clone(metrics), claimed: VecDeque::new() };
    let control = Arc::clone(control);
    builder.build(move |capabilities| {
        let mut running = Some((reader, ports, capabilities));
        move |_frontiers| {
            let Some((reader, ports, capabilities)) = &mut running else {
                return;
            };
            match reader.step(ports, capabilities) {
                Ok(Step::Again) => activator.activate(),
                Ok(Step::Wait) => {}
                Ok(Step::Done) => running = None,
                Err(error) => {
                    control.fail(error);
                    running = None;
                }
            }
        }
    });
    // Marks are addressed to all workers; this is where they travel.
    let spread = |stream, name| super::render::forward(stream, name, Rule::Addressed { here });
    SourceStreams {
        rows: spread(rows, "rows"),
        late: spread(late, "late"),
        quarantine: spread(quarantine, "quarantine"),
    }
}

/// What a worker does for a source.
struct Reader {
    index: usize,
    here: usize,
    workers: usize,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    claimed: VecDeque<Claimed>,
}

type Batches = Box<dyn Iterator<Item = Result<Decoded>>>;

/// A chunk in work.
struct Claimed {
    ticket: Ticket,
    /// `None` once everything is decoded.
    batches: Option<Batches>,
    ready: VecDeque<Decoded>,
    /// It has no rows and still has an epoch.
    only_moves_time: bool,
}

enum Step {
    Again,
    Wait,
    Done,
}

impl Claimed {
    fn decode_one(&mut self) -> Result<()> {
        match self.batches.as_mut().and_then(Iterator::next) {
            Some(decoded) => self.ready.push_back(decoded?),
            None => self.batches = None,
        }
        Ok(())
    }
}

impl Reader {
    /// One step of work, then the capabilities follow the feed.
    fn step(&mut self, ports: &mut [Port; 3], capabilities: &mut Vec<Capability<Epoch>>) -> Result<Step> {
        self.claim()?;
        let worked = self.send(ports, capabilities)? || self.decode_ahead()?;
        match self.feed.frontier() {
            Some(frontier) => {
                for capability in capabilities {
                    capability.downgrade(&frontier);
                }
                Ok(if worked { Step::Again } else { Step::Wait })
            }
            None => Ok(Step::Done),
        }
    }

    /// Takes another chunk if what was taken is decoded and not too much.
    fn claim(&mut self) -> Result<()> {
        let waiting: usize = self.claimed.iter().map(|claimed| claimed.ready.len()).sum();
        let busy = self.claimed.iter().any(|claimed| claimed.batches.is_some());
        if busy || waiting >= AHEAD || self.claimed.len() >= AHEAD {
            return Ok(());
        }
        if let Some((ticket, chunk)) = self.feed.claim(self.here, self.workers) {
            let only_moves_time = matches!(chunk.payload, Payload::Empty);
            let batches: Option<Batches> = match chunk.payload {
                Payload::Empty => None,
                Payload::Decoded(decoded) if ticket.is_decoded => Some(Box::new(once(Ok(decoded)))),
                _ => Some(self.feed.decoder.decode(chunk)?),
            };
            self.claimed.push_back(Claimed { ticket, batches, ready: VecDeque::new(), only_moves_time });
        }
        Ok(())
    }

    /// Sends what it may. With several workers that is a short burst: the others wait for their turn, and for rows. A single
    /// worker sends batch by batch, so that the operators run while the rows are in the cache. True if there was something to do.
    fn send(&mut self, ports: &mut [Port; 3], capabilities: &[Capability<Epoch>]) -> Result<bool> {
        let worked = self.send_one(ports, capabilities)?;
        if worked && self.workers > 1 {
            for _ in 1..BURST {
                if !self.send_one(ports, capabilities)? {
                    break;
                }
            }
        }
        Ok(worked)
    }

    /// Sends the next batch, if it is its turn. True if there was something to do.
    fn send_one(&mut self, ports: &mut [Port; 3], capabilities: &[Capability<Epoch>]) -> Result<bool> {
        let Some(first) = self.claimed.front_mut() else {
            return Ok(false);
        };
        if !self.feed.is_turn(&first.ticket) {
            // Another source wakes only its own operators.
            return Ok(first.ticket.waits_for_others());
        }
        if first.ready.is_empty() {
            first.decode_one()?;
        }
        let ticket = first.ticket;
        if let Some(decoded) = first.ready.pop_front() {
            let turn = self.feed.stamp(&ticket, Some(&decoded))?;
            self.send_rows(turn, decoded, &ticket, ports, capabilities)?;
        } else if first.batches.is_none() {
            if ticket.has_end() || first.only_moves_time {
                let turn = self.feed.stamp(&ticket, None)?;
                self.send_marks(&turn, &ticket, ports, capabilities);
            }
            self.claimed.pop_front();
            self.feed.finish(&ticket);
        }
        Ok(true)
    }

    fn decode_ahead(&mut self) -> Result<bool> {
        let waiting: usize = self.claimed.iter().map(|claimed| claimed.ready.len()).sum();
        let Some(claimed) = self.claimed.iter_mut().find(|claimed| claimed.batches.is_some()) else {
            return Ok(false);
        };
        if waiting >= AHEAD {
            return Ok(false);
        }
        claimed.decode_one()?;
        Ok(true)
    }

    fn send_rows(
        &self,
        turn: Turn,
        mut decoded: Decoded,
        ticket: &Ticket,
        ports: &mut [Port; 3],
        capabilities: &[Capability<Epoch>],
    ) -> Result<()> {
        let metrics = &self.metrics.sources[self.index];
        metrics.received.add(decoded.added() + decoded.rejected.len());
        if let Some(stamped) = &turn.stamped {
            decoded.rejected.extend_from_slice(&stamped.rejected);
            let on_time = weighted(stamped.on_time.clone(), &decoded)?;
            metrics.processed.add(match &decoded.weights {
                Some(_) => decoded.added(),
                None => on_time.num_rows(),
            });
            metrics.late.add(stamped.late.as_ref().map_or(0, |late| late.num_rows()));
            metrics.deduplicated.add(stamped.repeated);
            let late = stamped.late.clone();
            let quarantine = match decoded.rejected.is_empty() {
                true => None,
                false => Some(quarantine_rows(&decoded.rejected, ticket.wall_clock)?),
            };
            metrics.quarantined.add(decoded.rejected.len());
            let batches = [Some(on_time), late.map(Batch::new), quarantine.map(Batch::new)];
            for ((port, capability), rows) in ports.iter_mut().zip(capabilities).zip(batches) {
                let Some(rows) = rows.filter(|rows| rows.num_rows() > 0) else {
                    continue;
                };
                let part = Part::Rows { order: 0, to: None, rows: rows.into() };
                let capability = capability.delayed(&turn.epoch);
                port.activate().session(&capability).give_container(&mut Frame::new(vec![part]));
            }
        }
        self.send_marks(&turn, ticket, ports, capabilities);
        Ok(())
    }

    fn send_marks(
        &self,
        turn: &Turn,
        ticket: &Ticket,
        ports: &mut [Port; 3],
        capabilities: &[Capability<Epoch>],
    ) {
        self.metrics.sources[self.index].set_watermark(turn.watermark);
        let mark = Mark {
            wall_clock: ticket.wall_clock,
            more_follows: turn.more_follows,
            watermark: turn.watermark,
        };
        let mark = |to| Part::Mark { to, mark };
        for (port, capability) in ports.iter_mut().zip(capabilities) {
            let capability = capability.delayed(&turn.epoch);
            let mut marks = Frame::new((0..self.workers).map(mark).collect());
            port.activate().session(&capability).give_container(&mut marks);
        }
    }
}

/// The rows that are on time, with the weights of all.
fn weighted(on_time: RecordBatch, all: &Decoded) -> Result<Batch> {
    match &all.weights {
        None => Ok(on_time.into()),
        Some(weights) if weights.len() == on_time.num_rows() => {
            Ok(Batch::with_weights(on_time, weights.clone()))
        }
        Some(_) => Err(Error::Plan("rows with weights come from a source that has a watermark".into())),
    }
}
