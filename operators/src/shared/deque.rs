//! Values that come at the end and go at the front.

use std::collections::VecDeque;
use std::ops::{Index, Range};
use std::sync::Arc;

/// Values of a block. A copy has one pointer for so many, and up to so many values of its own. Tests have few values.
const BLOCK: usize = if cfg!(test) { 4 } else { 256 };

/// A queue of which a copy shares all but the last values.
#[derive(Clone, Debug)]
pub(crate) struct SharedDeque<T> {
    full: VecDeque<Arc<[T]>>,
    /// Values behind the full blocks, fewer than a block.
    tail: Vec<T>,
    /// Values at the front that are gone.
    skip: usize,
}

impl<T> Default for SharedDeque<T> {
    fn default() -> Self {
        Self { full: VecDeque::new(), tail: Vec::new(), skip: 0 }
    }
}

impl<T: Copy> SharedDeque<T> {
    pub(crate) fn len(&self) -> usize {
        self.full.len() * BLOCK + self.tail.len() - self.skip
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push_back(&mut self, value: T) {
        self.tail.push(value);
        if self.tail.len() == BLOCK {
            self.full.push_back(self.tail.as_slice().into());
            self.tail.clear();
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        (at < self.len()).then(|| &self[at])
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.len().checked_sub(1).and_then(|last| self.get(last))
    }

    /// The values from one to another place; both are in the queue.
    pub(crate) fn range(&self, range: Range<usize>) -> impl Iterator<Item = T> {
        let mut at = range.start + self.skip;
        let end = range.end + self.skip;
        std::iter::from_fn(move || {
            let start = at / BLOCK * BLOCK;
            let block = self.full.get(at / BLOCK).map_or(self.tail.as_slice(), |block| block);
            let part = (at < end).then(|| &block[at - start..BLOCK.min(end - start)])?;
            at = start + BLOCK;
            Some(part)
        })
        .flatten()
        .copied()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.range(0..self.len())
    }

    /// Each value, to be changed: what is shared is copied.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let full = self.full.iter_mut().flat_map(Arc::make_mut);
        full.chain(&mut self.tail).skip(self.skip)
    }

    /// The place of the first value for which `is` does not hold; it holds for none behind it.
    pub(crate) fn partition_point(&self, is: impl Fn(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if is(&self[middle]) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Drops the first values, at most all.
    pub(crate) fn drop_front(&mut self, count: usize) {
        self.skip += count.min(self.len());
        while self.skip >= BLOCK && self.full.pop_front().is_some() {
            self.skip -= BLOCK;
        }
        // As many are moved as are gone, at most.
        if self.full.is_empty() && self.skip * 2 >= self.tail.len() {
            self.tail.drain(..self.skip);
            self.skip = 0;
        }
    }
}

impl<T: Copy> Extend<T> for SharedDeque<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push_back(value));
    }
}

impl<T: Copy> FromIterator<T> for SharedDeque<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut all = Self::default();
        all.extend(values);
        all
    }
}

impl<T: Copy> Index<usize> for SharedDeque<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        let at = at + self.skip;
        match self.full.get(at / BLOCK) {
            Some(block) => &block[at % BLOCK],
            None => &self.tail[at - self.full.len() * BLOCK],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a queue of the standard library; a copy does not change.
        #[test]
        fn it_is_a_queue_whose_copies_stay_as_they_are(
            steps in prop::collection::vec((any::<bool>(), 0_usize..9), 0..60), copied in 0_usize..60,
        ) {
            let (mut found, mut expected) = (SharedDeque::default(), VecDeque::new());
            let mut copy = None;
            for (step, (push, count)) in steps.into_iter().enumerate() {
                if push {
                    found.extend(step..step + count);
                    expected.extend(step..step + count);
                } else {
                    found.drop_front(count);
                    expected.drain(..count.min(expected.len()));
                }
                if step == copied {
                    copy = Some((found.clone(), expected.clone()));
                    found.iter_mut().chain(&mut expected).for_each(|value| *value += 1);
                }
                prop_assert_eq!(found.len(), expected.len());
                prop_assert!(found.iter().eq(expected.iter().copied()));
                let half = found.len() / 2;
                prop_assert!(found.range(half..found.len()).eq(expected.range(half..).copied()));
                prop_assert_eq!((found.get(half), found.back()), (expected.get(half), expected.back()));
            }
            if let Some((copy, expected)) = copy {
                prop_assert!(copy.iter().eq(expected));
            }
        }
    }

    #[test]
    fn it_is_searched_by_halves_over_its_blocks() {
        let mut numbers = SharedDeque::default();
        numbers.extend(0..30);
        numbers.drop_front(5);
        assert_eq!(numbers.partition_point(|number| *number < 17), 12);
        assert_eq!((numbers.partition_point(|_| true), numbers.partition_point(|_| false)), (25, 0));
    }
}
