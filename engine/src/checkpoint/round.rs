//! How a checkpoint is taken without stopping the stream.
//!
//! ```text
//! intake   nothing is on its way: begins one --> goes on as soon as every worker has answered
//! worker   snapshot() of each operator, then rest_of_snapshot(), part by part, between two steps of the dataflow
//! writer   tables into files, hashes, manifest; older checkpoints are deleted          (writer.rs)
//! ```

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Checkpoints;
use super::writer::Part;
use crate::control::lock;
use crate::dataflow::Stateful;
use crate::error::Result;

/// How long a worker sleeps while the writer has no room for its next part, and nothing else is to be done.
const PATIENCE: Duration = Duration::from_millis(1);

/// What the workers are asked for, and what they have done.
#[derive(Debug, Default)]
pub(crate) struct Round(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    number: u64,
    /// Where the workers hand over their parts, until all have answered.
    parts: Option<SyncSender<Part>>,
    /// Workers that have not answered.
    missing: usize,
    /// Workers that have not handed over all, and the writer.
    busy: usize,
}

impl Round {
    /// Asks `workers` workers for their part of a checkpoint.
    pub(super) fn begin(&self, parts: SyncSender<Part>, workers: usize) {
        let mut state = lock(&self.0);
        state.number += 1;
        (state.parts, state.missing, state.busy) = (Some(parts), workers, workers + 1);
    }

    /// The checkpoint that is wanted of a worker that has answered up to number `answered`, and where it goes.
    fn wanted(&self, answered: u64) -> Option<(u64, SyncSender<Part>)> {
        let state = lock(&self.0);
        state.parts.clone().filter(|_| state.number > answered).map(|parts| (state.number, parts))
    }

    /// One more worker has answered.
    fn answer(&self) {
        let mut state = lock(&self.0);
        state.missing = state.missing.saturating_sub(1);
        if state.missing == 0 {
            state.parts = None;
        }
    }

    /// A worker has handed over all, or the writer is done.
    pub(super) fn end(&self) {
        let mut state = lock(&self.0);
        state.busy = state.busy.saturating_sub(1);
    }

    /// Nothing is handed over any more.
    pub(super) fn close(&self) {
        lock(&self.0).parts = None;
    }

    /// Every worker has answered: the stream may go on.
    pub(crate) fn is_taken(&self) -> bool {
        lock(&self.0).missing == 0
    }

    /// The workers have handed over all: only the writer is left.
    pub(super) fn is_handed_over(&self) -> bool {
        lock(&self.0).busy == 1
    }

    /// No checkpoint is on its way.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).busy == 0
    }
}

/// The side of one worker.
pub(crate) struct HandOver {
    checkpoints: Arc<Checkpoints>,
    worker: usize,
    operators: Stateful,
    /// The number of the last checkpoint that it has answered.
    answered: u64,
    open: Option<Open>,
}

/// A checkpoint of which not all is handed over.
struct Open {
    parts: SyncSender<Part>,
    /// What is ready to be handed over.
    ready: VecDeque<Part>,
    /// The operator that gives the next part.
    next: usize,
}

impl HandOver {
    pub(crate) fn new(checkpoints: Arc<Checkpoints>, worker: usize, operators: Stateful) -> Self {
        Self { checkpoints, worker, operators, answered: 0, open: None }
    }

    /// How long the worker may sleep if there is nothing else to do; `None` until it is woken.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.open.as_ref().map(|open| if open.ready.is_empty() { Duration::ZERO } else { PATIENCE })
    }

    /// Answers a checkpoint that has begun, or makes and hands over one more part. True if something has changed for the
    /// intake.
    pub(crate) fn go_on(&mut self) -> Result<bool> {
        match (self.checkpoints.round.wanted(self.answered), &mut self.open) {
            (Some((number, parts)), _) => {
                self.answer(parts)?;
                self.answered = number;
                Ok(true)
            }
            (None, Some(open)) => {
                if !open.hand_over(self.worker, &self.operators)? {
                    return Ok(false);
                }
                self.open = None;
                self.checkpoints.round.end();
                Ok(true)
            }
            (None, None) => Ok(false),
        }
    }

    fn answer(&mut self, parts: SyncSender<Part>) -> Result<()> {
        let mut open = Open { parts, ready: VecDeque::new(), next: 0 };
        for (owner, operator) in &self.operators {
            let snapshot = operator.borrow_mut().snapshot()?;
            open.ready.push_back(Part::Tables { worker: self.worker, owner: owner.clone(), snapshot });
        }
        self.open = Some(open);
        self.checkpoints.round.answer();
        Ok(())
    }
}

impl Open {
    /// Hands over what is ready and makes the next part; true if that was all.
    fn hand_over(&mut self, worker: usize, operators: &Stateful) -> Result<bool> {
        while let Some(part) = self.ready.pop_front() {
            match self.parts.try_send(part) {
                Err(TrySendError::Full(part)) => {
                    self.ready.push_front(part);
                    return Ok(false);
                }
                // If the writer has failed, the operators are brought to the end of their snapshots all the same.
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            }
        }
        while let Some((owner, operator)) = operators.get(self.next) {
            if let Some(snapshot) = operator.borrow_mut().rest_of_snapshot()? {
                self.ready.push_back(Part::Tables { worker, owner: owner.clone(), snapshot });
                return Ok(false);
            }
            self.next += 1;
        }
        if self.next == operators.len() {
            self.next += 1;
            self.ready.push_back(Part::Last);
            return Ok(false);
        }
        Ok(true)
    }
}
