//! Further mistakes of a query. Planning ends at the first clause with a wrong name; what is behind it is looked at as if the
//! name that is nearest stood there, or a NULL.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, Value, VisitMut, VisitorMut,
};

use super::{Binder, REPORTED};
use crate::error::{NameKind, QueryError, from_datafusion};
use crate::span::{Span, StatementText};
use crate::statement::SelectQuery;

/// How often a query is looked at again.
const MOST: usize = 20;

impl Binder<'_> {
    /// Reports why a query cannot be planned, and the other names in it that nothing has.
    pub(super) fn report_query(&self, query: &SelectQuery, error: DataFusionError) {
        let statement = StatementText::new(self.files, query.span);
        let is_reported =
            |error: &QueryError| matches!(error, QueryError::Invalid { message, .. } if message == REPORTED);
        let mut errors = from_datafusion(error, &statement);
        let mut last: Vec<WrongName> = errors.iter().filter_map(WrongName::of).collect();
        let mut repaired = query.query.clone();
        for _ in 0..MOST {
            if !repair(&mut repaired, &last, &statement) {
                break;
            }
            let Err(error) = self.logical(&repaired) else { break };
            // Others may come from the repair.
            let further = from_datafusion(error, &statement).into_iter();
            let further: Vec<QueryError> =
                further.filter(|error| is_name(error) && !errors.contains(error)).collect();
            last = further.iter().filter_map(WrongName::of).collect();
            errors.extend(further);
        }
        errors.retain(|error| !is_reported(error));
        self.errors.borrow_mut().extend(errors);
    }
}

fn is_name(error: &QueryError) -> bool {
    matches!(error, QueryError::UnknownName { .. })
}

/// A column or function that is not there.
struct WrongName {
    span: Span,
    nearest: Option<Ident>,
}

impl WrongName {
    /// Without a relation nothing is known of its columns, so that is left as it is.
    fn of(error: &QueryError) -> Option<Self> {
        match error {
            QueryError::UnknownName {
                kind: NameKind::Column | NameKind::Function,
                nearest,
                span: Some(span),
                ..
            } => {
                let last = |name: &String| name.rsplit('.').next().unwrap_or(name).to_owned();
                let nearest = nearest.as_ref().map(|name| Ident::with_quote('"', last(name)));
                Some(Self { span: *span, nearest })
            }
            _ => None,
        }
    }
}

/// Puts something in the place of wrong names; false if none of them was found.
fn repair(query: &mut Query, wrong: &[WrongName], statement: &StatementText<'_>) -> bool {
    let mut repairer = Repairer { wrong, statement, is_found: false };
    let ControlFlow::Continue(()) = query.visit(&mut repairer);
    repairer.is_found
}

struct Repairer<'a> {
    wrong: &'a [WrongName],
    statement: &'a StatementText<'a>,
    is_found: bool,
}

impl<'a> Repairer<'a> {
    fn wrong(&self, name: &Ident) -> Option<&'a WrongName> {
        let span = self.statement.span_of(name.span)?;
        self.wrong.iter().find(|wrong| wrong.span == span)
    }

    /// What stands in the place of an expression that is or calls a wrong name.
    fn instead(&self, expr: &Expr) -> Option<Expr> {
        let nothing = || Expr::Value(Value::Null.into());
        match expr {
            Expr::Identifier(name) => {
                Some(self.wrong(name)?.nearest.clone().map_or_else(nothing, Expr::Identifier))
            }
            Expr::CompoundIdentifier(names) => {
                let (last, owners) = names.split_last()?;
                let Some(nearest) = self.wrong(last)?.nearest.clone() else { return Some(nothing()) };
                let names = owners.iter().cloned().chain([nearest]);
                Some(Expr::CompoundIdentifier(names.collect()))
            }
            Expr::Function(function) => {
                let ObjectNamePart::Identifier(name) = function.name.0.last()? else { return None };
                let Some(nearest) = self.wrong(name)?.nearest.clone() else { return Some(nothing()) };
                let name = ObjectName::from(nearest);
                Some(Expr::Function(Function { name, ..function.clone() }))
            }
            _ => None,
        }
    }
}

impl VisitorMut for Repairer<'_> {
    type Break = Infallible;

    /// What is selected keeps the name by which others mean it.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let name = match &*expr {
                Expr::Identifier(name) => name.clone(),
                Expr::CompoundIdentifier(names) => match names.last() {
                    Some(name) => name.clone(),
                    None => continue,
                },
                _ => continue,
            };
            if let Some(instead) = self.instead(expr) {
                self.is_found = true;
                *item = SelectItem::ExprWithAlias { expr: instead, alias: name };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Some(instead) = self.instead(expr) {
            self.is_found = true;
            *expr = instead;
        }
        ControlFlow::Continue(())
    }
}
