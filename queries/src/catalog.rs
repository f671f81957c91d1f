//! The names of a program: what each stands for, and what the connectors say of it.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::{OptionError, SinkDeclaration, SourceDeclaration, TableDeclaration};
use lineshaft_engine::plan::Overload;

use crate::error::{NameKind, QueryError};
use crate::overload;
use crate::statement::{CreateSource, Deduplicate};

/// What the planner asks of the connectors; the catalog is handed in, so that this crate knows none of them.
pub trait Connectors {
    /// What is wrong with the options of a source. Nothing is opened.
    fn check_source(&self, declaration: &SourceDeclaration) -> Vec<OptionError>;

    /// What is wrong with the options of a sink. Nothing is opened.
    fn check_sink(&self, declaration: &SinkDeclaration) -> Vec<OptionError>;

    /// True if a source ends by itself.
    fn is_bounded(&self, declaration: &SourceDeclaration) -> bool;

    /// True if the input of a table can be read again when it changes.
    fn can_read_again(&self, _declaration: &SourceDeclaration) -> bool {
        false
    }
}

/// A source or table of the program.
#[derive(Clone, Debug)]
pub struct SourceEntry {
    /// Its statement.
    pub statement: CreateSource,
    /// For its connector; all columns needed.
    pub declaration: SourceDeclaration,
    /// `CREATE TABLE`.
    pub is_table: bool,
    /// It ends by itself.
    pub is_bounded: bool,
    /// A table whose input can be read again when it changes.
    pub can_read_again: bool,
    /// `idle_after`, microseconds.
    pub idle_after: Option<i64>,
    /// `max_future`, microseconds.
    pub max_future: Option<i64>,
    /// `allowed_lateness`, microseconds; 0 without one.
    pub allowed_lateness: i64,
    /// `on_overload`; columns are those of the statement.
    pub overload: Overload,
}

/// A row whose event time is further ahead of its arrival than this is kept aside, unless `max_future` says otherwise:
/// 5 minutes. It holds for live sources; a file of simulated rows may lie in the future.
const DEFAULT_MAX_FUTURE: i64 = 5 * 60 * 1_000_000;

impl SourceEntry {
    /// Reads a `CREATE SOURCE` or `CREATE TABLE`; adds to `errors` what is wrong with it.
    pub(crate) fn new(
        statement: &CreateSource,
        is_table: bool,
        folder: &Path,
        connectors: &dyn Connectors,
        errors: &mut Vec<QueryError>,
    ) -> Self {
        let schema = statement.schema();
        let declaration = SourceDeclaration {
            name: statement.name.value.clone(),
            needed: (0..schema.fields().len()).collect(),
            schema,
            metadata: statement.metadata(),
            wanted: Vec::new(),
            event_time: statement.watermark.as_ref().map(|watermark| watermark.column),
            table: is_table.then(|| TableDeclaration {
                primary_key: statement.primary_key.clone(),
                keeps_versions: statement.watermark.is_some(),
                reads_again: false,
            }),
            options: statement.options.to_map(),
            folder: folder.to_owned(),
        };
        errors.extend(connectors.check_source(&declaration).into_iter().map(|e| statement.options.error(e)));
        check_watermark(statement, errors);
        if let Some(deduplicate) = &statement.deduplicate {
            check_deduplicate(statement, deduplicate, errors);
        }
        let is_bounded = connectors.is_bounded(&declaration);
        let duration = |name: &str, errors: &mut Vec<QueryError>| {
            let entry = statement.options.get(name)?;
            let parsed = parse_duration(entry.value.value.text());
            if parsed.is_none() {
                let message = format!("{:?} is no duration", entry.value.value.text());
                let error = OptionError::of(name, message)
                    .help("write a number and a unit, such as '30 s' or '5 min'");
                let (error, place) = (statement.options.error(error), entry.name.span);
                let is_said = |said: &QueryError| said.span().is_some_and(|span| span.start == place.start);
                if !errors.iter().any(is_said) {
                    errors.push(error);
                }
            }
            parsed
        };
        let idle_after = duration("idle_after", errors);
        let max_future = duration("max_future", errors).or((!is_bounded).then_some(DEFAULT_MAX_FUTURE));
        let allowed_lateness = duration("allowed_lateness", errors).unwrap_or(0);
        check_options_of_time(statement, errors);
        Self {
            statement: statement.clone(),
            can_read_again: is_table && connectors.can_read_again(&declaration),
            declaration,
            is_table,
            is_bounded,
            idle_after,
            max_future,
            allowed_lateness,
            overload: overload::read(statement, is_bounded, errors),
        }
    }

    /// Names and types of all columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.declaration.schema)
    }
}

/// Options that mean nothing where no column is the event time.
fn check_options_of_time(statement: &CreateSource, errors: &mut Vec<QueryError>) {
    if statement.watermark.is_some() {
        return;
    }
    let told = [
        ("allowed_lateness", "tells what is late"),
        ("idle_after", "a silent source holds back"),
        ("max_future", "names the event time"),
    ];
    for (name, why) in told {
        let Some(entry) = statement.options.get(name) else { continue };
        let message = format!("{name} needs a watermark, which {why}");
        let help = "add WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, where ts is the event time";
        errors.push(QueryError::invalid(message, entry.name.span).with_help(help));
    }
}

fn check_watermark(statement: &CreateSource, errors: &mut Vec<QueryError>) {
    let Some(watermark) = &statement.watermark else { return };
    let column = &statement.columns[watermark.column];
    if column.data_type != lineshaft_engine::TIMESTAMP {
        errors.push(QueryError::TypeMismatch {
            what: format!("event time {:?}", column.name.value),
            expected: "TIMESTAMP".into(),
            found: column.data_type.to_string(),
            span: Some(watermark.span),
        });
    }
}

fn check_deduplicate(statement: &CreateSource, rule: &Deduplicate, errors: &mut Vec<QueryError>) {
    if statement.watermark.is_none() {
        let message = "DEDUPLICATE BY needs a watermark, which tells when a row can be forgotten";
        let help = "add WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, where ts is the event time";
        errors.push(QueryError::invalid(message, rule.span).with_help(help));
    }
}

/// `5 s`, `500ms`, `1 min`, `2 hours`, `1 day` in microseconds.
fn parse_duration(text: &str) -> Option<i64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let micros = match unit.trim().to_ascii_lowercase().as_str() {
        "us" | "microsecond" | "microseconds" => 1.0,
        "ms" | "millisecond" | "milliseconds" => 1e3,
        "s" | "sec" | "second" | "seconds" => 1e6,
        "m" | "min" | "minute" | "minutes" => 60e6,
        "h" | "hour" | "hours" => 3600e6,
        "d" | "day" | "days" => 86_400e6,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * micros;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be within 292,000 years")]
    (value.is_finite() && value < 9e18).then_some(value.round() as i64)
}

/// The relations that every source has besides itself.
pub(crate) const LATE: &str = "late";
/// See [`LATE`].
pub(crate) const QUARANTINE: &str = "quarantine";
/// `<actuator>.log`: every proposed command with what became of it.
pub(crate) const LOG: &str = "log";
/// `<model>.drift`: every time that a model with `RETRAIN ON DRIFT` has drifted.
pub(crate) const DRIFT: &str = "drift";

/// The error of a name that nothing has.
pub(crate) fn unknown_relation<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> QueryError {
    QueryError::unknown(NameKind::Relation, name, None, known)
}
