//! One key column of text, plain or as a dictionary. Each value of a dictionary is looked up once, and not again
//! while batches share it: those of one row group of a Parquet file do, and a worker gets such batches from each of the others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int32Type};
use lineshaft_engine::Result;

use super::store::ByteKeys;
use super::{ABSENT, codes};

pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 => true,
        DataType::Dictionary(key, value) => **key == DataType::Int32 && **value == DataType::Utf8,
        _ => false,
    }
}

#[derive(Debug, Default)]
pub(super) struct TextKeys {
    keys: ByteKeys,
    null: Option<u32>,
    /// Those of the last batches, the last one first.
    dictionaries: Vec<KnownDictionary>,
}

/// A dictionary and the slots of its values, [`ABSENT`] if not met yet.
#[derive(Debug)]
struct KnownDictionary {
    values: StringArray,
    slots: Vec<u32>,
    /// How many values were not met.
    unmet: usize,
}

/// So many dictionaries are known at a time.
const DICTIONARIES: usize = 4;

impl TextKeys {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn intern(&mut self, column: &ArrayRef, slots: &mut Vec<u32>) -> Result<()> {
        match codes(column) {
            Some(dictionary) => self.intern_dictionary(dictionary, slots),
            None => self.intern_plain(column.as_string::<i32>(), slots),
        }
    }

    fn intern_plain(&mut self, texts: &StringArray, slots: &mut Vec<u32>) -> Result<()> {
        slots.reserve(texts.len());
        let bytes = texts.value_data();
        for (row, ends) in texts.value_offsets().windows(2).enumerate() {
            slots.push(match texts.is_null(row) {
                true => self.null_slot()?,
                false => self.keys.intern(between(bytes, ends))?,
            });
        }
        Ok(())
    }

    fn intern_dictionary(
        &mut self,
        dictionary: &DictionaryArray<Int32Type>,
        slots: &mut Vec<u32>,
    ) -> Result<()> {
        let mut known = self.known(dictionary.values());
        if known.unmet > 0 || dictionary.keys().null_count() > 0 {
            self.meet(dictionary, &mut known)?;
        }
        spread(dictionary, &known.slots, self.null, slots);
        self.dictionaries.insert(0, known);
        Ok(())
    }

    /// Takes out what is known of a dictionary.
    fn known(&mut self, values: &ArrayRef) -> KnownDictionary {
        let texts = values.as_string::<i32>();
        if let Some(at) = self.dictionaries.iter().position(|known| is_same(&known.values, texts)) {
            return self.dictionaries.remove(at);
        }
        self.dictionaries.truncate(DICTIONARIES - 1);
        KnownDictionary { values: texts.clone(), slots: vec![ABSENT; values.len()], unmet: values.len() }
    }

    /// Gives a slot to each value that a row has, in their order.
    fn meet(&mut self, dictionary: &DictionaryArray<Int32Type>, known: &mut KnownDictionary) -> Result<()> {
        for code in dictionary.keys() {
            let Some(code) = code.and_then(|code| usize::try_from(code).ok()) else {
                self.null_slot()?;
                continue;
            };
            if known.slots[code] == ABSENT {
                known.unmet -= 1;
                known.slots[code] = match known.values.is_null(code) {
                    true => self.null_slot()?,
                    false => self.keys.intern(known.values.value(code).as_bytes())?,
                };
            }
        }
        Ok(())
    }

    fn null_slot(&mut self) -> Result<u32> {
        match self.null {
            Some(slot) => Ok(slot),
            None => {
                let slot = self.keys.push_unfindable()?;
                self.null = Some(slot);
                Ok(slot)
            }
        }
    }

    pub(super) fn find(&self, column: &ArrayRef, slots: &mut Vec<u32>) {
        let Some(dictionary) = codes(column) else {
            return self.find_plain(column.as_string::<i32>(), slots);
        };
        let mut of_value = Vec::new();
        self.find_plain(dictionary.values().as_string::<i32>(), &mut of_value);
        spread(dictionary, &of_value, self.null, slots);
    }

    fn find_plain(&self, texts: &StringArray, slots: &mut Vec<u32>) {
        let bytes = texts.value_data();
        let rows = texts.value_offsets().windows(2).enumerate();
        slots.extend(rows.map(|(row, ends)| match texts.is_null(row) {
            true => self.null.unwrap_or(ABSENT),
            false => self.keys.find(between(bytes, ends)),
        }));
    }

    pub(super) fn column(&self, slots: &[u32], data_type: &DataType) -> Result<ArrayRef> {
        let mut texts = StringBuilder::with_capacity(slots.len(), slots.len() * 16);
        for slot in slots {
            match self.null == Some(*slot) {
                true => texts.append_null(),
                // The bytes came out of a text column.
                false => texts.append_value(String::from_utf8_lossy(self.keys.get(*slot))),
            }
        }
        let texts = texts.finish();
        if *data_type == DataType::Utf8 {
            return Ok(Arc::new(texts));
        }
        let codes: Int32Array =
            (0..).zip(slots).map(|(code, slot)| (self.null != Some(*slot)).then_some(code)).collect();
        Ok(Arc::new(DictionaryArray::try_new(codes, Arc::new(texts))?))
    }

    pub(super) fn retain(&mut self, live: impl Fn(u32) -> bool) -> Result<Vec<Option<u32>>> {
        let (kept, slots) = self.keys.retain(live, self.null)?;
        self.keys = kept;
        self.null = self.null.and_then(|slot| slots[slot as usize]);
        self.dictionaries.clear();
        Ok(slots)
    }
}

/// The slot of each row, by the slots of the values; `null` for a row without one.
fn spread(
    dictionary: &DictionaryArray<Int32Type>,
    of_value: &[u32],
    null: Option<u32>,
    slots: &mut Vec<u32>,
) {
    let slot = |code: i32| usize::try_from(code).map_or(ABSENT, |code| of_value[code]);
    let (codes, null) = (dictionary.keys(), null.unwrap_or(ABSENT));
    match codes.null_count() {
        // A branch less a row.
        0 => slots.extend(codes.values().iter().map(|code| slot(*code))),
        _ => slots.extend(codes.iter().map(|code| code.map_or(null, slot))),
    }
}

/// True if both are of the same bytes in memory. A reader makes a new array of them for each batch.
fn is_same(a: &StringArray, b: &StringArray) -> bool {
    let nulls = |of: &StringArray| of.nulls().map(|nulls| (nulls.buffer().as_ptr(), nulls.offset()));
    a.len() == b.len()
        && a.value_offsets().as_ptr() == b.value_offsets().as_ptr()
        && a.value_data().as_ptr() == b.value_data().as_ptr()
        && nulls(a) == nulls(b)
}

/// The bytes of a value by its two offsets, which Arrow keeps within the data and ascending.
fn between<'a>(bytes: &'a [u8], ends: &[i32]) -> &'a [u8] {
    let at = |end: i32| usize::try_from(end).unwrap_or_default();
    &bytes[at(ends[0])..at(ends[1])]
}
