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

/// What is written here for a form of other systems, by the word at which the parser stumbles.
fn of_others(found: &str, query: &str) -> Option<&'static str> {
    match found.trim_matches('"').to_ascii_uppercase().as_str() {
        "EXCLUDE" => {
            Some("frames have no EXCLUDE: let the frame end before the row, or take the row's own part off")
        }
        "RIGHT" | "FULL" if query.to_ascii_uppercase().contains("ASOF") => Some(
            "there are ASOF JOIN and ASOF LEFT JOIN: put the relation whose rows are all kept on the left",
        ),
        _ if query.to_ascii_uppercase().contains("DESCRIPTOR") => {
            Some("write TUMBLE(readings, ts, INTERVAL '10' SECOND), without TABLE and DESCRIPTOR")
        }
        _ => None,
    }
}

/// The error with the keyword that one of the words at its place is most like.
pub(super) fn proposed(error: QueryError, tokens: &Tokens<'_>) -> QueryError {
    let QueryError::Syntax { span, found, help: None, .. } = &error else { return error };
    if let Some(help) = of_others(found, tokens.file().slice(tokens.span())) {
        return error.with_help(help);
    }
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
