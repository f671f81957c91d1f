//! Query files to statements: all statements that are right, and all errors of those that are not.
//!
//! ```text
//! text -> lex.rs: tokens of the whole file, cut at ";" -> one file per kind of statement -> Statement
//!                                                          expressions and queries: DataFusion's parser
//! ```
//!
//! An error ends its statement; the next one begins behind the next `;`. Names are not resolved here, except those
//! that a statement itself declares.

mod as_of;
mod decision;
mod interval;
mod keywords;
mod lex;
mod options;
mod query;
mod refused;
mod rules;
mod source;
mod tokens;
mod types;

use crate::error::{NameKind, QueryError};
use crate::span::{Name, SourceFile, Span};
use crate::statement::{Broken, SelectQuery, Statement};
use tokens::{Result, Tokens};

pub use interval::{Least, interval_us};
pub use lex::statements_of;
pub use options::{Environment, ProcessEnvironment};

/// Reads the files of a program, with the environment of the process in options.
pub fn parse(files: &[SourceFile]) -> (Vec<Statement>, Vec<QueryError>) {
    parse_with(files, &ProcessEnvironment)
}

/// Reads the files of a program.
///
/// Statements come in the order of the files. One that has errors comes as [`Statement::Broken`], if it got as far as
/// its name.
pub fn parse_with(files: &[SourceFile], environment: &dyn Environment) -> (Vec<Statement>, Vec<QueryError>) {
    let mut context = Context { environment, errors: Vec::new(), unknown_columns: Vec::new(), name: None };
    let mut statements = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let lexed = lex::statements(file, index);
        context.errors.extend(lexed.errors);
        for lexemes in &lexed.statements {
            statements.extend(one(Tokens::of_statement(file, lexemes), &mut context));
        }
    }
    check_names(&statements, &mut context);
    (statements, context.errors)
}

/// Reads a file that holds one query and nothing else.
///
/// # Errors
/// If it does not.
pub fn parse_select(file: &SourceFile) -> Result<SelectQuery, Vec<QueryError>> {
    let lexed = lex::statements(file, 0);
    if !lexed.errors.is_empty() {
        return Err(lexed.errors);
    }
    let whole = Span { file: 0, start: 0, end: file.text().len() };
    match lexed.statements.as_slice() {
        [lexemes] => {
            query::select_without_emit(Tokens::of_statement(file, lexemes)).map_err(|error| vec![error])
        }
        [] => Err(vec![QueryError::invalid("there is no query", whole)]),
        [_, second, ..] => Err(vec![QueryError::invalid("there is more than one query", second[0].span)]),
    }
}

/// What the statements share while they are read.
struct Context<'a> {
    environment: &'a dyn Environment,
    errors: Vec<QueryError>,
    /// Columns of this statement whose type is wrong: using them is no further error.
    unknown_columns: Vec<String>,
    /// The name of this statement, once it is read.
    name: Option<Name>,
}

impl Context<'_> {
    fn duplicate(&mut self, kind: NameKind, name: &Name, first: Span) {
        self.errors.push(QueryError::DuplicateName {
            kind,
            name: name.value.clone(),
            span: name.span,
            first: Some(first),
        });
    }

    /// Reports a clause that has been there before.
    fn once(&mut self, clause: &str, twice: bool, span: Span) {
        if twice {
            self.errors.push(QueryError::invalid(format!("{clause} appears twice"), span));
        }
    }
}

fn one(tokens: Tokens<'_>, context: &mut Context<'_>) -> Option<Statement> {
    let errors_before = context.errors.len();
    context.unknown_columns.clear();
    context.name = None;
    match statement(tokens, context) {
        Ok(statement) if context.errors.len() == errors_before => Some(statement),
        Ok(statement) => {
            let name = statement.name().clone();
            Some(Statement::Broken(Broken { name, statement: Some(Box::new(statement)) }))
        }
        Err(error) => {
            context.errors.push(error);
            context.name.take().map(|name| Statement::Broken(Broken { name, statement: None }))
        }
    }
}

fn statement(mut tokens: Tokens<'_>, context: &mut Context<'_>) -> Result<Statement> {
    if tokens.is(&["INSERT", "INTO"]) {
        return query::insert(tokens).map(Statement::InsertInto);
    }
    if tokens.is(&["ALTER", "MODEL"]) {
        return query::alter(tokens, context).map(Statement::AlterModel);
    }
    if !tokens.is(&["CREATE"]) {
        return Err(no_statement(&tokens));
    }
    tokens.next();
    refuse(&mut tokens, &["OR", "REPLACE"])?;
    let materialized = tokens.eat(&["MATERIALIZED"]);
    let kinds: &[&'static str] = match materialized {
        true => &["VIEW"],
        false => &["SOURCE", "TABLE", "VIEW", "MODEL", "RULES", "OPTIMIZER", "ACTUATOR", "SINK"],
    };
    let Some(kind) = kinds.iter().find(|kind| tokens.eat(&[kind])) else {
        return Err(tokens.unexpected(&one_of(kinds)));
    };
    refuse(&mut tokens, &["IF", "NOT", "EXISTS"])?;
    let name = tokens.name("a name")?;
    context.name = Some(name.clone());
    Ok(match *kind {
        "SOURCE" => Statement::CreateSource(source::source(tokens, name, context)?),
        "TABLE" => Statement::CreateTable(source::source(tokens, name, context)?),
        "VIEW" => Statement::CreateView(query::view(tokens, name, materialized)?),
        "MODEL" => Statement::CreateModel(query::model(tokens, name, context)?),
        "RULES" => Statement::CreateRules(rules::rules(tokens, name, context)?),
        "OPTIMIZER" => Statement::CreateOptimizer(decision::optimizer(tokens, name, context)?),
        "ACTUATOR" => Statement::CreateActuator(decision::actuator(tokens, name, context)?),
        _ => Statement::CreateSink(query::sink(tokens, name, context)?),
    })
}

/// Clauses for programs that grow by one statement after the other; ours are read as a whole.
fn refuse(tokens: &mut Tokens<'_>, words: &[&str]) -> Result<()> {
    let mark = tokens.mark();
    if tokens.eat(words) {
        let error = QueryError::not_supported(words.join(" "), tokens.since(mark));
        return Err(
            error.with_help("leave it out: a program is read as a whole, so each name is declared once")
        );
    }
    Ok(())
}

fn no_statement(tokens: &Tokens<'_>) -> QueryError {
    let begins = |words: &[&str]| words.iter().any(|word| tokens.is(&[word]));
    let error = tokens.unexpected("CREATE or INSERT INTO");
    if begins(&["SELECT", "WITH", "VALUES"]) || tokens.is(&["FROM"]) {
        return error
            .with_help("name the query: CREATE VIEW name AS SELECT ...; or run it with \"lineshaft query\"");
    }
    if begins(&["DROP", "ALTER", "DELETE", "UPDATE", "TRUNCATE", "MERGE"]) {
        return error
            .with_help("a program is read as a whole: change or remove the statement that declares it");
    }
    if begins(&["INSERT"]) {
        return error.with_help("commands are written as INSERT INTO actuator SELECT ...");
    }
    if begins(&["EXPLAIN"]) {
        return error.with_help("run \"lineshaft explain\" with the file");
    }
    if begins(&["SET", "BEGIN", "COMMIT", "USE", "SHOW", "COPY"]) {
        return error
            .with_help("settings are options: WITH (name = 'value') in the statement they are about");
    }
    error
}

fn one_of(words: &[&str]) -> String {
    match words {
        [init @ .., last] if !init.is_empty() => format!("{} or {last}", init.join(", ")),
        _ => words.concat(),
    }
}

/// Sources, tables, views, rules, optimizers and actuators are selected from, so they share one set of names; sinks and
/// models have their own.
fn check_names(statements: &[Statement], context: &mut Context<'_>) {
    let kind = |statement: &Statement| match statement {
        Statement::CreateSource(_)
        | Statement::CreateTable(_)
        | Statement::CreateView(_)
        | Statement::CreateRules(_)
        | Statement::CreateOptimizer(_)
        | Statement::CreateActuator(_) => Some(NameKind::Relation),
        Statement::CreateModel(_) => Some(NameKind::Model),
        Statement::CreateSink(_) => Some(NameKind::Sink),
        Statement::AlterModel(_) | Statement::InsertInto(_) | Statement::Broken(_) => None,
    };
    for (at, statement) in statements.iter().enumerate() {
        let Some(of) = kind(statement) else { continue };
        let name = statement.name();
        let same = |other: &&Statement| kind(other) == Some(of) && other.name().value == name.value;
        if let Some(first) = statements[..at].iter().find(same) {
            context.duplicate(of, name, first.name().span);
        }
    }
}

#[cfg(test)]
mod tests;
