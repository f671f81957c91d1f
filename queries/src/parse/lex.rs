//! Text to tokens, cut at `;`, with the place of each.

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::tokens::{DIALECT, Lexeme};
use crate::error::{QueryError, reword};
use crate::span::{Position, SourceFile, Span};

/// The statements of a file, as tokens without white space, comments and `;`.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) statements: Vec<Vec<Lexeme>>,
    pub(super) errors: Vec<QueryError>,
}

/// Cuts a file. Where it has no tokens (a quote that is never closed), the statement is lost and the next one begins
/// behind the next `;`.
pub(super) fn statements(file: &SourceFile, index: usize) -> Lexed {
    let mut lexed = Lexed::default();
    let mut start = 0;
    while start < file.text().len() {
        let mut tokens = Vec::new();
        let result = Tokenizer::new(&DIALECT, &file.text()[start..])
            .tokenize_with_location_into_buf_with_mapper(&mut tokens, shift_from(file, start));
        let mut complete = split(tokens, file, index);
        start = match result {
            Ok(()) => file.text().len(),
            Err(error) => {
                // The last statement lacks its end.
                complete.pop();
                let (error, resume) = recover(error, file, index, start);
                lexed.errors.push(error);
                resume
            }
        };
        lexed.statements.extend(complete.into_iter().filter(|statement| !statement.is_empty()));
    }
    lexed
}

/// The statements of a file, each in a line, with one blank between two tokens: equal for files that differ in comments and
/// white space only.
pub fn statements_of(file: &SourceFile) -> String {
    let mut text = String::with_capacity(file.text().len());
    for lexemes in statements(file, 0).statements {
        for lexeme in lexemes {
            text += file.slice(lexeme.span);
            text.push(' ');
        }
        text.push('\n');
    }
    text
}

/// Places relative to byte `start` become places in the file.
fn shift_from(file: &SourceFile, start: usize) -> impl FnMut(TokenWithSpan) -> TokenWithSpan {
    let origin = origin(file, start);
    move |mut token| {
        token.span.start = shift(token.span.start, origin);
        token.span.end = shift(token.span.end, origin);
        token
    }
}

fn origin(file: &SourceFile, start: usize) -> Location {
    let Position { line, column } = file.position(start);
    Location::new(line as u64, column as u64)
}

fn shift(location: Location, origin: Location) -> Location {
    match location.line {
        1 => Location::new(origin.line, location.column + origin.column - 1),
        line => Location::new(line + origin.line - 1, location.column),
    }
}

/// One list per `;`, and one for what follows the last.
fn split(tokens: Vec<TokenWithSpan>, file: &SourceFile, index: usize) -> Vec<Vec<Lexeme>> {
    let mut statements = vec![Vec::new()];
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => {}
            Token::SemiColon => statements.push(Vec::new()),
            _ => {
                let span = Span {
                    file: index,
                    start: offset(file, token.span.start),
                    end: offset(file, token.span.end),
                };
                if let Some(statement) = statements.last_mut() {
                    statement.push(Lexeme { token, span });
                }
            }
        }
    }
    statements
}

fn offset(file: &SourceFile, location: Location) -> usize {
    // A file has fewer lines and columns than bytes, and a usize counts those.
    let line = usize::try_from(location.line).unwrap_or(usize::MAX);
    let column = usize::try_from(location.column).unwrap_or(usize::MAX);
    file.offset(Position { line, column })
}

/// The error at its place, and where to go on.
fn recover(error: TokenizerError, file: &SourceFile, index: usize, start: usize) -> (QueryError, usize) {
    let at = offset(file, shift(error.location, origin(file, start)));
    let rest = &file.text()[at..];
    let first = rest.chars().next();
    let span = Span { file: index, start: at, end: at + first.map_or(0, char::len_utf8) };
    let error = match first {
        Some(quote @ ('\'' | '"' | '`')) => QueryError::invalid("this quote is never closed", span)
            .with_help(format!("a quote inside of a text is written twice: {quote}{quote}")),
        _ if error.message.contains("comment") => {
            QueryError::invalid("a comment is never closed", span).with_help("close it with */")
        }
        _ => QueryError::invalid(reword(&error.message), span),
    };
    let resume = rest.find(';').map_or(file.text().len(), |semicolon| at + semicolon + 1);
    (error, resume)
}
