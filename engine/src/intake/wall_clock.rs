//! The wall clock of epochs. It never goes back, and time passes whatever is done to the clock of the machine: else a
//! clock that was wrong by a year for a minute would stop everything that waits for a year.
//!
//! ```text
//! clock of the machine   /    ____/        set back: time passes at half the speed until the machine has caught up;
//! wall clock of epochs   / ,-'             set forward: it follows at once
//! ```

use crate::clock::Clock;
use crate::time::EventTime;

/// From which difference on a clock was set, and not corrected bit by bit.
const STEP_US: i64 = 1_000_000;
/// Clocks are corrected by at most 0.05 % as they run; twice that is taken for no step.
const DRIFT: i64 = 1_000;

/// The wall clock as epochs see it.
#[derive(Debug)]
pub(super) struct WallClock {
    clock: Clock,
    /// What was given last; the least number if nothing was.
    at: EventTime,
    /// Both clocks of the machine, when they were read last.
    read: (EventTime, i64),
}

impl WallClock {
    pub(super) fn new(clock: Clock) -> Self {
        let read = (clock.now(), clock.steady());
        Self { clock, at: EventTime::MIN, read }
    }

    /// The clock of the machine.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The last one that was given, or of the epochs that were worked on again.
    pub(super) fn at(&self) -> EventTime {
        self.at
    }

    /// The program goes on after `at`.
    pub(super) fn go_on(&mut self, at: EventTime) {
        self.at = self.at.max(at);
    }

    /// Tells if the clock is behind where an earlier run was.
    pub(super) fn compare(&self) {
        let behind = self.at.saturating_sub(self.clock.now());
        if behind > STEP_US {
            tracing::warn!(
                "CLOCK_STEP: the clock is {} behind that of the last run; time passes at half the speed until it has \
                 caught up: look at the clock of this machine (NTP)",
                seconds(behind)
            );
        }
    }

    /// Now.
    pub(super) fn now(&mut self) -> EventTime {
        let (now, steady) = (self.clock.now(), self.clock.steady());
        // What is odd is left for the next time, so that half of it is not lost.
        let passed = (steady - self.read.1) / 2 * 2;
        let expected = self.read.0.saturating_add(passed);
        let step = now.saturating_sub(expected);
        if step.saturating_abs() > STEP_US + passed / DRIFT {
            let direction = if step > 0 { "forward" } else { "back" };
            tracing::warn!(
                "CLOCK_STEP: the clock of this machine was set {direction} by {}; event times are not touched, and the \
                 time of epochs does not go back",
                seconds(step.saturating_abs())
            );
        }
        self.read = (now.saturating_sub((steady - self.read.1) % 2), self.read.1 + passed);
        self.at = now.max(self.at.saturating_add(passed / 2));
        self.at
    }
}

fn seconds(micros: i64) -> String {
    format!("{}.{:03} s", micros / 1_000_000, micros / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const BEGIN: i64 = 500_000 * HOUR;

    fn clocks() -> (Clock, WallClock) {
        let clock = Clock::fixed(BEGIN);
        let mut wall_clock = WallClock::new(clock.clone());
        assert_eq!(wall_clock.now(), BEGIN);
        (clock, wall_clock)
    }

    #[test]
    fn it_follows_the_machine_and_a_step_forward() {
        let (clock, mut wall_clock) = clocks();
        clock.set(BEGIN + 7);
        assert_eq!(wall_clock.now(), BEGIN + 7);
        clock.step(87_600 * HOUR);
        assert_eq!(wall_clock.now(), BEGIN + 7 + 87_600 * HOUR);
    }

    #[test]
    fn after_a_step_back_time_passes_at_half_the_speed_until_the_machine_has_caught_up() {
        let (clock, mut wall_clock) = clocks();
        clock.step(-HOUR);
        for passed in 1..=1_000 {
            clock.set(BEGIN + passed);
            assert_eq!(wall_clock.now(), BEGIN + passed / 2, "no microsecond is lost");
        }
        clock.set(BEGIN + 2 * HOUR);
        assert_eq!(wall_clock.now(), BEGIN + HOUR);
        clock.set(BEGIN + 3 * HOUR);
        assert_eq!(wall_clock.now(), BEGIN + 2 * HOUR, "it is the clock of the machine again");
    }

    #[test]
    fn whatever_is_done_to_the_machine_it_never_goes_back_and_never_stands_still() {
        let (clock, mut wall_clock) = clocks();
        let mut before = BEGIN;
        let steps = [HOUR, -HOUR, 87_600 * HOUR, -87_600 * HOUR, -BEGIN, BEGIN, i64::MAX / 4, -i64::MAX / 4];
        for (step, passed) in steps.into_iter().cycle().take(200).zip(1..) {
            clock.step(step);
            clock.set(BEGIN + 2 * passed);
            let now = wall_clock.now();
            assert!(now > before, "{now} after {before}");
            before = now;
        }
    }

    #[test]
    fn it_goes_on_after_an_earlier_run_though_the_machine_is_behind() {
        let (clock, mut wall_clock) = clocks();
        wall_clock.go_on(BEGIN + HOUR);
        wall_clock.compare();
        clock.set(BEGIN + 10);
        assert_eq!(wall_clock.now(), BEGIN + HOUR + 5);
    }
}
