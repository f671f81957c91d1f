//! Windows at fixed places of event time, and the panes that overlapping ones share.

use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};

use super::Window;

/// Windows of a fixed length whose places do not depend on rows: `TUMBLE`, `HOP` and `CUMULATE`; microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixedWindows {
    /// How far apart windows begin; if they grow, how far apart they end.
    pub slide: i64,
    /// How long a window is; a multiple of the slide, and equal to it for `TUMBLE`.
    pub size: i64,
    /// Windows begin so much after a multiple of the slide, from the Unix epoch; of the size if they grow.
    pub offset: i64,
    /// Windows begin together and grow by the slide up to the size: `CUMULATE`.
    pub grows: bool,
}

impl FixedWindows {
    /// Windows that follow each other.
    pub fn tumbling(size: i64) -> Self {
        Self::hopping(size, size)
    }

    /// Windows of which a new one begins after each `slide`.
    pub fn hopping(slide: i64, size: i64) -> Self {
        Self { slide, size, offset: 0, grows: false }
    }

    /// Windows that begin together and are longer by `step` each.
    pub fn cumulating(step: i64, size: i64) -> Self {
        Self { grows: true, ..Self::hopping(step, size) }
    }

    /// The slices of event time that the windows consist of, and how many the longest one has.
    ///
    /// # Errors
    /// If the size is not a multiple of the slide, or that is not greater than zero.
    pub(super) fn panes(self) -> Result<(Panes, i64)> {
        let Self { slide, size, offset, grows } = self;
        if slide <= 0 {
            return Err(Error::Plan(format!("a window of {slide} us is not longer than zero")));
        }
        if size < slide || size % slide != 0 {
            return Err(Error::Plan(format!(
                "window size {size} us is not a multiple of its slide {slide} us"
            )));
        }
        let origin = offset.rem_euclid(if grows { size } else { slide });
        Ok((Panes { length: slide, origin }, size / slide))
    }
}

/// Slices of event time of one length, numbered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panes {
    /// Microseconds; greater than zero.
    length: i64,
    /// Where pane 0 starts.
    origin: EventTime,
}

impl Panes {
    /// The pane that `time` is in; before the origin it is a negative one.
    pub(super) fn of(self, time: EventTime) -> i64 {
        time.saturating_sub(self.origin).div_euclid(self.length)
    }

    /// The span of `count` panes from `pane` on.
    pub(super) fn window(self, pane: i64, count: i64) -> Window {
        let start = pane.saturating_mul(self.length).saturating_add(self.origin);
        Window { start, end: start.saturating_add(count.saturating_mul(self.length)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panes(windows: FixedWindows) -> Panes {
        windows.panes().unwrap().0
    }

    #[test]
    fn panes_are_aligned_to_the_epoch_also_before_it() {
        let panes = panes(FixedWindows::tumbling(10));
        assert_eq!([0, 9, 10, -1, -10, -11].map(|time| panes.of(time)), [0, 0, 1, -1, -1, -2]);
        assert_eq!(panes.window(-2, 3), Window { start: -20, end: 10 });
    }

    #[test]
    fn an_offset_moves_them_by_less_than_a_slide_or_where_windows_begin_together() {
        let from = |offset, windows| panes(FixedWindows { offset, ..windows });
        for offset in [3, -7, 13] {
            let panes = from(offset, FixedWindows::hopping(10, 30));
            assert_eq!([2, 3, 12, 13].map(|time| panes.of(time)), [-1, 0, 0, 1]);
            assert_eq!(panes.window(-1, 3), Window { start: -7, end: 23 });
        }
        let growing = from(-25, FixedWindows::cumulating(10, 40));
        assert_eq!(growing.window(0, 4), Window { start: 15, end: 55 });
    }

    #[test]
    fn a_time_at_the_end_of_all_times_has_a_pane() {
        let panes = panes(FixedWindows::tumbling(i64::MAX));
        assert_eq!(panes.of(i64::MAX), 1);
        assert_eq!(panes.window(1, 1).end, i64::MAX);
    }

    #[test]
    fn a_size_that_is_no_multiple_of_its_slide_is_refused() {
        assert_eq!(FixedWindows::hopping(5, 60).panes().unwrap().1, 12);
        let error = FixedWindows::hopping(3, 10).panes().unwrap_err().to_string();
        assert_eq!(error, "window size 10 us is not a multiple of its slide 3 us");
        assert!(FixedWindows::tumbling(0).panes().is_err());
    }
}
