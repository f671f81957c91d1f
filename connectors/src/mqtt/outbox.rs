//! The outbox of a sink: what is to be published, from the threads of the workers to the task of the connection.
//!
//! A publication is in it until the broker has acknowledged it. The outbox is bounded: who puts into a full one waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use lineshaft_engine::Result;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::EventTime;
use rumqttc::{Publish, QoS};
use tokio::sync::Notify;

/// Publications that may wait, with those in flight.
pub(crate) const CAPACITY: usize = 10_000;

/// A message on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) publish: Publish,
    /// For a command: after that it must not leave. A command leaves at most once.
    pub(crate) expires_at: Option<EventTime>,
}

/// The outbox has been full for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Something is done, or the outbox is closed.
    changed: Condvar,
    /// There is something to take, or the outbox is closed.
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Publication>,
    /// Taken, and not done yet. Brokers acknowledge in the order in which they were sent.
    taken: VecDeque<Publication>,
    /// Done so far.
    done: u64,
    closed: bool,
}

impl State {
    fn len(&self) -> usize {
        self.queue.len() + self.taken.len()
    }
}

impl Outbox {
    /// Puts publications in, in order. Waits while the outbox is full, as long as `patience` while nothing is done.
    pub(crate) fn put(&self, publications: Vec<Publication>, patience: Duration) -> Result<(), Full> {
        let mut state = self.lock();
        for publication in publications {
            while state.len() >= CAPACITY {
                // The task must see what is there already, or the outbox would never empty.
                self.ready.notify_one();
                let done = state.done;
                let waited = self.changed.wait_timeout_while(state, patience, |state| state.done == done);
                let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                if timeout.timed_out() {
                    return Err(Full);
                }
                state = back;
            }
            state.queue.push_back(publication);
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Takes up to `most`, at least one; waits for it. `None` once the outbox is closed. May be cancelled.
    pub(crate) async fn take(&self, most: usize) -> Option<Vec<Publication>> {
        loop {
            {
                let mut state = self.lock();
                let count = most.min(state.queue.len());
                if count > 0 {
                    let taken: Vec<Publication> = state.queue.drain(..count).collect();
                    state.taken.extend(taken.iter().cloned());
                    return Some(taken);
                }
                if state.closed {
                    return None;
                }
            }
            self.ready.notified().await;
        }
    }

    /// Waits until the outbox is closed.
    pub(crate) async fn closed(&self) {
        while !self.lock().closed {
            self.ready.notified().await;
        }
    }

    /// `count` of those that were taken are published, or given up.
    pub(crate) fn done(&self, count: usize) {
        if count > 0 {
            let mut state = self.lock();
            state.taken.drain(..count);
            state.done += count as u64;
            self.changed.notify_all();
        }
    }

    /// What is not done, in order.
    pub(crate) fn left(&self) -> Vec<Publication> {
        let state = self.lock();
        state.taken.iter().chain(&state.queue).cloned().collect()
    }

    /// Waits until all is done, for `patience` in all, and says how much is left.
    pub(crate) fn wait_until_empty(&self, patience: Duration) -> usize {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |state| state.len() > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.len()
    }

    /// Nothing more is put in; what is left may be forgotten.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole, so a panic elsewhere leaves it usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LEFT: &str = "left";

/// Publications in a checkpoint. Commands are not: they leave at most once.
pub(crate) fn snapshot(left: &[Publication]) -> Result<Snapshot> {
    let left = || left.iter().filter(|publication| publication.expires_at.is_none()).map(|p| &p.publish);
    let columns: [(&str, ArrayRef); 3] = [
        ("topic", Arc::new(StringArray::from_iter_values(left().map(|publish| &publish.topic)))),
        ("payload", Arc::new(BinaryArray::from_iter_values(left().map(|publish| &publish.payload)))),
        ("retain", Arc::new(BooleanArray::from_iter(left().map(|publish| Some(publish.retain))))),
    ];
    let mut snapshot = Snapshot::default();
    snapshot.put(LEFT, RecordBatch::try_from_iter(columns)?);
    Ok(snapshot)
}

/// The publications of a checkpoint; `None` if it has none.
pub(crate) fn restored(mut snapshot: Snapshot, qos: QoS) -> Option<Vec<Publication>> {
    let left = snapshot.take(LEFT)?;
    let topics = left.column_by_name("topic")?.as_string_opt::<i32>()?;
    let payloads = left.column_by_name("payload")?.as_binary_opt::<i32>()?;
    let retain = left.column_by_name("retain")?.as_boolean_opt()?;
    let publication = |row| {
        let mut publish = Publish::new(topics.value(row), qos, payloads.value(row));
        publish.retain = retain.value(row);
        Publication { publish, expires_at: None }
    };
    Some((0..left.num_rows()).map(publication).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publications(count: usize) -> Vec<Publication> {
        let publish = Publish::new("a", QoS::AtLeastOnce, "x");
        vec![Publication { publish, expires_at: None }; count]
    }

    #[test]
    fn a_full_outbox_makes_the_writer_wait_until_something_is_done() {
        let outbox = Arc::new(Outbox::default());
        assert_eq!(outbox.put(publications(CAPACITY), Duration::ZERO), Ok(()));
        assert_eq!(outbox.put(publications(1), Duration::from_millis(1)), Err(Full));
        let writer = {
            let outbox = Arc::clone(&outbox);
            std::thread::spawn(move || outbox.put(publications(10), Duration::from_secs(60)))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let taken = runtime.block_on(outbox.take(10)).unwrap().len();
        outbox.done(taken);
        assert_eq!(writer.join().unwrap(), Ok(()));
        assert_eq!(outbox.wait_until_empty(Duration::ZERO), CAPACITY);
    }

    #[test]
    fn what_is_not_done_is_part_of_a_checkpoint() {
        let outbox = Outbox::default();
        let numbered = |n: usize| {
            let mut publish = Publish::new(format!("t/{n}"), QoS::AtLeastOnce, n.to_string());
            publish.retain = n == 2;
            Publication { publish, expires_at: (n == 3).then_some(0) }
        };
        outbox.put((0..5).map(numbered).collect(), Duration::ZERO).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(outbox.take(3)).unwrap();
        outbox.done(1);
        let left = restored(snapshot(&outbox.left()).unwrap(), QoS::AtLeastOnce).unwrap();
        let shown: Vec<_> = left.iter().map(|p| (p.publish.topic.as_str(), p.publish.retain)).collect();
        assert_eq!(shown, [("t/1", false), ("t/2", true), ("t/4", false)], "a command leaves at most once");
    }

    #[test]
    fn a_closed_outbox_still_gives_what_is_in_it() {
        let outbox = Outbox::default();
        outbox.put(publications(3), Duration::ZERO).unwrap();
        outbox.close();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(outbox.take(10)).unwrap().len(), 3);
        assert!(runtime.block_on(outbox.take(10)).is_none());
        runtime.block_on(outbox.closed());
    }
}
