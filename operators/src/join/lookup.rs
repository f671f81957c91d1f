//! Joins each row of a stream with the rows of a table as of its epoch.
//!
//! Rows of the table that come in an epoch are there for all rows of the stream in that epoch and after it. A later
//! change of the table does not change what has come out. NULL in a key matches nothing, unless said otherwise.
//!
//! - Input 0: the stream, by any route. Input 1: the table, on every worker that has rows of the stream; its rows come
//!   before those of the stream in their epoch.
//! - Rows: of the stream any, which keep their weights; of the table inserted or taken back, or with a primary key
//!   replaced. Out: in the order of the stream; several matches in the order of the table.
//! - State: the table; of a changelog what was given for its rows, as long as these can be taken back. Cost: a look-up per
//!   row, and what changes of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{FilterBuilder, cast, concat_batches, take};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, UInt32Type};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Expression;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EpochHeader, Watermark};
use lineshaft_engine::{Error, Result};

use super::keys::plain;
use super::remembered::Remembered;
use super::table::{Matches, SavedTable, Table};

/// What comes out for a row of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupKind {
    /// It with each of its matches.
    Inner,
    /// The same; without a match once, with NULL in the columns of the table.
    Left,
    /// Itself, if it has a match.
    Semi,
    /// Itself, if it has no match.
    Anti,
    /// Itself, if its key is `NOT IN` those of the table: a NULL among these leaves no row, and a row with a NULL key
    /// passes only while the table is empty. One key and no residual.
    NotIn,
    /// Itself, with a last column that says whether it has a match.
    Mark,
}

/// Where a column of the output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Input 0.
    Stream,
    /// Input 1.
    Table,
}

/// Arguments of `stream JOIN table ON ...`.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// What becomes of a row without a match.
    pub kind: LookupKind,
    /// Columns of the stream that are compared with `table_keys`, one by one; none: every row of the table matches.
    pub stream_keys: Vec<usize>,
    /// Columns of the table; of the same types, where text and a dictionary of text are one.
    pub table_keys: Vec<usize>,
    /// A newer row of the table replaces the one with the same values here; none: all rows are kept.
    pub primary_key: Vec<usize>,
    /// NULL in a key equals NULL.
    pub null_equals_null: bool,
    /// What must hold besides.
    pub residual: Option<Residual>,
    /// Columns of the stream.
    pub stream_schema: SchemaRef,
    /// Columns of the table.
    pub table_schema: SchemaRef,
    /// Where the columns of the output come from; the mark of [`LookupKind::Mark`] is one more.
    pub output: Vec<(Side, usize)>,
    /// Names and types of the output. Text of the table may come out as a dictionary.
    pub schema: SchemaRef,
    /// Of a stream that is a changelog, the column of event time: a row below the watermark is not taken back.
    pub taken_back_by: Option<usize>,
}

/// A condition on pairs of rows that have equal keys.
#[derive(Clone, Debug)]
pub struct Residual {
    /// The columns that it is computed from, in the order of its input.
    pub columns: Vec<(Side, usize)>,
    /// True for the pairs that match.
    pub holds: Arc<dyn Expression>,
}

/// Pairs for which a residual is computed at a time: so many keep their columns in the cache, and the matches of a
/// large batch with a table without a key are never all in memory.
const PAIRS: usize = 1 << 14;

/// `JOIN`, `IN`, `EXISTS` and their opposites of a stream with a table.
pub struct LookupJoin {
    options: LookupOptions,
    /// The input of the residual; its columns are nullable.
    residual_schema: SchemaRef,
    table: Table,
    /// What a snapshot that has begun is still to give.
    saved: SavedTable,
    /// Rows of this epoch of a stream that is a changelog.
    stream: Vec<Batch>,
    remembered: Option<Remembered>,
    watermark: Watermark,
}

/// Which rows are put together: of the stream, and of the table (NULL: none).
struct Pairs {
    stream: UInt32Array,
    /// Empty if only rows of the stream come out.
    table: UInt32Array,
    /// Of [`LookupKind::Mark`]: which rows of the stream have a match.
    marks: Option<BooleanArray>,
}

impl Pairs {
    /// Rows of the stream alone.
    fn of_stream(rows: impl Iterator<Item = u32>) -> Self {
        let stream: UInt32Array = rows.collect::<Vec<_>>().into();
        Self { stream, table: UInt32Array::from(Vec::<u32>::new()), marks: None }
    }
}

impl LookupJoin {
    /// The operator.
    ///
    /// # Errors
    /// If the keys do not fit together or are of a type that is not supported.
    pub fn new(options: LookupOptions) -> Result<Self> {
        if options.stream_keys.len() != options.table_keys.len() {
            return Err(Error::Plan(
                "a join compares as many columns of the one side as of the other".to_owned(),
            ));
        }
        if options.kind == LookupKind::NotIn && (options.table_keys.len() != 1 || options.residual.is_some())
        {
            return Err(Error::Plan("NOT IN compares one column and nothing else".to_owned()));
        }
        let read = options.residual.iter().flat_map(|residual| &residual.columns).enumerate();
        let nullable = read.map(|(place, (side, column))| {
            let schema = match side {
                Side::Stream => &options.stream_schema,
                Side::Table => &options.table_schema,
            };
            let field = schema.field(*column).clone();
            let data_type = plain(field.data_type());
            // Both sides may have a column of the same name.
            field.with_name(format!("c{place}")).with_nullable(true).with_data_type(data_type)
        });
        let table_schema = Arc::clone(&options.table_schema);
        Ok(Self {
            residual_schema: Arc::new(Schema::new(nullable.collect::<Vec<_>>())),
            table: Table::new(table_schema, options.primary_key.clone(), options.table_keys.clone())?,
            saved: SavedTable::default(),
            remembered: match options.taken_back_by {
                Some(time) => Some(Remembered::new(time, &options.stream_schema)?),
                None => None,
            },
            options,
            stream: Vec::new(),
            watermark: Watermark::START,
        })
    }

    fn join(&self, batch: &Batch) -> Result<Batch> {
        self.rows(batch, &self.pairs(batch)?)
    }

    fn pairs(&self, batch: &Batch) -> Result<Pairs> {
        let stream = batch.rows();
        let count = stream.num_rows();
        if self.options.kind == LookupKind::NotIn {
            let passes = self.table.not_in(stream, self.options.stream_keys[0])?;
            return Ok(Pairs::of_stream((0..).zip(passes).filter(|(_, passes)| *passes).map(|(row, _)| row)));
        }
        let matches = self.matches(stream)?;
        let has_match = || {
            let mut has_match = vec![false; count];
            matches.stream.iter().for_each(|row| has_match[*row as usize] = true);
            has_match
        };
        let stream_where = |wanted: bool| {
            Pairs::of_stream((0..).zip(has_match()).filter(|(_, has)| *has == wanted).map(|(row, _)| row))
        };
        Ok(match self.options.kind {
            LookupKind::Inner => {
                Pairs { stream: matches.stream.into(), table: matches.table.into(), marks: None }
            }
            LookupKind::Left => with_unmatched(&matches, count),
            LookupKind::Semi => stream_where(true),
            LookupKind::Anti | LookupKind::NotIn => stream_where(false),
            LookupKind::Mark => {
                Pairs { marks: Some(has_match().into()), ..Pairs::of_stream((0..).take(count)) }
            }
        })
    }

    /// The matches of all rows of the stream, in their order.
    fn matches(&self, stream: &RecordBatch) -> Result<Matches> {
        let slots = self.table.slots(stream, &self.options.stream_keys, self.options.null_equals_null)?;
        let mut candidates = self.table.candidates(&slots);
        let Some(residual) = &self.options.residual else { return Ok(candidates.next(usize::MAX)) };
        let mut matches = Matches::default();
        loop {
            let some = candidates.next(PAIRS);
            if some.stream.is_empty() {
                return Ok(matches);
            }
            self.add_where(residual, stream, some, &mut matches)?;
        }
    }

    /// Joins rows that are added, and takes back what was given for those that are taken back.
    fn change(&self, batch: &Batch, remembered: &mut Remembered, output: &mut Output) -> Result<()> {
        let names = remembered.names(batch.rows())?;
        let is_added: Vec<bool> = match batch.weights() {
            Some(weights) => weights.values().iter().map(|weight| *weight > 0).collect(),
            None => vec![true; batch.num_rows()],
        };
        let pairs = self.pairs(batch)?;
        let joined = self.rows(batch, &pairs)?;
        let (mut added, mut gone) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (row, is_added) in is_added.iter().enumerate() {
            let rest = &pairs.stream.values()[start..];
            let len = rest.iter().take_while(|of| **of as usize == row).count();
            if *is_added {
                let rows = joined.rows().slice(start, len);
                remembered.put(&names, row, rows.clone());
                added.push(rows);
            }
            start += len;
        }
        for row in is_added.iter().enumerate().filter(|(_, is_added)| !**is_added).map(|(row, _)| row) {
            gone.push(remembered.take(&names, row)?);
        }
        for (rows, weight) in [(gone, -1), (added, 1)] {
            let rows = concat_batches(&self.options.schema, &rows)?;
            let weights = vec![weight; rows.num_rows()];
            output.send(Batch::with_weights(rows, weights.into()));
        }
        Ok(())
    }

    /// Adds the candidates for which the residual is true.
    fn add_where(
        &self,
        residual: &Residual,
        stream: &RecordBatch,
        candidates: Matches,
        to: &mut Matches,
    ) -> Result<()> {
        let pairs = candidates.stream.len();
        let one_by_one = run_of(&candidates.stream);
        let stream_rows = UInt32Array::from(candidates.stream);
        let table_rows = UInt32Array::from(candidates.table);
        let column = |(side, column): &(Side, usize)| match side {
            Side::Stream => {
                let column = stream.column(*column);
                let column = match one_by_one {
                    Some(first) => column.slice(first, pairs),
                    None => take(column, &stream_rows, None)?,
                };
                Ok(cast(&column, &plain(column.data_type()))?)
            }
            Side::Table => self.table.pick(*column, &table_rows),
        };
        let columns = residual.columns.iter().map(column).collect::<Result<_>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(pairs));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.residual_schema), columns, &count)?;
        let holds = residual.holds.evaluate(&rows)?;
        let holds = holds
            .as_boolean_opt()
            .ok_or_else(|| Error::operator("join", "the condition is not a boolean"))?;
        let kept = FilterBuilder::new(holds).build();
        for (to, rows) in [(&mut to.stream, &stream_rows), (&mut to.table, &table_rows)] {
            to.extend(kept.filter(rows)?.as_primitive::<UInt32Type>().values());
        }
        Ok(())
    }

    fn rows(&self, batch: &Batch, pairs: &Pairs) -> Result<Batch> {
        let stream = batch.rows();
        // The usual case: each row has one match, so the columns of the stream stay as they are.
        let unchanged = pairs.stream.len() == stream.num_rows()
            && (0..).zip(pairs.stream.values()).all(|(row, from): (u32, _)| row == *from);
        let column = |((side, column), field): (&(Side, usize), &FieldRef)| match side {
            Side::Stream if unchanged => Ok(Arc::clone(stream.column(*column))),
            Side::Stream => Ok(take(stream.column(*column), &pairs.stream, None)?),
            Side::Table if is_dictionary(field.data_type()) => self.table.pick_codes(*column, &pairs.table),
            Side::Table => self.table.pick(*column, &pairs.table),
        };
        let output = self.options.output.iter().zip(self.options.schema.fields());
        let mut columns = output.map(column).collect::<Result<Vec<_>>>()?;
        columns.extend(pairs.marks.iter().map(|marks| Arc::new(marks.clone()) as ArrayRef));
        let count = RecordBatchOptions::new().with_row_count(Some(pairs.stream.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.options.schema), columns, &count)?;
        Ok(match batch.weights() {
            Some(weights) => {
                let weights = pairs.stream.values().iter().map(|row| weights.value(*row as usize));
                Batch::with_weights(rows, weights.collect::<Vec<_>>().into())
            }
            None => rows.into(),
        })
    }
}

fn is_dictionary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(..))
}

/// The first of some rows if they are each the next one of the row before.
fn run_of(rows: &[u32]) -> Option<usize> {
    let is_run = rows.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    rows.first().filter(|_| is_run).map(|first| *first as usize)
}

/// The matches, which are in the order of the stream, and in their places the rows without one.
fn with_unmatched(matches: &Matches, rows: usize) -> Pairs {
    let (mut stream, mut table) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut matches = matches.stream.iter().zip(&matches.table).peekable();
    for row in (0_u32..).take(rows) {
        if matches.peek().is_none_or(|(next, _)| **next != row) {
            stream.push(row);
            table.push(None);
        }
        while let Some((_, found)) = matches.next_if(|(next, _)| **next == row) {
            stream.push(row);
            table.push(Some(*found));
        }
    }
    Pairs { stream: stream.into(), table: table.into(), marks: None }
}

impl Operator for LookupJoin {
    fn on_batch(&mut self, input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        if input != 0 {
            self.table.push(batch);
        } else if self.remembered.is_some() {
            self.stream.push(batch);
        } else {
            self.table.update()?;
            output.send(self.join(&batch)?);
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _output: &mut Output) -> Result<()> {
        self.watermark = watermark;
        Ok(())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        if self.stream.is_empty() {
            return Ok(());
        }
        self.table.update()?;
        let Some(mut remembered) = self.remembered.take() else { return Ok(()) };
        for batch in std::mem::take(&mut self.stream) {
            self.change(&batch, &mut remembered, output)?;
        }
        // What is taken back in this epoch was given before the watermark passed it.
        remembered.forget(self.watermark);
        self.remembered = Some(remembered);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.table.update()?;
        let mut snapshot = Snapshot::default();
        self.saved = self.table.save();
        if let Some(remembered) = &self.remembered {
            remembered.save(&self.options.schema, &mut snapshot)?;
        }
        Ok(snapshot)
    }

    /// The rows of the table.
    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        let Some(rows) = self.saved.next()? else { return Ok(None) };
        let mut snapshot = Snapshot::default();
        snapshot.put("table", rows);
        Ok(Some(snapshot))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        for rows in snapshot.take_parts("table") {
            self.table.push(rows.into());
        }
        if let Some(remembered) = &mut self.remembered {
            remembered.load(&mut snapshot)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
