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

use super::arguments::Aggregates;
use super::groups::{Groups, Partial, Results};
use super::overlap::{COMPLETE, Overlap, Part, SUFFIX};

/// Windows of so many panes are merged directly: that takes no more merges.
const DIRECT: i64 = 6;

pub(super) struct Sliding {
    /// Panes of a window.
    count: i64,
    /// The first pane of the next window; panes before it are gone.
    next: i64,
    /// Panes that are complete.
    panes: BTreeMap<i64, Partial>,
    /// From a pane to the end of its block; they take the place of the panes.
    suffixes: BTreeMap<i64, Partial>,
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
    partial: Option<Partial>,
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

    fn finish(&mut self, window: i64, of: &Aggregates) -> Result<Results> {
        self.next = window.saturating_add(1);
        self.panes = self.panes.split_off(&self.next);
        self.suffixes = self.suffixes.split_off(&self.next);
        self.prefix.take_if(|prefix| prefix.start < window.saturating_add(1));
        self.merged.evaluate(of)
    }

    fn build_suffixes(&mut self, from: i64, to: i64, of: &Aggregates, slot_count: usize) -> Result<()> {
        let places: Vec<i64> = self.panes.range(from..to).map(|(pane, _)| *pane).collect();
        let mut suffix: Option<Partial> = None;
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
            _ => Prefix { start, end: start, partial: None },
        };
        // Only one pane is new, unless windows without rows were passed over or the state was restored.
        let places: Vec<i64> = self.panes.range(prefix.end..end.max(prefix.end)).map(|(p, _)| *p).collect();
        for place in places {
            let Some(pane) = self.panes.get(&place).cloned() else {
                continue;
            };
            prefix.partial = Some(match prefix.partial {
                Some(shorter) => self.join([&shorter, &pane], of, slot_count)?,
                None => pane,
            });
        }
        prefix.end = end.max(prefix.end);
        self.prefix = Some(prefix);
        Ok(())
    }

    fn join(&mut self, parts: [&Partial; 2], of: &Aggregates, slot_count: usize) -> Result<Partial> {
        for part in parts {
            self.merged.merge(of, part, slot_count)?;
        }
        self.merged.state()
    }

    fn partials(&mut self) -> impl Iterator<Item = &mut Partial> {
        let prefix = self.prefix.iter_mut().filter_map(|prefix| prefix.partial.as_mut());
        self.panes.values_mut().chain(self.suffixes.values_mut()).chain(prefix)
    }
}

/// A window is named by its first pane.
impl Overlap for Sliding {
    fn add(&mut self, pane: i64, partial: Partial) {
        self.panes.insert(pane, partial);
    }

    fn close_next(&mut self, end: i64) -> Option<i64> {
        let first = |partials: &BTreeMap<i64, Partial>| partials.keys().next().copied();
        let first = [first(&self.panes), first(&self.suffixes)].into_iter().flatten().min()?;
        let window = first.saturating_sub(self.count - 1).max(self.next);
        (window.saturating_add(self.count) <= end).then_some(window)
    }

    fn evaluate(&mut self, window: i64, of: &Aggregates, slot_count: usize) -> Result<Results> {
        let end = window.saturating_add(self.count);
        if self.count <= DIRECT {
            for (_, pane) in self.panes.range(window..end) {
                self.merged.merge(of, pane, slot_count)?;
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
                self.merged.merge(of, suffix, slot_count)?;
            }
        }
        if let Some(prefix) = self.prefix.as_ref().and_then(|prefix| prefix.partial.as_ref()) {
            self.merged.merge(of, prefix, slot_count)?;
        }
        self.finish(window, of)
    }

    fn span(&self, window: i64) -> (i64, i64) {
        (window, self.count)
    }

    fn slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        let prefix = self.prefix.iter().filter_map(|prefix| prefix.partial.as_ref());
        let partials = self.panes.values().chain(self.suffixes.values()).chain(prefix);
        Box::new(partials.flat_map(|partial| partial.slots.iter().copied()))
    }

    fn renumber(&mut self, moved: &[Option<u32>]) {
        for partial in self.partials() {
            partial.renumber(moved);
        }
    }

    fn next(&self) -> i64 {
        self.next
    }

    fn restart_at(&mut self, next: i64) {
        self.next = next;
    }

    fn parts(&self) -> Vec<Part> {
        let panes = self.panes.iter().map(|(pane, partial)| (COMPLETE, *pane, partial.clone()));
        panes.chain(self.suffixes.iter().map(|(pane, partial)| (SUFFIX, *pane, partial.clone()))).collect()
    }

    fn restore(&mut self, (kind, pane, partial): Part) {
        if kind == SUFFIX {
            self.suffixes.insert(pane, partial);
        } else {
            self.panes.insert(pane, partial);
        }
    }
}
