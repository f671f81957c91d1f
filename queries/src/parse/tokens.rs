//! `Tokens`: a cursor over the tokens of one statement. Expressions, types and queries inside it are left to
//! DataFusion's parser, which gets the same tokens and so gives places in the file.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Word};

use super::interval::{Least, interval_us};
use crate::error::{QueryError, reword};
use crate::rewrite::precedence;
use crate::span::{Name, SourceFile, Span, Spanned};
use crate::statement::ExpressionText;

/// The dialect of DataFusion itself: PostgreSQL-like, and the one that knows `ASOF` joins and `MATCH_RECOGNIZE`.
pub(super) static DIALECT: GenericDialect = GenericDialect;

pub(super) type Result<T, E = QueryError> = std::result::Result<T, E>;

/// A token with its place, in lines for DataFusion's parser and in bytes for us.
#[derive(Clone, Debug)]
pub(super) struct Lexeme {
    pub(super) token: TokenWithSpan,
    pub(super) span: Span,
}

/// The rest of a statement, or of a clause of it. Never holds white space or comments.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    file: &'a SourceFile,
    lexemes: &'a [Lexeme],
    at: usize,
    /// Where the statement or clause ends: "found end of statement" points here.
    end: Span,
    /// What ends there.
    end_name: String,
}

impl<'a> Tokens<'a> {
    /// All tokens of a statement; there is at least one.
    pub(super) fn of_statement(file: &'a SourceFile, lexemes: &'a [Lexeme]) -> Self {
        let last = lexemes[lexemes.len() - 1].span;
        Self {
            file,
            lexemes,
            at: 0,
            end: Span { start: last.end, ..last },
            end_name: "end of statement".into(),
        }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.lexemes.get(self.at).map(|lexeme| &lexeme.token.token)
    }

    pub(super) fn next(&mut self) -> Option<&'a Lexeme> {
        let lexeme = self.lexemes.get(self.at)?;
        self.at += 1;
        Some(lexeme)
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.lexemes.len()
    }

    /// The place of the next token, or the end.
    pub(super) fn here(&self) -> Span {
        self.lexemes.get(self.at).map_or(self.end, |lexeme| lexeme.span)
    }

    /// How far the cursor is, for [`Tokens::since`].
    pub(super) fn mark(&self) -> usize {
        self.at
    }

    /// The place of everything that was taken since `mark`.
    pub(super) fn since(&self, mark: usize) -> Span {
        match self.lexemes.get(mark..self.at) {
            Some([first, .., last]) => first.span.to(last.span),
            Some([only]) => only.span,
            _ => self.here(),
        }
    }

    /// The tokens that were taken since `mark`.
    pub(super) fn taken(&self, mark: usize) -> &'a [Lexeme] {
        &self.lexemes[mark..self.at]
    }

    /// The place of all tokens, taken or not.
    pub(super) fn span(&self) -> Span {
        match self.lexemes {
            [first, .., last] => first.span.to(last.span),
            [only] => only.span,
            [] => self.end,
        }
    }

    pub(super) fn file(&self) -> &'a SourceFile {
        self.file
    }

    /// True if the next tokens are these words, unquoted, in any case.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.nth_is_word(n, word))
    }

    fn nth_is_word(&self, n: usize, word: &str) -> bool {
        matches!(self.nth(n), Some(Token::Word(Word { value, quote_style: None, .. }))
            if value.eq_ignore_ascii_case(word))
    }

    pub(super) fn nth(&self, n: usize) -> Option<&'a Token> {
        self.lexemes.get(self.at + n).map(|lexeme| &lexeme.token.token)
    }

    /// The token before the cursor.
    pub(super) fn previous(&self) -> Option<&'a Token> {
        Some(&self.lexemes.get(self.at.checked_sub(1)?)?.token.token)
    }

    /// Takes these words if they come next.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.is(words);
        if found {
            self.at += words.len();
        }
        found
    }

    pub(super) fn eat_symbol(&mut self, symbol: &Token) -> bool {
        let found = self.peek() == Some(symbol);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.eat(&[word]) {
                return Err(self.unexpected(word));
            }
        }
        Ok(())
    }

    pub(super) fn expect_symbol(&mut self, symbol: &Token) -> Result<()> {
        if self.eat_symbol(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("\"{symbol}\"")))
    }

    /// Nothing may follow.
    pub(super) fn expect_end(&self) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        let error = self.unexpected(&self.end_name);
        // `FROM t CREATE VIEW`: DataFusion's parser took CREATE for another name of `t`.
        let after_create =
            matches!(self.previous(), Some(Token::Word(word)) if word.keyword == Keyword::CREATE);
        Err(if after_create || self.is(&["CREATE"]) || self.is(&["INSERT", "INTO"]) {
            error.with_help("end the statement before it with \";\"")
        } else {
            error
        })
    }

    /// The next token is not what may stand here.
    pub(super) fn unexpected(&self, expected: &str) -> QueryError {
        QueryError::Syntax {
            expected: expected.to_owned(),
            found: self.found(self.at),
            span: self.here(),
            help: None,
        }
    }

    fn found(&self, at: usize) -> String {
        match self.lexemes.get(at) {
            Some(lexeme) => match &lexeme.token.token {
                // A string has its quotes already, and may be long.
                Token::SingleQuotedString(_) => "a string".into(),
                _ => format!("\"{}\"", self.file.slice(lexeme.span)),
            },
            None => self.end_name.clone(),
        }
    }

    /// The token at a place, or the last one before it, up to `before` tokens before that, and the one after it, in this order.
    pub(super) fn around(&self, place: Span, before: usize) -> impl Iterator<Item = &'a Lexeme> {
        let end = self.lexemes.partition_point(|lexeme| lexeme.span.start <= place.start);
        self.lexemes[end.saturating_sub(before + 1)..end].iter().rev().chain(self.lexemes.get(end))
    }

    /// A name: quoted, as it is; unquoted, in lower case.
    pub(super) fn name(&mut self, what: &str) -> Result<Name> {
        let span = self.here();
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(Name::new(fold(word), span))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// A signed number.
    pub(super) fn number(&mut self, what: &str) -> Result<Spanned<f64>> {
        let start = self.at;
        let negative = self.eat_symbol(&Token::Minus);
        if let Some(Token::Number(digits, _)) = self.peek()
            && let Ok(value) = digits.parse::<f64>()
            && value.is_finite()
        {
            self.at += 1;
            let value = if negative { -value } else { value };
            return Ok(Spanned::new(value, self.since(start)));
        }
        Err(self.unexpected(what))
    }

    /// `INTERVAL '5' SECOND`, in microseconds.
    pub(super) fn interval(&mut self, least: Least) -> Result<Spanned<i64>> {
        let start = self.at;
        self.expect(&["INTERVAL"])?;
        let interval = self.sql(|parser| parser.parse_interval())?;
        let span = self.since(start);
        let micros = interval_us(&interval, least).map_err(|error| error.or_at(Some(span)))?;
        Ok(Spanned::new(micros, span))
    }

    /// An expression of SQL, as long as it goes.
    pub(super) fn expression(&mut self) -> Result<ExpressionText> {
        let start = self.at;
        let mut expression = self.sql(|parser| parser.parse_expr())?;
        precedence::correct(&mut expression);
        let span = self.since(start);
        Ok(ExpressionText { expression, text: self.file.slice(span).to_owned(), span })
    }

    /// The inside of `( ... )`.
    pub(super) fn parenthesised(&mut self) -> Result<Tokens<'a>> {
        let open = self.here();
        self.expect_symbol(&Token::LParen)?;
        let inside = self.until(|_| false);
        if self.peek() != Some(&Token::RParen) {
            return Err(QueryError::invalid("\"(\" is never closed", open));
        }
        let end = self.here();
        self.at += 1;
        Ok(Tokens { end, ..inside })
    }

    /// Takes everything up to a place outside of parentheses where `stop` holds, or to the parenthesis that closes
    /// one before the cursor.
    pub(super) fn until(&mut self, stop: impl Fn(&Self) -> bool) -> Tokens<'a> {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => break,
                Token::RParen => depth -= 1,
                _ if depth == 0 && stop(self) => break,
                _ => {}
            }
            self.at += 1;
        }
        Tokens {
            lexemes: &self.lexemes[start..self.at],
            at: 0,
            end: self.here(),
            end_name: self.found(self.at),
            file: self.file,
        }
    }

    /// `item, item, ...` up to the end.
    pub(super) fn list<T>(mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(&mut self)?];
        while self.eat_symbol(&Token::Comma) {
            items.push(item(&mut self)?);
        }
        if !self.is_done() {
            return Err(self.unexpected(&format!("\",\" or {}", self.end_name)));
        }
        Ok(items)
    }

    /// `(a, b)`.
    pub(super) fn names(&mut self, what: &str) -> Result<Vec<Name>> {
        self.parenthesised()?.list(|tokens| tokens.name(what))
    }

    /// Lets DataFusion's parser take what it needs.
    pub(super) fn sql<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let rest = self.lexemes[self.at..].iter().map(|lexeme| lexeme.token.clone());
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(rest.collect());
        let result = parse(&mut parser);
        // At the end it counts the end as a token, too.
        let reached = (self.at + parser.index()).min(self.lexemes.len());
        match result {
            Ok(value) => {
                self.at = reached;
                Ok(value)
            }
            Err(error) => Err(self.sql_error(error, reached)),
        }
    }

    /// DataFusion's parser says the place in the message only: "Expected: x, found: y at Line: 1, Column: 2".
    fn sql_error(&self, error: ParserError, reached: usize) -> QueryError {
        let message = match error {
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
            ParserError::RecursionLimitExceeded => {
                return QueryError::invalid("the expression is nested too deeply", self.here())
                    .with_help("compute parts of it in a view of their own");
            }
        };
        let (message, location) = split_location(&message);
        let at = match location {
            Some(location) => self.lexemes.iter().position(|lexeme| lexeme.token.span.start == location),
            None if message.ends_with("found: EOF") => Some(self.lexemes.len()),
            None => Some(reached.saturating_sub(1)),
        };
        let at = at.unwrap_or(reached);
        let span = self.lexemes.get(at).map_or(self.end, |lexeme| lexeme.span);
        let message = message.trim_start_matches("sql parser error: ");
        match message.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: ")) {
            Some((expected, _)) => QueryError::Syntax {
                expected: quote_symbol(expected),
                found: self.found(at),
                span,
                help: None,
            },
            None => QueryError::invalid(reword(message), span),
        }
    }
}

/// The rule of PostgreSQL and DataFusion.
fn fold(word: &Word) -> String {
    match word.quote_style {
        Some(_) => word.value.clone(),
        None => word.value.to_ascii_lowercase(),
    }
}

fn split_location(message: &str) -> (&str, Option<Location>) {
    let parts = || {
        let (message, place) = message.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location::new(line.parse().ok()?, column.trim().parse().ok()?)))
    };
    match parts() {
        Some((message, location)) => (message, Some(location)),
        None => (message, None),
    }
}

fn quote_symbol(expected: &str) -> String {
    if expected.chars().any(char::is_alphanumeric) { expected.to_owned() } else { format!("\"{expected}\"") }
}
