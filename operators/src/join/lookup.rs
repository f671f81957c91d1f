//! Joins each row of a stream with the rows of a table as of its epoch.
//!
//! Rows of the table that come in an epoch are there for all rows of the stream in that epoch and after it. A later
//! change of the table does not change what has come out. NULL in a key matches nothing.
//!
//! - Input 0: the stream, by any route. Input 1: the table, on every worker that has rows of the stream.
//! - Rows: of the stream any, which keep their weights; of the table inserted, or with a primary key replaced. Out:
//!   in the order of the stream; several matches in the order of the table.
//! - State: the table. Cost: a look-up per row, and the size of the table in each epoch that changes it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Expression;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Error, Result};

use super::table::Table;

/// What becomes of a row of the stream without a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupKind {
    /// It is left out.
    Inner,
    /// It comes out once, with NULL in the columns of the table.
    Left,
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
    /// What must hold besides, computed from all columns of the stream and then all of the table.
    pub residual: Option<Arc<dyn Expression>>,
    /// Columns of the stream.
    pub stream_schema: SchemaRef,
    /// Columns of the table.
    pub table_schema: SchemaRef,
    /// Where the columns of the output come from.
    pub output: Vec<(Side, usize)>,
    /// Names and types of the output.
    pub schema: SchemaRef,
}

/// `JOIN` and `LEFT JOIN` of a stream with a table.
pub struct LookupJoin {
    options: LookupOptions,
    /// All columns of the stream, then all of the table, nullable: the input of the residual.
    joined_schema: SchemaRef,
    table: Table,
    /// Rows of the stream of this epoch.
    stream: Vec<Batch>,
}

/// Which rows are put together: of the stream, and of the table (NULL: none).
struct Pairs {
    stream: UInt32Array,
    table: UInt32Array,
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
        let sides = [&options.stream_schema, &options.table_schema];
        let fields = sides.into_iter().flat_map(|schema| schema.fields());
        let nullable = fields.map(|field| field.as_ref().clone().with_nullable(true));
        let table_schema = Arc::clone(&options.table_schema);
        Ok(Self {
            joined_schema: Arc::new(Schema::new(nullable.collect::<Vec<_>>())),
            table: Table::new(
                table_schema,
                options.primary_key.clone(),
                options.table_keys.clone(),
            )?,
            options,
            stream: Vec::new(),
        })
    }

    fn join(&self, batch: &Batch) -> Result<Batch> {
        let stream = batch.rows();
        let mut matches = self.table.matches(stream, &self.options.stream_keys)?;
        if let Some(residual) = &self.options.residual {
            self.keep_where(residual.as_ref(), stream, &mut matches)?;
        }
        let pairs = match self.options.kind {
            LookupKind::Inner => Pairs {
                stream: matches.iter().map(|(row, _)| *row).collect::<Vec<_>>().into(),
                table: matches.iter().map(|(_, row)| *row).collect::<Vec<_>>().into(),
            },
            LookupKind::Left => with_unmatched(&matches, stream.num_rows()),
        };
        self.rows(batch, &pairs)
    }

    /// Keeps the matches for which the residual is true.
    fn keep_where(
        &self,
        residual: &dyn Expression,
        stream: &RecordBatch,
        matches: &mut Vec<(u32, u32)>,
    ) -> Result<()> {
        let stream_rows: UInt32Array = matches.iter().map(|(row, _)| *row).collect::<Vec<_>>().into();
        let table_rows: UInt32Array = matches.iter().map(|(_, row)| *row).collect::<Vec<_>>().into();
        let mut columns = taken(stream.columns(), &stream_rows)?;
        columns.extend(taken(self.table.rows().columns(), &table_rows)?);
        let holds = residual.evaluate(&RecordBatch::try_new(Arc::clone(&self.joined_schema), columns)?)?;
        let holds = holds
            .as_boolean_opt()
            .ok_or_else(|| Error::operator("join", "the condition is not a boolean"))?;
        let mut holds = holds.iter();
        matches.retain(|_| holds.next().flatten() == Some(true));
        Ok(())
    }

    fn rows(&self, batch: &Batch, pairs: &Pairs) -> Result<Batch> {
        let stream = batch.rows();
        // The usual case: each row has one match, so the columns of the stream stay as they are.
        let unchanged = pairs.stream.len() == stream.num_rows()
            && (0..)
                .zip(pairs.stream.values())
                .all(|(row, from): (u32, _)| row == *from);
        let column = |(side, column): &(Side, usize)| match side {
            Side::Stream if unchanged => Ok(Arc::clone(stream.column(*column))),
            Side::Stream => Ok(take(stream.column(*column), &pairs.stream, None)?),
            Side::Table => Ok(take(self.table.rows().column(*column), &pairs.table, None)?),
        };
        let columns = self.options.output.iter().map(column).collect::<Result<_>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(pairs.stream.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.options.schema), columns, &count)?;
        Ok(match batch.weights() {
            Some(weights) => {
                let weights = pairs
                    .stream
                    .values()
                    .iter()
                    .map(|row| weights.value(*row as usize));
                Batch::with_weights(rows, weights.collect::<Vec<_>>().into())
            }
            None => rows.into(),
        })
    }
}

fn taken(columns: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    columns
        .iter()
        .map(|column| Ok(take(column, rows, None)?))
        .collect()
}

/// The matches, which are in the order of the stream, and in their places the rows without one.
fn with_unmatched(matches: &[(u32, u32)], rows: usize) -> Pairs {
    let (mut stream, mut table) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut matches = matches.iter().peekable();
    for row in (0_u32..).take(rows) {
        if matches.peek().is_none_or(|(next, _)| *next != row) {
            stream.push(row);
            table.push(None);
        }
        while let Some((_, found)) = matches.next_if(|(next, _)| *next == row) {
            stream.push(row);
            table.push(Some(*found));
        }
    }
    Pairs {
        stream: stream.into(),
        table: table.into(),
    }
}

impl Operator for LookupJoin {
    fn on_batch(&mut self, input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        if input == 0 {
            self.stream.push(batch);
            return Ok(());
        }
        if batch.weights().is_some() {
            return Err(Error::operator(
                "join",
                "the table is a changelog, which a look-up does not take",
            ));
        }
        self.table.push(batch.into_rows());
        Ok(())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        if self.stream.is_empty() {
            return Ok(());
        }
        self.table.update()?;
        for batch in std::mem::take(&mut self.stream) {
            output.send(self.join(&batch)?);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.table.update()?;
        let mut snapshot = Snapshot::default();
        snapshot.put("table", self.table.rows().clone());
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let rows = snapshot.take("table");
        self.table
            .push(rows.ok_or_else(|| Error::operator("join", "a snapshot of another operator"))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array, Int64Array};
    use arrow::compute::kernels::cmp::gt;
    use arrow::datatypes::{DataType, Field, Float64Type};
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    /// Column 1 (x) of the stream above column 1 (limit) of the table.
    #[derive(Debug)]
    struct AboveLimit;

    impl Expression for AboveLimit {
        fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
            let column = |at: usize| -> &Float64Array { rows.column(at).as_primitive::<Float64Type>() };
            let above: BooleanArray = gt(column(1), column(3))?;
            Ok(Arc::new(above))
        }

        fn data_type(&self) -> &DataType {
            &DataType::Boolean
        }
    }

    fn stream() -> RecordBatch {
        table("machine:s x:f \n a 1 \n b 2 \n - 3 \n a 9 \n c 4")
    }

    fn limits() -> RecordBatch {
        table("machine:s limit:f \n a 5 \n b 1 \n - 0")
    }

    fn options(kind: LookupKind) -> LookupOptions {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        LookupOptions {
            kind,
            stream_keys: vec![0],
            table_keys: vec![0],
            primary_key: vec![0],
            residual: None,
            stream_schema: stream().schema(),
            table_schema: limits().schema(),
            output: vec![(Side::Stream, 0), (Side::Stream, 1), (Side::Table, 1)],
            schema: Arc::new(Schema::new(vec![
                field("machine", DataType::Utf8),
                field("x", DataType::Float64),
                field("limit", DataType::Float64),
            ])),
        }
    }

    fn join(options: LookupOptions) -> LookupJoin {
        LookupJoin::new(options).unwrap()
    }

    fn given(join: &mut LookupJoin, steps: Vec<Step>) -> Vec<String> {
        lines(&run(join, 1, steps).unwrap())
    }

    #[test]
    fn a_row_gets_the_columns_of_its_match_and_null_matches_nothing() {
        let steps = || vec![Step::Rows(1, limits()), Step::Rows(0, stream())];
        let inner = given(&mut join(options(LookupKind::Inner)), steps());
        assert_eq!(inner, ["a 1.0 5.0", "b 2.0 1.0", "a 9.0 5.0"]);
        let left = given(&mut join(options(LookupKind::Left)), steps());
        assert_eq!(
            left,
            ["a 1.0 5.0", "b 2.0 1.0", "- 3.0 -", "a 9.0 5.0", "c 4.0 -"]
        );
    }

    #[test]
    fn rows_of_the_table_come_first_within_an_epoch() {
        let mut join = join(options(LookupKind::Inner));
        let mut output = Output::new(1);
        join.on_batch(0, table("machine:s x:f \n a 1").into(), &mut output)
            .unwrap();
        join.on_batch(1, limits().into(), &mut output).unwrap();
        let header = EpochHeader {
            epoch: 0,
            wall_clock: 0,
        };
        join.on_epoch_end(header, &mut output).unwrap();
        assert_eq!(lines([output.take(0)[0].rows()]), ["a 1.0 5.0"]);
    }

    #[test]
    fn with_a_primary_key_a_newer_row_replaces_the_older() {
        let changed = table("machine:s limit:f \n a 6 \n a 7");
        let again = || {
            vec![
                Step::Rows(1, limits()),
                Step::Rows(0, stream()),
                Step::Rows(1, changed.clone()),
            ]
        };
        let row = || Step::Rows(0, table("machine:s x:f \n a 1 \n b 1"));
        let mut upserted = join(options(LookupKind::Inner));
        given(&mut upserted, again());
        assert_eq!(given(&mut upserted, vec![row()]), ["a 1.0 7.0", "b 1.0 1.0"]);
        let mut appended = join(LookupOptions {
            primary_key: vec![],
            ..options(LookupKind::Inner)
        });
        given(&mut appended, again());
        let all = ["a 1.0 5.0", "a 1.0 6.0", "a 1.0 7.0", "b 1.0 1.0"];
        assert_eq!(given(&mut appended, vec![row()]), all);
    }

    #[test]
    fn a_residual_decides_between_matches() {
        let with_residual = |kind| {
            join(LookupOptions {
                residual: Some(Arc::new(AboveLimit)),
                ..options(kind)
            })
        };
        let steps = || vec![Step::Rows(1, limits()), Step::Rows(0, stream())];
        let inner = given(&mut with_residual(LookupKind::Inner), steps());
        assert_eq!(inner, ["b 2.0 1.0", "a 9.0 5.0"]);
        let left = given(&mut with_residual(LookupKind::Left), steps());
        assert_eq!(left, ["a 1.0 -", "b 2.0 1.0", "- 3.0 -", "a 9.0 5.0", "c 4.0 -"]);
    }

    #[test]
    fn without_a_table_a_left_join_still_gives_the_stream() {
        let rows = || vec![Step::Rows(0, table("machine:s x:f \n a 1"))];
        assert_eq!(given(&mut join(options(LookupKind::Left)), rows()), ["a 1.0 -"]);
        assert_eq!(given(&mut join(options(LookupKind::Inner)), rows()), [""; 0]);
    }

    #[test]
    fn without_keys_every_row_of_the_table_matches() {
        let mut cross = join(LookupOptions {
            stream_keys: vec![],
            table_keys: vec![],
            ..options(LookupKind::Left)
        });
        let row = || Step::Rows(0, table("machine:s x:f \n z 1"));
        assert_eq!(given(&mut cross, vec![row()]), ["z 1.0 -"]);
        assert_eq!(
            given(&mut cross, vec![Step::Rows(1, limits()), row()]),
            ["z 1.0 5.0", "z 1.0 1.0", "z 1.0 0.0"]
        );
    }

    #[test]
    fn where_each_row_has_one_match_the_stream_is_not_copied_and_weights_stay() {
        let mut join = join(options(LookupKind::Inner));
        let rows = table("machine:s x:f \n b 1 \n a 2");
        let mut output = Output::new(1);
        join.on_batch(1, limits().into(), &mut output).unwrap();
        let batch = Batch::with_weights(rows.clone(), Int64Array::from(vec![1, -1]));
        join.on_batch(0, batch, &mut output).unwrap();
        let header = EpochHeader {
            epoch: 0,
            wall_clock: 0,
        };
        join.on_epoch_end(header, &mut output).unwrap();
        let joined = output.take(0).remove(0);
        assert!(Arc::ptr_eq(joined.rows().column(1), rows.column(1)));
        assert_eq!(joined.weights().unwrap().values(), &[1, -1]);
    }

    #[test]
    fn a_snapshot_holds_the_table() {
        let mut before = join(options(LookupKind::Left));
        given(&mut before, vec![Step::Rows(1, limits())]);
        let mut after = join(options(LookupKind::Left));
        after.restore(before.snapshot().unwrap()).unwrap();
        let rows = || vec![Step::Rows(0, stream())];
        assert_eq!(given(&mut after, rows()), given(&mut before, rows()));
    }
}
