//! A value for each slot.

use std::sync::Arc;

/// Values of a block: so many are copied when one changes for the first time after a copy was made.
const BLOCK: usize = if cfg!(test) { 2 } else { 16 };

/// A vector of which a copy shares all blocks.
#[derive(Clone, Debug)]
pub(crate) struct SharedVec<T> {
    blocks: Vec<Arc<Vec<T>>>,
}

impl<T> Default for SharedVec<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T: Clone> SharedVec<T> {
    pub(crate) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    pub(crate) fn push(&mut self, value: T) {
        match self.blocks.last_mut().filter(|last| last.len() < BLOCK) {
            Some(last) => Arc::make_mut(last).push(value),
            None => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(value);
                self.blocks.push(Arc::new(block));
            }
        }
    }

    /// Adds values until there are so many.
    pub(crate) fn grow(&mut self, len: usize, mut new: impl FnMut() -> T) {
        for _ in self.len()..len {
            self.push(new());
        }
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.blocks.get(slot / BLOCK)?.get(slot % BLOCK)
    }

    /// The value of a slot, to be changed: if it is shared, its block is copied.
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        Arc::make_mut(self.blocks.get_mut(slot / BLOCK)?).get_mut(slot % BLOCK)
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        Arc::make_mut(self.blocks.last_mut()?).last_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.iter())
    }

    /// The values from a slot on.
    pub(crate) fn iter_from(&self, slot: usize) -> impl Iterator<Item = &T> {
        let blocks = self.blocks.get(slot / BLOCK..).unwrap_or_default();
        blocks.iter().flat_map(|block| block.iter()).skip(slot % BLOCK)
    }

    /// Each value, to be changed: what is shared is copied.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flat_map(Arc::make_mut)
    }

    /// The values that have a new number, by it; the others are dropped.
    pub(crate) fn renumber(&mut self, moved: &[Option<u32>], mut new: impl FnMut() -> T) {
        let mut renumbered = Self::default();
        for (value, moved) in self.iter().zip(moved) {
            let Some(moved) = moved else { continue };
            renumbered.grow(*moved as usize + 1, &mut new);
            if let Some(place) = renumbered.get_mut(*moved as usize) {
                place.clone_from(value);
            }
        }
        *self = renumbered;
    }
}

impl<T: Clone> FromIterator<T> for SharedVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut all = Self::default();
        values.into_iter().for_each(|value| all.push(value));
        all
    }
}

impl<T: Clone> std::ops::Index<usize> for SharedVec<T> {
    type Output = T;

    fn index(&self, slot: usize) -> &T {
        &self.blocks[slot / BLOCK][slot % BLOCK]
    }
}

impl<T: Clone> std::ops::IndexMut<usize> for SharedVec<T> {
    fn index_mut(&mut self, slot: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.blocks[slot / BLOCK])[slot % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_as_it_is() {
        let mut squares: SharedVec<usize> = (0..7).map(|n| n * n).collect();
        let copy = squares.clone();
        squares[3] = 100;
        squares.grow(9, || 7);
        squares.iter_mut().skip(8).for_each(|last| *last = 8);
        assert_eq!(squares.iter().copied().collect::<Vec<_>>(), [0, 1, 4, 100, 16, 25, 36, 7, 8]);
        assert_eq!(copy.iter().copied().collect::<Vec<_>>(), [0, 1, 4, 9, 16, 25, 36]);
        assert_eq!((squares.len(), copy.len(), copy.get(7)), (9, 7, None));
        assert_eq!(squares.iter_from(5).copied().collect::<Vec<_>>(), [25, 36, 7, 8]);
        assert_eq!(squares.iter_from(9).count(), 0);
    }

    #[test]
    fn values_move_to_their_new_numbers() {
        let mut letters: SharedVec<char> = "abcde".chars().collect();
        letters.renumber(&[None, Some(0), Some(3), None, Some(1)], || '-');
        assert_eq!(letters.iter().collect::<String>(), "be-c");
    }
}
