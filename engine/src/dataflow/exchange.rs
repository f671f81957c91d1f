//! Who gets which rows: a batch is split by the numbers of its rows, which the workers copy out of it with Arrow kernels.

use std::sync::Arc;

use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::progress::Stamp;

use super::frame::{Frame, Part, Selected};
use crate::batch::Batch;
use crate::hash::partition;

/// Distributes the parts of a frame. Rows go by key, to one worker, or where they are addressed to; marks go where
/// they are addressed to, which past the source is the worker itself.
pub(super) struct RowDistributor {
    rule: Rule,
}

/// Where rows go.
pub(super) enum Rule {
    /// To the worker that owns the values of these columns.
    ByKey(Vec<usize>),
    /// To the first worker.
    Gather,
    /// Where they are addressed to; not addressed, they stay on worker `here`.
    Addressed { here: usize },
}

impl RowDistributor {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule }
    }

    fn place(&self, part: Part, shares: &mut [Vec<Part>]) {
        match part {
            Part::Mark { to, .. } => shares[to].push(part),
            Part::Rows { order, to, rows } => match &self.rule {
                Rule::Gather => shares[0].push(Part::Rows { order, to, rows }),
                Rule::Addressed { here } => shares[to.unwrap_or(*here)].push(Part::Rows { order, to, rows }),
                Rule::ByKey(keys) => {
                    let workers = shares.len();
                    let batch = rows.into_batch().expect("row numbers of this batch");
                    for (share, rows) in shares.iter_mut().zip(split(&batch, keys, workers)) {
                        if rows.num_rows() > 0 {
                            share.push(Part::Rows { order, to: None, rows });
                        }
                    }
                }
            },
        }
    }
}

fn split(batch: &Batch, keys: &[usize], workers: usize) -> Vec<Selected> {
    let columns: Vec<_> = keys.iter().map(|key| Arc::clone(batch.rows().column(*key))).collect();
    let taken = partition(&columns, batch.num_rows(), workers);
    let taken = taken.expect("the planner chose keys that can be hashed");
    taken.into_iter().map(|rows| Selected::of(batch.clone(), rows)).collect()
}

impl Distributor<Frame> for RowDistributor {
    fn partition<T: Clone, P: Push<Message<T, Frame>>>(
        &mut self,
        frame: &mut Frame,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let mut shares = vec![Vec::new(); pushers.len()];
        for part in std::mem::take(frame).parts {
            self.place(part, &mut shares);
        }
        for (share, pusher) in shares.into_iter().zip(pushers) {
            if !share.is_empty() {
                Message::push_at(&mut Frame::new(share), stamp.clone(), pusher);
            }
        }
    }

    /// Nothing is kept back.
    fn flush<T: Clone, P: Push<Message<T, Frame>>>(&mut self, _stamp: &Stamp<T>, _pushers: &mut [P]) {}
}
