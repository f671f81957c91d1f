//! Numbers keys: the values of key columns to slots `0..n`, so that what is kept per key is a plain vector.
//!
//! NULL is a key like any other. Without key columns all rows have slot 0. Slots are given in the order in which
//! keys first come; [`KeyInterner::retain`] takes those of forgotten keys back.
//!
//! Memory: the bytes of each key once, and 16 bytes of hash table.

mod pairs;
mod rows;
mod store;
mod text;
mod words;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::DataType;
use lineshaft_engine::{Error, Result};

use pairs::PairKeys;
use rows::RowKeys;
use text::TextKeys;
use words::WordKeys;

/// In place of a slot: there is none.
pub const ABSENT: u32 = u32::MAX;

/// Gives each distinct key a slot.
#[derive(Debug)]
pub struct KeyInterner {
    types: Vec<DataType>,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// No key columns.
    One,
    /// One column of text, plain or as a dictionary.
    Text(TextKeys),
    /// One column of integers, times, days or truths.
    Words(WordKeys),
    /// Several columns.
    Pairs(PairKeys),
    /// Anything else.
    Rows(RowKeys),
}

impl KeyInterner {
    /// An interner of keys with columns of `types`.
    ///
    /// # Errors
    /// If a type cannot be a key.
    pub fn new(types: &[DataType]) -> Result<Self> {
        let store = match types {
            [] => Store::One,
            [only] if text::is_text(only) => Store::Text(TextKeys::default()),
            [only] if words::is_word(only) => Store::Words(WordKeys::default()),
            [first, rest @ ..] if !rest.is_empty() => Store::Pairs(PairKeys::new(first, rest)?),
            _ => Store::Rows(RowKeys::new(types)?),
        };
        Ok(Self { types: types.to_vec(), store })
    }

    /// Number of slots; those of keys that `retain` gave back are not counted.
    pub fn len(&self) -> usize {
        match &self.store {
            Store::One => 1,
            Store::Text(keys) => keys.len(),
            Store::Words(keys) => keys.len(),
            Store::Pairs(keys) => keys.len(),
            Store::Rows(keys) => keys.len(),
        }
    }

    /// True if no key has come yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the slot of each row to `slots`; a new key gets a new slot. `rows` is the length of the columns.
    ///
    /// # Errors
    /// If the columns are not of the interner's types, or there are more than 4 billion keys.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        slots.clear();
        self.check(columns)?;
        match &mut self.store {
            Store::One => slots.resize(rows, 0),
            Store::Text(keys) => keys.intern(&columns[0], slots)?,
            Store::Words(keys) => keys.intern(&columns[0], slots)?,
            Store::Pairs(keys) => keys.intern(columns, rows, slots)?,
            Store::Rows(keys) => keys.intern(columns, slots)?,
        }
        Ok(())
    }

    /// Writes the slot of each row to `slots`, [`ABSENT`] for a key that was never interned.
    ///
    /// # Errors
    /// If the columns are not of the interner's types.
    pub fn find(&self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        slots.clear();
        self.check(columns)?;
        match &self.store {
            Store::One => slots.resize(rows, 0),
            Store::Text(keys) => keys.find(&columns[0], slots),
            Store::Words(keys) => keys.find(&columns[0], slots)?,
            Store::Pairs(keys) => keys.find(columns, rows, slots)?,
            Store::Rows(keys) => keys.find(columns, slots)?,
        }
        Ok(())
    }

    /// The key columns of `slots`.
    ///
    /// # Errors
    /// If Arrow cannot hold them in one column (2 GiB of text).
    pub fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        match &self.store {
            Store::One => Ok(Vec::new()),
            Store::Text(keys) => Ok(vec![keys.column(slots, &self.types[0])?]),
            Store::Words(keys) => Ok(vec![keys.column(slots, &self.types[0])?]),
            Store::Pairs(keys) => keys.columns(slots),
            Store::Rows(keys) => keys.columns(slots, &self.types),
        }
    }

    /// Forgets keys whose slot is not `live`; tells the new slot of each old one. The order stays.
    ///
    /// # Errors
    /// Never in practice: there are no more keys than before.
    pub fn retain<F: Fn(u32) -> bool>(&mut self, live: F) -> Result<Vec<Option<u32>>> {
        match &mut self.store {
            Store::One => Ok(vec![Some(0)]),
            Store::Text(keys) => keys.retain(live),
            Store::Words(keys) => keys.retain(live),
            Store::Pairs(keys) => keys.retain(live),
            Store::Rows(keys) => keys.retain(live),
        }
    }

    fn check(&self, columns: &[ArrayRef]) -> Result<()> {
        let fits = |column: &ArrayRef, expected: &DataType| {
            column.data_type() == expected || text::is_text(column.data_type()) && text::is_text(expected)
        };
        let same =
            columns.len() == self.types.len() && columns.iter().zip(&self.types).all(|(c, t)| fits(c, t));
        if same {
            return Ok(());
        }
        let found: Vec<_> = columns.iter().map(|c| c.data_type()).collect();
        Err(Error::operator("key", format!("columns of types {:?} expected, {found:?} found", self.types)))
    }
}

/// The number of a new slot.
fn next_slot(len: usize) -> Result<u32> {
    match u32::try_from(len) {
        Ok(slot) if slot != ABSENT => Ok(slot),
        _ => Err(Error::operator("key", "more than 4 billion keys at a time")),
    }
}

/// Rows of a dictionary as positions in its values.
fn codes(column: &ArrayRef) -> Option<&arrow::array::DictionaryArray<arrow::datatypes::Int32Type>> {
    column.as_dictionary_opt::<arrow::datatypes::Int32Type>()
}

#[cfg(test)]
mod tests;
