//! Merges complete panes to hopping windows, at a cost per pane that does not grow with the panes of a window.
//!
//! Panes are put in blocks as long as a window (van Herk 1992; Gil and Werman 1993). A window is the end of one
//! block (a *suffix*) and the beginning of the next (a *prefix*):
//!
//! ```text
//! panes      | 0 1 2 3 | 4 5 6 7 | ...
//! window 2       [2 3    4 5]           = suffix from 2, prefix to 5
//! ```
//!
//! Suffixes are built once a block, from its end; the prefix grows pane by pane. So each pane is merged about six
//! times. Blocks have fixed places, so the order of merging, and with it every float, depends on the panes only.

use std::collections::BTreeMap;

use lineshaft_engine::Result;
use lineshaft_engine::spill::Spill;

use super::arguments::Aggregates;
use super::groups::{Groups, Results};
use super::overlap::{COMPLETE, Overlap, Part, SUFFIX};
use super::pieces::Piece;

/// Windows of so many panes are merged directly: that takes no more merges.
const DIRECT: i64 = 6;

pub(super) struct Sliding {
    /// Panes of a window.
    count: i64,
    /// The first pane of the next window; panes before it are gone.
    next: i64,
    /// Panes that are complete.
    panes: BTreeMap<i64, Vec<Piece>>,
    /// From a pane to the end of its block; they take the place of the panes.
    suffixes: BTreeMap<i64, Vec<Piece>>,
    prefix: Option<Prefix>,
    /// Empty between two merges.
    merged: Groups,
}

/// The first panes of a block.
struct Prefix {
    /// The first pane of the block.
    start: i64,
    /// The first pane that is not in it.
    end: i64,
    pieces: Option<Vec<Piece>>,
}

impl Sliding {
    pub(super) fn new(count: i64, of: &Aggregates) -> Result<Self> {
        Ok(Self {
            count,
            next: i64::MIN,
            panes: BTreeMap::new(),
            suffixes: BTreeMap::new(),
            prefix: None,
            merged: Groups::new(of)?,
        })
    }

    fn finish(&mut self, window: i64, of: &Aggregates) -> Result<Vec<Results>> {
        self.next = window.saturating_add(1);
        self.panes = self.panes.split_off(&self.next);
        self.suffixes = self.suffixes.split_off(&self.next);
        self.prefix.take_if(|prefix| prefix.start < window.saturating_add(1));
        self.merged.evaluate(of)
    }

    fn build_suffixes(&mut self, from: i64, to: i64, of: &Aggregates, slot_count: usize) -> Result<()> {
        let places: Vec<i64> = self.panes.range(from..to).map(|(pane, _)| *pane).collect();
        let mut suffix: Option<Vec<Piece>> = None;
        for place in places.into_iter().rev() {
            let Some(pane) = self.panes.remove(&place) else {
                continue;
            };
            let longer = match suffix {
                Some(shorter) => self.join([&pane, &shorter], of, slot_count)?,
                None => pane,
            };
            self.suffixes.insert(place, longer.clone());
            suffix = Some(longer);
        }
        Ok(())
    }

    fn extend_prefix(&mut self, start: i64, end: i64, of: &Aggregates, slot_count: usize) -> Result<()> {
        let mut prefix = match self.prefix.take() {
            Some(prefix) if prefix.start == start => prefix,
            _ => Prefix { start, end: start, pieces: None },
        };
        // Only one pane is new, unless windows without rows were passed over or the state was restored.
        let places: Vec<i64> = self.panes.range(prefix.end..end.max(prefix.end)).map(|(p, _)| *p).collect();
        for place in places {
            let Some(pane) = self.panes.get(&place).cloned() else {
                continue;
            };
            prefix.pieces = Some(match prefix.pieces {
                Some(shorter) => self.join([&shorter, &pane], of, slot_count)?,
                None => pane,
            });
        }
        prefix.end = end.max(prefix.end);
        self.prefix = Some(prefix);
        Ok(())
    }

    fn join(&mut self, parts: [&[Piece]; 2], of: &Aggregates, slot_count: usize) -> Result<Vec<Piece>> {
        for part in parts {
            self.merged.merge_pieces(of, part, slot_count)?;
        }
        self.merged.pieces(of, &Spill::default())
    }
}

/// A window is named by its first pane.
impl Overlap for Sliding {
    fn add(&mut self, pane: i64, pieces: Vec<Piece>) {
        self.panes.insert(pane, pieces);
    }

    fn close_next(&mut self, end: i64) -> Option<i64> {
        let first = |partials: &BTreeMap<i64, Vec<Piece>>| partials.keys().next().copied();
        let first = [first(&self.panes), first(&self.suffixes)].into_iter().flatten().min()?;
        let window = first.saturating_sub(self.count - 1).max(self.next);
        (window.saturating_add(self.count) <= end).then_some(window)
    }

    fn evaluate(&mut self, window: i64, of: &Aggregates, slot_count: usize) -> Result<Vec<Results>> {
        let end = window.saturating_add(self.count);
        if self.count <= DIRECT {
            for (_, pane) in self.panes.range(window..end) {
                self.merged.merge_pieces(of, pane, slot_count)?;
            }
            return self.finish(window, of);
        }
        let block = window.div_euclid(self.count);
        let block_end = (block + 1).saturating_mul(self.count);
        if window == block.saturating_mul(self.count) {
            self.extend_prefix(window, end, of, slot_count)?;
        } else {
            self.build_suffixes(window, block_end, of, slot_count)?;
            self.extend_prefix(block_end, end, of, slot_count)?;
            if let Some((_, suffix)) = self.suffixes.range(window..block_end).next() {
                self.merged.merge_pieces(of, suffix, slot_count)?;
            }
        }
        if let Some(prefix) = self.prefix.as_ref().and_then(|prefix| prefix.pieces.as_ref()) {
            self.merged.merge_pieces(of, prefix, slot_count)?;
        }
        self.finish(window, of)
    }

    fn span(&self, window: i64) -> (i64, i64) {
        (window, self.count)
    }

    fn pieces(&mut self) -> Box<dyn Iterator<Item = &mut Piece> + '_> {
        let prefix = self.prefix.iter_mut().filter_map(|prefix| prefix.pieces.as_mut());
        let later = self.suffixes.values_mut().rev().chain(self.panes.values_mut().rev());
        Box::new(later.chain(prefix).flatten())
    }

    fn next(&self) -> i64 {
        self.next
    }

    fn restart_at(&mut self, next: i64) {
        self.next = next;
    }

    fn parts(&self) -> Vec<Part> {
        let panes = self.panes.iter().map(|(pane, pieces)| (COMPLETE, *pane, pieces));
        let all = panes.chain(self.suffixes.iter().map(|(pane, pieces)| (SUFFIX, *pane, pieces)));
        all.flat_map(|(kind, pane, pieces)| pieces.iter().map(move |piece| (kind, pane, piece.clone())))
            .collect()
    }

    fn restore(&mut self, (kind, pane, piece): Part) {
        let kept = if kind == SUFFIX { &mut self.suffixes } else { &mut self.panes };
        kept.entry(pane).or_default().push(piece);
    }
}
