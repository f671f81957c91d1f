//! What is past: files that are older than `retain`, and the oldest ones of more than `retain_size`.
//!
//! Age is that of the event time, and `now` is the wall clock or the newest row, whichever is less: neither a clock that is set
//! forward nor a reading from the future can make anything past.

use std::time::Duration;

use lineshaft_engine::time::EventTime;

use super::record::{Drop, HistoryFile, Limit};
use super::state::State;

/// How long, and how much.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retention {
    /// Files whose rows are all older are dropped.
    pub(crate) age: Option<Duration>,
    /// Bytes of all files together.
    pub(crate) bytes: Option<u64>,
}

impl Retention {
    /// What is past, if anything is.
    pub(super) fn plan(self, state: &State, wall_clock: EventTime) -> Option<Drop> {
        self.too_old(state, wall_clock).or_else(|| self.too_much(state))
    }

    fn too_old(self, state: &State, wall_clock: EventTime) -> Option<Drop> {
        let age = i64::try_from(self.age?.as_micros()).ok()?;
        let now = state.files.iter().filter_map(|file| file.to).max()?.min(wall_clock);
        let limit = now.checked_sub(age)?;
        let past = state.files.iter().filter(|file| file.to.is_some_and(|to| to < limit)).collect();
        dropped(Limit::Age, past)
    }

    fn too_much(self, state: &State) -> Option<Drop> {
        let most = self.bytes?;
        let mut bytes: u64 = state.files.iter().map(|file| file.bytes).sum();
        let mut oldest: Vec<&HistoryFile> = state.files.iter().collect();
        // Files without event time are as old as they were written.
        if oldest.iter().all(|file| file.to.is_some()) {
            oldest.sort_by_key(|file| file.to);
        }
        // The newest one stays, however large it is.
        oldest.pop();
        let past = oldest.into_iter().take_while(|file| {
            let is_past = bytes > most;
            bytes -= file.bytes;
            is_past
        });
        dropped(Limit::Size, past.collect())
    }
}

fn dropped(limit: Limit, files: Vec<&HistoryFile>) -> Option<Drop> {
    (!files.is_empty()).then(|| Drop {
        limit,
        removed: files.iter().map(|file| file.name.clone()).collect(),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    fn state() -> State {
        let span = |name, from, to, bytes| HistoryFile { bytes, ..file(name, Some((from, to))) };
        // The second one was written after the third, with older rows.
        let files =
            vec![span("a", 0, 10, 50), span("b", 5, 30, 70), span("c", 20, 25, 30), span("d", 40, 100, 60)];
        State { files, ..State::default() }
    }

    fn plan(age: Option<u64>, bytes: Option<u64>, wall_clock: i64) -> Option<(Vec<String>, u64)> {
        let retention = Retention { age: age.map(Duration::from_micros), bytes };
        retention.plan(&state(), wall_clock).map(|past| (past.removed, past.bytes))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_file_is_past_when_its_last_row_is_and_no_clock_makes_it_so_before() {
        assert_eq!(plan(Some(90), None, 1_000_000), None);
        assert_eq!(plan(Some(89), None, 1_000_000), Some((names(&["a"]), 50)));
        assert_eq!(plan(Some(70), None, 1_000_000), Some((names(&["a", "c"]), 80)));
        // The newest row is from the future of this clock.
        assert_eq!(plan(Some(10), None, 20), None);
        assert_eq!(plan(Some(9), None, 20), Some((names(&["a"]), 50)));
        assert_eq!(plan(Some(0), None, i64::MAX), Some((names(&["a", "b", "c"]), 150)));
    }

    #[test]
    fn of_too_many_bytes_the_oldest_go_and_the_newest_stays() {
        assert_eq!(plan(None, Some(210), 0), None);
        assert_eq!(plan(None, Some(209), 0), Some((names(&["a"]), 50)));
        assert_eq!(plan(None, Some(159), 0), Some((names(&["a", "c"]), 80)));
        assert_eq!(plan(None, Some(0), 0), Some((names(&["a", "c", "b"]), 150)));
    }
}
