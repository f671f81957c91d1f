//! `CREATE RULES`: conditions above the answer of a model.

use datafusion::sql::sqlparser::tokenizer::Token;
use lineshaft_operators::decision::rules::MODEL;

use super::Context;
use super::query::select_all;
use super::tokens::{Result, Tokens};
use crate::error::{NameKind, QueryError};
use crate::span::Name;
use crate::statement::{CreateRules, Rule, RuleEffect};

/// `name FROM relation DECIDE column (rule, ...) [ON VETO value]`.
pub(super) fn rules(mut tokens: Tokens<'_>, name: Name, context: &mut Context<'_>) -> Result<CreateRules> {
    let span = tokens.span();
    tokens.expect(&["FROM"])?;
    let input = select_all(&mut tokens)?;
    tokens.expect(&["DECIDE"])?;
    let answer = tokens.name("the name of the column that has the answer of the model")?;
    let mut rules = tokens.parenthesised()?.list(rule)?;
    let on_veto = match tokens.eat(&["ON", "VETO"]) {
        true => Some(tokens.expression()?),
        false => None,
    };
    tokens.expect_end()?;
    check_names(&rules, context);
    // From the highest to the lowest: by priority, vetoes first, in the order of the text. They act the other way round.
    rules.sort_by(|a, b| b.priority.total_cmp(&a.priority).then(a.is_set().cmp(&b.is_set())));
    rules.reverse();
    Ok(CreateRules { name, input, answer, rules, on_veto, span })
}

/// `name WHEN condition THEN VETO [(value, ...)] | SET value [PRIORITY number]`.
fn rule(tokens: &mut Tokens<'_>) -> Result<Rule> {
    let mark = tokens.mark();
    let name = tokens.name("the name of a rule")?;
    tokens.expect(&["WHEN"])?;
    let condition = tokens.expression()?;
    tokens.expect(&["THEN"])?;
    let effect = if tokens.eat(&["SET"]) {
        RuleEffect::Set(Box::new(tokens.expression()?))
    } else if tokens.eat(&["VETO"]) {
        RuleEffect::Veto(match tokens.peek() {
            Some(Token::LParen) => tokens.parenthesised()?.list(Tokens::expression)?,
            _ => Vec::new(),
        })
    } else {
        return Err(tokens.unexpected("VETO or SET"));
    };
    let priority = match tokens.eat(&["PRIORITY"]) {
        true => tokens.number("a number")?.value,
        false => 0.0,
    };
    Ok(Rule { name, condition, effect, priority, span: tokens.since(mark) })
}

fn check_names(rules: &[Rule], context: &mut Context<'_>) {
    for (at, rule) in rules.iter().enumerate() {
        if let Some(first) = rules[..at].iter().find(|other| other.name.value == rule.name.value) {
            context.duplicate(NameKind::Rule, &rule.name, first.name.span);
        }
        if rule.name.value == MODEL {
            let message = format!("{MODEL:?} says that no rule has decided");
            let error = QueryError::invalid(message, rule.name.span);
            context.errors.push(error.with_help("give the rule another name"));
        }
    }
}
