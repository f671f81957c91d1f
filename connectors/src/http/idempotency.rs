//! What is remembered of the keys of requests, so that one that is repeated is not handed over twice.
//!
//! A key is *running* until the engine keeps its body, then *kept* for the window. The memory knows neither HTTP nor
//! the engine and takes the time from its caller, so who keeps the bodies can keep it, too.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lineshaft_engine::source::KeptKey;
use lineshaft_engine::time::EventTime;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: the request is taken, and the key runs from now on.
    New,
    /// The same request is being handed over.
    Running,
    /// The same request is kept.
    Kept,
    /// It belongs to another body.
    Other,
}

/// The keys of one source.
#[derive(Debug)]
pub(super) struct Keys {
    window: i64,
    most: usize,
    entries: HashMap<String, Entry>,
    /// When which key was first seen; also of keys that were dropped since.
    order: VecDeque<(EventTime, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: EventTime,
    body: u64,
    is_kept: bool,
}

impl Keys {
    pub(super) fn new(window: Duration, most: usize) -> Self {
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        Self { window, most, entries: HashMap::new(), order: VecDeque::new() }
    }

    /// A request with this key has come; `body` is the hash of its body.
    pub(super) fn begin(&mut self, key: &str, body: u64, now: EventTime) -> Seen {
        let window = self.window;
        self.forget(|_, at| now.saturating_sub(at) >= window);
        match self.entries.get(key) {
            Some(entry) if entry.body != body => Seen::Other,
            Some(entry) if entry.is_kept => Seen::Kept,
            Some(_) => Seen::Running,
            None => {
                let most = self.most;
                self.forget(|length, _| length >= most);
                self.entries.insert(key.to_owned(), Entry { at: now, body, is_kept: false });
                self.order.push_back((now, key.to_owned()));
                Seen::New
            }
        }
    }

    /// What was kept before a restart, the oldest first.
    pub(super) fn restore(&mut self, kept: Vec<KeptKey>, now: EventTime) {
        for KeptKey { key, body, at } in kept {
            if now.saturating_sub(at) < self.window && self.begin(&key, body, at) == Seen::New {
                self.keep(&key);
            }
        }
    }

    /// The engine keeps the body of the key.
    pub(super) fn keep(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_kept = true;
        }
    }

    /// The body of the key was not handed over: the request may come again.
    pub(super) fn take_back(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets the oldest keys as long as `is_too_much` of the number of all and the time of the oldest.
    fn forget(&mut self, is_too_much: impl Fn(usize, EventTime) -> bool) {
        while let Some((at, _)) = self.order.front()
            && is_too_much(self.order.len(), *at)
            && let Some((at, key)) = self.order.pop_front()
        {
            // A key that was dropped and came again has a later place, too.
            if self.entries.get(&key).is_some_and(|entry| entry.at == at) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(most: usize) -> Keys {
        Keys::new(Duration::from_micros(10), most)
    }

    #[test]
    fn a_key_runs_then_is_kept_and_then_is_forgotten() {
        let mut keys = keys(100);
        assert_eq!(keys.begin("a", 1, 0), Seen::New);
        assert_eq!(keys.begin("a", 1, 1), Seen::Running);
        keys.keep("a");
        assert_eq!(keys.begin("a", 1, 9), Seen::Kept);
        assert_eq!(keys.begin("a", 2, 9), Seen::Other);
        assert_eq!(keys.begin("a", 1, 10), Seen::New, "the window begins with the first request");
    }

    #[test]
    fn a_key_whose_body_was_not_handed_over_is_new_again() {
        let mut keys = keys(100);
        assert_eq!(keys.begin("a", 1, 0), Seen::New);
        keys.take_back("a");
        assert_eq!(keys.begin("a", 2, 5), Seen::New);
        keys.keep("a");
        assert_eq!(keys.begin("a", 2, 12), Seen::Kept, "its old place does not count");
    }

    #[test]
    fn what_was_kept_before_a_restart_is_known_for_the_rest_of_its_window() {
        let mut keys = keys(100);
        let kept = |key: &str, at| KeptKey { key: key.to_owned(), body: 1, at };
        keys.restore(vec![kept("old", 3), kept("a", 8)], 14);
        assert_eq!(keys.begin("a", 1, 15), Seen::Kept);
        assert_eq!(keys.begin("a", 2, 15), Seen::Other);
        assert_eq!(keys.begin("old", 1, 15), Seen::New);
        assert_eq!(keys.begin("a", 1, 18), Seen::New, "the window began with the first request");
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let mut keys = keys(2);
        for key in ["a", "b", "c"] {
            assert_eq!(keys.begin(key, 1, 0), Seen::New);
            keys.keep(key);
        }
        assert_eq!(keys.begin("c", 1, 0), Seen::Kept);
        assert_eq!(keys.begin("a", 1, 0), Seen::New);
        assert!(keys.entries.len() <= 2 && keys.order.len() <= 2);
    }
}
