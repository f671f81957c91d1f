//! What the parser reads and DataFusion passes over in silence: `TABLESAMPLE`, `FOR UPDATE`, `PREWHERE`, hints, a negative
//! `LIMIT`, a `JOIN` without a condition. It is refused here, so that nothing that is written goes without effect.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Join, JoinConstraint, JoinOperator, LimitClause, Query, Select, SelectItem, Spanned,
    TableFactor, UnaryOperator, Value, Visit, Visitor, WildcardAdditionalOptions,
};

use crate::error::QueryError;
use crate::span::StatementText;

/// The error about the first such clause of a query.
pub(super) fn find(query: &Query, statement: StatementText<'_>) -> Option<QueryError> {
    match query.visit(&mut Finder { statement }) {
        ControlFlow::Break(error) => Some(*error),
        ControlFlow::Continue(()) => None,
    }
}

struct Finder<'a> {
    statement: StatementText<'a>,
}

impl Finder<'_> {
    /// The first of `clauses` that is there, by the word that begins it.
    fn refuse(&self, clauses: &[(&'static str, bool)]) -> ControlFlow<Box<QueryError>> {
        let Some((clause, _)) = clauses.iter().find(|(_, is_there)| *is_there) else {
            return ControlFlow::Continue(());
        };
        let place = self.statement.find_word(clause.split(' ').next().unwrap_or(clause));
        ControlFlow::Break(Box::new(QueryError::not_supported(*clause, place.unwrap_or(self.statement.span))))
    }

    /// A `JOIN` whose condition was forgotten would be that of all rows with all rows.
    fn refuse_without_condition(&self, joins: &[Join]) -> ControlFlow<Box<QueryError>> {
        let is_without = |join: &Join| {
            let (JoinOperator::Join(on)
            | JoinOperator::Inner(on)
            | JoinOperator::Left(on)
            | JoinOperator::LeftOuter(on)
            | JoinOperator::Right(on)
            | JoinOperator::RightOuter(on)
            | JoinOperator::FullOuter(on)
            | JoinOperator::Semi(on)
            | JoinOperator::LeftSemi(on)
            | JoinOperator::Anti(on)
            | JoinOperator::LeftAnti(on)) = &join.join_operator
            else {
                return false;
            };
            *on == JoinConstraint::None
        };
        let Some(join) = joins.iter().find(|join| is_without(join)) else { return ControlFlow::Continue(()) };
        let place = self.statement.span_of(join.relation.span()).or_else(|| self.statement.find_word("JOIN"));
        let error = QueryError::invalid("JOIN without a condition", place.unwrap_or(self.statement.span))
            .with_help("add ON a.key = b.key or USING (key), or write CROSS JOIN for all rows with all rows");
        ControlFlow::Break(Box::new(error))
    }

    fn refuse_of_wildcard(&self, options: &WildcardAdditionalOptions) -> ControlFlow<Box<QueryError>> {
        self.refuse(&[
            ("ILIKE behind *", options.opt_ilike.is_some()),
            ("RENAME", options.opt_rename.is_some()),
        ])
    }
}

impl Visitor for Finder<'_> {
    type Break = Box<QueryError>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.refuse(&[
            ("FOR UPDATE and FOR SHARE", !query.locks.is_empty()),
            ("FOR XML and FOR JSON", query.for_clause.is_some()),
            ("SETTINGS", query.settings.is_some()),
            ("FORMAT", query.format_clause.is_some()),
        ])?;
        let limit = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, limit_by, .. }) => {
                self.refuse(&[("LIMIT ... BY", !limit_by.is_empty())])?;
                limit.as_ref()
            }
            Some(LimitClause::OffsetCommaLimit { limit, .. }) => Some(limit),
            None => None,
        };
        match limit {
            Some(limit) if is_negative(limit) => {
                let place = self.statement.span_of(limit.span()).unwrap_or(self.statement.span);
                let error = QueryError::invalid("LIMIT must not be negative", place);
                ControlFlow::Break(Box::new(error))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        for table in &select.from {
            self.refuse_without_condition(&table.joins)?;
        }
        for item in &select.projection {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
                self.refuse_of_wildcard(options)?;
            }
        }
        let (GroupByExpr::Expressions(_, with) | GroupByExpr::All(with)) = &select.group_by;
        if let Some(with) = with.first() {
            let place = self.statement.find_word("WITH").unwrap_or(self.statement.span);
            let error = QueryError::not_supported(format!("{with} behind GROUP BY"), place);
            return ControlFlow::Break(Box::new(
                error.with_help("write GROUP BY ROLLUP (a, b) or CUBE (a, b)"),
            ));
        }
        self.refuse(&[
            ("PREWHERE", select.prewhere.is_some()),
            ("CONNECT BY", !select.connect_by.is_empty()),
            ("DISTRIBUTE BY", !select.distribute_by.is_empty()),
            ("INTO", select.into.is_some()),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { sample, with_hints, partitions, index_hints, with_ordinality, .. } => self
                .refuse(&[
                    ("TABLESAMPLE", sample.is_some()),
                    ("WITH behind a relation", !with_hints.is_empty()),
                    ("PARTITION behind a relation", !partitions.is_empty()),
                    ("USE INDEX and the like", !index_hints.is_empty()),
                    ("WITH ORDINALITY", *with_ordinality),
                ]),
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.refuse_without_condition(&table_with_joins.joins)
            }
            TableFactor::Derived { sample, .. } => self.refuse(&[("TABLESAMPLE", sample.is_some())]),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// True for `-1`, and not for `-0`.
fn is_negative(limit: &Expr) -> bool {
    let Expr::UnaryOp { op: UnaryOperator::Minus, expr } = limit else { return false };
    match expr.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<f64>().is_ok_and(|number| number > 0.0),
            _ => false,
        },
        _ => false,
    }
}
