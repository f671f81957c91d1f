//! The rows of a table in memory, found by the columns of a join.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array, make_comparator,
    new_null_array,
};
use arrow::compute::{
    SortOptions, cast, concat_batches, filter_record_batch, interleave, take, take_record_batch,
};
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::{Error, Result};

use crate::keys::{ABSENT, KeyInterner};
use crate::window::row_store::dictionary_of;

/// Rows in order of arrival. With a primary key a newer row takes the place of the one with the same key; a row that is
/// taken back goes.
///
/// A change costs what it changes: new rows gather in a tail, which is joined to the others once it is large.
pub(super) struct Table {
    schema: SchemaRef,
    /// Rows `0..body.num_rows()`.
    body: RecordBatch,
    /// The rows after them.
    tail: RecordBatch,
    is_live: Vec<bool>,
    dead: usize,
    join: Index,
    /// By slot of the primary key its one row.
    primary: Option<Index>,
    /// What has come since the last update.
    new: Vec<Batch>,
}

/// Rows of a part of a snapshot. Tests have few.
const PART: usize = if cfg!(test) { 2 } else { 65_536 };

/// The rows of a table as they were: columns do not change, so they are shared.
#[derive(Debug, Default)]
pub(super) struct SavedTable {
    /// Rows and which of them are there; what comes first is last.
    parts: Vec<(RecordBatch, BooleanArray)>,
    next: usize,
}

impl SavedTable {
    /// The next rows; `None` if that were all.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some((rows, is_live)) = self.parts.last() {
            let len = PART.min(rows.num_rows() - self.next);
            if len == 0 {
                self.parts.pop();
                self.next = 0;
                continue;
            }
            let part = filter_record_batch(&rows.slice(self.next, len), &is_live.slice(self.next, len))?;
            self.next += len;
            return Ok(Some(part));
        }
        Ok(None)
    }
}

/// Numbers of rows by slot of a key, ascending.
struct Index {
    key: Vec<usize>,
    keys: KeyInterner,
    by_slot: Vec<Vec<u32>>,
    /// The slot of each row, live or not.
    slots: Vec<u32>,
}

/// Rows of the stream, in their order, each with a row of the table.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) stream: Vec<u32>,
    pub(super) table: Vec<u32>,
}

/// Pairs of rows with equal keys.
pub(super) struct Candidates<'a> {
    index: &'a Index,
    /// The slot of each row of the stream.
    slots: &'a [u32],
    /// The next row of the stream, of which so many pairs are given.
    row: usize,
    given: usize,
}

impl Candidates<'_> {
    /// The next pairs, so many at most; none if those were all.
    pub(super) fn next(&mut self, most: usize) -> Matches {
        let rows = most.min(self.slots.len() - self.row);
        let mut some = Matches { stream: Vec::with_capacity(rows), table: Vec::with_capacity(rows) };
        while self.row < self.slots.len() && some.stream.len() < most {
            // A batch has fewer than 2^32 rows.
            let row = u32::try_from(self.row).unwrap_or(u32::MAX);
            let found = &self.index.rows_of(self.slots[self.row])[self.given..];
            let taken = found.len().min(most - some.stream.len());
            match found {
                [one] => {
                    some.stream.push(row);
                    some.table.push(*one);
                }
                _ => {
                    some.stream.extend(std::iter::repeat_n(row, taken));
                    some.table.extend(&found[..taken]);
                }
            }
            (self.row, self.given) = match taken == found.len() {
                true => (self.row + 1, 0),
                false => (self.row, self.given + taken),
            };
        }
        some
    }
}

/// A tail of fewer rows is not worth joining to the body; so many dead rows are not worth removing.
const FEW_ROWS: usize = 1024;

impl Table {
    pub(super) fn new(schema: SchemaRef, primary_key: Vec<usize>, join_key: Vec<usize>) -> Result<Self> {
        let empty = RecordBatch::new_empty(Arc::clone(&schema));
        let has_primary = !primary_key.is_empty();
        Ok(Self {
            body: empty.clone(),
            tail: empty,
            is_live: Vec::new(),
            dead: 0,
            join: Index::new(&schema, join_key)?,
            primary: has_primary.then(|| Index::new(&schema, primary_key)).transpose()?,
            schema,
            new: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, rows: Batch) {
        self.new.push(rows);
    }

    /// Takes what has come into the index.
    ///
    /// # Errors
    /// If a row is taken back that is not there.
    pub(super) fn update(&mut self) -> Result<()> {
        let mut early = Vec::new();
        for batch in std::mem::take(&mut self.new) {
            match batch.weights() {
                None => self.add(batch.rows())?,
                Some(weights) => {
                    let is_added: BooleanArray = weights.values().iter().map(|w| Some(*w > 0)).collect();
                    let is_gone: BooleanArray = weights.values().iter().map(|w| Some(*w < 0)).collect();
                    // What takes the place of a row comes after that has gone, whatever their order.
                    early.push(self.remove(batch.filter(&is_gone)?.rows())?);
                    self.add(batch.filter(&is_added)?.rows())?;
                }
            }
            self.settle()?;
        }
        // Of several workers, one may have taken back what another one then added.
        for rows in early {
            if self.remove(&rows)?.num_rows() > 0 {
                return Err(Error::operator("join", "a row is taken back that is not in the table"));
            }
        }
        Ok(())
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let first = self.is_live.len();
        self.tail = concat_batches(&self.schema, [&self.tail, rows])?;
        self.is_live.resize(first + rows.num_rows(), true);
        self.join.add(rows, first)?;
        let Some(primary) = &mut self.primary else { return Ok(()) };
        primary.add(rows, first)?;
        let slots: Vec<u32> = primary.slots[first..].to_vec();
        for slot in slots {
            // All but the newest row of the key go.
            let rows = self.primary.as_ref().map(|primary| primary.by_slot[slot as usize].clone());
            if let Some([older @ .., _]) = rows.as_deref() {
                older.iter().for_each(|row| self.kill(*row));
            }
        }
        Ok(())
    }

    fn kill(&mut self, row: u32) {
        if std::mem::replace(&mut self.is_live[row as usize], false) {
            self.dead += 1;
            self.join.remove(row);
            if let Some(primary) = &mut self.primary {
                primary.remove(row);
            }
        }
    }

    /// Takes rows back, of equal ones the first, and gives those that are not there.
    fn remove(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut missing = Vec::new();
        if rows.num_rows() == 0 {
            return Ok(rows.clone());
        }
        let slots = self.join.find(rows)?;
        let parts = [&self.body, &self.tail].map(|part| equalities(rows, part));
        let [in_body, in_tail] = parts;
        let (in_body, in_tail) = (in_body?, in_tail?);
        let body = self.body.num_rows();
        for (number, slot) in slots.into_iter().enumerate() {
            let is_same = |row: &u32| match (*row as usize).checked_sub(body) {
                None => in_body.iter().all(|equal| equal(number, *row as usize) == Ordering::Equal),
                Some(row) => in_tail.iter().all(|equal| equal(number, row) == Ordering::Equal),
            };
            match self.join.rows_of(slot).iter().copied().find(is_same) {
                Some(row) => self.kill(row),
                // A newer row has taken its place already.
                None if self.primary.is_some() => {}
                None => missing.push(number as u64),
            }
        }
        Ok(take_record_batch(rows, &UInt64Array::from(missing))?)
    }

    /// Joins the tail to the body, and drops rows that are gone, once it pays.
    fn settle(&mut self) -> Result<()> {
        let body = self.body.num_rows();
        if self.tail.num_rows() > FEW_ROWS.max(body / 8) || body == 0 {
            self.body = concat_batches(&self.schema, [&self.body, &self.tail])?;
            self.tail = RecordBatch::new_empty(Arc::clone(&self.schema));
        }
        if self.dead > FEW_ROWS.max(self.is_live.len() / 2) {
            let rows = self.rows()?;
            let keys =
                [&self.join, self.primary.as_ref().unwrap_or(&self.join)].map(|index| index.key.clone());
            let [join, primary] = keys;
            let primary = if self.primary.is_some() { primary } else { Vec::new() };
            *self = Self::new(Arc::clone(&self.schema), primary, join)?;
            self.add(&rows)?;
            return self.settle();
        }
        Ok(())
    }

    /// All rows, as of the last update.
    pub(super) fn rows(&self) -> Result<RecordBatch> {
        let all = concat_batches(&self.schema, [&self.body, &self.tail])?;
        let live = (0_u32..).zip(&self.is_live).filter(|(_, is_live)| **is_live).map(|(row, _)| row);
        Ok(take_record_batch(&all, &UInt32Array::from(live.collect::<Vec<_>>()))?)
    }

    /// All rows as of the last update, to be given later.
    pub(super) fn save(&self) -> SavedTable {
        let is_live = BooleanArray::from(self.is_live.clone());
        let body = (self.body.clone(), is_live.slice(0, self.body.num_rows()));
        let tail = (self.tail.clone(), is_live.slice(self.body.num_rows(), self.tail.num_rows()));
        SavedTable { parts: vec![tail, body], next: 0 }
    }

    /// A column of the rows with these numbers; NULL where there is none.
    pub(super) fn pick(&self, column: usize, rows: &UInt32Array) -> Result<ArrayRef> {
        let (body, tail) = (self.body.column(column), self.tail.column(column));
        if tail.is_empty() {
            return Ok(take(body, rows, None)?);
        }
        let null = new_null_array(body.data_type(), 1);
        let places = rows.iter().map(|row| match row.map(|row| row as usize) {
            None => (2, 0),
            Some(row) if row < body.len() => (0, row),
            Some(row) => (1, row - body.len()),
        });
        Ok(interleave(&[body.as_ref(), tail.as_ref(), null.as_ref()], &places.collect::<Vec<_>>())?)
    }

    /// The same for text, as a dictionary: as long as the table does not change its values are the column itself.
    pub(super) fn pick_codes(&self, column: usize, rows: &UInt32Array) -> Result<ArrayRef> {
        if !self.tail.column(column).is_empty() {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            return Ok(cast(&self.pick(column, rows)?, &dictionary)?);
        }
        let codes = cast(rows, &DataType::Int32)?;
        dictionary_of(codes.as_primitive().clone(), self.body.column(column))
    }

    /// For each row of the stream, by the slot of its key, each row of the table with that key: some at a time.
    pub(super) fn candidates<'a>(&'a self, slots: &'a [u32]) -> Candidates<'a> {
        Candidates { index: &self.join, slots, row: 0, given: 0 }
    }

    /// The slot of the key of each row of `stream`. Unless NULL equals NULL, a key with a NULL in it has none.
    pub(super) fn slots(
        &self,
        stream: &RecordBatch,
        key: &[usize],
        null_equals_null: bool,
    ) -> Result<Vec<u32>> {
        let columns = columns_of(stream, key);
        let mut slots = Vec::new();
        self.join.keys.find(&columns, stream.num_rows(), &mut slots)?;
        let nulls = columns.iter().filter(|_| !null_equals_null).filter_map(|column| column.logical_nulls());
        for nulls in nulls {
            let rows = slots.iter_mut().zip(nulls.iter());
            rows.filter(|(_, valid)| !valid).for_each(|(slot, _)| *slot = ABSENT);
        }
        Ok(slots)
    }

    /// For each row of `stream` whether its key is `NOT IN` those of the table, which are one column.
    pub(super) fn not_in(&self, stream: &RecordBatch, key: usize) -> Result<Vec<bool>> {
        let rows = stream.num_rows();
        if self.is_live.len() == self.dead {
            return Ok(vec![true; rows]);
        }
        let column = Arc::clone(stream.column(key));
        let mut slots = Vec::new();
        self.join.keys.find(&[new_null_array(column.data_type(), 1)], 1, &mut slots)?;
        if slots.iter().any(|null| !self.join.rows_of(*null).is_empty()) {
            return Ok(vec![false; rows]);
        }
        self.join.keys.find(&[Arc::clone(&column)], rows, &mut slots)?;
        let nulls = column.logical_nulls();
        let is_known = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let passes = |(row, slot): (usize, &u32)| is_known(row) && self.join.rows_of(*slot).is_empty();
        Ok(slots.iter().enumerate().map(passes).collect())
    }
}

impl Index {
    fn new(schema: &SchemaRef, key: Vec<usize>) -> Result<Self> {
        let types: Vec<DataType> =
            key.iter().map(|column| schema.field(*column).data_type().clone()).collect();
        Ok(Self { keys: KeyInterner::new(&types)?, key, by_slot: Vec::new(), slots: Vec::new() })
    }

    /// Adds rows that are numbered from `first`.
    fn add(&mut self, rows: &RecordBatch, first: usize) -> Result<()> {
        let mut slots = Vec::new();
        self.keys.intern(&columns_of(rows, &self.key), rows.num_rows(), &mut slots)?;
        self.by_slot.resize_with(self.keys.len(), Vec::new);
        let first =
            u32::try_from(first).map_err(|_| Error::operator("join", "the table has too many rows"))?;
        for (row, slot) in (first..).zip(&slots) {
            self.by_slot[*slot as usize].push(row);
        }
        self.slots.extend(slots);
        Ok(())
    }

    fn remove(&mut self, row: u32) {
        let rows = &mut self.by_slot[self.slots[row as usize] as usize];
        if let Ok(place) = rows.binary_search(&row) {
            rows.remove(place);
        }
    }

    fn find(&self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let mut slots = Vec::new();
        self.keys.find(&columns_of(rows, &self.key), rows.num_rows(), &mut slots)?;
        Ok(slots)
    }

    fn rows_of(&self, slot: u32) -> &[u32] {
        self.by_slot.get(slot as usize).map_or(&[], Vec::as_slice)
    }
}

fn columns_of(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|column| Arc::clone(rows.column(*column))).collect()
}

/// Compares rows of the one batch with rows of the other, column by column; NULL is equal to NULL.
fn equalities(rows: &RecordBatch, with: &RecordBatch) -> Result<Vec<arrow::array::DynComparator>> {
    let pairs = rows.columns().iter().zip(with.columns());
    pairs.map(|(a, b)| Ok(make_comparator(a.as_ref(), b.as_ref(), SortOptions::default())?)).collect()
}
