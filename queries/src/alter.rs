//! `ALTER MODEL`: which of the stored versions of a model scores.

use crate::error::{NameKind, QueryError};
use crate::parse;
use crate::program::Program;
use crate::span::{Name, SourceFile, Span};
use crate::statement::Statement;

/// `ALTER MODEL name SET VERSION n | SET SHADOW VERSION n | DROP SHADOW | ROLLBACK`.
#[derive(Clone, Debug)]
pub struct AlterModel {
    /// The model.
    pub name: Name,
    /// What is changed.
    pub change: Change,
    /// The whole statement.
    pub span: Span,
}

/// What `ALTER MODEL` changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This version scores.
    Version(u32),
    /// This version scores beside the other one, for `predict_shadow`.
    Shadow(u32),
    /// Nothing scores beside it.
    NoShadow,
    /// The version that scored before scores again.
    Rollback,
}

/// Reads a text that is one `ALTER MODEL`; `None` if it begins in another way.
///
/// # Errors
/// What is wrong with it.
pub fn parse_alter(file: &SourceFile) -> Option<Result<AlterModel, Vec<QueryError>>> {
    let mut words = file.text().split_whitespace();
    let begins = |word: Option<&str>, with: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(with));
    if !(begins(words.next(), "alter") && begins(words.next(), "model")) {
        return None;
    }
    let (statements, errors) = parse::parse(std::slice::from_ref(file));
    Some(match (<[Statement; 1]>::try_from(statements), errors.is_empty()) {
        (Ok([Statement::AlterModel(alter)]), true) => Ok(alter),
        (_, false) => Err(errors),
        _ => Err(vec![QueryError::invalid("ALTER MODEL stands alone", None)]),
    })
}

/// Those among the statements of a program.
pub(crate) fn of(statements: Vec<Statement>) -> Vec<AlterModel> {
    let alter = |statement| if let Statement::AlterModel(alter) = statement { Some(alter) } else { None };
    statements.into_iter().filter_map(alter).collect()
}

/// What is wrong with the alterations of a program.
pub(crate) fn check(program: &Program) -> Vec<QueryError> {
    let names = || program.models().iter().map(|model| model.training.name.as_str());
    let mut errors = Vec::new();
    for alter in &program.alterations {
        if !names().any(|name| name == alter.name.value) {
            errors.push(QueryError::unknown(
                NameKind::Model,
                &alter.name.value,
                Some(alter.name.span),
                names(),
            ));
        }
        if alter.change == Change::Rollback {
            let message = "ROLLBACK in a program would go back at every start";
            let help = "name the version: SET VERSION n; or run it once with \"lineshaft query\"";
            errors.push(QueryError::invalid(message, alter.span).with_help(help));
        }
    }
    errors
}
