//! Time passes while nothing comes, too: what was kept back until some time had passed (rows of a history that are not
//! visible yet, early results) is given without waiting for the next message.

/// After so much silence, microseconds of the steady clock, time passes for the first time.
const FIRST_US: i64 = 1_000_000;
/// And again after twice as much each time, up to this: nothing is kept back longer.
const LAST_US: i64 = 128 * FIRST_US;

/// How long nothing has come.
#[derive(Debug)]
pub(super) struct Silence {
    /// When the last chunk came.
    since: i64,
    /// The silence after which time passes next; `None` when nothing waits for it any more.
    next: Option<i64>,
}

impl Silence {
    /// Before the first chunk nothing can wait.
    pub(super) fn new(now: i64) -> Self {
        Self { since: now, next: None }
    }

    /// A chunk has come.
    pub(super) fn end(&mut self, now: i64) {
        *self = Self { since: now, next: Some(FIRST_US) };
    }

    /// When time is to pass next, if it is.
    pub(super) fn tick_at(&self) -> Option<i64> {
        self.next.map(|next| self.since.saturating_add(next))
    }

    /// True if it is time now; then it is again after twice the silence.
    pub(super) fn is_time(&mut self, now: i64) -> bool {
        let is_time = self.tick_at().is_some_and(|at| now >= at);
        if is_time {
            let passed = now.saturating_sub(self.since);
            self.next = self.next.and_then(|mut next| {
                while next <= passed {
                    next *= 2;
                }
                (next <= LAST_US).then_some(next)
            });
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_after_twice_the_silence_each_time_and_then_no_more() {
        let mut silence = Silence::new(0);
        assert!(silence.tick_at().is_none() && !silence.is_time(1 << 40));
        silence.end(5);
        let mut ticks = Vec::new();
        while let Some(at) = silence.tick_at() {
            assert!(!silence.is_time(at - 1) && silence.is_time(at));
            ticks.push((at - 5) / FIRST_US);
        }
        assert_eq!(ticks, [1, 2, 4, 8, 16, 32, 64, 128]);
        silence.end(7);
        assert!(silence.is_time(7 + 5 * FIRST_US), "late");
        assert_eq!(silence.tick_at(), Some(7 + 8 * FIRST_US));
    }
}
