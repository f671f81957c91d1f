//! The outbox of a sink: what is to be sent, from the threads of the workers to the task of the connection.
//!
//! An item is in it until the peer has acknowledged it. The outbox is bounded: who puts into a full one waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Items that may wait, with those in flight.
pub(crate) const CAPACITY: usize = 10_000;

/// How often one that waits looks whether it must not any more.
const LOOK: Duration = Duration::from_millis(200);

/// The outbox has been full for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
pub(crate) struct Outbox<T> {
    state: Mutex<State<T>>,
    /// Something is done, or the outbox is closed.
    changed: Condvar,
    /// There is something to take, or the outbox is closed.
    ready: Notify,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    /// Taken, and not done yet. Peers acknowledge in the order in which items were sent.
    taken: VecDeque<T>,
    /// Done so far.
    done: u64,
    closed: bool,
}

impl<T> State<T> {
    fn len(&self) -> usize {
        self.queue.len() + self.taken.len()
    }
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        let state = State { queue: VecDeque::new(), taken: VecDeque::new(), done: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), ready: Notify::new() }
    }
}

impl<T: Clone> Outbox<T> {
    /// Puts items in, in order. Waits while the outbox is full, as long as `patience` while nothing is done. Where it
    /// `must_not_wait`, more are in it than it holds: a program that stops has some on their way, and its next start brings
    /// them back.
    pub(crate) fn put(
        &self,
        items: Vec<T>,
        patience: Duration,
        must_not_wait: impl Fn() -> bool,
    ) -> Result<(), Full> {
        let mut state = self.lock();
        let (step, mut waited) = (patience.min(LOOK), Duration::ZERO);
        for item in items {
            while state.len() >= CAPACITY && !must_not_wait() {
                // The task must see what is there already, or the outbox would never empty.
                self.ready.notify_one();
                let done = state.done;
                let next = self.changed.wait_timeout_while(state, step, |state| state.done == done);
                let (back, timeout) = next.unwrap_or_else(PoisonError::into_inner);
                waited = if timeout.timed_out() { waited + step } else { Duration::ZERO };
                if timeout.timed_out() && waited >= patience {
                    return Err(Full);
                }
                state = back;
            }
            state.queue.push_back(item);
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Takes up to `most`, at least one; waits for it. `None` once the outbox is closed. May be cancelled.
    pub(crate) async fn take(&self, most: usize) -> Option<Vec<T>> {
        loop {
            {
                let mut state = self.lock();
                let count = most.min(state.queue.len());
                if count > 0 {
                    let taken: Vec<T> = state.queue.drain(..count).collect();
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

    /// `count` of those that were taken have arrived, or are given up.
    pub(crate) fn done(&self, count: usize) {
        if count > 0 {
            let mut state = self.lock();
            state.taken.drain(..count);
            state.done += count as u64;
            self.changed.notify_all();
        }
    }

    /// Takes out those at its front that are not to be sent any more.
    pub(crate) fn take_out(&self, is_over: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.lock();
        let count = state.queue.iter().take_while(|item| is_over(item)).count();
        state.done += count as u64;
        let over = state.queue.drain(..count).collect();
        self.changed.notify_all();
        over
    }

    /// What is not done, in order.
    pub(crate) fn left(&self) -> Vec<T> {
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

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every change of the state is whole, so a panic elsewhere leaves it usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn items(count: usize) -> Vec<u8> {
        vec![1; count]
    }

    #[test]
    fn a_full_outbox_makes_the_writer_wait_until_something_is_done() {
        let outbox = Arc::new(Outbox::default());
        assert_eq!(outbox.put(items(CAPACITY), Duration::ZERO, || false), Ok(()));
        assert_eq!(outbox.put(items(1), Duration::from_millis(1), || false), Err(Full));
        let writer = {
            let outbox = Arc::clone(&outbox);
            std::thread::spawn(move || outbox.put(items(10), Duration::from_secs(60), || false))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let taken = runtime.block_on(outbox.take(10)).unwrap().len();
        outbox.done(taken);
        assert_eq!(writer.join().unwrap(), Ok(()));
        assert_eq!(outbox.wait_until_empty(Duration::ZERO), CAPACITY);
    }

    #[test]
    fn who_must_not_wait_puts_more_in_than_it_holds() {
        let outbox = Arc::new(Outbox::default());
        outbox.put(items(CAPACITY + 7), Duration::ZERO, || true).unwrap();
        assert_eq!(outbox.left().len(), CAPACITY + 7);
        // Also one that has waited before it must not any more.
        let hurries = Arc::new(AtomicBool::new(false));
        let writer = {
            let (outbox, hurries) = (Arc::clone(&outbox), Arc::clone(&hurries));
            let must_not_wait = move || hurries.load(Ordering::Relaxed);
            std::thread::spawn(move || outbox.put(items(1), Duration::from_secs(60), must_not_wait))
        };
        hurries.store(true, Ordering::Relaxed);
        assert_eq!(writer.join().unwrap(), Ok(()));
        assert_eq!(outbox.left().len(), CAPACITY + 8);
    }

    #[test]
    fn what_is_over_leaves_it_and_makes_room() {
        let outbox = Outbox::default();
        outbox.put(vec![1, 2, 9, 3], Duration::ZERO, || false).unwrap();
        assert_eq!(outbox.take_out(|item| *item < 5), [1, 2]);
        assert_eq!(outbox.left(), [9, 3]);
    }

    #[test]
    fn a_closed_outbox_still_gives_what_is_in_it() {
        let outbox = Outbox::default();
        outbox.put(items(3), Duration::ZERO, || false).unwrap();
        outbox.close();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(outbox.take(10)).unwrap().len(), 3);
        assert!(runtime.block_on(outbox.take(10)).is_none());
        runtime.block_on(outbox.closed());
    }
}
