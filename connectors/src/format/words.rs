//! Texts as numbers: the distinct ones of a column, each once.
//!
//! Sensors say the same few words in every record. A word that was there before costs a look into a small table, and nothing
//! is copied; what brings the rows to the owner of their key and groups them works with the numbers.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use lineshaft_engine::Result;

/// A column with fewer rows than this is not judged yet.
const FEW_ROWS: usize = 4096;

/// The texts of a column under construction.
#[derive(Debug)]
pub(super) struct Words {
    /// The number of each row.
    numbers: Vec<i32>,
    /// By the hash of the word: its number.
    known: HashTable<i32>,
    bytes: Vec<u8>,
    /// Where the bytes of each word begin, and where the last one ends.
    offsets: Vec<i32>,
    /// The row that brought each word.
    brought: Vec<usize>,
    hasher: FixedState,
    /// Most words come once, so that nothing is looked for any more: each row has a word of its own.
    are_rare: bool,
}

/// The type of the column.
pub(crate) fn is_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(number, word) => **number == DataType::Int32 && **word == DataType::Utf8,
        _ => false,
    }
}

impl Words {
    pub(super) fn new() -> Self {
        Self {
            numbers: Vec::new(),
            known: HashTable::new(),
            bytes: Vec::new(),
            offsets: vec![0],
            brought: Vec::new(),
            hasher: FixedState::default(),
            are_rare: false,
        }
    }

    /// Adds a row; `None`, and none is added, if there are more bytes than an array of texts can have.
    pub(super) fn push(&mut self, text: &[u8]) -> Option<()> {
        let number = if self.are_rare { self.add(text)? } else { self.find_or_add(text)? };
        self.numbers.push(number);
        Some(())
    }

    /// A row without a text.
    pub(super) fn push_default(&mut self) {
        self.numbers.push(0);
    }

    fn find_or_add(&mut self, text: &[u8]) -> Option<i32> {
        let hash = self.hasher.hash_one(text);
        if let Some(number) = self.known.find(hash, |number| self.word(*number) == text) {
            return Some(*number);
        }
        let number = self.add(text)?;
        let (hasher, bytes, offsets) = (&self.hasher, &self.bytes, &self.offsets);
        self.known.insert_unique(hash, number, |number| hasher.hash_one(word(bytes, offsets, *number)));
        let rows = self.numbers.len();
        self.are_rare = rows > FEW_ROWS && self.offsets.len() > rows / 2;
        Some(number)
    }

    fn add(&mut self, text: &[u8]) -> Option<i32> {
        let number = i32::try_from(self.offsets.len() - 1).ok()?;
        let end = i32::try_from(self.bytes.len() + text.len()).ok()?;
        self.bytes.extend_from_slice(text);
        self.offsets.push(end);
        self.brought.push(self.numbers.len());
        Some(number)
    }

    fn word(&self, number: i32) -> &[u8] {
        word(&self.bytes, &self.offsets, number)
    }

    /// Takes the last rows back with the words that they brought, which need not even be valid UTF-8.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.numbers.truncate(rows);
        while self.brought.pop_if(|row| *row >= rows).is_some() {
            let Ok(number) = i32::try_from(self.brought.len()) else { return };
            let hash = self.hasher.hash_one(self.word(number));
            if let Ok(known) = self.known.find_entry(hash, |known| *known == number) {
                known.remove();
            }
            self.offsets.pop();
            self.bytes.truncate(self.offsets.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0)));
        }
    }

    /// The column, of which the texts are valid UTF-8.
    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let words =
            StringArray::try_new(OffsetBuffer::new(self.offsets.into()), Buffer::from_vec(self.bytes), None)?;
        let numbers = Int32Array::try_new(self.numbers.into(), nulls)?;
        Ok(Arc::new(DictionaryArray::try_new(numbers, Arc::new(words))?))
    }
}

fn word<'a>(bytes: &'a [u8], offsets: &[i32], number: i32) -> &'a [u8] {
    // Numbers and places are never negative.
    let place = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
    let number = usize::try_from(number).unwrap_or(0);
    &bytes[place(number)..place(number + 1)]
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::compute::cast;
    use arrow::datatypes::Int32Type;

    use super::*;

    fn texts(column: &ArrayRef) -> Vec<Option<String>> {
        let plain = cast(column, &DataType::Utf8).unwrap();
        plain.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn each_word_stands_once() {
        let mut words = Words::new();
        for text in ["pump", "fan", "pump", "", "fan", "pump"] {
            words.push(text.as_bytes()).unwrap();
        }
        let column = words.finish(None).unwrap();
        assert!(is_dictionary(column.data_type()));
        assert_eq!(column.as_dictionary::<Int32Type>().values().len(), 3);
        assert_eq!(
            texts(&column),
            ["pump", "fan", "pump", "", "fan", "pump"].map(|text| Some(text.to_owned()))
        );
    }

    #[test]
    fn rows_that_are_taken_back_leave_the_others_as_they_are() {
        let mut words = Words::new();
        words.push(b"pump").unwrap();
        words.push_default();
        words.push(b"no UTF-8: \xff").unwrap();
        words.truncate(2);
        words.push(b"fan").unwrap();
        words.push(b"pump").unwrap();
        words.truncate(3);
        words.push(b"fan").unwrap();
        let column = words.finish(Some(NullBuffer::from(vec![true, false, true, true]))).unwrap();
        let fan = Some("fan".to_owned());
        assert_eq!(texts(&column), [Some("pump".to_owned()), None, fan.clone(), fan]);
        assert_eq!(column.as_dictionary::<Int32Type>().values().len(), 2);
    }

    #[test]
    fn a_column_without_a_text_is_null() {
        let mut words = Words::new();
        words.push_default();
        let column = words.finish(Some(NullBuffer::from(vec![false]))).unwrap();
        assert_eq!(texts(&column), [None]);
    }

    #[test]
    fn texts_that_come_once_are_not_looked_for_for_ever() {
        let mut words = Words::new();
        let all: Vec<String> =
            (0..3 * FEW_ROWS).map(|row| format!("batch {}", row % (2 * FEW_ROWS))).collect();
        for text in &all {
            words.push(text.as_bytes()).unwrap();
        }
        assert!(words.are_rare);
        assert_eq!(words.known.len(), FEW_ROWS + 2, "the first that was too much was the last");
        let column = words.finish(None).unwrap();
        assert_eq!(texts(&column), all.into_iter().map(Some).collect::<Vec<_>>());
    }
}
