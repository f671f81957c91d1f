//! Merges complete panes to windows that begin together and grow pane by pane: `CUMULATE`.
//!
//! ```text
//! panes      | 0 1 2 3 | 4 5 6 7 | ...
//! windows      -
//!              ---
//!              -----
//!              -------   -
//! ```
//!
//! A window is named by its last pane. It is the window before it and one pane more, so a pane is merged three times.

use std::collections::BTreeMap;

use lineshaft_engine::Result;

use super::arguments::Aggregates;
use super::groups::{Groups, Partial, Results};
use super::overlap::{COMPLETE, Overlap, PREFIX, Part};

pub(super) struct Cumulating {
    /// Panes of the longest window.
    count: i64,
    /// Panes that are complete and in no window yet.
    panes: BTreeMap<i64, Partial>,
    /// The newest window of the current block, if the block is not full.
    window: Option<(i64, Partial)>,
    /// Empty between two merges.
    merged: Groups,
}

impl Cumulating {
    pub(super) fn new(count: i64, of: &Aggregates) -> Result<Self> {
        Ok(Self { count, panes: BTreeMap::new(), window: None, merged: Groups::new(of)? })
    }

    fn start(&self, pane: i64) -> i64 {
        pane.div_euclid(self.count).saturating_mul(self.count)
    }
}

impl Overlap for Cumulating {
    fn add(&mut self, pane: i64, partial: Partial) {
        self.panes.insert(pane, partial);
    }

    fn close_next(&mut self, end: i64) -> Option<i64> {
        let next = match &self.window {
            Some((newest, _)) => newest.saturating_add(1),
            None => *self.panes.keys().next()?,
        };
        (next < end).then_some(next)
    }

    fn span(&self, window: i64) -> (i64, i64) {
        let start = self.start(window);
        (start, window - start + 1)
    }

    fn evaluate(&mut self, window: i64, of: &Aggregates, slot_count: usize) -> Result<Results> {
        if let Some((_, shorter)) = self.window.take() {
            self.merged.merge(of, &shorter, slot_count)?;
        }
        if let Some(pane) = self.panes.remove(&window) {
            self.merged.merge(of, &pane, slot_count)?;
        }
        if window + 1 - self.start(window) < self.count {
            let partial = self.merged.state()?;
            self.merged.merge(of, &partial, slot_count)?;
            self.window = Some((window, partial));
        }
        self.merged.evaluate(of)
    }

    fn slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        let partials = self.panes.values().chain(self.window.iter().map(|(_, partial)| partial));
        Box::new(partials.flat_map(|partial| partial.slots.iter().copied()))
    }

    fn renumber(&mut self, moved: &[Option<u32>]) {
        let partials = self.panes.values_mut().chain(self.window.iter_mut().map(|(_, partial)| partial));
        partials.for_each(|partial| partial.renumber(moved));
    }

    fn next(&self) -> i64 {
        i64::MIN
    }

    fn restart_at(&mut self, _next: i64) {}

    fn parts(&self) -> Vec<Part> {
        let panes = self.panes.iter().map(|(pane, partial)| (COMPLETE, *pane, partial.clone()));
        panes.chain(self.window.iter().map(|(newest, partial)| (PREFIX, *newest, partial.clone()))).collect()
    }

    fn restore(&mut self, (kind, pane, partial): Part) {
        if kind == PREFIX {
            self.window = Some((pane, partial));
        } else {
            self.panes.insert(pane, partial);
        }
    }
}
