//! Rows of a source that came before: decided once, at the source, in arrival order, like what is late.
//!
//! A row is dropped if a row with the same key has passed whose event time is at most `within` away, before or after.
//! What the watermark has left behind by more than that can have no repetition any more and is forgotten, so the state
//! is the keys of that span. A key with a NULL in it names no row and always passes.
//!
//! Keys are kept in blocks in the order in which they came. A full block does not change, so a checkpoint shares it.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, Int64Array, RecordBatch,
};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;

use crate::checkpoint::{column, damaged};
use crate::error::Result;
use crate::hash::{as_key, hash_rows};
use crate::plan::DeduplicateRule;
use crate::time::{EventTime, Watermark};

/// Fewer remembered rows than this are not worth looking through.
const FEW: usize = 4096;
/// Rows of a block: what a checkpoint copies of the last one.
const BLOCK: usize = if cfg!(test) { 64 } else { 16_384 };

/// The rows of one source that have passed and can still be repeated.
pub(crate) struct Deduplicator {
    rule: DeduplicateRule,
    converter: RowConverter,
    passed: HashTable<Passed>,
    blocks: Blocks,
    /// What is too old is looked for when there are so many.
    sweep_at: usize,
}

/// A row that has passed.
#[derive(Clone, Copy)]
struct Passed {
    hash: u64,
    /// The number of its block.
    block: u32,
    row: u32,
}

/// Event times and keys of rows that have passed.
#[derive(Default)]
struct Blocks {
    full: VecDeque<Block>,
    /// The number of the first of `full`; those before are gone.
    first: u32,
    open: Open,
}

/// A block that is full.
struct Block {
    times: Int64Array,
    hashes: Int64Array,
    keys: BinaryArray,
    /// The last of its times.
    newest: EventTime,
}

/// The block that rows are added to.
#[derive(Default)]
struct Open {
    times: Vec<EventTime>,
    hashes: Vec<u64>,
    keys: Vec<u8>,
    /// Where the keys end.
    ends: Vec<usize>,
}

impl Open {
    fn key(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[start..self.ends[row]]
    }

    fn block(&self) -> Block {
        Block {
            times: self.times.iter().copied().collect(),
            hashes: self.hashes.iter().map(|hash| hash.cast_signed()).collect(),
            keys: BinaryArray::from_iter_values((0..self.ends.len()).map(|row| self.key(row))),
            newest: self.times.iter().copied().max().unwrap_or(EventTime::MIN),
        }
    }
}

impl Blocks {
    /// The number of the open block.
    fn last(&self) -> u32 {
        // Blocks that are forgotten are taken from the front, and rows are far fewer than 2^32 blocks.
        self.first + u32::try_from(self.full.len()).unwrap_or(u32::MAX)
    }

    fn get(&self, passed: &Passed) -> (EventTime, &[u8]) {
        let row = passed.row as usize;
        match self.full.get((passed.block - self.first) as usize) {
            Some(block) => (block.times.value(row), block.keys.value(row)),
            None => (self.open.times[row], self.open.key(row)),
        }
    }

    fn push(&mut self, hash: u64, time: EventTime, key: &[u8]) -> Passed {
        if self.open.times.len() == BLOCK {
            self.full.push_back(std::mem::take(&mut self.open).block());
        }
        let row = u32::try_from(self.open.times.len()).unwrap_or(u32::MAX);
        self.open.times.push(time);
        self.open.hashes.push(hash);
        self.open.keys.extend_from_slice(key);
        self.open.ends.push(self.open.keys.len());
        Passed { hash, block: self.last(), row }
    }

    /// Drops the first blocks of which no row is at or after `oldest`.
    fn forget(&mut self, oldest: EventTime) {
        while self.full.pop_front_if(|block| block.newest < oldest).is_some() {
            self.first += 1;
        }
    }
}

impl Deduplicator {
    /// # Errors
    /// If a column has a type that cannot be a key.
    pub(crate) fn new(rule: DeduplicateRule, schema: &SchemaRef) -> Result<Self> {
        let fields = rule.keys.iter().map(|key| SortField::new(schema.field(*key).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { rule, converter, passed: HashTable::new(), blocks: Blocks::default(), sweep_at: FEW })
    }

    /// Which rows pass, as of `watermark`; `None` if all do.
    pub(crate) fn first_seen(
        &mut self,
        rows: &RecordBatch,
        watermark: Watermark,
    ) -> Result<Option<BooleanArray>> {
        let keys: Vec<ArrayRef> = self.rule.keys.iter().map(|key| as_key(rows.column(*key))).collect();
        let hashes = hash_rows(&keys, rows.num_rows())?;
        let encoded = self.converter.convert_columns(&keys)?;
        let times = rows.column(self.rule.time).as_primitive::<TimestampMicrosecondType>();
        let nulls: Vec<_> = keys.iter().filter_map(|key| key.logical_nulls()).collect();
        let mut passes = BooleanBufferBuilder::new(rows.num_rows());
        let mut repeated = 0;
        for (row, hash) in hashes.into_iter().enumerate() {
            let is_new = nulls.iter().any(|nulls| nulls.is_null(row))
                || self.pass(hash, times.value(row), encoded.row(row).as_ref());
            repeated += usize::from(!is_new);
            passes.append(is_new);
        }
        self.forget(watermark);
        Ok((repeated > 0).then(|| BooleanArray::new(passes.finish(), None)))
    }

    /// Remembers a row, unless it is a repetition.
    fn pass(&mut self, hash: u64, time: EventTime, key: &[u8]) -> bool {
        let within = self.rule.within.unsigned_abs();
        let repeats = |passed: &Passed| {
            if passed.hash != hash {
                return false;
            }
            let (other, of) = self.blocks.get(passed);
            other.abs_diff(time) <= within && of == key
        };
        if self.passed.find(hash, repeats).is_some() {
            return false;
        }
        let passed = self.blocks.push(hash, time, key);
        self.passed.insert_unique(hash, passed, |passed| passed.hash);
        true
    }

    /// The rows that have passed and can still be repeated, in parts, and with some that cannot.
    pub(crate) fn snapshot(&self) -> Result<Vec<RecordBatch>> {
        let open = self.blocks.open.block();
        self.blocks.full.iter().chain([&open]).map(Block::table).collect()
    }

    /// Puts back a part of what [`Deduplicator::snapshot`] gave.
    pub(crate) fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let block = Block::from_table(table)?;
        if block.times.is_empty() {
            return Ok(());
        }
        assert!(self.blocks.open.times.is_empty(), "restored before a row comes");
        let number = self.blocks.last();
        for (row, hash) in (0..).zip(block.hashes.values()) {
            let passed = Passed { hash: hash.cast_unsigned(), block: number, row };
            self.passed.insert_unique(passed.hash, passed, |passed| passed.hash);
        }
        self.blocks.full.push_back(block);
        Ok(())
    }

    /// Forgets what no row above the watermark can repeat, once that may be half of all.
    fn forget(&mut self, watermark: Watermark) {
        if self.passed.len() < self.sweep_at {
            return;
        }
        let oldest = watermark.0.saturating_sub(self.rule.within);
        self.passed.retain(|passed| self.blocks.get(passed).0 >= oldest);
        self.blocks.forget(oldest);
        self.passed.shrink_to(self.passed.len() * 2, |passed| passed.hash);
        self.sweep_at = FEW.max(self.passed.len() * 2);
    }
}

impl Block {
    fn table(&self) -> Result<RecordBatch> {
        let Self { times, hashes, keys, .. } = self;
        let columns: [(&str, ArrayRef); 3] = [
            ("time", Arc::new(times.clone())),
            ("hash", Arc::new(hashes.clone())),
            ("key", Arc::new(keys.clone())),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    fn from_table(table: &RecordBatch) -> Result<Self> {
        let (times, hashes) = (column(table, "time")?, column(table, "hash")?);
        let keys = table.column_by_name("key").and_then(|keys| keys.as_binary_opt::<i32>());
        let keys = keys.filter(|keys| keys.null_count() == 0).ok_or_else(damaged)?;
        let newest = times.iter().copied().max().unwrap_or(EventTime::MIN);
        Ok(Self { times: times.to_vec().into(), hashes: hashes.to_vec().into(), keys: keys.clone(), newest })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, TimestampMicrosecondArray};

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn rows(of: &[(i64, Option<&str>, i64)]) -> RecordBatch {
        let times = of.iter().map(|row| Some(row.0 * SECOND)).collect::<TimestampMicrosecondArray>();
        let devices: ArrayRef = Arc::new(of.iter().map(|row| row.1).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new(of.iter().map(|row| Some(row.2)).collect::<Int64Array>());
        let columns = [("ts", Arc::new(times) as ArrayRef), ("device", devices), ("seq", numbers)];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn within(seconds: i64) -> Deduplicator {
        let rule = DeduplicateRule { keys: vec![1, 2], time: 0, within: seconds * SECOND };
        Deduplicator::new(rule, &rows(&[]).schema()).unwrap()
    }

    /// What becomes of each row.
    fn passes(deduplicator: &mut Deduplicator, of: &[(i64, Option<&str>, i64)]) -> Vec<bool> {
        let passes = deduplicator.first_seen(&rows(of), Watermark::START).unwrap();
        passes.map_or(vec![true; of.len()], |passes| passes.values().iter().collect())
    }

    #[test]
    fn a_row_passes_once_within_the_interval_and_again_after_it() {
        let mut ten = within(10);
        let first = [(0, Some("a"), 1), (0, Some("b"), 1), (3, Some("a"), 1), (10, Some("a"), 1)];
        assert_eq!(passes(&mut ten, &first), [true, true, false, false]);
        // It is the row that passed that counts, not the repetition.
        assert_eq!(passes(&mut ten, &[(11, Some("a"), 1), (15, Some("a"), 2)]), [true, true]);
    }

    #[test]
    fn a_repetition_that_comes_before_its_row_in_event_time_is_one_too() {
        assert_eq!(passes(&mut within(10), &[(20, Some("a"), 1), (12, Some("a"), 1)]), [true, false]);
    }

    #[test]
    fn a_checkpoint_remembers_what_has_passed() {
        let mut ten = within(10);
        passes(&mut ten, &[(0, Some("a"), 1), (5, Some("b"), 2)]);
        let mut restored = within(10);
        ten.snapshot().unwrap().iter().for_each(|part| restored.restore(part).unwrap());
        let again = [(6, Some("b"), 2), (6, Some("b"), 3), (10, Some("a"), 1)];
        assert_eq!(passes(&mut restored, &again), [false, true, false]);
    }

    #[test]
    fn a_key_with_null_is_never_a_repetition() {
        assert_eq!(passes(&mut within(10), &[(0, None, 1), (0, None, 1)]), [true, true]);
    }

    #[test]
    fn batches_do_not_matter() {
        let all: Vec<_> = (0..3000).map(|n| (n / 3, Some("a"), n * 7919 % 60)).collect();
        let whole = passes(&mut within(30), &all);
        let mut single = within(30);
        let each: Vec<bool> = all.iter().flat_map(|row| passes(&mut single, &[*row])).collect();
        assert_eq!(whole, each);
        assert!(whole.contains(&false) && whole.contains(&true));
    }

    #[test]
    fn what_can_have_no_repetition_any_more_is_forgotten() {
        let mut ten = within(10);
        for batch in 0..200 {
            let all: Vec<_> = (0..1000).map(|n| (batch, Some("a"), batch * 1000 + n)).collect();
            ten.first_seen(&rows(&all), Watermark((batch - 5) * SECOND)).unwrap();
        }
        assert!(ten.passed.len() < 40_000, "{}", ten.passed.len());
        assert!(ten.blocks.full.len() * BLOCK < 60_000, "{} blocks", ten.blocks.full.len());
    }

    #[test]
    fn a_checkpoint_at_any_time_changes_nothing_of_what_passes() {
        let all: Vec<_> = (0..3000).map(|n| (n / 3, Some("a"), n * 7919 % 60)).collect();
        let whole = passes(&mut within(30), &all);
        for at in [0, 1, 63, 64, 65, 700, 2999] {
            let (mut first, mut second) = (within(30), within(30));
            let mut parts = passes(&mut first, &all[..at]);
            first.snapshot().unwrap().iter().for_each(|part| second.restore(part).unwrap());
            parts.extend(passes(&mut second, &all[at..]));
            assert_eq!(parts, whole, "after {at} rows");
        }
    }
}
