//! The first rows of each group in some order, kept up to date.
//!
//! - Rows: a changelog in and out; the columns of the input, and the rank if it is asked for. State: all rows of the
//!   input, by group. Rows that are equal in the order are told apart by their columns, so the choice is always the same.
//! - A large group is cut down in stages: its rows are spread over buckets, and each bucket passes on only what may be
//!   among the first. So a change costs the rows of a bucket or two, not those of the group.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::row::SortField;
use differential_dataflow::VecCollection;
use differential_dataflow::lattice::Lattice;
use lineshaft_engine::Result;
use lineshaft_engine::changelog::index::{self, index, reduced};
use lineshaft_engine::changelog::{ChangelogOperator, Failure, Inputs, Row, RowCodec, Rows};
use lineshaft_engine::hash::hash_bytes;
use timely::progress::Timestamp;

use super::steps::computed;

/// Buckets of each stage; the last one has all that is left of a group.
const STAGES: [u64; 3] = [1 << 16, 1 << 8, 1];

/// How rows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// `ROW_NUMBER`, `LIMIT`: every row has a number of its own.
    RowNumber,
    /// `RANK`: equal rows have the number of the first of them.
    Rank,
    /// `DENSE_RANK`: the same, without gaps.
    DenseRank,
}

/// What [`TopK`] does.
#[derive(Clone, Debug)]
pub struct TopKOptions {
    /// The columns of the input.
    pub schema: SchemaRef,
    /// The columns of the group.
    pub partition: Vec<usize>,
    /// The columns of the order.
    pub order: Vec<(usize, SortOptions)>,
    /// How rows are counted.
    pub ranking: Ranking,
    /// Rows of each group that are left out first.
    pub skip: usize,
    /// The largest number that is kept.
    pub limit: usize,
    /// Adds the number as the last column, `BIGINT UNSIGNED` as SQL has it.
    pub with_rank: bool,
}

/// `ORDER BY order LIMIT limit` per group.
#[derive(Debug)]
pub struct TopK {
    options: TopKOptions,
}

impl TopK {
    /// The operator.
    pub fn new(options: TopKOptions) -> Self {
        Self { options }
    }
}

/// A row behind the bytes of its order, and how many these are: such values sort as the rows do, because no encoded row
/// is the beginning of another.
pub(super) fn ordered(mut order: Row, row: &[u8]) -> Row {
    let length = u32::try_from(order.len()).unwrap_or(u32::MAX);
    order.extend_from_slice(row);
    order.extend_from_slice(&length.to_be_bytes());
    order
}

/// The order and the row of such a value.
pub(super) fn parts(ordered: &[u8]) -> (&[u8], &[u8]) {
    let (both, length) = ordered.split_last_chunk().unwrap_or((&[], &[0; 4]));
    both.split_at(u32::from_be_bytes(*length) as usize)
}

impl ChangelogOperator for TopK {
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>> {
        let failure = inputs.failure();
        top_k(inputs.rows(0)?, self.options.clone(), failure)
    }
}

fn top_k<'scope, T>(rows: Rows<'scope, T>, options: TopKOptions, failure: Failure) -> Result<Rows<'scope, T>>
where
    T: Timestamp + Lattice,
{
    let mut grouped = by_group(rows, &options, failure)?;
    for buckets in STAGES.into_iter().filter(|buckets| *buckets > 1 && options.ranking == Ranking::RowNumber)
    {
        let most = isize::try_from(options.limit).unwrap_or(isize::MAX);
        let spread = grouped.map(move |(mut group, row)| {
            group.extend_from_slice(&(hash_bytes(parts(&row).1) % buckets).to_be_bytes());
            (group, row)
        });
        let first = reduced(index(spread), "first rows", move |rows, output| {
            let mut left = most;
            for (row, weight) in rows.iter().filter(|(_, weight)| *weight > 0) {
                output.push((row.to_vec(), left.min(*weight)));
                left -= *weight;
                if left <= 0 {
                    break;
                }
            }
        });
        grouped = first.as_collection(|group, row| (group[..group.len() - 8].to_vec(), row.to_vec()));
    }
    let number = rank_codec()?;
    let numbered = reduced(index(grouped), "top-k", move |rows, output| {
        for (row, rank, weight) in ranked(rows, &options) {
            output.push((finished(row, rank, &options, &number), weight));
        }
    });
    Ok(index::rows(numbered))
}

fn by_group<'scope, T>(
    rows: Rows<'scope, T>,
    options: &TopKOptions,
    failure: Failure,
) -> Result<VecCollection<'scope, T, (Row, Row), isize>>
where
    T: Timestamp + Lattice,
{
    let codec = GroupCodec::new(options)?;
    computed(rows, &options.schema, move |batch: &RecordBatch| codec.encode(batch), failure)
}

/// Encodes the group, the order and the columns of each row.
#[derive(Debug)]
pub(super) struct GroupCodec {
    partition: Vec<usize>,
    order: Vec<usize>,
    groups: RowCodec,
    orders: RowCodec,
    all: RowCodec,
}

impl GroupCodec {
    pub(super) fn new(options: &TopKOptions) -> Result<Self> {
        let TopKOptions { schema, partition, order, .. } = options;
        let field = |column: usize| schema.field(column).data_type().clone();
        let groups = partition.iter().map(|column| SortField::new(field(*column)));
        let orders = order.iter().map(|(column, how)| SortField::new_with_options(field(*column), *how));
        Ok(Self {
            groups: RowCodec::of(groups.collect())?,
            orders: RowCodec::of(orders.collect())?,
            all: RowCodec::new(schema)?,
            partition: partition.clone(),
            order: order.iter().map(|(column, _)| *column).collect(),
        })
    }

    /// The group of each row, and the row as [`ordered`] gives it.
    pub(super) fn encode(&self, batch: &RecordBatch) -> Result<Vec<(Row, Row)>> {
        let columns = |places: &[usize]| -> Vec<ArrayRef> {
            places.iter().map(|column| Arc::clone(batch.column(*column))).collect()
        };
        let count = batch.num_rows();
        let groups = self.groups.encode(&columns(&self.partition), count)?;
        let orders = self.orders.encode(&columns(&self.order), count)?;
        let rows = self.all.encode(batch.columns(), count)?;
        let rows = orders.into_iter().zip(rows).map(|(order, row)| ordered(order, &row));
        Ok(groups.into_iter().zip(rows).collect())
    }

    /// The columns of rows, without those of the group and the order.
    pub(super) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.all.decode(rows)
    }
}

/// Encodes a rank.
pub(super) fn rank_codec() -> Result<RowCodec> {
    RowCodec::of(vec![SortField::new(arrow::datatypes::DataType::UInt64)])
}

/// The rows that are kept, each with its number, and how many there are of it.
pub(super) fn ranked<'a>(rows: &[(&'a [u8], isize)], options: &TopKOptions) -> Vec<(&'a [u8], u64, isize)> {
    let (mut kept, mut seen, mut rank, mut before): (Vec<_>, u64, u64, Option<&[u8]>) =
        (Vec::new(), 0, 0, None);
    let (skip, limit) = (options.skip as u64, options.limit as u64);
    for (ordered, weight) in rows.iter().filter(|(_, weight)| *weight > 0) {
        let (order, row) = parts(ordered);
        let is_new = before != Some(order);
        before = Some(order);
        match options.ranking {
            Ranking::RowNumber => {
                // Copies of a row have numbers of their own.
                for number in seen + 1..=seen + weight.unsigned_abs() as u64 {
                    if number > limit {
                        return kept;
                    }
                    if number > skip {
                        kept.push((row, number, 1));
                    }
                }
            }
            Ranking::Rank if is_new => rank = seen + 1,
            Ranking::DenseRank if is_new => rank += 1,
            Ranking::Rank | Ranking::DenseRank => {}
        }
        seen += weight.unsigned_abs() as u64;
        if options.ranking != Ranking::RowNumber {
            if rank > limit {
                return kept;
            }
            kept.push((row, rank, *weight));
        }
    }
    kept
}

pub(super) fn finished(row: &[u8], rank: u64, options: &TopKOptions, codec: &RowCodec) -> Row {
    let mut row = row.to_vec();
    if options.with_rank {
        let rank: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![rank]));
        let rank = codec.encode(&[rank], 1).expect("a number can be encoded");
        row.extend_from_slice(&rank[0]);
    }
    row
}
