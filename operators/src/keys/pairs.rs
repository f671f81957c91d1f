//! Several key columns: each has slots of its own, and a key is the slot of its first column beside that of the rest.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use lineshaft_engine::Result;

use super::words::WordKeys;
use super::{ABSENT, KeyInterner};

#[derive(Debug)]
pub(super) struct PairKeys {
    first: Box<KeyInterner>,
    rest: Box<KeyInterner>,
    pairs: WordKeys,
    /// The same slots without hashing, while there are few keys on both sides.
    grid: Grid,
    /// Slots of the last rows in `first` and in `rest`.
    slots: [Vec<u32>; 2],
}

impl PairKeys {
    pub(super) fn new(first: &DataType, rest: &[DataType]) -> Result<Self> {
        let of = |types: &[DataType]| KeyInterner::new(types).map(Box::new);
        Ok(Self {
            first: of(std::slice::from_ref(first))?,
            rest: of(rest)?,
            pairs: WordKeys::default(),
            grid: Grid::default(),
            slots: Default::default(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    pub(super) fn intern(&mut self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        let [first, rest] = &mut self.slots;
        self.first.intern(&columns[..1], rows, first)?;
        self.rest.intern(&columns[1..], rows, rest)?;
        slots.reserve(rows);
        if !self.grid.fits(self.first.len(), self.rest.len(), &self.pairs) {
            for (first, rest) in first.iter().zip(rest) {
                slots.push(self.pairs.slot(Some(pair(*first, *rest)))?);
            }
            return Ok(());
        }
        for (first, rest) in first.iter().zip(rest) {
            let cell = self.grid.cell(*first, *rest);
            if *cell == ABSENT {
                *cell = self.pairs.slot(Some(pair(*first, *rest)))?;
            }
            slots.push(*cell);
        }
        Ok(())
    }

    pub(super) fn find(&self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        let (mut first, mut rest) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        self.first.find(&columns[..1], rows, &mut first)?;
        self.rest.find(&columns[1..], rows, &mut rest)?;
        let found = first.iter().zip(&rest).map(|(first, rest)| match (*first, *rest) {
            (ABSENT, _) | (_, ABSENT) => ABSENT,
            (first, rest) => self.pairs.find_one(Some(pair(first, rest))),
        });
        slots.extend(found);
        Ok(())
    }

    pub(super) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let halves = slots.iter().filter_map(|slot| self.pairs.value(*slot)).map(halves);
        let (first, rest): (Vec<u32>, Vec<u32>) = halves.unzip();
        let mut columns = self.first.columns(&first)?;
        columns.extend(self.rest.columns(&rest)?);
        Ok(columns)
    }

    pub(super) fn retain(&mut self, live: impl Fn(u32) -> bool) -> Result<Vec<Option<u32>>> {
        let slots = self.pairs.retain(live)?;
        let (mut first, mut rest) = (vec![false; self.first.len()], vec![false; self.rest.len()]);
        for (in_first, in_rest) in self.pairs.values().map(halves) {
            first[in_first as usize] = true;
            rest[in_rest as usize] = true;
        }
        let first = self.first.retain::<&dyn Fn(u32) -> bool>(&|slot| first[slot as usize])?;
        let rest = self.rest.retain::<&dyn Fn(u32) -> bool>(&|slot| rest[slot as usize])?;
        // Live pairs have live halves.
        let moved = |(in_first, in_rest): (u32, u32)| {
            let new = |slots: &[Option<u32>], slot: u32| slots[slot as usize].unwrap_or(ABSENT);
            pair(new(&first, in_first), new(&rest, in_rest))
        };
        let words: Vec<i64> = self.pairs.values().map(halves).map(moved).collect();
        (self.pairs, self.grid) = (WordKeys::default(), Grid::default());
        for word in words {
            self.pairs.slot(Some(word))?;
        }
        Ok(slots)
    }
}

/// The slot of each pair in a table with a row for each first half.
#[derive(Debug, Default)]
struct Grid {
    /// Second halves are below two to this power.
    bits: u32,
    slots: Vec<u32>,
}

impl Grid {
    /// The most cells: 1 MiB.
    const MOST: usize = 1 << 18;

    /// Makes room for so many halves, with the pairs that are known; false if they are too many.
    fn fits(&mut self, first: usize, rest: usize, pairs: &WordKeys) -> bool {
        let bits = rest.next_power_of_two().ilog2();
        let cells = first.saturating_mul(1 << bits);
        if cells > Self::MOST {
            self.slots = Vec::new();
            return false;
        }
        if bits != self.bits || self.slots.is_empty() {
            (self.bits, self.slots) = (bits, vec![ABSENT; cells]);
            for (slot, word) in (0..).zip(pairs.values()) {
                let (first, rest) = halves(word);
                *self.cell(first, rest) = slot;
            }
        } else if self.slots.len() < cells {
            self.slots.resize(cells, ABSENT);
        }
        true
    }

    #[inline]
    fn cell(&mut self, first: u32, rest: u32) -> &mut u32 {
        &mut self.slots[(first as usize) << self.bits | rest as usize]
    }
}

fn pair(first: u32, rest: u32) -> i64 {
    (u64::from(first) << 32 | u64::from(rest)).cast_signed()
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
fn halves(pair: i64) -> (u32, u32) {
    let pair = pair.cast_unsigned();
    ((pair >> 32) as u32, pair as u32)
}
