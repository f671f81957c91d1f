//! The statements of a query file, as data: what was written and where, nothing resolved yet.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{Expr, Query};
use lineshaft_engine::declaration::{self, OptionError};

use crate::alter::AlterModel;
use crate::error::QueryError;
use crate::span::{Name, Span, Spanned};

/// One statement.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `CREATE SOURCE`: a stream.
    CreateSource(CreateSource),
    /// `CREATE TABLE`: reference data.
    CreateTable(CreateSource),
    /// `CREATE VIEW`.
    CreateView(CreateView),
    /// `CREATE MODEL`.
    CreateModel(CreateModel),
    /// `ALTER MODEL`.
    AlterModel(AlterModel),
    /// `CREATE RULES`.
    CreateRules(CreateRules),
    /// `CREATE OPTIMIZER`.
    CreateOptimizer(CreateOptimizer),
    /// `CREATE ACTUATOR`.
    CreateActuator(CreateActuator),
    /// `CREATE SINK`.
    CreateSink(CreateSink),
    /// `INSERT INTO`.
    InsertInto(InsertInto),
    /// A statement whose errors are already reported. What uses its name need not be reported as well.
    Broken(Broken),
}

/// A statement with errors.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What it creates.
    pub name: Name,
    /// What could be read of it.
    pub statement: Option<Box<Statement>>,
}

impl Statement {
    /// What it creates, or what it inserts into.
    pub fn name(&self) -> &Name {
        match self {
            Self::CreateSource(statement) | Self::CreateTable(statement) => &statement.name,
            Self::CreateView(statement) => &statement.name,
            Self::CreateModel(statement) => &statement.name,
            Self::AlterModel(statement) => &statement.name,
            Self::CreateRules(statement) => &statement.name,
            Self::CreateOptimizer(statement) => &statement.name,
            Self::CreateActuator(statement) => &statement.name,
            Self::CreateSink(statement) => &statement.name,
            Self::InsertInto(statement) => &statement.target,
            Self::Broken(broken) => &broken.name,
        }
    }
}

/// `CREATE SOURCE name (columns, WATERMARK ...) WITH (...)`, and the same for a table.
#[derive(Clone, Debug)]
pub struct CreateSource {
    /// Its name.
    pub name: Name,
    /// Its columns, in order.
    pub columns: Vec<SourceColumn>,
    /// Indices of the columns of `PRIMARY KEY`, in the order of the key.
    pub primary_key: Vec<usize>,
    /// `WATERMARK FOR ...`.
    pub watermark: Option<Watermark>,
    /// `DEDUPLICATE BY ...`.
    pub deduplicate: Option<Deduplicate>,
    /// `WITH (...)`.
    pub options: Options,
    /// The whole statement.
    pub span: Span,
}

impl CreateSource {
    /// Names and types of all columns.
    pub fn schema(&self) -> SchemaRef {
        let field =
            |column: &SourceColumn| Field::new(&column.name.value, column.data_type.clone(), column.nullable);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Indices of the columns that the connector gives.
    pub fn metadata(&self) -> Vec<usize> {
        let given = self.columns.iter().enumerate().filter(|(_, column)| column.metadata);
        given.map(|(index, _)| index).collect()
    }
}

/// A column of a source, table or actuator.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// Its name.
    pub name: Name,
    /// Its type in the engine.
    pub data_type: DataType,
    /// False for `NOT NULL` and for columns of the primary key.
    pub nullable: bool,
    /// `METADATA`: given by the connector, not read from the record.
    pub metadata: bool,
    /// Name and type.
    pub span: Span,
}

/// `WATERMARK FOR ts AS ts - INTERVAL '5' SECOND PER machine`.
#[derive(Clone, Debug)]
pub struct Watermark {
    /// Index of the column that is the event time.
    pub column: usize,
    /// How far behind the largest event time the watermark stays, in microseconds; zero if not said.
    pub disorder_us: i64,
    /// Indices of the columns of `PER`: each value has a watermark of its own.
    pub per: Vec<usize>,
    /// The clause.
    pub span: Span,
}

/// `DEDUPLICATE BY (device, seq) WITHIN INTERVAL '10' MINUTE`.
#[derive(Clone, Debug)]
pub struct Deduplicate {
    /// Indices of the columns that two copies of a row share.
    pub columns: Vec<usize>,
    /// How long a copy is remembered, in microseconds of event time.
    pub within_us: i64,
    /// The clause.
    pub span: Span,
}

/// `CREATE [MATERIALIZED] VIEW name AS query`.
#[derive(Clone, Debug)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// Names given to the columns: `CREATE VIEW v (a, b) AS ...`; empty if not given.
    pub columns: Vec<Name>,
    /// True if its rows are kept.
    pub materialized: bool,
    /// The query.
    pub query: SelectQuery,
    /// The whole statement.
    pub span: Span,
}

/// A `SELECT` with the clause that says when it gives results.
#[derive(Clone, Debug)]
pub struct SelectQuery {
    /// The syntax tree; its places are lines and columns of the file.
    pub query: Box<Query>,
    /// As it was written, without `EMIT`.
    pub text: String,
    /// Where `text` stands.
    pub span: Span,
    /// `EMIT ...`; `None` if not said, which means on window close.
    pub emit: Option<Spanned<Emit>>,
}

/// When a window gives its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Once, when the watermark has passed its end.
    OnWindowClose,
    /// Again and again before that, as a changelog; the period in microseconds.
    Every(i64),
}

/// An expression of SQL outside a query.
#[derive(Clone, Debug)]
pub struct ExpressionText {
    /// The syntax tree; its places are lines and columns of the file.
    pub expression: Expr,
    /// As it was written.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// What tells that a model has drifted.
#[derive(Clone, Debug)]
pub enum Drift {
    /// `ON DRIFT`: its features, wherever it is asked.
    Features(Span),
    /// `ON DRIFT (query)`: each row of the query.
    Query(SelectQuery),
}

/// `CREATE MODEL name [PER column] WITH (...) [RETRAIN [EVERY interval] [ON DRIFT [(query)]]] [AS query]`.
#[derive(Clone, Debug)]
pub struct CreateModel {
    /// Its name.
    pub name: Name,
    /// The column of which each value has a model of its own.
    pub per: Option<Name>,
    /// `WITH (...)`.
    pub options: Options,
    /// `RETRAIN EVERY`, in microseconds: how often new data are looked for.
    pub retrain_us: Option<Spanned<i64>>,
    /// `RETRAIN ... ON DRIFT`: they are looked for then, too.
    pub drift: Option<Drift>,
    /// The rows it is trained on; `None` for a model that is loaded.
    pub training: Option<SelectQuery>,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE RULES name FROM relation DECIDE column (rules) [ON VETO value]`.
#[derive(Clone, Debug)]
pub struct CreateRules {
    /// Its name.
    pub name: Name,
    /// `FROM relation`, as the query `SELECT * FROM relation`.
    pub input: SelectQuery,
    /// The column that has the answer of the model.
    pub answer: Name,
    /// The rules in the order in which they act: the one with the last word comes last.
    pub rules: Vec<Rule>,
    /// What is decided where an answer is forbidden.
    pub on_veto: Option<ExpressionText>,
    /// The whole statement.
    pub span: Span,
}

/// `name WHEN condition THEN VETO [(value, ...)] | SET value [PRIORITY number]`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Name,
    /// When it acts.
    pub condition: ExpressionText,
    /// What it does.
    pub effect: RuleEffect,
    /// Its rank: a higher one acts on what a lower one has decided.
    pub priority: f64,
    /// The rule.
    pub span: Span,
}

/// What a rule does where its condition holds.
#[derive(Clone, Debug)]
pub enum RuleEffect {
    /// Decides for a value.
    Set(Box<ExpressionText>),
    /// Forbids values; all, if there are none.
    Veto(Vec<ExpressionText>),
}

impl Rule {
    /// True for one that decides for a value.
    pub(crate) fn is_set(&self) -> bool {
        matches!(self.effect, RuleEffect::Set(_))
    }
}

/// `CREATE OPTIMIZER name MINIMIZE cost OVER (...) ... FROM relation`.
#[derive(Clone, Debug)]
pub struct CreateOptimizer {
    /// Its name.
    pub name: Name,
    /// True for `MAXIMIZE`.
    pub maximize: bool,
    /// The cost (or gain): an expression over the columns of `input` and the variables.
    pub objective: ExpressionText,
    /// What is chosen, with its limits. Each has a range.
    pub variables: Vec<BoundedColumn>,
    /// Conditions that the choice must meet; all of them.
    pub constraints: Vec<ExpressionText>,
    /// Columns of `PER`: a choice for each of their values.
    pub per: Vec<Name>,
    /// How often it chooses, in microseconds.
    pub every_us: Spanned<i64>,
    /// `FROM relation`, as the query `SELECT * FROM relation`.
    pub input: SelectQuery,
    /// `WITH (...)`.
    pub options: Options,
    /// The whole statement.
    pub span: Span,
}

/// A column with the limits that its values must keep.
#[derive(Clone, Debug)]
pub struct BoundedColumn {
    /// Name and type.
    pub column: SourceColumn,
    /// `BETWEEN low AND high`, both allowed.
    pub range: Option<Range>,
}

/// `BETWEEN low AND high [MAX STEP step]`, in the unit of the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least value.
    pub low: f64,
    /// The largest value, not below `low`.
    pub high: f64,
    /// The largest change from one value to the next, above zero.
    pub max_step: Option<f64>,
    /// The clause.
    pub span: Span,
}

/// `CREATE ACTUATOR name WITH (...) (columns) KEY (...) RATE ... TTL ... INTERLOCK ... FAILSAFE ...`.
#[derive(Clone, Debug)]
pub struct CreateActuator {
    /// Its name.
    pub name: Name,
    /// `WITH (...)`.
    pub options: Options,
    /// The columns of a command, with their limits.
    pub columns: Vec<BoundedColumn>,
    /// Indices of the columns of `KEY`: which machine a command is for.
    pub key: Vec<usize>,
    /// `RATE`: the most commands per key.
    pub rate: Option<Rate>,
    /// `TTL`: how old a command may be when it is sent, in microseconds.
    pub time_to_live_us: Option<Spanned<i64>>,
    /// `INTERLOCK (query)`: the keys that must not be commanded now.
    pub interlock: Option<SelectQuery>,
    /// `FAILSAFE (column = value, ...)`: what is sent when the program cannot decide.
    pub failsafe: Vec<Failsafe>,
    /// The whole statement.
    pub span: Span,
}

/// `RATE 1 PER INTERVAL '10' SECOND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most commands; at least 1.
    pub commands: u64,
    /// In this time, in microseconds.
    pub per_us: i64,
    /// The clause.
    pub span: Span,
}

/// `column = value` of `FAILSAFE`.
#[derive(Clone, Debug)]
pub struct Failsafe {
    /// Index of the column.
    pub column: usize,
    /// A constant.
    pub value: ExpressionText,
}

/// `CREATE SINK name [FROM relation] WITH (...) [AS query]`.
#[derive(Clone, Debug)]
pub struct CreateSink {
    /// Its name.
    pub name: Name,
    /// Its rows; `FROM relation` is the query `SELECT * FROM relation`.
    pub query: SelectQuery,
    /// `WITH (...)`.
    pub options: Options,
    /// The whole statement.
    pub span: Span,
}

/// `INSERT INTO actuator [(columns)] query`.
#[derive(Clone, Debug)]
pub struct InsertInto {
    /// The actuator.
    pub target: Name,
    /// The columns that the query gives, in its order; empty if not said.
    pub columns: Vec<Name>,
    /// The commands.
    pub query: SelectQuery,
    /// The whole statement.
    pub span: Span,
}

/// `WITH (name = value, ...)`.
#[derive(Clone, Debug)]
pub struct Options {
    /// In the order of the text; each name once.
    pub entries: Vec<OptionEntry>,
    /// The clause, or the name of the statement if it has none.
    pub span: Span,
}

/// `name = value`.
#[derive(Clone, Debug)]
pub struct OptionEntry {
    /// Its name.
    pub name: Name,
    /// Its value.
    pub value: Spanned<OptionValue>,
}

/// The value of an option, in which `${env:...}` and `${secret:...}` are replaced. `Debug` shows it as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct OptionValue {
    pub(crate) text: String,
    /// What was put in, and the placeholder it was put in for.
    pub(crate) replaced: Vec<(String, String)>,
}

impl OptionValue {
    /// The value to use, never to print.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if it may be printed: nothing in it was replaced.
    pub fn is_public(&self) -> bool {
        self.replaced.is_empty()
    }

    /// `message` with the placeholder wherever a replaced text stands in it.
    fn redact(&self, message: &str) -> String {
        let hide = |message: String, (value, placeholder): &(String, String)| {
            if value.is_empty() { message } else { message.replace(value, placeholder) }
        };
        self.replaced.iter().fold(message.to_owned(), hide)
    }
}

impl fmt::Debug for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.redact(&self.text))
    }
}

impl Options {
    /// The option `name`.
    pub fn get(&self, name: &str) -> Option<&OptionEntry> {
        self.entries.iter().find(|entry| entry.name.value == name)
    }

    /// The value of the option `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|entry| entry.value.value.text())
    }

    /// As a connector takes them.
    pub fn to_map(&self) -> declaration::Options {
        let pair = |entry: &OptionEntry| (entry.name.value.clone(), entry.value.value.text.clone());
        self.entries.iter().map(pair).collect()
    }

    /// What a connector said about them, at the place of the option, without any replaced text.
    pub fn error(&self, mut error: OptionError) -> QueryError {
        for entry in &self.entries {
            error.message = entry.value.value.redact(&error.message);
            error.help = error.help.map(|help| entry.value.value.redact(&help));
        }
        let entry = error.option.as_ref().and_then(|name| self.get(name));
        let span = entry.map_or(self.span, |entry| entry.name.span.to(entry.value.span));
        QueryError::Option { error, span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_used_but_never_printed() {
        let at = |start, end| Span { file: 0, start, end };
        let value = OptionValue {
            text: "mqtt://user:hunter2@host".into(),
            replaced: vec![("hunter2".into(), "${secret:mqtt}".into())],
        };
        let options = Options {
            entries: vec![OptionEntry {
                name: Name::new("url".into(), at(6, 9)),
                value: Spanned::new(value, at(12, 40)),
            }],
            span: at(0, 41),
        };
        assert_eq!(options.text("url"), Some("mqtt://user:hunter2@host"));
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = options.error(OptionError::of("url", "url \"mqtt://user:hunter2@host\" has no port"));
        assert_eq!(error.to_string(), "url \"mqtt://user:${secret:mqtt}@host\" has no port");
        assert_eq!(error.span(), Some(at(6, 40)));
    }
}
