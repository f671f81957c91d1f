//! The first rows of each group in some order, of rows that are only added.
//!
//! - Rows: append-only in, a changelog out; columns and ranks as of [`super::top_k`]. State: the rows that are kept, by
//!   group, and no others: a row that is not among the first now never will be. So `ROW_NUMBER() ... = 1` over a stream,
//!   the newest row of each machine, holds one row a machine.
//! - Within an epoch only what differs at its end is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::changelog::{Row, RowCodec};
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::EpochHeader;

use super::top_k::{GroupCodec, Ranking, TopKOptions, finished, parts, rank_codec, ranked};

/// The rows of a group that are among the first, each in its order and with how often it came.
type Group = BTreeMap<Row, isize>;

/// `ORDER BY order LIMIT limit` per group, of rows that are only added.
#[derive(Debug)]
pub struct FirstRows {
    options: TopKOptions,
    output: SchemaRef,
    codec: GroupCodec,
    ranks: RowCodec,
    results: RowCodec,
    groups: BTreeMap<Row, Group>,
    /// What each group that was touched in this epoch gave before it.
    before: BTreeMap<Row, BTreeMap<Row, i64>>,
}

impl FirstRows {
    /// The operator; `output` are the columns of the input, and the rank if it is asked for.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    pub fn new(options: TopKOptions, output: SchemaRef) -> Result<Self> {
        Ok(Self {
            codec: GroupCodec::new(&options)?,
            ranks: rank_codec()?,
            results: RowCodec::new(&output)?,
            options,
            output,
            groups: BTreeMap::new(),
            before: BTreeMap::new(),
        })
    }

    fn put(&mut self, rows: &RecordBatch, counts: Option<&Int64Array>) -> Result<()> {
        for (number, (key, row)) in self.codec.encode(rows)?.into_iter().enumerate() {
            let group = self.groups.entry(key.clone()).or_default();
            if !self.before.contains_key(&key) {
                let given = given(group, &self.options, &self.ranks);
                self.before.insert(key, given);
            }
            let count = counts.map_or(1, |counts| isize::try_from(counts.value(number)).unwrap_or(1));
            *group.entry(row).or_default() += count;
            // Not after each row, which would cost its logarithm; not after all, which would keep too many.
            if group.len() > self.options.limit.saturating_mul(2).saturating_add(16) {
                prune(group, &self.options);
            }
        }
        Ok(())
    }
}

fn rows(group: &Group) -> Vec<(&[u8], isize)> {
    group.iter().map(|(row, count)| (row.as_slice(), *count)).collect()
}

/// The rows that a group gives, each with how often.
fn given(group: &Group, options: &TopKOptions, ranks: &RowCodec) -> BTreeMap<Row, i64> {
    let mut given = BTreeMap::new();
    for (row, rank, count) in ranked(&rows(group), options) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        *given.entry(finished(row, rank, options, ranks)).or_default() += count;
    }
    given
}

/// Forgets the rows whose rank is above the limit.
fn prune(group: &mut Group, options: &TopKOptions) {
    let limit = u64::try_from(options.limit).unwrap_or(u64::MAX);
    let (mut seen, mut rank, mut before): (u64, u64, Option<Row>) = (0, 0, None);
    group.retain(|row, count| {
        let (order, _) = parts(row);
        let is_new = before.as_deref() != Some(order);
        rank = match options.ranking {
            Ranking::RowNumber => seen + 1,
            Ranking::Rank if is_new => seen + 1,
            Ranking::DenseRank if is_new => rank + 1,
            Ranking::Rank | Ranking::DenseRank => rank,
        };
        if is_new {
            before = Some(order.to_vec());
        }
        seen += u64::try_from(*count).unwrap_or(0);
        rank <= limit
    });
}

impl Operator for FirstRows {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        debug_assert!(batch.weights().is_none(), "the planner gives rows that are only added");
        self.put(batch.rows(), None)
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        let (mut rows, mut weights): (Vec<Row>, Vec<i64>) = (Vec::new(), Vec::new());
        for (key, before) in std::mem::take(&mut self.before) {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            prune(group, &self.options);
            let mut changes = given(group, &self.options, &self.ranks);
            for (row, count) in before {
                *changes.entry(row).or_default() -= count;
            }
            // What is taken back comes first.
            let mut changes: Vec<_> = changes.into_iter().filter(|(_, weight)| *weight != 0).collect();
            changes.sort_by_key(|(_, weight)| *weight > 0);
            for (row, weight) in changes {
                rows.push(row);
                weights.push(weight);
            }
        }
        if !rows.is_empty() {
            let columns = self.results.decode(rows.iter().map(Vec::as_slice))?;
            let rows = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
            output.send(Batch::with_weights(rows, Int64Array::from(weights)));
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let rows = || self.groups.values().flatten();
        let mut columns = self.codec.decode(rows().map(|(row, _)| parts(row).1))?;
        let counts = rows().map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX));
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(counts));
        columns.push(counts);
        let mut fields = self.options.schema.fields().to_vec();
        fields.push(Arc::new(Field::new("count", DataType::Int64, false)));
        let mut snapshot = Snapshot::default();
        snapshot.put("rows", RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        if let Some(rows) = snapshot.take("rows") {
            let last = rows.num_columns() - 1;
            let counts = rows.column(last).as_primitive::<Int64Type>().clone();
            debug_assert_eq!(counts.null_count(), 0);
            let columns: Vec<usize> = (0..last).collect();
            self.put(&rows.project(&columns)?, Some(&counts))?;
            self.before.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::SortOptions;
    use lineshaft_engine::testing::{lines, table};

    use super::*;

    fn newest(ranking: Ranking, limit: usize, with_rank: bool) -> FirstRows {
        let schema = table("machine:s x:i\n a 1").schema();
        let mut fields = schema.fields().to_vec();
        if with_rank {
            fields.push(Arc::new(Field::new("rank", DataType::UInt64, false)));
        }
        let order = vec![(1, SortOptions { descending: true, nulls_first: false })];
        let options = TopKOptions { schema, partition: vec![0], order, ranking, skip: 0, limit, with_rank };
        FirstRows::new(options, Arc::new(Schema::new(fields))).unwrap()
    }

    fn changes(operator: &mut FirstRows, text: &str) -> Vec<String> {
        let mut output = Output::new(1);
        let rows = table(&format!("machine:s x:i\n{text}"));
        operator.on_batch(0, rows.into(), &mut output).unwrap();
        operator.on_epoch_end(EpochHeader::new(0, 0), &mut output).unwrap();
        let batches = output.take(0);
        let weights = batches.iter().flat_map(|batch| batch.weights().unwrap().values().to_vec());
        let rows = lines(batches.iter().map(Batch::rows));
        weights.zip(rows).map(|(weight, row)| format!("{weight:+} {row}")).collect()
    }

    #[test]
    fn the_newest_row_of_each_key_is_all_that_is_kept() {
        let mut newest = newest(Ranking::RowNumber, 1, false);
        assert_eq!(changes(&mut newest, "a 1\nb 5\na 2"), ["+1 a 2", "+1 b 5"]);
        assert_eq!(changes(&mut newest, "a 1\nb 4"), Vec::<String>::new());
        assert_eq!(changes(&mut newest, "a 9"), ["-1 a 2", "+1 a 9"]);
        assert_eq!(newest.groups.values().map(BTreeMap::len).sum::<usize>(), 2);
    }

    #[test]
    fn ranks_move_on_equal_rows_share_one_and_a_snapshot_goes_on() {
        let mut first = newest(Ranking::Rank, 2, true);
        assert_eq!(changes(&mut first, "a 5\na 5\na 3"), ["+2 a 5 1"]);
        let snapshot = first.snapshot().unwrap();
        let mut restored = newest(Ranking::Rank, 2, true);
        restored.restore(snapshot).unwrap();
        assert_eq!(changes(&mut restored, "a 8"), ["-2 a 5 1", "+2 a 5 2", "+1 a 8 1"]);
        assert_eq!(changes(&mut restored, "a 9"), ["-2 a 5 2", "-1 a 8 1", "+1 a 8 2", "+1 a 9 1"]);
        assert_eq!(restored.groups.values().map(BTreeMap::len).sum::<usize>(), 2);
    }
}
