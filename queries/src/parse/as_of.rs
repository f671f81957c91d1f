//! Joins with an earlier row in the form that DataFusion's parser takes: `ASOF JOIN b MATCH_CONDITION (...) ON ...`.
//!
//! ```text
//! a ASOF LEFT JOIN b MATCH_CONDITION (c) ON k      ->  a ASOF JOIN b MATCH_CONDITION ("left"(c)) ON k
//! a ASOF JOIN b ON k AND c                         ->  a ASOF JOIN b MATCH_CONDITION ("in on") ON k AND c
//! a JOIN b FOR SYSTEM_TIME AS OF a.ts AS p ON k    ->  a ASOF JOIN b AS p MATCH_CONDITION ("version"(a.ts)) ON k
//! ```

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::{Lexeme, Result, Tokens};
use crate::as_of::{IN_ON, LEFT, VERSION};
use crate::error::QueryError;

/// The tokens of a query in that form; `None` if it has no such join.
pub(super) fn rewritten(mut tokens: Tokens<'_>) -> Result<Option<Vec<Lexeme>>> {
    let mut rewriter = Rewriter::default();
    let mut is_changed = false;
    while let Some(token) = tokens.peek() {
        if tokens.is(&["ASOF"]) && rewriter.as_of(&mut tokens) || rewriter.condition(&mut tokens) {
            is_changed = true;
            continue;
        }
        if tokens.is(&["FOR", "SYSTEM_TIME", "AS", "OF"]) {
            rewriter.version(&mut tokens)?;
            is_changed = true;
            continue;
        }
        match token {
            Token::LParen => rewriter.depth += 1,
            Token::RParen => rewriter.depth = rewriter.depth.saturating_sub(1),
            _ => {}
        }
        let closes = *token == Token::RParen && rewriter.closing == Some(rewriter.depth);
        rewriter.copy(&mut tokens);
        if closes {
            rewriter.closing = None;
            rewriter.write(&[Token::RParen]);
        }
    }
    Ok(is_changed.then_some(rewriter.written))
}

#[derive(Default)]
struct Rewriter {
    written: Vec<Lexeme>,
    depth: usize,
    /// Joins whose condition is still to come: their depth, and whether the left side is kept.
    open: Vec<(usize, bool)>,
    /// A parenthesis at this depth is followed by another one.
    closing: Option<usize>,
}

impl Rewriter {
    fn copy(&mut self, tokens: &mut Tokens<'_>) {
        self.written.extend(tokens.next().cloned());
    }

    /// Adds tokens at the place of the last one.
    fn write(&mut self, tokens: &[Token]) {
        let Some(last) = self.written.last() else { return };
        let (span, place) = (last.span, last.token.span);
        let new = tokens.iter().map(|token| {
            let token = TokenWithSpan { token: token.clone(), span: place };
            Lexeme { token, span }
        });
        self.written.extend(new.collect::<Vec<_>>());
    }

    /// `ASOF [INNER | LEFT [OUTER]] JOIN`.
    fn as_of(&mut self, tokens: &mut Tokens<'_>) -> bool {
        let mut rest = tokens.clone();
        rest.eat(&["ASOF"]);
        let keeps_left = rest.eat(&["LEFT", "OUTER"]) || rest.eat(&["LEFT"]);
        rest.eat(&["INNER"]);
        if !rest.eat(&["JOIN"]) {
            return false;
        }
        self.copy(tokens);
        self.write(&[Token::make_keyword("JOIN")]);
        *tokens = rest;
        self.open.push((self.depth, keeps_left));
        true
    }

    /// The condition of an open join: `MATCH_CONDITION`, or without it what stands in `ON`.
    fn condition(&mut self, tokens: &mut Tokens<'_>) -> bool {
        let Some((depth, keeps_left)) = self.open.last().copied() else { return false };
        if depth != self.depth {
            return false;
        }
        if tokens.is(&["MATCH_CONDITION"]) {
            self.open.pop();
            self.copy(tokens);
            if keeps_left {
                self.write(&[Token::LParen, mark(LEFT)]);
                self.closing = Some(self.depth);
            }
            return true;
        }
        if tokens.is(&["ON"]) || tokens.is(&["USING"]) {
            self.open.pop();
            let condition = [Token::LParen, mark(IN_ON), Token::RParen];
            self.write(&[Token::make_keyword("MATCH_CONDITION")]);
            self.write(&around(&condition, keeps_left));
            self.copy(tokens);
            return true;
        }
        false
    }

    /// `FOR SYSTEM_TIME AS OF time [[AS] alias]` behind the name of what is joined.
    fn version(&mut self, tokens: &mut Tokens<'_>) -> Result<()> {
        let place = tokens.here();
        let name = self.written.iter().rev();
        let name = name.take_while(|lexeme| match &lexeme.token.token {
            Token::Word(word) => word.quote_style.is_some() || !is_word(&lexeme.token.token, "JOIN"),
            token => *token == Token::Period,
        });
        let name = self.written.split_off(self.written.len() - name.count());
        let is_last = |written: &[Lexeme], word: &str| {
            written.last().is_some_and(|lexeme| is_word(&lexeme.token.token, word))
        };
        let outside = || {
            let error = QueryError::invalid("FOR SYSTEM_TIME AS OF belongs to a JOIN or LEFT JOIN", place);
            error.with_help("write a JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.key = b.key")
        };
        if !is_last(&self.written, "JOIN") {
            return Err(outside());
        }
        self.written.pop();
        let is_outer = is_last(&self.written, "OUTER");
        if is_outer || is_last(&self.written, "INNER") {
            self.written.pop();
        }
        let keeps_left = is_last(&self.written, "LEFT");
        if keeps_left {
            self.written.pop();
        }
        if is_outer && !keeps_left
            || ["RIGHT", "FULL", "CROSS"].iter().any(|word| is_last(&self.written, word))
        {
            return Err(outside());
        }
        self.write(&[Token::make_keyword("ASOF"), Token::make_keyword("JOIN")]);
        self.written.extend(name);
        tokens.eat(&["FOR", "SYSTEM_TIME", "AS", "OF"]);
        let mark_of_time = tokens.mark();
        tokens.sql(|parser| parser.parse_expr())?;
        let time = tokens.taken(mark_of_time);
        if tokens.is(&["AS"]) {
            self.copy(tokens);
            self.copy(tokens);
        } else if matches!(tokens.peek(), Some(Token::Word(_)))
            && !tokens.is(&["ON"])
            && !tokens.is(&["USING"])
        {
            self.copy(tokens);
        }
        self.write(&[Token::make_keyword("MATCH_CONDITION"), Token::LParen]);
        if keeps_left {
            self.write(&[mark(LEFT), Token::LParen]);
        }
        self.write(&[mark(VERSION), Token::LParen]);
        self.written.extend(time.iter().cloned());
        let closing = if keeps_left { 3 } else { 2 };
        self.write(&vec![Token::RParen; closing]);
        Ok(())
    }
}

fn mark(name: &str) -> Token {
    Token::make_word(name, Some('"'))
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// `(x)`, or `("left"(x))`.
fn around(condition: &[Token], keeps_left: bool) -> Vec<Token> {
    if !keeps_left {
        return condition.to_vec();
    }
    let (open, close) = ([Token::LParen, mark(LEFT)], [Token::RParen]);
    open.into_iter().chain(condition.to_vec()).chain(close).collect()
}
