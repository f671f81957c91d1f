//! Queries, and the statements that are little more than one: views, sinks, models, `INSERT INTO`.

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::Context;
use super::as_of;
use super::interval::Least;
use super::keywords;
use super::options::options;
use super::refused;
use super::tokens::{Lexeme, Result, Tokens};
use crate::alter::{AlterModel, Change};
use crate::error::QueryError;
use crate::rewrite::{chains, precedence};
use crate::span::{Name, Span, Spanned, StatementText};
use crate::statement::{CreateModel, CreateSink, CreateView, Drift, Emit, InsertInto, SelectQuery};

/// `name [(a, b)] AS query`.
pub(super) fn view(mut tokens: Tokens<'_>, name: Name, materialized: bool) -> Result<CreateView> {
    let columns = match tokens.peek() {
        Some(Token::LParen) => tokens.names("the name of a column")?,
        _ => Vec::new(),
    };
    tokens.expect(&["AS"])?;
    Ok(CreateView { span: tokens.span(), name, columns, materialized, query: select(tokens)? })
}

/// `name [FROM relation] WITH (...) [AS query]`; the options may also come last.
pub(super) fn sink(mut tokens: Tokens<'_>, name: Name, context: &mut Context<'_>) -> Result<CreateSink> {
    let span = tokens.span();
    let relation = match tokens.eat(&["FROM"]) {
        true => Some(select_all(&mut tokens)?),
        false => None,
    };
    let mut with = options(&mut tokens, &name, context)?;
    let query = match relation {
        Some(query) => {
            tokens.expect_end()?;
            query
        }
        // DataFusion's parser would take options behind the query for hints about its last table, and ignore them.
        None if tokens.eat(&["AS"]) => {
            let query = select(tokens.until(is_options))?;
            if with.entries.is_empty() {
                with = options(&mut tokens, &name, context)?;
            }
            tokens.expect_end()?;
            query
        }
        None => return Err(tokens.unexpected("AS and a query, or FROM and a view before WITH")),
    };
    Ok(CreateSink { name, query, options: with, span })
}

/// `WITH (name = ...`, which is no beginning of a query.
fn is_options(tokens: &Tokens<'_>) -> bool {
    tokens.is(&["WITH"]) && matches!((tokens.nth(1), tokens.nth(3)), (Some(Token::LParen), Some(Token::Eq)))
}

/// `name [PER column] WITH (...) [RETRAIN [EVERY interval] [ON DRIFT [(query)]]] [AS query]`.
pub(super) fn model(mut tokens: Tokens<'_>, name: Name, context: &mut Context<'_>) -> Result<CreateModel> {
    let span = tokens.span();
    let per = match tokens.eat(&["PER"]) {
        true => Some(tokens.name("the name of a column")?),
        false => None,
    };
    let options = options(&mut tokens, &name, context)?;
    let (retrain_us, drift) = match tokens.eat(&["RETRAIN"]) {
        true => retrain(&mut tokens)?,
        false => (None, None),
    };
    let training = match tokens.eat(&["AS"]) {
        true => Some(select_without_emit(tokens)?),
        false if tokens.is_done() => None,
        false => {
            let error = tokens.unexpected("RETRAIN, or AS and a query");
            let is_late = tokens.eat(&["PER"]);
            return Err(if is_late { error.with_help("PER column stands before WITH") } else { error });
        }
    };
    Ok(CreateModel { name, per, options, retrain_us, drift, training, span })
}

/// `EVERY INTERVAL '1' DAY`, `ON DRIFT`, `ON DRIFT (query)`, or both.
fn retrain(tokens: &mut Tokens<'_>) -> Result<(Option<Spanned<i64>>, Option<Drift>)> {
    let every = match tokens.eat(&["EVERY"]) {
        true => Some(tokens.interval(Least::AboveZero)?),
        false => None,
    };
    let here = tokens.here();
    let drift = match tokens.eat(&["ON", "DRIFT"]) {
        true if tokens.peek() == Some(&Token::LParen) => {
            Some(Drift::Query(select_without_emit(tokens.parenthesised()?)?))
        }
        true => Some(Drift::Features(here)),
        false if every.is_none() => return Err(tokens.unexpected("EVERY and an interval, or ON DRIFT")),
        false => None,
    };
    Ok((every, drift))
}

/// `ALTER MODEL name SET VERSION n | SET SHADOW VERSION n | DROP SHADOW | ROLLBACK`.
pub(super) fn alter(mut tokens: Tokens<'_>, context: &mut Context<'_>) -> Result<AlterModel> {
    tokens.expect(&["ALTER", "MODEL"])?;
    let name = tokens.name("the name of a model")?;
    context.name = Some(name.clone());
    let change = if tokens.eat(&["SET", "VERSION"]) {
        Change::Version(version(&mut tokens)?)
    } else if tokens.eat(&["SET", "SHADOW", "VERSION"]) {
        Change::Shadow(version(&mut tokens)?)
    } else if tokens.eat(&["DROP", "SHADOW"]) {
        Change::NoShadow
    } else if tokens.eat(&["ROLLBACK"]) {
        Change::Rollback
    } else {
        return Err(tokens.unexpected("SET VERSION, SET SHADOW VERSION, DROP SHADOW or ROLLBACK"));
    };
    tokens.expect_end()?;
    Ok(AlterModel { name, change, span: tokens.span() })
}

fn version(tokens: &mut Tokens<'_>) -> Result<u32> {
    tokens.eat_symbol(&Token::Eq);
    let found = match tokens.peek() {
        Some(Token::Number(digits, _)) => digits.parse().ok().filter(|version| *version > 0),
        _ => None,
    };
    let version = found.ok_or_else(|| tokens.unexpected("the number of a version, from 1 up"))?;
    tokens.next();
    Ok(version)
}

/// `INSERT INTO actuator [(a, b)] query`.
pub(super) fn insert(mut tokens: Tokens<'_>) -> Result<InsertInto> {
    tokens.expect(&["INSERT", "INTO"])?;
    let target = tokens.name("the name of an actuator")?;
    // `(SELECT ...)` is a query, too.
    let is_query = matches!(tokens.nth(1), Some(Token::Word(word)) if word.keyword == Keyword::SELECT);
    let columns = match tokens.peek() {
        Some(Token::LParen) if !is_query => tokens.names("the name of a column")?,
        _ => Vec::new(),
    };
    Ok(InsertInto { span: tokens.span(), target, columns, query: select(tokens)? })
}

/// All tokens left: a query, perhaps with `EMIT`.
///
/// `EMIT` is cut off before DataFusion's parser sees it: that would take it for another name of the last table.
pub(super) fn select(mut tokens: Tokens<'_>) -> Result<SelectQuery> {
    let mut query = tokens.until(is_emit);
    let emit = match tokens.is_done() {
        true => None,
        false if is_emit(&tokens) => Some(emit(&mut tokens)?),
        false => return Err(tokens.unexpected("end of statement")),
    };
    Ok(SelectQuery { emit, ..parse(&mut query)? })
}

/// A query whose result is taken once, so that there is nothing to emit.
pub(super) fn select_without_emit(tokens: Tokens<'_>) -> Result<SelectQuery> {
    let query = select(tokens)?;
    match &query.emit {
        Some(emit) => Err(QueryError::invalid("this query has no windows that could emit", emit.span)
            .with_help("put EMIT into the view that has the window")),
        None => Ok(query),
    }
}

/// `relation`, as the query `SELECT * FROM relation`.
pub(super) fn select_all(tokens: &mut Tokens<'_>) -> Result<SelectQuery> {
    let mark = tokens.mark();
    tokens.sql(|parser| parser.parse_object_name(true))?;
    let span = tokens.since(mark);
    let name = tokens.taken(mark);
    let place = name[0].token.span;
    let written = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
    let written =
        written.into_iter().map(|token| Lexeme { token: TokenWithSpan { token, span: place }, span });
    let lexemes: Vec<Lexeme> = written.chain(name.iter().cloned()).collect();
    let mut query = parse(&mut Tokens::of_statement(tokens.file(), &lexemes))?;
    query.text = format!("SELECT * FROM {}", tokens.file().slice(span));
    query.span = span;
    Ok(query)
}

fn parse(tokens: &mut Tokens<'_>) -> Result<SelectQuery> {
    let span = tokens.span();
    if let Some(place) = match_recognize(tokens.clone()) {
        return Err(QueryError::not_supported("MATCH_RECOGNIZE", place));
    }
    let all = tokens.clone();
    let query = match as_of::rewritten(tokens.clone())? {
        Some(lexemes) => whole_query(&mut Tokens::of_statement(tokens.file(), &lexemes)),
        None => whole_query(tokens),
    };
    let mut query = query.map_err(|error| keywords::proposed(error, &all))?;
    if let Some(error) = refused::find(&query, StatementText { file: tokens.file(), span }) {
        return Err(error);
    }
    chains::balance(&mut query).map_err(|place| {
        let most = chains::MOST;
        let statement = StatementText { file: tokens.file(), span };
        QueryError::invalid(
            format!("more than {most} operators in a row"),
            statement.span_of(place).unwrap_or(span),
        )
        .with_help("put parentheses around parts of it, or compute parts in a view before")
    })?;
    precedence::correct(&mut query);
    Ok(SelectQuery { query, text: tokens.file().slice(span).to_owned(), span, emit: None })
}

fn whole_query(tokens: &mut Tokens<'_>) -> Result<Box<Query>> {
    let query = tokens.sql(|parser| parser.parse_query())?;
    tokens.expect_end()?;
    Ok(query)
}

/// Found by its name, because DataFusion's parser would stumble over `WITHIN` inside of it.
fn match_recognize(mut tokens: Tokens<'_>) -> Option<Span> {
    while !tokens.is_done() {
        if tokens.is(&["MATCH_RECOGNIZE"]) && tokens.nth(1) == Some(&Token::LParen) {
            return Some(tokens.here());
        }
        tokens.next();
    }
    None
}

/// True if `EMIT` begins a clause here, rather than being the name of a column or table.
fn is_emit(tokens: &Tokens<'_>) -> bool {
    if !tokens.is(&["EMIT"]) {
        return false;
    }
    let ends_query = match tokens.previous() {
        Some(Token::Word(Word { keyword, .. })) => *keyword == Keyword::NoKeyword || *keyword == Keyword::END,
        Some(Token::RParen | Token::RBracket | Token::Number(..) | Token::SingleQuotedString(_)) => true,
        _ => false,
    };
    let follows = |words: &[&str]| {
        let mut rest = tokens.clone();
        rest.next();
        rest.is(words)
    };
    follows(&["ON", "WINDOW"])
        || follows(&["EVERY"])
        || follows(&["CHANGES"])
        || ends_query && tokens.nth(1).is_none()
}

fn emit(tokens: &mut Tokens<'_>) -> Result<Spanned<Emit>> {
    let mark = tokens.mark();
    tokens.expect(&["EMIT"])?;
    let emit = if tokens.eat(&["ON"]) {
        tokens.expect(&["WINDOW", "CLOSE"])?;
        Emit::OnWindowClose
    } else if tokens.eat(&["EVERY"]) {
        Emit::Every(tokens.interval(Least::AboveZero)?.value)
    } else {
        return Err(tokens.unexpected("ON WINDOW CLOSE or EVERY INTERVAL"));
    };
    let span = tokens.since(mark);
    tokens.expect_end()?;
    Ok(Spanned::new(emit, span))
}
