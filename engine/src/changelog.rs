//! `ChangelogOperator`: the second shape of an operator, on differential dataflow.
//!
//! Rows that may be taken back (joins without a window, kept top-k, recursion) are differential collections of encoded
//! rows: the bytes of `arrow-row`, which compare as the values do. A batch enters with its weights (`dataflow/changelog.rs`)
//! and leaves as a batch with weights, one epoch after the other.
//!
//! The encoding of a row is that of its columns, one after the other: the row of a join is its left row followed by its
//! right row, as bytes too.

pub mod index;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use differential_dataflow::VecCollection;

use crate::error::{Error, Result};
use crate::time::Epoch;

/// An encoded row.
pub type Row = Vec<u8>;

/// Rows that come and go.
pub type Rows<'scope, T = Epoch> = VecCollection<'scope, T, Row, isize>;

pub use index::Index;

/// An operator that takes collections and gives one.
pub trait ChangelogOperator: Send + Sync {
    /// Builds its part of the dataflow, the same on every worker.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>>;
}

/// The inputs of a changelog operator, each in the form in which it is wanted.
pub trait Inputs<'scope> {
    /// All rows of an input.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    fn rows(&mut self, input: usize) -> Result<Rows<'scope>>;

    /// The rows of an input by these columns. One arrangement serves all who ask for the same.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    fn index(&mut self, input: usize, key: &[usize]) -> Result<Index<'scope>>;

    /// Ends the program with an error.
    fn failure(&self) -> Failure;
}

/// Ends the program with an error, from within the dataflow.
pub type Failure = Arc<dyn Fn(Error) + Send + Sync>;

/// Encodes rows of some columns, and back.
#[derive(Debug)]
pub struct RowCodec(RowConverter);

impl RowCodec {
    /// A codec for the columns of `schema`.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        Self::of(schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect())
    }

    /// A codec for columns that are sorted in some way.
    ///
    /// # Errors
    /// If a column has a type that cannot be encoded.
    pub fn of(fields: Vec<SortField>) -> Result<Self> {
        Ok(Self(RowConverter::new(fields)?))
    }

    /// The rows of these columns, `count` of them.
    ///
    /// # Errors
    /// If the columns are not those of the codec.
    pub fn encode(&self, columns: &[ArrayRef], count: usize) -> Result<Vec<Row>> {
        if columns.is_empty() {
            return Ok(vec![Row::new(); count]);
        }
        let rows = self.0.convert_columns(columns)?;
        Ok(rows.iter().map(|row| row.as_ref().to_vec()).collect())
    }

    /// The columns of these rows.
    ///
    /// # Errors
    /// If the rows are not of this codec.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.0.parser();
        Ok(self.0.convert_rows(rows.into_iter().map(|row| parser.parse(row)))?)
    }
}

/// Encodes the key of each row: first whether a column of it is NULL, then the columns.
///
/// # Errors
/// If the columns are not those of the codec.
pub fn encode_keys(codec: &RowCodec, columns: &[ArrayRef], count: usize) -> Result<Vec<Row>> {
    let keys = codec.encode(columns, count)?;
    let marked = keys.into_iter().enumerate().map(|(row, mut key)| {
        let has_null = columns.iter().any(|column| column.is_null(row));
        key.insert(0, u8::from(has_null));
        key
    });
    Ok(marked.collect())
}

/// True if a column of an encoded key is NULL: such a key equals no other in SQL.
pub fn with_nulls(key: &[u8]) -> bool {
    key.first() == Some(&1)
}
