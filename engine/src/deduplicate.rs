//! Rows of a source that came before: decided once, at the source, in arrival order, like what is late.
//!
//! A row is dropped if a row with the same key has passed whose event time is at most `within` away, before or after.
//! What the watermark has left behind by more than that can have no repetition any more and is forgotten, so the state
//! is the keys of that span. A key with a NULL in it names no row and always passes.

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

/// The rows of one source that have passed and can still be repeated.
pub(crate) struct Deduplicator {
    rule: DeduplicateRule,
    converter: RowConverter,
    passed: HashTable<Passed>,
    /// What is too old is looked for when there are so many.
    sweep_at: usize,
}

/// A row that has passed.
struct Passed {
    hash: u64,
    time: EventTime,
    key: Box<[u8]>,
}

impl Deduplicator {
    /// # Errors
    /// If a column has a type that cannot be a key.
    pub(crate) fn new(rule: DeduplicateRule, schema: &SchemaRef) -> Result<Self> {
        let fields = rule.keys.iter().map(|key| SortField::new(schema.field(*key).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { rule, converter, passed: HashTable::new(), sweep_at: FEW })
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
            passed.hash == hash && passed.time.abs_diff(time) <= within && *passed.key == *key
        };
        if self.passed.find(hash, repeats).is_some() {
            return false;
        }
        self.passed.insert_unique(hash, Passed { hash, time, key: key.into() }, |passed| passed.hash);
        true
    }

    /// The rows that have passed and can still be repeated.
    pub(crate) fn snapshot(&self) -> Result<RecordBatch> {
        let mut passed: Vec<&Passed> = self.passed.iter().collect();
        passed.sort_by(|a, b| (a.time, &a.key).cmp(&(b.time, &b.key)));
        let times = Int64Array::from_iter_values(passed.iter().map(|passed| passed.time));
        let hashes = Int64Array::from_iter_values(passed.iter().map(|passed| passed.hash.cast_signed()));
        let keys = BinaryArray::from_iter_values(passed.iter().map(|passed| &passed.key));
        let columns: [(&str, ArrayRef); 3] =
            [("time", Arc::new(times)), ("hash", Arc::new(hashes)), ("key", Arc::new(keys))];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    /// Puts back what [`Deduplicator::snapshot`] gave.
    pub(crate) fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let (times, hashes) = (column(table, "time")?, column(table, "hash")?);
        let keys = table.column_by_name("key").and_then(|keys| keys.as_binary_opt::<i32>());
        for ((time, hash), key) in times.iter().zip(hashes).zip(keys.ok_or_else(damaged)?) {
            let hash = hash.cast_unsigned();
            let passed = Passed { hash, time: *time, key: key.ok_or_else(damaged)?.into() };
            self.passed.insert_unique(hash, passed, |passed| passed.hash);
        }
        Ok(())
    }

    /// Forgets what no row above the watermark can repeat, once that may be half of all.
    fn forget(&mut self, watermark: Watermark) {
        if self.passed.len() < self.sweep_at {
            return;
        }
        let oldest = watermark.0.saturating_sub(self.rule.within);
        self.passed.retain(|passed| passed.time >= oldest);
        self.passed.shrink_to(self.passed.len() * 2, |passed| passed.hash);
        self.sweep_at = FEW.max(self.passed.len() * 2);
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
        restored.restore(&ten.snapshot().unwrap()).unwrap();
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
    }
}
