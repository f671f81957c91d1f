//! What a query file says of a source or a sink, as it is handed to a connector.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

/// The options of `WITH (...)`: name and text, with `${env:...}` already replaced.
pub type Options = BTreeMap<String, String>;

/// `CREATE SOURCE` or `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct SourceDeclaration {
    /// Its name.
    pub name: String,
    /// All declared columns, in order, those given by the connector among them.
    pub schema: SchemaRef,
    /// Columns of `schema` that are `METADATA`: given by the connector, not read from the record.
    pub metadata: Vec<usize>,
    /// Columns of `schema` that the program uses, ascending. A decoder gives these columns only, in this order.
    /// A format of typed columns need not read the others; one that parses text checks them all the same, so that
    /// which rows are good does not depend on the query.
    pub needed: Vec<usize>,
    /// Rows are wanted that meet all conditions of one of these; empty: all rows. A connector may leave out others that
    /// it can tell without reading them, and need not.
    pub wanted: Vec<Vec<Condition>>,
    /// Column of `schema` that is the event time, if a watermark is declared.
    pub event_time: Option<usize>,
    /// Of a `CREATE TABLE`: what its rows mean.
    pub table: Option<TableDeclaration>,
    /// `WITH (...)`.
    pub options: Options,
    /// The folder of the query file, where relative paths of sources begin.
    pub folder: PathBuf,
}

/// What a connector must know of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableDeclaration {
    /// Columns of the schema, each of them needed: of rows that have equal values there the last one counts. Empty: all
    /// rows count.
    pub primary_key: Vec<usize>,
    /// Its rows are versions, all of which count: a row that is no longer in the input has held before, and stays.
    pub keeps_versions: bool,
    /// The program runs on after the table was read: what changes in its input later is to be given as changes.
    pub reads_again: bool,
}

/// A condition on a column of a source. A row with NULL in it does not meet it.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its place in the schema of the source.
    pub column: usize,
    /// How its value compares with `value`.
    pub comparison: Comparison,
    /// One value of the type of the column.
    pub value: ArrayRef,
}

/// How the value of a column compares with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// `CREATE SINK` or the target of an actuator.
#[derive(Clone, Debug)]
pub struct SinkDeclaration {
    /// Its name.
    pub name: String,
    /// Columns of its rows.
    pub schema: SchemaRef,
    /// `WITH (...)`.
    pub options: Options,
    /// The data directory, where relative paths of sinks begin.
    pub folder: PathBuf,
}

/// The option `connector` of the source that tells what has become of commands. No query file declares one: an actuator has it,
/// whose name is the option `actuator`. Its columns are those that the sink of the actuator is given, without `expires_at`, and
/// the name of the [`Outcome`](crate::sink::Outcome).
pub const OUTCOMES: &str = "outcomes";

/// An option that a connector does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionError {
    /// The name of the option it is about; `None` if it is about the connector as a whole (an option is missing).
    pub option: Option<String>,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl OptionError {
    /// An error of the option `name`.
    pub fn of(name: &str, message: impl Into<String>) -> Self {
        Self { option: Some(name.to_owned()), message: message.into(), help: None }
    }

    /// An error of the declaration as a whole.
    pub fn general(message: impl Into<String>) -> Self {
        Self { option: None, message: message.into(), help: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
