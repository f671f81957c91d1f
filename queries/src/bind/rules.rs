//! `CREATE RULES`: a view of what rules make of the answers of a model.
//!
//! Each rule is planned alone first, so that what is wrong with it is told at its place; then all of them become calls in
//! one query: `SELECT *, decision, decided_by, fired FROM relation`.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    SelectItem, SetExpr, Value, WildcardAdditionalOptions,
};

use super::{Binder, Bound};
use crate::error::{NameKind, QueryError};
use crate::functions::rules::{FORMS, VETO};
use crate::program::arrow_schema;
use crate::span::Span;
use crate::statement::{CreateRules, CreateView, ExpressionText, Rule, RuleEffect, SelectQuery};

impl Binder<'_> {
    pub(super) fn bind_rules(&self, rules: &CreateRules) -> Option<Bound> {
        let (_, view) = self.plan(&rules.input)?;
        let schema = arrow_schema(&view.plan);
        let answer = self.answer_type(rules, &schema)?;
        let mut is_whole = true;
        for rule in &rules.rules {
            is_whole &= self.check_rule(rules, rule, &answer).is_some();
        }
        if let Some(on_veto) = &rules.on_veto {
            let what = "the value of ON VETO";
            is_whole &= self.check_types(rules, &[(on_veto, &answer, what)], on_veto.span).is_some();
        }
        if !is_whole {
            return None;
        }
        let on_veto = match (&rules.on_veto, &answer) {
            (Some(value), _) => value.expression.clone(),
            (None, DataType::Boolean) => Expr::Value(Value::Boolean(false).into()),
            (None, _) => Expr::Value(Value::Null.into()),
        };
        let arguments = arguments(rules, on_veto);
        let mut items = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
        items.extend(FORMS.iter().map(|form| SelectItem::ExprWithAlias {
            expr: call(form.function, arguments.clone()),
            alias: quoted(form.column),
        }));
        let query = selecting(&rules.input, items, rules.span);
        let view = CreateView {
            name: rules.name.clone(),
            columns: Vec::new(),
            materialized: false,
            query,
            span: rules.span,
        };
        self.bind_view(&view)
    }

    /// The type of the column that the rules are about; the columns that come to it must not be there yet.
    fn answer_type(&self, rules: &CreateRules, schema: &SchemaRef) -> Option<DataType> {
        for form in FORMS.iter().filter(|form| schema.field_with_name(form.column).is_ok()) {
            let message = format!("the rows already have a column {:?}, which the rules give", form.column);
            let error = QueryError::invalid(message, rules.input.span);
            self.errors.borrow_mut().push(error.with_help("select it under another name first"));
        }
        if let Ok(field) = schema.field_with_name(&rules.answer.value) {
            return Some(field.data_type().clone());
        }
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        let error =
            QueryError::unknown(NameKind::Column, &rules.answer.value, Some(rules.answer.span), columns);
        self.errors.borrow_mut().push(error);
        None
    }

    /// A condition is true or not, and a value is one that the answer may have.
    fn check_rule(&self, rules: &CreateRules, rule: &Rule, answer: &DataType) -> Option<()> {
        let (condition, value) = (
            format!("the condition of rule {:?}", rule.name.value),
            format!("the value of rule {:?}", rule.name.value),
        );
        let mut wanted = vec![(&rule.condition, &DataType::Boolean, condition.as_str())];
        let values = match &rule.effect {
            RuleEffect::Set(value) => std::slice::from_ref(&**value),
            RuleEffect::Veto(values) => values,
        };
        wanted.extend(values.iter().map(|of| (of, answer, value.as_str())));
        self.check_types(rules, &wanted, rule.span)
    }

    fn check_types(
        &self,
        rules: &CreateRules,
        wanted: &[(&ExpressionText, &DataType, &str)],
        span: Span,
    ) -> Option<()> {
        let item = |(place, (text, ..)): (usize, &(&ExpressionText, &DataType, &str))| {
            SelectItem::ExprWithAlias { expr: text.expression.clone(), alias: quoted(&format!("{place}")) }
        };
        let query = selecting(&rules.input, wanted.iter().enumerate().map(item).collect(), span);
        let (raw, _) = self.plan(&query)?;
        let mut is_right = true;
        for (field, (text, wanted, what)) in raw.schema().fields().iter().zip(wanted) {
            if !fits(field.data_type(), wanted) {
                is_right = false;
                self.errors.borrow_mut().push(QueryError::TypeMismatch {
                    what: (*what).to_owned(),
                    expected: wanted.to_string(),
                    found: field.data_type().to_string(),
                    span: Some(text.span),
                });
            }
        }
        is_right.then_some(())
    }
}

/// Numbers are cast to numbers; anything else must be what is wanted.
fn fits(found: &DataType, wanted: &DataType) -> bool {
    let is_text =
        |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    found == wanted
        || *found == DataType::Null
        || found.is_numeric() && wanted.is_numeric()
        || is_text(found) && is_text(wanted)
}

/// The query of `input` with other columns.
fn selecting(input: &SelectQuery, items: Vec<SelectItem>, span: Span) -> SelectQuery {
    let mut query = input.clone();
    if let SetExpr::Select(select) = query.query.body.as_mut() {
        select.projection = items;
    }
    SelectQuery { span, ..query }
}

/// Answer, value of a veto, and for each rule its name, what it does, its condition and its values.
fn arguments(rules: &CreateRules, on_veto: Expr) -> Vec<Expr> {
    let mut arguments = vec![Expr::Identifier(quoted(&rules.answer.value)), on_veto];
    for rule in &rules.rules {
        let (kind, values) = match &rule.effect {
            RuleEffect::Set(value) => ("set".to_owned(), std::slice::from_ref(&**value)),
            RuleEffect::Veto(values) => (format!("{VETO}{}", values.len()), values.as_slice()),
        };
        arguments.extend([text(&rule.name.value), text(&kind), rule.condition.expression.clone()]);
        arguments.extend(values.iter().map(|value| value.expression.clone()));
    }
    arguments
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn call(function: &str, arguments: Vec<Expr>) -> Expr {
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    Expr::Function(Function {
        name: ObjectName::from(vec![quoted(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
