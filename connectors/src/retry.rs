//! One back-off for all connectors: how long to wait before the next try, and how often to speak of it.
//!
//! The n-th wait in a row is `100 ms * 2^n`, at most 30 s, times a seeded jitter in `[0.5, 1)`, so that many clients do
//! not come back at the same moment. A warning is given for the first failure, when the reason changes, and every 30 s.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::random::Random;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The state of a back-off.
#[derive(Debug)]
pub struct Retry {
    random: Random,
    longest: Duration,
    failures: u32,
    said: Option<String>,
    silent_for: Duration,
}

impl Retry {
    /// A back-off that has not failed yet. The seed is best a hash of the name of the client.
    pub fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        Self { random, longest: LONGEST, failures: 0, said: None, silent_for: Duration::ZERO }
    }

    /// The same with shorter waits: for a try that costs the peer nothing.
    pub fn at_most(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// The wait before the next try. `problem` is what could not be done, such as `cannot reach mqtt://plant:1883`.
    pub fn wait(&mut self, problem: impl Display, reason: impl Display) -> Sleep {
        let delay = self.next_delay();
        let text = format!("{problem}: {reason}");
        if self.is_worth_saying(&text, delay) {
            tracing::warn!("{text}; trying again");
        }
        sleep(delay)
    }

    /// It worked: the next failure is again a first one.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.said = None;
        self.silent_for = Duration::ZERO;
    }

    fn next_delay(&mut self) -> Duration {
        let doubled = SHORTEST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.longest).mul_f64(0.5 + self.random.uniform() / 2.0)
    }

    /// The time since the last warning is the sum of the waits: near enough, and it needs no clock.
    fn is_worth_saying(&mut self, text: &str, delay: Duration) -> bool {
        let is_news = self.said.as_deref() != Some(text) || self.silent_for >= SAY_AGAIN_AFTER;
        if is_news {
            self.said = Some(text.to_owned());
            self.silent_for = Duration::ZERO;
        }
        self.silent_for += delay;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_again_after_a_success() {
        let mut retry = Retry::new(1);
        let waits: Vec<Duration> = (0..20).map(|_| retry.next_delay()).collect();
        assert!(waits[0] >= SHORTEST / 2 && waits[0] < SHORTEST);
        assert!(waits[3] >= SHORTEST * 4 && waits[3] < SHORTEST * 8);
        assert!(waits[19] >= LONGEST / 2 && waits.iter().all(|wait| *wait < LONGEST));
        retry.succeeded();
        assert!(retry.next_delay() < SHORTEST);
    }

    #[test]
    fn the_same_trouble_is_said_once_in_thirty_seconds() {
        let mut retry = Retry::new(1);
        let ten = Duration::from_secs(10);
        let said: Vec<bool> = (0..7).map(|_| retry.is_worth_saying("refused", ten)).collect();
        assert_eq!(said, [true, false, false, true, false, false, true]);
        assert!(retry.is_worth_saying("no route", ten), "a new reason is news");
        retry.succeeded();
        assert!(retry.is_worth_saying("no route", ten), "so is a new outage");
    }
}
