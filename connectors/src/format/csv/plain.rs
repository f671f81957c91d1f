//! Records without quotes, read column by column: the way of almost every record.
//!
//! A stripe of records is taken as a whole or not at all. Whatever is unusual in it (a quote, a blank line, too few
//! fields, a value that does not fit) leaves it to the reader of single records, who says what is wrong.

use super::{Csv, Mapping};
use crate::format::Rows;

/// Bytes of a stripe, about: with its fields it stays in the nearest cache.
const STRIPE: usize = 1 << 15;

/// Where the first stripe of `bytes` ends: after a newline, or at the end of the last record.
pub(super) fn stripe_end(bytes: &[u8]) -> usize {
    let most = &bytes[..bytes.len().min(STRIPE)];
    memchr::memrchr(b'\n', most).map_or_else(|| super::line_end(bytes), |at| at + 1)
}

impl Csv {
    /// Reads a stripe of valid UTF-8; `None`, and no row is kept, if it is not plain. Gives the number of its records.
    pub(super) fn plain(
        &self,
        stripe: &[u8],
        first_line: u64,
        mapping: &Mapping,
        rows: &mut Rows<'_>,
    ) -> Option<usize> {
        if self.delimiter == b' ' || self.may_be_quoted(stripe) {
            return None;
        }
        let width = mapping.0.len();
        let mut ends = std::mem::take(&mut rows.ends);
        let records = ends.find(stripe, self.delimiter);
        let is_plain = is_even(stripe, width, records, ends.places());
        let fields = Fields { bytes: stripe, ends: ends.places(), width, null: self.null.as_deref() };
        let is_read = is_plain && rows.columns.push_rows(mapping, &fields, records);
        rows.ends = ends;
        if !is_read {
            return None;
        }
        rows.end_rows(first_line, records);
        Some(records)
    }
}

/// True if every record has `width` fields and its newline, and none of them is blank.
fn is_even(stripe: &[u8], width: usize, records: usize, ends: &[u32]) -> bool {
    let is_newline = |end: &u32| stripe[*end as usize] == b'\n';
    let last = |record: &[u32]| record.last().is_some_and(is_newline);
    // A record of one field without text is a blank line.
    width > 1 && ends.len() == records * width && ends.chunks_exact(width).all(last)
}

/// The fields of the records of a stripe.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    /// Of each field, records one after the other.
    ends: &'a [u32],
    /// Fields of a record.
    width: usize,
    null: Option<&'a [u8]>,
}

impl Fields<'_> {
    /// One field of every record; `None` for NULL.
    pub(crate) fn column(&self, field: usize) -> impl Iterator<Item = Option<&[u8]>> {
        let is_last = field + 1 == self.width;
        (0..self.ends.len() / self.width).map(move |record| {
            let place = record * self.width + field;
            // A field begins behind the end of the one before it, the first of all at 0.
            let start = place.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
            let text = &self.bytes[start as usize..self.ends[place] as usize];
            let text = if is_last { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
            (!text.is_empty() && self.null != Some(text)).then_some(text)
        })
    }
}

/// The ends of the fields of a stripe, in room that the next stripe uses again.
#[derive(Debug, Default)]
pub(crate) struct FieldEnds {
    room: Vec<u32>,
    count: usize,
}

impl FieldEnds {
    fn places(&self) -> &[u32] {
        &self.room[..self.count]
    }

    /// Finds all delimiters and newlines. Gives the number of newlines.
    ///
    /// Few words have more than two, so two places are written for each word, without asking whether there are so many.
    #[expect(clippy::cast_possible_truncation, reason = "places in a stripe")]
    fn find(&mut self, stripe: &[u8], delimiter: u8) -> usize {
        let enough = stripe.len() + WORD;
        if self.room.len() < enough {
            self.room.resize(enough, 0);
        }
        let (delimiters, newlines) = (u64::from(delimiter) * EACH, u64::from(b'\n') * EACH);
        let (mut count, mut records) = (0, 0);
        let (words, rest) = stripe.as_chunks::<WORD>();
        for (at, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            let ends_of_records = zeros(word ^ newlines);
            records += bytes_of(ends_of_records);
            let found = zeros(word ^ delimiters) | ends_of_records;
            let (first, places) = ((at * WORD) as u32, &mut self.room[count..count + WORD]);
            let mut left = found;
            let mut next = || {
                let place = first + left.trailing_zeros() / 8;
                left &= left.wrapping_sub(1);
                (place, left != 0)
            };
            places[0] = next().0;
            let (second, mut is_more) = next();
            places[1] = second;
            let mut at = 2;
            while is_more {
                (places[at], is_more) = next();
                at += 1;
            }
            count += bytes_of(found);
        }
        for (at, byte) in rest.iter().enumerate() {
            if *byte == delimiter || *byte == b'\n' {
                self.room[count] = (words.len() * WORD + at) as u32;
                count += 1;
                records += usize::from(*byte == b'\n');
            }
        }
        self.count = count;
        records
    }
}

/// Bytes that are looked at together.
const WORD: usize = 8;

/// A word of the byte 1.
const EACH: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte of `word` that is 0.
fn zeros(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

/// How many bytes have their highest bit set, and nothing else is set.
fn bytes_of(highest: u64) -> usize {
    // The product adds all bytes up in the highest one.
    usize::from((highest >> 7).wrapping_mul(EACH).to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_fields_are_those_of_a_look_at_every_byte() {
        // A delimiter with its highest bit set is another byte.
        const BYTES: [u8; 4] = [b'a', b',', b'\n', b',' | 0x80];
        let mut ends = FieldEnds::default();
        for number in 0..4_usize.pow(9) {
            let bytes: Vec<u8> = (0..9).map(|at| BYTES[number >> (2 * at) & 3]).collect();
            let records = ends.find(&bytes, b',');
            let is_end = |at: &u32| matches!(bytes[*at as usize], b',' | b'\n');
            assert!(ends.places().iter().copied().eq((0..9).filter(is_end)), "{bytes:?}: {ends:?}");
            assert_eq!(records, bytes.iter().filter(|byte| **byte == b'\n').count());
        }
    }

    #[test]
    fn a_column_has_its_field_of_every_record() {
        let stripe = b"a,1,x\r\nb,,y\nNA,3,\r\n";
        let mut ends = FieldEnds::default();
        let records = ends.find(stripe, b',');
        assert!(is_even(stripe, 3, records, ends.places()));
        let fields = Fields { bytes: stripe, ends: ends.places(), width: 3, null: Some(b"NA") };
        let column = |field| fields.column(field).collect::<Vec<_>>();
        assert_eq!(column(0), [Some(&b"a"[..]), Some(b"b"), None]);
        assert_eq!(column(1), [Some(&b"1"[..]), None, Some(b"3")]);
        assert_eq!(column(2), [Some(&b"x"[..]), Some(b"y"), None]);
    }

    #[test]
    fn records_of_other_lengths_are_not_even() {
        for stripe in ["a\nb\n", "a,b\nc\n", "a,b,c\n", "a,b\n\n", "a,b\nc,d", "a\n,b,\nc"] {
            let mut ends = FieldEnds::default();
            let records = ends.find(stripe.as_bytes(), b',');
            assert!(!is_even(stripe.as_bytes(), 2, records, ends.places()), "{stripe:?}");
        }
    }
}
