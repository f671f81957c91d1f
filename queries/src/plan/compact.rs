//! Text as dictionaries on its way from a columnar source to a window.
//!
//! A Parquet file holds a text column as a dictionary and a number per row. As long as the rows are only brought to
//! the owner of their key and grouped, the numbers are enough: nothing is copied or hashed per row. Whatever computes
//! with text, and whatever leaves the program, gets it as it is declared.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use lineshaft_engine::Result;
use lineshaft_engine::expression::{Column, Expression};
use lineshaft_engine::plan::Origin;
use lineshaft_operators::map::MapOptions;

use super::Lowering;

/// The type of compact text.
fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn is_compact(field: &Field) -> bool {
    *field.data_type() == dictionary()
}

/// The columns of a source whose text is compact; what the connector adds is as it is.
pub(super) fn with_dictionaries(schema: &SchemaRef, but: &[usize]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(place, field)| {
        let is_text = *field.data_type() == DataType::Utf8 && !but.contains(&place);
        if is_text {
            Arc::new(field.as_ref().clone().with_data_type(dictionary()))
        } else {
            Arc::clone(field)
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The declared columns `named` with the types that the kept columns have.
pub(super) fn kept(from: &SchemaRef, keep: &[usize], named: &Schema) -> SchemaRef {
    let types = keep.iter().map(|column| is_compact(from.field(*column)));
    typed(named, types)
}

/// The same for columns some of which are computed.
pub(super) fn mapped(from: &SchemaRef, columns: &[Expr], input: &DFSchema, named: &Schema) -> SchemaRef {
    let types = columns.iter().map(|column| match column.clone().unalias() {
        Expr::Column(column) => {
            input.index_of_column(&column).is_ok_and(|place| is_compact(from.field(place)))
        }
        _ => false,
    });
    typed(named, types)
}

/// The columns of a join with text of the left side, of which the first `width` columns come out, as it comes in; and that of
/// the right as a dictionary if it is a table.
pub(super) fn beside(left: &SchemaRef, width: usize, named: &Schema, right_is_table: bool) -> SchemaRef {
    let types = left.fields().iter().take(width).map(|field| is_compact(field));
    let right =
        named.fields().iter().skip(width).map(|field| right_is_table && *field.data_type() == DataType::Utf8);
    typed(named, types.chain(right))
}

/// The columns of a look-up: of the stream, given here, as they come in; text of a table (`None`) as a dictionary.
pub(super) fn joined<'a>(named: &SchemaRef, columns: impl Iterator<Item = Option<&'a Field>>) -> SchemaRef {
    let types = columns.zip(named.fields()).map(|(stream, named)| match stream {
        Some(stream) => is_compact(stream),
        None => *named.data_type() == DataType::Utf8,
    });
    typed(named, types.chain(std::iter::repeat(false)))
}

fn typed(named: &Schema, compact: impl Iterator<Item = bool>) -> SchemaRef {
    let fields = named.fields().iter().zip(compact).map(|(field, compact)| {
        if compact {
            Arc::new(field.as_ref().clone().with_data_type(dictionary()))
        } else {
            Arc::clone(field)
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Lowering<'_> {
    /// Rows whose text is as it is declared in `schema`.
    pub(super) fn plain(&mut self, from: Origin, schema: &SchemaRef) -> Origin {
        let compact = self.plan.schema(from);
        if !compact.fields().iter().any(|field| is_compact(field)) {
            return from;
        }
        let fields = compact.fields().iter().zip(schema.fields());
        let columns = fields.enumerate().map(|(index, (compact, declared))| -> Arc<dyn Expression> {
            let column = Column { index, data_type: declared.data_type().clone() };
            if is_compact(compact) { Arc::new(Text(column)) } else { Arc::new(column) }
        });
        let columns = Some(columns.collect());
        let options =
            MapOptions { predicate: None, keep: None, columns, schema: Arc::clone(schema), failures: None };
        self.map_node("text", from, options)
    }

    /// The same for a relation of which only some columns are there: late rows that nobody selects are kept with the
    /// columns that are read.
    pub(super) fn plain_columns(&mut self, from: Origin, declared: &SchemaRef) -> super::Result<Origin> {
        let found = self.plan.schema(from);
        let columns = declared.fields().iter().enumerate();
        let columns = columns.filter(|(_, field)| found.column_with_name(field.name()).is_some());
        let columns: Vec<usize> = columns.map(|(at, _)| at).collect();
        Ok(self.plain(from, &Arc::new(declared.project(&columns)?)))
    }

    /// Rows over which the expressions can be computed: plain, if one of them needs a compact column.
    pub(super) fn ready(
        &mut self,
        from: Origin,
        input: &DFSchema,
        predicate: Option<&Expr>,
        columns: Option<&[Expr]>,
    ) -> Origin {
        let compact = self.plan.schema(from);
        let is_column = |expr: &&Expr| matches!((*expr).clone().unalias(), Expr::Column(_));
        let computed = columns.unwrap_or_default().iter().filter(|expr| !is_column(expr)).chain(predicate);
        let needs = |expr: &Expr| {
            let places =
                expr.column_refs().into_iter().filter_map(|column| input.index_of_column(column).ok());
            places.into_iter().any(|place| is_compact(compact.field(place)))
        };
        if !computed.into_iter().any(needs) {
            return from;
        }
        let schema: SchemaRef = Arc::new(input.as_arrow().clone());
        self.plain(from, &schema)
    }
}

/// A compact column as plain text.
#[derive(Debug)]
struct Text(Column);

impl Expression for Text {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        Ok(cast(rows.column(self.0.index), &DataType::Utf8)?)
    }

    fn data_type(&self) -> &DataType {
        &DataType::Utf8
    }
}
