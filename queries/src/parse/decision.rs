//! `CREATE OPTIMIZER` and `CREATE ACTUATOR`: clauses in any order.

use arrow::array::{Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Spanned as _, UnaryOperator, Value};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Context;
use super::interval::Least;
use super::options::options;
use super::query::{select_all, select_without_emit};
use super::source::{column, find_column, find_columns};
use super::tokens::{Result, Tokens};
use crate::error::{NameKind, QueryError};
use crate::span::{Name, StatementText};
use crate::statement::{
    BoundedColumn, CreateActuator, CreateOptimizer, ExpressionText, Failsafe, Options, Range, Rate,
    SourceColumn,
};

/// `name MINIMIZE cost OVER (variables) SUBJECT TO ... PER ... EVERY ... FROM ... WITH (...)`.
pub(super) fn optimizer(
    mut tokens: Tokens<'_>,
    name: Name,
    context: &mut Context<'_>,
) -> Result<CreateOptimizer> {
    let span = tokens.span();
    let maximize = tokens.eat(&["MAXIMIZE"]);
    if !maximize && !tokens.eat(&["MINIMIZE"]) {
        return Err(tokens.unexpected("MINIMIZE or MAXIMIZE"));
    }
    let mut objective = tokens.until(starts_clause);
    let objective = whole_expression(&mut objective)?;
    let (mut variables, mut constraints, mut per) = (None, None, None);
    let (mut every_us, mut input, mut with) = (None, None, None);
    while !tokens.is_done() {
        let here = tokens.here();
        let (clause, twice) = if tokens.eat(&["OVER"]) {
            ("OVER", variables.replace(bounded_columns(&mut tokens, context)?).is_some())
        } else if tokens.eat(&["SUBJECT", "TO"]) {
            ("SUBJECT TO", constraints.replace(conditions(tokens.until(starts_clause))?).is_some())
        } else if tokens.eat(&["PER"]) {
            ("PER", per.replace(per_columns(&mut tokens)?).is_some())
        } else if tokens.eat(&["EVERY"]) {
            ("EVERY", every_us.replace(tokens.interval(Least::AboveZero)?).is_some())
        } else if tokens.eat(&["FROM"]) {
            ("FROM", input.replace(select_all(&mut tokens)?).is_some())
        } else if tokens.is(&["WITH"]) {
            ("WITH", with.replace(options(&mut tokens, &name, context)?).is_some())
        } else {
            return Err(tokens.unexpected("OVER, SUBJECT TO, PER, EVERY, FROM or WITH"));
        };
        context.once(clause, twice, here);
    }
    let missing = |clause: &str| missing_clause("optimizer", &name, clause);
    let variables = variables.ok_or_else(|| missing("OVER (variable TYPE BETWEEN low AND high, ...)"))?;
    check_variables(&variables, context);
    Ok(CreateOptimizer {
        maximize,
        objective,
        variables,
        constraints: constraints.unwrap_or_default(),
        per: per.unwrap_or_default(),
        every_us: every_us.ok_or_else(|| missing("EVERY INTERVAL '1' MINUTE"))?,
        input: input.ok_or_else(|| missing("FROM relation"))?,
        options: with.unwrap_or_else(|| no_options(&name)),
        name,
        span,
    })
}

/// `name WITH (...) (columns) KEY (...) RATE ... TTL ... INTERLOCK (...) FAILSAFE (...)`.
pub(super) fn actuator(
    mut tokens: Tokens<'_>,
    name: Name,
    context: &mut Context<'_>,
) -> Result<CreateActuator> {
    let span = tokens.span();
    let (mut with, mut columns, mut key, mut rate) = (None, None, None, None);
    let (mut time_to_live_us, mut interlock, mut failsafe) = (None, None, None);
    while !tokens.is_done() {
        let here = tokens.here();
        let (clause, twice) = if tokens.is(&["WITH"]) {
            ("WITH", with.replace(options(&mut tokens, &name, context)?).is_some())
        } else if tokens.peek() == Some(&Token::LParen) {
            ("columns", columns.replace(bounded_columns(&mut tokens, context)?).is_some())
        } else if tokens.eat(&["KEY"]) {
            ("KEY", key.replace(tokens.names("the name of a column")?).is_some())
        } else if tokens.is(&["RATE"]) {
            ("RATE", rate.replace(self::rate(&mut tokens)?).is_some())
        } else if tokens.eat(&["TTL"]) {
            ("TTL", time_to_live_us.replace(tokens.interval(Least::AboveZero)?).is_some())
        } else if tokens.eat(&["INTERLOCK"]) {
            ("INTERLOCK", interlock.replace(select_without_emit(tokens.parenthesised()?)?).is_some())
        } else if tokens.eat(&["FAILSAFE"]) {
            ("FAILSAFE", failsafe.replace(tokens.parenthesised()?.list(assignment)?).is_some())
        } else {
            return Err(tokens.unexpected("WITH, \"(\", KEY, RATE, TTL, INTERLOCK or FAILSAFE"));
        };
        context.once(clause, twice, here);
    }
    let columns: Vec<BoundedColumn> = columns
        .ok_or_else(|| missing_clause("actuator", &name, "(column TYPE BETWEEN low AND high, ...)"))?;
    columns.iter().for_each(|column| check_name(&column.column.name, context));
    let named = key.unwrap_or_default();
    check_twice(&named, context);
    let failsafe = failsafe.unwrap_or_default();
    check_twice(&failsafe.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), context);
    let plain: Vec<SourceColumn> = columns.iter().map(|bounded| bounded.column.clone()).collect();
    let options = with.unwrap_or_else(|| no_options(&name));
    let key = match named.is_empty() {
        true => addressed(&options, &columns),
        false => find_columns(&named, &plain, context),
    };
    let failsafe = failsafe.into_iter().filter_map(|(name, value)| {
        let column = find_column(&name, &plain, context)?;
        if key.contains(&column) {
            let message = format!("column {:?} is the key: it is no value to command", name.value);
            context.errors.push(QueryError::invalid(message, name.span));
            return None;
        }
        check_failsafe(&columns[column], &value, context);
        Some(Failsafe { column, value })
    });
    let failsafe: Vec<Failsafe> = failsafe.collect();
    check_address(&options, &columns, &key, &failsafe, context);
    Ok(CreateActuator { options, key, rate, time_to_live_us, interlock, failsafe, columns, name, span })
}

/// True where the next clause of an optimizer begins.
fn starts_clause(tokens: &Tokens<'_>) -> bool {
    // `f(x) OVER (PARTITION BY ...)` and `a IS DISTINCT FROM b` are expressions.
    let opens = tokens.nth(1) == Some(&Token::LParen);
    let is_window = matches!(tokens.nth(2), Some(Token::Word(word))
        if ["PARTITION", "ORDER"].iter().any(|name| word.value.eq_ignore_ascii_case(name)));
    let after_distinct = matches!(tokens.previous(), Some(Token::Word(word))
        if word.value.eq_ignore_ascii_case("DISTINCT"));
    tokens.is(&["SUBJECT", "TO"])
        || tokens.is(&["PER"])
        || tokens.is(&["EVERY", "INTERVAL"])
        || tokens.is(&["OVER"]) && opens && !is_window
        || tokens.is(&["WITH"]) && opens
        || tokens.is(&["FROM"]) && !after_distinct
}

fn whole_expression(tokens: &mut Tokens<'_>) -> Result<ExpressionText> {
    let expression = tokens.expression()?;
    tokens.expect_end()?;
    Ok(expression)
}

/// `a >= 1, b < 2 AND c`: each comma and each `AND` begins a condition of its own.
fn conditions(tokens: Tokens<'_>) -> Result<Vec<ExpressionText>> {
    let (file, span) = (tokens.file(), tokens.span());
    let conditions = tokens.list(Tokens::expression)?;
    let mut flat = Vec::new();
    for condition in conditions {
        split_and(condition, StatementText { file, span }, &mut flat);
    }
    Ok(flat)
}

fn split_and(condition: ExpressionText, statement: StatementText<'_>, flat: &mut Vec<ExpressionText>) {
    match condition.expression {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            for part in [left, right] {
                let span = statement.span_of(part.span()).unwrap_or(condition.span);
                let text = part.to_string();
                split_and(ExpressionText { expression: *part, text, span }, statement, flat);
            }
        }
        _ => flat.push(condition),
    }
}

/// `a, b` or `(a, b)`.
fn per_columns(tokens: &mut Tokens<'_>) -> Result<Vec<Name>> {
    if tokens.peek() == Some(&Token::LParen) {
        return tokens.names("the name of a column");
    }
    let mut columns = vec![tokens.name("the name of a column")?];
    while tokens.eat_symbol(&Token::Comma) {
        columns.push(tokens.name("the name of a column")?);
    }
    Ok(columns)
}

/// `(name TYPE [BETWEEN low AND high [MAX STEP step]], ...)`.
fn bounded_columns(tokens: &mut Tokens<'_>, context: &mut Context<'_>) -> Result<Vec<BoundedColumn>> {
    let columns = tokens.parenthesised()?.list(|tokens| bounded_column(tokens, context))?;
    let columns: Vec<BoundedColumn> = columns.into_iter().flatten().collect();
    for (at, bounded) in columns.iter().enumerate() {
        let name = &bounded.column.name;
        if let Some(first) = columns[..at].iter().find(|other| other.column.name.value == name.value) {
            context.duplicate(NameKind::Column, name, first.column.name.span);
        }
    }
    Ok(columns)
}

fn bounded_column(tokens: &mut Tokens<'_>, context: &mut Context<'_>) -> Result<Option<BoundedColumn>> {
    let column = column(tokens, context)?;
    let mark = tokens.mark();
    let range = match tokens.eat(&["BETWEEN"]) {
        true => Some(range(tokens, mark, context)?),
        false => None,
    };
    let Some(mut column) = column else { return Ok(None) };
    if let Some(range) = range
        && !column.data_type.is_numeric()
    {
        context.errors.push(QueryError::TypeMismatch {
            what: format!("column {:?} with a range", column.name.value),
            expected: "a number".into(),
            found: column.data_type.to_string(),
            span: Some(column.span.to(range.span)),
        });
    }
    column.nullable = !tokens.eat(&["NOT", "NULL"]);
    Ok(Some(BoundedColumn { column, range }))
}

/// What follows `BETWEEN`.
fn range(tokens: &mut Tokens<'_>, mark: usize, context: &mut Context<'_>) -> Result<Range> {
    let low = tokens.number("a number")?.value;
    tokens.expect(&["AND"])?;
    let high = tokens.number("a number")?.value;
    let max_step = match tokens.eat(&["MAX", "STEP"]) {
        true => Some(tokens.number("a number")?),
        false => None,
    };
    let span = tokens.since(mark);
    if low > high {
        let error = QueryError::invalid(format!("range from {low} to {high} is empty"), span);
        context.errors.push(error.with_help("the least value comes first"));
    }
    if let Some(step) = max_step.as_ref().filter(|step| step.value <= 0.0) {
        let message = format!("largest step {} is not above zero", step.value);
        context.errors.push(QueryError::invalid(message, step.span));
    }
    Ok(Range { low, high, max_step: max_step.map(|step| step.value), span })
}

fn check_variables(variables: &[BoundedColumn], context: &mut Context<'_>) {
    for variable in variables.iter().filter(|variable| variable.range.is_none()) {
        let message = format!("variable {:?} has no range", variable.column.name.value);
        let error = QueryError::invalid(message, variable.column.span);
        context.errors.push(error.with_help("add BETWEEN low AND high"));
    }
}

/// `RATE 1 PER INTERVAL '10' SECOND`.
fn rate(tokens: &mut Tokens<'_>) -> Result<Rate> {
    let mark = tokens.mark();
    tokens.expect(&["RATE"])?;
    let commands = tokens.sql(|parser| parser.parse_literal_uint())?;
    let span = tokens.since(mark);
    if commands == 0 {
        return Err(QueryError::invalid("rate of 0 commands lets nothing pass", span)
            .with_help("leave the actuator out, or use mode = 'shadow'"));
    }
    tokens.expect(&["PER"])?;
    let per_us = tokens.interval(Least::AboveZero)?.value;
    Ok(Rate { commands, per_us, span: tokens.since(mark) })
}

/// `column = value`.
fn assignment(tokens: &mut Tokens<'_>) -> Result<(Name, ExpressionText)> {
    let name = tokens.name("the name of a column")?;
    tokens.expect_symbol(&Token::Eq)?;
    Ok((name, tokens.expression()?))
}

/// A fail-safe value outside of the range would never be sent, and one that the column cannot hold would be another one.
fn check_failsafe(bounded: &BoundedColumn, value: &ExpressionText, context: &mut Context<'_>) {
    let (name, data_type) = (&bounded.column.name.value, &bounded.column.data_type);
    let message = match (constant(&value.expression), bounded.range) {
        _ if !data_type.is_numeric() => format!("failsafe of column {name:?}, which is no number"),
        (Some(number), Some(range)) if !(range.low..=range.high).contains(&number) => {
            format!(
                "failsafe value {number} of column {name:?} is outside of {} to {}",
                range.low, range.high
            )
        }
        (Some(number), _) if !holds(data_type, number) => {
            format!("failsafe value {number} is no value of column {name:?}")
        }
        _ => return,
    };
    context.errors.push(QueryError::invalid(message, value.span));
}

/// True if a number is a value of a type; those with digits behind the point are rounded.
fn holds(data_type: &DataType, number: f64) -> bool {
    let whole = Float64Array::from(vec![number]);
    match data_type.is_integer() {
        true => number.fract() == 0.0 && cast(&whole, data_type).is_ok_and(|held| held.null_count() == 0),
        false => true,
    }
}

/// The columns in the topic of an actuator: what has another topic is another machine.
fn addressed(options: &Options, columns: &[BoundedColumn]) -> Vec<usize> {
    let topic = options.get("topic").map(|entry| entry.value.value.text()).unwrap_or_default();
    let names = topic.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let place = |name| columns.iter().position(|column| column.column.name.value == name);
    let mut places: Vec<usize> = names.filter_map(place).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Steps are counted by key: one that several machines have would let each of them make any step. And a failsafe has the key and its
/// own values alone: it would never be sent if its topic needed another column.
fn check_address(
    options: &Options,
    columns: &[BoundedColumn],
    key: &[usize],
    failsafe: &[Failsafe],
    context: &mut Context<'_>,
) {
    let Some(topic) = options.get("topic") else { return };
    let has_step = columns.iter().any(|column| column.range.is_some_and(|range| range.max_step.is_some()));
    for place in addressed(options, columns).into_iter().filter(|place| !key.contains(place)) {
        let name = &columns[place].column.name.value;
        let message = if has_step {
            format!("MAX STEP is per KEY, and column {name:?} of the topic is not in it")
        } else if !failsafe.is_empty() && failsafe.iter().all(|failsafe| failsafe.column != place) {
            format!("a failsafe has no value of {name:?} for the topic")
        } else {
            continue;
        };
        let help = format!("add {name} to KEY");
        context.errors.push(QueryError::invalid(message, topic.value.span).with_help(help));
    }
}

/// The log of an actuator, and what it sends, have these columns beside its own.
fn check_name(name: &Name, context: &mut Context<'_>) {
    if ["time", "decision", "reason", "expires_at"].contains(&name.value.as_str()) {
        let message = format!("column {:?} has the name of one that every actuator has", name.value);
        context.errors.push(QueryError::invalid(message, name.span).with_help("give it another name"));
    }
}

fn check_twice(names: &[Name], context: &mut Context<'_>) {
    for (at, name) in names.iter().enumerate() {
        if names[..at].iter().any(|first| first.value == name.value) {
            let message = format!("column {:?} appears twice", name.value);
            context.errors.push(QueryError::invalid(message, name.span));
        }
    }
}

fn constant(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(-constant(expr)?),
        _ => None,
    }
}

fn missing_clause(kind: &str, name: &Name, clause: &str) -> QueryError {
    QueryError::invalid(format!("{kind} {:?} is not complete", name.value), name.span)
        .with_help(format!("add {clause}"))
}

fn no_options(name: &Name) -> Options {
    Options { entries: Vec::new(), span: name.span }
}
