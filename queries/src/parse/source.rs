//! `CREATE SOURCE` and `CREATE TABLE`: columns, watermark, keys.

use datafusion::sql::sqlparser::tokenizer::Token;
use lineshaft_engine::batch::TIMESTAMP;

use super::Context;
use super::interval::Least;
use super::options::options;
use super::tokens::{Result, Tokens};
use super::types::data_type;
use crate::error::{NameKind, QueryError};
use crate::span::{Name, Span};
use crate::statement::{CreateSource, Deduplicate, Options, SourceColumn, Watermark};

/// The elements of `( ... )`, names not yet looked up.
#[derive(Default)]
struct Elements {
    columns: Vec<SourceColumn>,
    primary_key: Vec<Name>,
    watermark: Option<WatermarkClause>,
    deduplicate: Option<DeduplicateClause>,
}

struct WatermarkClause {
    column: Name,
    disorder_us: i64,
    per: Vec<Name>,
    span: Span,
}

struct DeduplicateClause {
    columns: Vec<Name>,
    within_us: i64,
    span: Span,
}

/// `name (columns) WITH (...)`.
pub(super) fn source(mut tokens: Tokens<'_>, name: Name, context: &mut Context<'_>) -> Result<CreateSource> {
    let span = tokens.span();
    if tokens.is(&["AS"]) {
        let help = format!("write CREATE VIEW {} AS SELECT ...", name.value);
        return Err(tokens.unexpected("\"(\" and the columns").with_help(help));
    }
    if tokens.peek() != Some(&Token::LParen) {
        return Err(tokens.unexpected("\"(\" and the columns"));
    }
    let mut elements = Elements::default();
    tokens.parenthesised()?.list(|tokens| element(tokens, &mut elements, context))?;
    let options = options(&mut tokens, &name, context)?;
    tokens.expect_end()?;
    Ok(resolve(elements, name, options, span, context))
}

fn element(tokens: &mut Tokens<'_>, elements: &mut Elements, context: &mut Context<'_>) -> Result<()> {
    let mark = tokens.mark();
    if tokens.eat(&["WATERMARK", "FOR"]) {
        let clause = watermark(tokens, mark)?;
        context.once("WATERMARK", elements.watermark.replace(clause).is_some(), tokens.since(mark));
    } else if tokens.eat(&["DEDUPLICATE", "BY"]) {
        let columns = tokens.names("the name of a column")?;
        tokens.expect(&["WITHIN"])?;
        let within_us = tokens.interval(Least::AboveZero)?.value;
        let span = tokens.since(mark);
        let clause = DeduplicateClause { columns, within_us, span };
        context.once("DEDUPLICATE", elements.deduplicate.replace(clause).is_some(), span);
    } else if tokens.eat(&["PRIMARY", "KEY"]) {
        let key = tokens.names("the name of a column")?;
        context.once("PRIMARY KEY", !elements.primary_key.is_empty(), tokens.since(mark));
        elements.primary_key = key;
    } else {
        column_with_constraints(tokens, elements, context)?;
    }
    Ok(())
}

fn column_with_constraints(
    tokens: &mut Tokens<'_>,
    elements: &mut Elements,
    context: &mut Context<'_>,
) -> Result<()> {
    let Some(mut column) = column(tokens, context)? else {
        // Its type is reported; what follows the type is not looked at.
        tokens.until(|tokens| tokens.peek() == Some(&Token::Comma));
        return Ok(());
    };
    while !tokens.is_done() && tokens.peek() != Some(&Token::Comma) {
        let here = tokens.here();
        if tokens.eat(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if tokens.eat(&["PRIMARY", "KEY"]) {
            context.once("PRIMARY KEY", !elements.primary_key.is_empty(), here);
            elements.primary_key = vec![column.name.clone()];
        } else if tokens.eat(&["METADATA"]) {
            column.metadata = true;
        } else if !tokens.eat(&["NULL"]) {
            return Err(tokens.unexpected("NOT NULL, PRIMARY KEY, METADATA, \",\" or \")\""));
        }
    }
    add_column(&mut elements.columns, column, context);
    Ok(())
}

/// `name TYPE`; `None` if the type is reported as wrong.
pub(super) fn column(tokens: &mut Tokens<'_>, context: &mut Context<'_>) -> Result<Option<SourceColumn>> {
    let mark = tokens.mark();
    let name = tokens.name("the name of a column")?;
    if tokens.is_done() || tokens.peek() == Some(&Token::Comma) {
        return Err(tokens.unexpected("a type"));
    }
    let data_type = match data_type(tokens) {
        Ok(data_type) => data_type,
        Err(error) if matches!(error, QueryError::Syntax { .. }) => return Err(error),
        Err(error) => {
            context.errors.push(error);
            context.unknown_columns.push(name.value);
            return Ok(None);
        }
    };
    Ok(Some(SourceColumn { name, data_type, nullable: true, metadata: false, span: tokens.since(mark) }))
}

fn add_column(columns: &mut Vec<SourceColumn>, column: SourceColumn, context: &mut Context<'_>) {
    if let Some(first) = columns.iter().find(|other| other.name.value == column.name.value) {
        context.duplicate(NameKind::Column, &column.name, first.name.span);
    }
    columns.push(column);
}

/// What follows `WATERMARK FOR`.
fn watermark(tokens: &mut Tokens<'_>, mark: usize) -> Result<WatermarkClause> {
    let column = tokens.name("the column of the event time")?;
    let mut disorder_us = 0;
    if tokens.eat(&["AS"]) {
        let same = tokens.name("the column of the event time")?;
        if same.value != column.value {
            let message = format!("watermark for column {:?} uses column {:?}", column.value, same.value);
            return Err(QueryError::invalid(message, same.span)
                .with_help(format!("write {} - INTERVAL '5' SECOND", column.value)));
        }
        if tokens.eat_symbol(&Token::Minus) {
            disorder_us = tokens.interval(Least::Zero)?.value;
        }
    }
    let per = match tokens.eat(&["PER"]) {
        true => per_columns(tokens)?,
        false => Vec::new(),
    };
    Ok(WatermarkClause { column, disorder_us, per, span: tokens.since(mark) })
}

/// `a, b` or `(a, b)`. A name after a comma belongs to the list only if no type follows it.
fn per_columns(tokens: &mut Tokens<'_>) -> Result<Vec<Name>> {
    if tokens.peek() == Some(&Token::LParen) {
        return tokens.names("the name of a column");
    }
    let mut columns = vec![tokens.name("the name of a column")?];
    while tokens.peek() == Some(&Token::Comma) && matches!(tokens.nth(2), None | Some(Token::Comma)) {
        tokens.next();
        columns.push(tokens.name("the name of a column")?);
    }
    Ok(columns)
}

/// Looks up the names of the clauses.
fn resolve(
    elements: Elements,
    name: Name,
    options: Options,
    span: Span,
    context: &mut Context<'_>,
) -> CreateSource {
    let mut columns = elements.columns;
    let primary_key = find_columns(&elements.primary_key, &columns, context);
    for index in &primary_key {
        columns[*index].nullable = false;
    }
    let watermark = elements.watermark.and_then(|clause| {
        let column = find_column(&clause.column, &columns, context)?;
        check_event_time(&columns[column], clause.column.span, context);
        Some(Watermark {
            column,
            disorder_us: clause.disorder_us,
            per: find_columns(&clause.per, &columns, context),
            span: clause.span,
        })
    });
    let deduplicate = elements.deduplicate.map(|clause| Deduplicate {
        columns: find_columns(&clause.columns, &columns, context),
        within_us: clause.within_us,
        span: clause.span,
    });
    CreateSource { name, columns, primary_key, watermark, deduplicate, options, span }
}

fn check_event_time(column: &SourceColumn, span: Span, context: &mut Context<'_>) {
    if column.data_type != TIMESTAMP {
        context.errors.push(QueryError::TypeMismatch {
            what: format!("event time {:?}", column.name.value),
            expected: "TIMESTAMP".into(),
            found: column.data_type.to_string(),
            span: Some(span),
        });
    }
}

pub(super) fn find_columns(
    names: &[Name],
    columns: &[SourceColumn],
    context: &mut Context<'_>,
) -> Vec<usize> {
    names.iter().filter_map(|name| find_column(name, columns, context)).collect()
}

/// The index of the column `name`; reports one that is not there.
pub(super) fn find_column(name: &Name, columns: &[SourceColumn], context: &mut Context<'_>) -> Option<usize> {
    let found = columns.iter().position(|column| column.name.value == name.value);
    if found.is_none() && !context.unknown_columns.contains(&name.value) {
        let names = columns.iter().map(|column| column.name.value.as_str());
        let error = QueryError::unknown(NameKind::Column, &name.value, Some(name.span), names);
        context.errors.push(error);
    }
    found
}
