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
            Some(error) => {
                error.clone().or_at(span).or_at(named_place(error, statement)).or_at(Some(statement.span))
            }
            None => planning(&error.to_string(), outer, span, statement),
        },
        DataFusionError::SchemaError(error, _) => schema_error(error, span, statement),
        DataFusionError::NotImplemented(what) => {
            let error = QueryError::not_supported(not_implemented(what), span);
            let place = named_place(&error, statement);
            error.or_at(place).or_at(Some(statement.span))
        }
        DataFusionError::Internal(what) => planning(what, outer, span, statement)
            .with_help("this is a bug of Lineshaft: please report it with the query"),
        other => planning(&strip_prefix(&other.strip_backtrace()), outer, span, statement),
    }
}

/// What DataFusion says that it does not do, in the words of SQL.
fn not_implemented(what: &str) -> String {
    if what.contains("Recursive CTE") {
        return "WITH RECURSIVE".into();
    }
    // What follows is its syntax tree.
    reword(what.split(" { ").next().unwrap_or(what))
}

/// The place of what an error names: a keyword (`OVER in a view`), a function, or a quoted name.
fn named_place(error: &QueryError, statement: &StatementText<'_>) -> Option<Span> {
    let message = error.to_string();
    if let QueryError::UnknownName { name, .. } = error {
        return statement.find_word(name);
    }
    let words = || message.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.len() > 1);
    let is_keyword = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let quoted = message.split('"').nth(1);
    let function = match error {
        QueryError::NotSupported { what, .. } => what.split(' ').next().filter(|word| word.contains('_')),
        _ => None,
    };
    // These two are DISTINCT and a join to DataFusion.
    let sets: &[&str] = if message.contains("DISTINCT") || message.contains(" join ") {
        &["join", "UNION", "EXCEPT", "INTERSECT"]
    } else {
        &[]
    };
    let found =
        function.into_iter().chain(words().filter(is_keyword)).chain(quoted).chain(sets.iter().copied());
    let mut found = found.filter_map(|word| statement.find_word(word));
    found.next()
}

fn schema_error(error: &SchemaError, span: Option<Span>, statement: &StatementText<'_>) -> QueryError {
    let place = |column: &Column| {
        span.or_else(|| statement.span_of_planned(column.spans().first()?))
            .or_else(|| statement.find_word(&column.name))
            .unwrap_or(statement.span)
    };
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            QueryError::unknown(NameKind::Column, &field.flat_name(), Some(place(field)), [])
                .suggest_column(field, valid_fields)
        }
        SchemaError::AmbiguousReference { field } => {
            QueryError::invalid(format!("column {:?} is ambiguous", field.name), place(field))
                .with_help(format!("say which table it is of, such as t.{}", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => QueryError::invalid(
            format!("column {name:?} appears twice in the result"),
            place(&Column::from_name(name)),
        )
        .with_help("give one of them another name with AS"),
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

/// What is written here for a function of other systems.
fn of_others(function: &str) -> Option<&'static str> {
    match function.to_ascii_lowercase().as_str() {
        "tumble" | "tumble_start" | "tumble_end" | "hop" | "hop_start" | "hop_end" | "session"
        | "session_start" | "session_end" | "cumulate" => Some(
            "a window stands in FROM: SELECT window_start, ... FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) \
             GROUP BY window_start",
        ),
        "proctime" => {
            Some("now() is the time at which a row came; a plain JOIN looks up a table as it is then")
        }
        "time_bucket" => Some("write date_bin(INTERVAL '10' SECOND, ts)"),
        _ => None,
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
        if is_of_window(function) {
            return QueryError::invalid(format!("function {function:?} needs OVER"), span)
                .with_help(format!("write {function}(...) OVER (PARTITION BY key ORDER BY ts)"));
        }
        if let Some(help) = of_others(function) {
            return QueryError::invalid(format!("function {function:?} not found"), span).with_help(help);
        }
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
    if let Some((column, _)) = said.split_once("' must appear in GROUP BY") {
        let column = last_part(column.trim_start_matches('\''));
        let message = format!("column {column:?} is neither in GROUP BY nor in an aggregate");
        let place = span.or_else(|| statement.find_word(column)).unwrap_or(statement.span);
        return QueryError::invalid(message, place)
            .with_help(format!("add it to GROUP BY, or say which of its values: max({column})"));
    }
    if let Some(words) = of_function(said) {
        let place = || statement.find_word(quoted_after(said, "Function '")?);
        return QueryError::invalid(
            reword(&strip_prefix(words)),
            span.or_else(place).unwrap_or(statement.span),
        );
    }
    if let Some(call) = quoted_after(said, "and argument types '")
        && said.contains("failed to match any signature")
    {
        let name = call.split('(').next().unwrap_or(call);
        let span = span.or_else(|| statement.find_word(name)).unwrap_or(statement.span);
        return QueryError::invalid(format!("there is no {call}"), span)
            .with_help(format!("{name} takes arguments of other types: cast them"));
    }
    if let Some(window) = said.strip_prefix("The window ").and_then(|rest| rest.split(' ').next())
        && said.contains("is not defined")
    {
        let place = span.or_else(|| statement.find_word(window)).unwrap_or(statement.span);
        return QueryError::invalid(format!("window {window:?} is not defined"), place).with_help(format!(
            "define it behind the query: WINDOW {window} AS (PARTITION BY key ORDER BY ts)"
        ));
    }
    if let Some((_, found)) = said.split_once("filter with non-boolean predicate ") {
        let place = statement.find_word("WHERE").or(span).unwrap_or(statement.span);
        let found = found.replace(" returning ", " is ");
        return QueryError::invalid(format!("a condition must be BOOLEAN, but {found}"), place)
            .with_help("compare it with something");
    }
    let said = strip_prefix(said);
    let mut lines = said.lines().map(reword).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or_else(|| "the query cannot be planned".into());
    let span = span.or_else(|| statement.find_word(last_part(quoted_after(&message, "'")?)));
    // What a function of ours says begins with its name.
    let span = span.or_else(|| statement.find_word(message.split_once(": ")?.0));
    let mut notes: Vec<Note> = lines.map(|message| Note { message, span: None }).collect();
    let mut help = None;
    if let Some(diagnostic) = outer {
        let place = |span: Option<_>| span.and_then(|span| statement.span_of_planned(span));
        notes.extend(
            diagnostic
                .notes
                .iter()
                .map(|note| Note { message: reword(&note.message), span: place(note.span) }),
        );
        let helps: Vec<String> = diagnostic.helps.iter().map(|help| reword(&help.message)).collect();
        help = (!helps.is_empty()).then(|| helps.join("; "));
    }
    QueryError::Planning { message, span: span.or(Some(statement.span)), notes, help }
}

/// True for a function that looks at the rows around a row.
fn is_of_window(name: &str) -> bool {
    const OTHERS: [&str; 11] = [
        "lag",
        "lead",
        "row_number",
        "rank",
        "dense_rank",
        "percent_rank",
        "cume_dist",
        "ntile",
        "first_value",
        "last_value",
        "nth_value",
    ];
    let name = name.to_lowercase();
    OTHERS.contains(&name.as_str()) || crate::functions::online(&name).is_some()
}

/// `x` of `<prefix>x'`.
fn quoted_after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = text.split_once(prefix)?.1;
    rest.split_once('\'').map(|(name, _)| name)
}

/// `x` of `readings.x`.
fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// "Error during planning: x" says "error" twice.
pub(crate) fn strip_prefix(text: &str) -> String {
    const PREFIXES: [&str; 8] = [
        "Error during planning: ",
        "Execution error: ",
        "SQL error: ",
        "Schema error: ",
        "Arrow error: ",
        "Parser error: ",
        "Cast error: ",
        "External error: ",
    ];
    let mut text = text;
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    text.to_owned()
}

/// What a function of ours says of its arguments, without what DataFusion puts around it.
fn of_function(text: &str) -> Option<&str> {
    let (_, said) = text.split_once("coercion failed with: ")?;
    let said = said.split_once(". No function matches").map_or(said, |(said, _)| said);
    Some(said.strip_prefix("External error: ").unwrap_or(said))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common as df;
    use datafusion::common::TableReference;
    use datafusion::common::config::ConfigOptions;
    use datafusion::datasource::{empty::EmptyTable, provider_as_source};
    use datafusion::error::Result;
    use datafusion::logical_expr::planner::ExprPlanner;
    use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
    use datafusion::sql::planner::{ContextProvider, SqlToRel};
    use datafusion::sql::sqlparser::ast;

    use super::*;
    use crate::parse::parse;
    use crate::span::SourceFile;
    use crate::statement::Statement;

    /// Knows one table, `readings`.
    struct OneTable(ConfigOptions);

    impl ContextProvider for OneTable {
        fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
            if name.table() != "readings" {
                return Err(QueryError::unknown(NameKind::Relation, name.table(), None, ["readings"]).into());
            }
            let fields = vec![
                Field::new("machine", DataType::Utf8, false),
                Field::new("vibration", DataType::Float64, true),
            ];
            Ok(provider_as_source(Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))))))
        }
        fn get_function_meta(&self, _name: &str) -> Option<Arc<ScalarUDF>> {
            None
        }
        fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
            None
        }
        fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
            (name == "max").then(datafusion::functions_aggregate::min_max::max_udaf)
        }
        fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
            None
        }
        fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
            None
        }
        fn options(&self) -> &ConfigOptions {
            &self.0
        }
        fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
            &[]
        }
        fn udf_names(&self) -> Vec<String> {
            Vec::new()
        }
        fn higher_order_function_names(&self) -> Vec<String> {
            Vec::new()
        }
        fn udaf_names(&self) -> Vec<String> {
            vec!["max".into()]
        }
        fn udwf_names(&self) -> Vec<String> {
            Vec::new()
        }
    }

    /// What is said about a query in the second line of a file: message, text it points at, help.
    fn said(query: &str) -> Vec<(String, String, Option<String>)> {
        let files = [SourceFile::new("a.sql", format!("-- a comment\nCREATE VIEW v AS {query};"))];
        let (statements, errors) = parse(&files);
        assert_eq!(errors, []);
        let Statement::CreateView(view) = &statements[0] else { panic!() };
        let provider = OneTable(ConfigOptions::default());
        let query = ast::Statement::Query(view.query.query.clone());
        let planned = SqlToRel::new(&provider).sql_statement_to_plan(query);
        let errors = from_datafusion(planned.unwrap_err(), &StatementText::new(&files, view.query.span));
        let place = |error: &QueryError| files[0].slice(error.span().unwrap()).to_owned();
        errors.iter().map(|error| (error.to_string(), place(error), error.help())).collect()
    }

    fn error(message: &str, place: &str, help: Option<&str>) -> (String, String, Option<String>) {
        (message.into(), place.into(), help.map(Into::into))
    }

    #[test]
    fn an_unknown_column_is_shown_at_its_place_with_the_nearest_one() {
        assert_eq!(
            said("SELECT vibraton FROM readings"),
            [error("column \"vibraton\" not found", "vibraton", Some("did you mean \"vibration\"?"))]
        );
        assert_eq!(
            said("SELECT 1 FROM readings r WHERE r.machin = 'a'"),
            [error("column \"r.machin\" not found", "machin", Some("did you mean \"r.machine\"?"))]
        );
    }

    #[test]
    fn several_errors_of_a_query_come_at_once() {
        let messages: Vec<_> =
            said("SELECT machin, vibraton FROM readings").into_iter().map(|said| said.1).collect();
        assert_eq!(messages, ["machin", "vibraton"]);
    }

    #[test]
    fn an_error_of_our_own_comes_back_with_the_place_that_datafusion_knows() {
        assert_eq!(
            said("SELECT * FROM reading"),
            [error("table or view \"reading\" not found", "reading", Some("did you mean \"readings\"?"))]
        );
    }

    #[test]
    fn an_unknown_function_is_shown_at_its_place() {
        assert_eq!(
            said("SELECT mx(vibration) FROM readings"),
            [error("function \"mx\" not found", "mx", Some("did you mean \"max\"?"))]
        );
        assert_eq!(said("SELECT fourier(vibration) FROM readings")[0].2, None);
    }

    #[test]
    fn a_column_that_is_not_grouped_is_shown_at_its_place() {
        assert_eq!(
            said("SELECT machine, max(vibration) FROM readings GROUP BY vibration"),
            [error(
                "column \"machine\" is neither in GROUP BY nor in an aggregate",
                "machine",
                Some("add it to GROUP BY, or say which of its values: max(machine)")
            )]
        );
    }

    #[test]
    fn other_errors_are_reworded_and_keep_their_notes() {
        let files = [SourceFile::new("a.sql", "SELECT a - b FROM t")];
        let all = Span { file: 0, start: 0, end: 19 };
        let place = |column| {
            let at = |column| df::Location { line: 1, column };
            Some(df::Span::new(at(column), at(column + 1)))
        };
        let diagnostic = Diagnostic::new_error("Expressions have incompatible types.", None)
            .with_note("has type Utf8", place(8))
            .with_help("Cast one of them", None);
        let error = DataFusionError::Plan("Cannot coerce".into()).with_diagnostic(diagnostic);
        let errors = from_datafusion(error, &StatementText::new(&files, all));
        assert_eq!(errors[0].to_string(), "expressions have incompatible types");
        assert_eq!(errors[0].help().unwrap(), "cast one of them");
        assert_eq!(files[0].slice(errors[0].notes()[0].span.unwrap()), "a");
        let plain = from_datafusion(
            DataFusionError::Plan("No field.\nSome hint.".into()),
            &StatementText::new(&files, all),
        );
        assert_eq!(plain[0].to_string(), "no field");
        assert_eq!(plain[0].notes()[0].message, "some hint");
        assert_eq!(plain[0].span(), Some(all));
    }
}
