//! `FROM readings WEHRE x > 1`: the parser takes a keyword that is not quite right for a name, and stumbles over what follows. The
//! word that was probably meant is proposed.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Word};

use super::tokens::Tokens;
use crate::error::{QueryError, nearest};

/// Words that begin or join the clauses of a query.
const CLAUSES: [&str; 39] = [
    "SELECT",
    "DISTINCT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "QUALIFY",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "NATURAL",
    "ASOF",
    "MATCH_CONDITION",
    "USING",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "OVER",
    "PARTITION",
    "PRECEDING",
    "FOLLOWING",
    "FILTER",
    "EMIT",
    "EVERY",
];

/// How many words before the place of an error are looked at: the parser goes one too far at most.
const BEFORE: usize = 2;

/// The error with the keyword that one of the words at its place is most like.
pub(super) fn proposed(error: QueryError, tokens: &Tokens<'_>) -> QueryError {
    let QueryError::Syntax { span, help: None, .. } = &error else { return error };
    let meant = tokens.around(*span, BEFORE).find_map(|word| {
        let is_name = matches!(&word.token.token, Token::Word(Word { quote_style: None, keyword, .. })
            if *keyword == Keyword::NoKeyword);
        let text = tokens.file().slice(word.span);
        let is_other = |meant: &String| is_name && text.len() > 2 && !meant.eq_ignore_ascii_case(text);
        let meant = nearest(text, CLAUSES).filter(is_other)?;
        Some(format!("did you mean {meant} where {text} stands?"))
    });
    match meant {
        Some(help) => error.with_help(help),
        None => error,
    }
}
