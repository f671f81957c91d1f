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
use lineshaft_engine::spill::Spill;

use super::arguments::Aggregates;
use super::groups::{Groups, Results};
use super::overlap::{COMPLETE, Overlap, PREFIX, Part};
use super::pieces::Piece;

pub(super) struct Cumulating {
    /// Panes of the longest window.
    count: i64,
    /// Panes that are complete and in no window yet.
    panes: BTreeMap<i64, Vec<Piece>>,
    /// The newest window of the current block, if the block is not full.
    window: Option<(i64, Vec<Piece>)>,
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
    fn add(&mut self, pane: i64, pieces: Vec<Piece>) {
        self.panes.insert(pane, pieces);
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

    fn evaluate(&mut self, window: i64, of: &Aggregates, slot_count: usize) -> Result<Vec<Results>> {
        let shorter = self.window.take().map(|(_, pieces)| pieces);
        for pieces in [shorter, self.panes.remove(&window)].into_iter().flatten() {
            self.merged.merge_pieces(of, &pieces, slot_count)?;
        }
        if window + 1 - self.start(window) < self.count {
            let pieces = self.merged.pieces(of, &Spill::default())?;
            self.merged.merge_pieces(of, &pieces, slot_count)?;
            self.window = Some((window, pieces));
        }
        self.merged.evaluate(of)
    }

    fn pieces(&mut self) -> Box<dyn Iterator<Item = &mut Piece> + '_> {
        let window = self.window.iter_mut().map(|(_, pieces)| pieces);
        Box::new(self.panes.values_mut().rev().chain(window).flatten())
    }

    fn next(&self) -> i64 {
        i64::MIN
    }

    fn restart_at(&mut self, _next: i64) {}

    fn parts(&self) -> Vec<Part> {
        let panes = self.panes.iter().map(|(pane, pieces)| (COMPLETE, *pane, pieces));
        let all = panes.chain(self.window.iter().map(|(newest, pieces)| (PREFIX, *newest, pieces)));
        all.flat_map(|(kind, pane, pieces)| pieces.iter().map(move |piece| (kind, pane, piece.clone())))
            .collect()
    }

    fn restore(&mut self, (kind, pane, piece): Part) {
        if kind == PREFIX {
            self.window.get_or_insert_with(|| (pane, Vec::new())).1.push(piece);
        } else {
            self.panes.entry(pane).or_default().push(piece);
        }
    }
}
