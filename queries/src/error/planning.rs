//! DataFusion's errors in our words, at their place in the query file.

use datafusion::common::diagnostic::Diagnostic;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::{NameKind, Note, QueryError, nearest};
use crate::span::{Span, StatementText};

/// What DataFusion said about a statement. It may be several errors at once.
///
/// A [`QueryError`] that was handed through DataFusion comes out as it was, with the place that DataFusion adds.
pub fn from_datafusion(error: DataFusionError, statement: &StatementText<'_>) -> Vec<QueryError> {
    error.iter().map(|error| translate(error, None, statement)).collect()
}

fn translate(
    error: &DataFusionError,
    outer: Option<&Diagnostic>,
    statement: &StatementText<'_>,
) -> QueryError {
    let span = outer.and_then(|diagnostic| diagnostic.span);
    let span = span.and_then(|span| statement.span_of_planned(span));
    match error {
        DataFusionError::Diagnostic(inner, error) => translate(error, outer.or(Some(inner)), statement),
        DataFusionError::Context(_, error) => translate(error, outer, statement),
        DataFusionError::Shared(error) => translate(error, outer, statement),
        DataFusionError::Collection(errors) if !errors.is_empty() => translate(&errors[0], outer, statement),
        DataFusionError::External(error) => match error.downcast_ref::<QueryError>() {
            Some(error) => error.clone().or_at(span).or_at(Some(statement.span)),
            None => planning(&error.to_string(), outer, span, statement),
        },
        DataFusionError::SchemaError(error, _) => schema_error(error, span, statement),
        DataFusionError::NotImplemented(what) => {
            QueryError::not_supported(reword(what), span.unwrap_or(statement.span))
        }
        DataFusionError::Internal(what) => planning(what, outer, span, statement)
            .with_help("this is a bug of Lineshaft: please report it with the query"),
        other => planning(&strip_prefix(&other.strip_backtrace()), outer, span, statement),
    }
}

fn schema_error(error: &SchemaError, span: Option<Span>, statement: &StatementText<'_>) -> QueryError {
    let place = |column: &Column| {
        span.or_else(|| statement.span_of_planned(column.spans().first()?))
            .or_else(|| statement.find_word(&column.name))
            .unwrap_or(statement.span)
    };
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => QueryError::unknown(
            NameKind::Column,
            &field.flat_name(),
            Some(place(field)),
            [],
        )
        .suggest_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => QueryError::invalid(
            format!("column {:?} is ambiguous", field.name),
            place(field),
        )
        .with_help(format!("say which table it is of, such as t.{}", field.name)),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            QueryError::invalid(format!("column {name:?} appears twice in the result"), place(&Column::from_name(name)))
                .with_help("give one of them another name with AS")
        }
    }
}

impl QueryError {
    /// Proposes a column: with its table only where the name that was looked for has one.
    fn suggest_column(self, wanted: &Column, columns: &[Column]) -> Self {
        let names: Vec<String> = match &wanted.relation {
            Some(_) => columns.iter().map(Column::flat_name).collect(),
            None => columns.iter().map(|column| column.name.clone()).collect(),
        };
        self.suggest(NameKind::Column, names.iter().map(String::as_str))
    }
}

/// An error that DataFusion says in a sentence: some are known by their wording.
fn planning(
    text: &str,
    outer: Option<&Diagnostic>,
    span: Option<Span>,
    statement: &StatementText<'_>,
) -> QueryError {
    let said = outer.map_or(text, |diagnostic| &diagnostic.message);
    if let Some(table) = quoted_after(said, "table '") {
        // Its own catalog and schema, which nobody wrote, come first in the name.
        let table = table.strip_prefix("datafusion.public.").unwrap_or(table);
        let span = span.or_else(|| statement.find_word(table)).unwrap_or(statement.span);
        return QueryError::unknown(NameKind::Relation, table, Some(span), []);
    }
    if let Some(function) = quoted_after(said, "Invalid function '") {
        let span = span.or_else(|| statement.find_word(function)).unwrap_or(statement.span);
        let proposal = quoted_after(text.split("Did you mean").nth(1).unwrap_or(""), "'");
        // DataFusion always proposes something; we only what is near.
        let proposal = nearest(function, proposal);
        return QueryError::UnknownName {
            kind: NameKind::Function,
            name: function.to_owned(),
            nearest: proposal,
            span: Some(span),
        };
    }
    let mut lines = said.lines().map(reword).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or_else(|| "the query cannot be planned".into());
    let mut notes: Vec<Note> = lines.map(|message| Note { message, span: None }).collect();
    let mut help = None;
    if let Some(diagnostic) = outer {
        let place = |span: Option<_>| span.and_then(|span| statement.span_of_planned(span));
        notes.extend(diagnostic.notes.iter().map(|note| Note {
            message: reword(&note.message),
            span: place(note.span),
        }));
        let helps: Vec<String> = diagnostic.helps.iter().map(|help| reword(&help.message)).collect();
        help = (!helps.is_empty()).then(|| helps.join("; "));
    }
    QueryError::Planning {
        message,
        span: span.or(Some(statement.span)),
        notes,
        help,
    }
}

/// `x` of `<prefix>x'`.
fn quoted_after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = text.split_once(prefix)?.1;
    rest.split_once('\'').map(|(name, _)| name)
}

/// "Error during planning: x" says "error" twice.
fn strip_prefix(text: &str) -> String {
    let prefixes = ["Error during planning: ", "Execution error: ", "SQL error: ", "Schema error: "];
    let known = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
    known.unwrap_or(text).to_owned()
}

/// Lower case at the beginning, unless it is a name such as `COUNT`, and no full stop at the end.
pub(crate) fn reword(sentence: &str) -> String {
    let sentence = sentence.trim().trim_end_matches('.');
    let mut chars = sentence.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && (second.is_lowercase() || second == ' ') => {
            first.to_lowercase().chain(sentence[first.len_utf8()..].chars()).collect()
        }
        _ => sentence.to_owned(),
    }
}
