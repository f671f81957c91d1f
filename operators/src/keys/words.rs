//! One key column of integers, times, days or truths: the values are the keys.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use hashbrown::HashTable;
use lineshaft_engine::Result;

use super::{ABSENT, next_slot};

/// True for types that fit `i64` and come back from it unchanged.
pub(super) fn is_word(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Int8, Int16, Int32, Int64, Timestamp, UInt8, UInt16, UInt32};
    matches!(
        data_type,
        Boolean | Date32 | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Timestamp(_, _)
    )
}

#[derive(Debug, Default)]
pub(super) struct WordKeys {
    /// The slots of small values, by value: states, classes and the like need no hash.
    small: Vec<u32>,
    /// Those of all others.
    table: HashTable<(i64, u32)>,
    values: Vec<Option<i64>>,
    null: Option<u32>,
}

/// Values from 0 to below this are small.
const SMALL: usize = 4_096;

/// Mixes a value; the finaliser of MurmurHash3 (fmix64, public domain).
fn hash(value: i64) -> u64 {
    let mut x = value.cast_unsigned();
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

impl WordKeys {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a slot; `None` for NULL.
    pub(super) fn value(&self, slot: u32) -> Option<i64> {
        self.values[slot as usize]
    }

    /// The values by slot, without NULL.
    pub(super) fn values(&self) -> impl Iterator<Item = i64> {
        self.values.iter().copied().flatten()
    }

    pub(super) fn intern(&mut self, column: &ArrayRef, slots: &mut Vec<u32>) -> Result<()> {
        let words = cast(column, &DataType::Int64)?;
        let words = words.as_primitive::<Int64Type>();
        if words.null_count() > 0 {
            for value in words {
                slots.push(self.slot(value)?);
            }
            return Ok(());
        }
        let start = slots.len();
        slots.extend(words.values().iter().map(|value| self.find_small(*value).unwrap_or(ABSENT)));
        for (slot, value) in slots[start..].iter_mut().zip(words.values()) {
            if *slot == ABSENT {
                *slot = self.slot(Some(*value))?;
            }
        }
        Ok(())
    }

    /// The slot of a value that is small and known.
    #[inline]
    fn find_small(&self, value: i64) -> Option<u32> {
        self.small.get(usize::try_from(value).ok()?).copied()
    }

    #[inline]
    pub(super) fn slot(&mut self, value: Option<i64>) -> Result<u32> {
        match self.find_one(value) {
            ABSENT => self.insert(value),
            slot => Ok(slot),
        }
    }

    #[cold]
    fn insert(&mut self, value: Option<i64>) -> Result<u32> {
        let slot = next_slot(self.values.len())?;
        self.values.push(value);
        match value {
            Some(value) => match usize::try_from(value).ok().filter(|small| *small < SMALL) {
                Some(small) => {
                    self.small.resize(self.small.len().max(small + 1), ABSENT);
                    self.small[small] = slot;
                }
                None => {
                    self.table.insert_unique(hash(value), (value, slot), |entry| hash(entry.0));
                }
            },
            None => self.null = Some(slot),
        }
        Ok(slot)
    }

    #[inline]
    pub(super) fn find_one(&self, value: Option<i64>) -> u32 {
        match value {
            Some(value) => self.find_small(value).unwrap_or_else(|| {
                let found = self.table.find(hash(value), |entry| entry.0 == value);
                found.map_or(ABSENT, |entry| entry.1)
            }),
            None => self.null.unwrap_or(ABSENT),
        }
    }

    pub(super) fn find(&self, column: &ArrayRef, slots: &mut Vec<u32>) -> Result<()> {
        let words = cast(column, &DataType::Int64)?;
        slots.extend(words.as_primitive::<Int64Type>().iter().map(|value| self.find_one(value)));
        Ok(())
    }

    pub(super) fn column(&self, slots: &[u32], data_type: &DataType) -> Result<ArrayRef> {
        let words: Int64Array = slots.iter().map(|slot| self.values[*slot as usize]).collect();
        Ok(cast(&words, data_type)?)
    }

    pub(super) fn retain(&mut self, live: impl Fn(u32) -> bool) -> Result<Vec<Option<u32>>> {
        let old = std::mem::take(self);
        let kept = |(slot, value): (u32, &Option<i64>)| match live(slot) {
            true => self.insert(*value).map(Some),
            false => Ok(None),
        };
        (0..).zip(&old.values).map(kept).collect()
    }
}
