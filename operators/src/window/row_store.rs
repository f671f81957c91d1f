//! Rows that are kept for a while and picked one by one later, in any order.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, new_empty_array, new_null_array,
};
use arrow::compute::{cast, concat, interleave};
use arrow::datatypes::{DataType, FieldRef};
use lineshaft_engine::Result;

use super::state::StateTable;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    block: u32,
    row: u32,
}

impl Place {
    /// A row of a block.
    pub(crate) fn at(block: usize, row: u32) -> Self {
        Self { block: u32::try_from(block).unwrap_or(u32::MAX), row }
    }

    /// The number of its block.
    pub(crate) fn block(self) -> usize {
        self.block as usize
    }

    /// The place of the same row after its block has got another number.
    pub(crate) fn in_block(self, block: usize) -> Self {
        Self::at(block, self.row)
    }

    /// True if a place is the next one of the same block.
    fn is_before(self, next: Self) -> bool {
        self.block == next.block && self.row + 1 == next.row
    }

    /// The number of the row in its block.
    pub(crate) fn row(self) -> usize {
        self.row as usize
    }
}

/// Rows that follow each other are copied at once if there are so many of them, on average.
const LONG_RUN: usize = 8;

/// Blocks of rows of the same columns. The owner knows which places are live, and compacts when most are not. A copy shares the
/// columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowStore {
    blocks: Vec<Vec<ArrayRef>>,
    rows: usize,
    /// Bytes of the columns when they came.
    bytes: usize,
}

/// A store of fewer rows than this is not worth compacting.
const FEW_ROWS: usize = 8192;
/// Nor one of fewer blocks.
const FEW_BLOCKS: usize = 64;

impl RowStore {
    /// Adds a block of `rows` rows; gives their places, in order.
    pub(crate) fn push(
        &mut self,
        columns: Vec<ArrayRef>,
        rows: usize,
    ) -> impl Iterator<Item = Place> + use<> {
        // Compaction keeps blocks few, and a batch has fewer than 2^32 rows.
        let block = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        if rows > 0 {
            self.bytes += columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
            self.blocks.push(columns);
            self.rows += rows;
        }
        (0..).take(rows).map(move |row| Place { block, row })
    }

    /// The columns of the rows at `places`, in that order.
    pub(crate) fn pick(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        self.pick_columns(places, 0..self.blocks.first().map_or(0, Vec::len))
    }

    /// Some columns of the rows at `places`, of which there is at least one.
    pub(crate) fn pick_columns(&self, places: &[Place], columns: Range<usize>) -> Result<Vec<ArrayRef>> {
        let runs: Vec<&[Place]> = places.chunk_by(|place, next| place.is_before(*next)).collect();
        let is_long = !runs.is_empty() && runs.len() * LONG_RUN <= places.len();
        if is_long && self.is_plain(columns.clone()) {
            return columns.map(|at| self.pick_runs(&runs, at)).collect();
        }
        let indices: Vec<_> = places.iter().map(|place| (place.block as usize, place.row as usize)).collect();
        let column = |at: usize| {
            let blocks: Vec<&dyn Array> = self.blocks.iter().map(|block| block[at].as_ref()).collect();
            Ok(interleave(&blocks, &indices)?)
        };
        columns.map(column).collect()
    }

    /// True if some columns are of numbers, times and the like, of which copies are cheap.
    fn is_plain(&self, mut columns: Range<usize>) -> bool {
        let block = self.blocks.first();
        block.is_some_and(|block| columns.all(|at| block[at].data_type().is_primitive()))
    }

    /// A column of rows that follow each other.
    fn pick_runs(&self, runs: &[&[Place]], at: usize) -> Result<ArrayRef> {
        let part = |run: &&[Place]| self.blocks[run[0].block()][at].slice(run[0].row(), run.len());
        let parts: Vec<ArrayRef> = runs.iter().map(part).collect();
        Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
    }

    /// The first columns of the rows at `places`, one for each of `fields`; NULL where there is no place. Text may come out as
    /// a dictionary.
    pub(crate) fn pick_some(&self, fields: &[FieldRef], places: &[Option<Place>]) -> Result<Vec<ArrayRef>> {
        let nothing = (self.blocks.len(), 0);
        let index =
            |place: &Option<Place>| place.map_or(nothing, |place| (place.block as usize, place.row as usize));
        let indices: Vec<_> = places.iter().map(index).collect();
        let column = |(at, field): (usize, &FieldRef)| {
            let is_dictionary = matches!(field.data_type(), DataType::Dictionary(..));
            if let (true, [block]) = (is_dictionary, self.blocks.as_slice())
                && *block[at].data_type() == DataType::Utf8
            {
                let codes = places.iter().map(|place| i32::try_from(place.as_ref()?.row).ok());
                return dictionary_of(codes.collect(), &block[at]);
            }
            let data_type = self.blocks.first().map_or(field.data_type(), |block| block[at].data_type());
            let null = new_null_array(data_type, 1);
            let blocks = self.blocks.iter().map(|block| block[at].as_ref()).chain([null.as_ref()]);
            Ok(cast(&interleave(&blocks.collect::<Vec<_>>(), &indices)?, field.data_type())?)
        };
        fields.iter().enumerate().map(column).collect()
    }

    /// The columns of each block. They do not change.
    pub(crate) fn blocks(&self) -> &[Vec<ArrayRef>] {
        &self.blocks
    }

    /// Takes the columns of a block out. Its number stays, and no row is left in it.
    pub(crate) fn take_block(&mut self, block: usize) -> Vec<ArrayRef> {
        self.rows -= self.blocks[block].first().map_or(0, |column| column.len());
        let empty = self.blocks[block].iter().map(|column| new_empty_array(column.data_type())).collect();
        std::mem::replace(&mut self.blocks[block], empty)
    }

    /// Forgets blocks that have no rows; the others are numbered anew, in their order.
    pub(crate) fn retain_blocks(&mut self, stays: impl Fn(usize) -> bool) {
        let blocks = std::mem::take(&mut self.blocks).into_iter().enumerate();
        self.blocks = blocks.filter(|(number, _)| stays(*number)).map(|(_, columns)| columns).collect();
    }

    /// Puts another column in the place of one, in every block.
    pub(crate) fn change(&mut self, column: usize, to: impl Fn(&ArrayRef) -> ArrayRef) {
        for block in &mut self.blocks {
            block[column] = to(&block[column]);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes of the blocks, about, if none of them was taken out.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if the rows are in more than one block.
    pub(crate) fn is_scattered(&self) -> bool {
        self.blocks.len() > 1
    }

    /// True if at most half of the rows are live, or there are many blocks for their number.
    pub(crate) fn is_sparse(&self, live: usize) -> bool {
        self.rows > FEW_ROWS.max(live * 2) || self.blocks.len() > FEW_BLOCKS.max(live / 256)
    }

    /// Keeps the rows at `live` and gives them new places.
    pub(crate) fn compact<'a>(&mut self, live: impl Iterator<Item = &'a mut Place>) -> Result<()> {
        let live: Vec<_> = live.collect();
        let places: Vec<_> = live.iter().map(|place| **place).collect();
        let columns = self.pick(&places)?;
        *self = Self::default();
        for (place, new) in live.into_iter().zip(self.push(columns, places.len())) {
            *place = new;
        }
        Ok(())
    }
}

impl RowStore {
    /// The rows at `places` as a table of a snapshot.
    pub(crate) fn table(&self, places: &[Place]) -> Result<RecordBatch> {
        StateTable { numbers: vec![vec![0; places.len()]], keys: Vec::new(), values: self.pick(places)? }
            .into_batch()
    }

    /// Puts back what [`RowStore::table`] gave, into a new store; gives the places in their order.
    pub(crate) fn restore(&mut self, table: &RecordBatch) -> Result<impl Iterator<Item = Place> + use<>> {
        let columns = StateTable::from_batch(table, 1, 0)?.values;
        Ok(self.push(columns, table.num_rows()))
    }
}

/// Those of `texts` that `rows` names, as a dictionary whose values are `texts`. What is NULL has no code, so that a reader
/// need not look into the values for it.
pub(crate) fn dictionary_of(rows: Int32Array, texts: &ArrayRef) -> Result<ArrayRef> {
    let is_null = |row: i32| usize::try_from(row).is_ok_and(|row| texts.is_null(row));
    let codes = match texts.null_count() {
        0 => rows,
        _ => rows.iter().map(|row| row.filter(|row| !is_null(*row))).collect(),
    };
    Ok(Arc::new(DictionaryArray::try_new(codes, Arc::clone(texts))?))
}
