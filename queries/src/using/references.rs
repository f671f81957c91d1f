//! Puts joins with `USING` in parentheses, and finds the columns of their sides that a query names beside the one that is made
//! of them: `b.k`, or `b.*`. Such a column gets another name in the query, which the join is told.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::JoinType;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::{merged_by, merging};
use crate::as_of::nest_join;

/// The side of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Left,
    Right,
}

const LEFT: &str = "using: left ";
const RIGHT: &str = "using: right ";

/// The side and the column that such a name stands for.
pub(super) fn hidden_in(name: &ObjectName) -> Option<(Side, String)> {
    let name = name_of(name)?;
    let of = |mark, side| {
        let (_, column) = name.strip_prefix(mark)?.split_once(' ')?;
        Some((side, column.to_owned()))
    };
    of(LEFT, Side::Left).or_else(|| of(RIGHT, Side::Right))
}

/// A name of one part, folded as names are.
pub(super) fn name_of(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(folded),
        _ => None,
    }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// Puts each join with `USING` in parentheses.
pub(crate) fn nest(query: &mut Query) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Nester);
}

struct Nester;

impl VisitorMut for Nester {
    type Break = std::convert::Infallible;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let Query { body, order_by, .. } = query;
        match body.as_mut() {
            SetExpr::Select(select) => nest_select(select, order_by),
            body => nest_in(body),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor
            && table_with_joins.joins.len() > 1
        {
            nest_joins(table_with_joins, &BTreeSet::new());
        }
        ControlFlow::Continue(())
    }
}

fn nest_in(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => nest_select(select, &mut None::<Expr>),
        SetExpr::SetOperation { left, right, .. } => {
            nest_in(left);
            nest_in(right);
        }
        // A query in parentheses is visited by itself; the others have no joins.
        _ => {}
    }
}

fn nest_select(select: &mut Select, order_by: &mut impl VisitMut) {
    let joins = joins_of(select);
    if joins.is_empty() {
        return;
    }
    let hidden = hidden_columns(&joins, select, order_by);
    for hidden in &hidden {
        let join = &mut select.from[hidden.place.0].joins[hidden.place.1];
        if let Some(JoinConstraint::Using(names)) = merged_by(join) {
            names.push(quoted(hidden.other_name()).into());
        }
    }
    rename(&hidden, select, order_by);
    let named = named_relations(select, order_by);
    select.from.iter_mut().for_each(|tables| nest_joins(tables, &named));
}

/// `named` are the relations that are named with a column: which columns a `NATURAL JOIN` with such a relation has is not known
/// here, so that it is left to DataFusion.
fn nest_joins(tables: &mut TableWithJoins, named: &BTreeSet<String>) {
    let mut left = relations(&tables.relation);
    for join in std::mem::take(&mut tables.joins) {
        let right = relations(&join.relation);
        let is_nested = merging(&join).is_some_and(|(join_type, constraint)| {
            let replaces_left = matches!(join_type, JoinType::Right | JoinType::Full);
            let is_named = |side: &[String]| side.iter().any(|relation| named.contains(relation));
            let is_natural = matches!(constraint, JoinConstraint::Natural);
            !(is_natural && (is_named(&right) || replaces_left && is_named(&left)))
        });
        left.extend(right);
        if !is_nested {
            tables.joins.push(join);
            continue;
        }
        nest_join(tables, join);
    }
}

/// A join that makes one column of two.
struct Merged {
    /// The relation in `FROM`, and the join behind it.
    place: (usize, usize),
    join_type: JoinType,
    names: Vec<String>,
    /// The relations on either side.
    left: Vec<String>,
    right: Vec<String>,
}

fn joins_of(select: &Select) -> Vec<Merged> {
    let mut found = Vec::new();
    for (relation, tables) in select.from.iter().enumerate() {
        let mut left = relations(&tables.relation);
        for (place, join) in tables.joins.iter().enumerate() {
            let right = relations(&join.relation);
            if let Some((join_type, constraint)) = merging(join) {
                let names = match constraint {
                    JoinConstraint::Using(names) => names.iter().filter_map(name_of).collect(),
                    _ => Vec::new(),
                };
                let (left, right) = (left.clone(), right.clone());
                found.push(Merged { place: (relation, place), join_type, names, left, right });
            }
            left.extend(right);
        }
    }
    found
}

/// The names by which a query knows the relations of a part of its `FROM`.
fn relations(factor: &TableFactor) -> Vec<String> {
    let (alias, name) = match factor {
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
            (alias, name.0.last().and_then(|part| part.as_ident()))
        }
        TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (alias, None),
        TableFactor::NestedJoin { table_with_joins, alias: None } => {
            let joins = table_with_joins.joins.iter().map(|join| &join.relation);
            return std::iter::once(&table_with_joins.relation).chain(joins).flat_map(relations).collect();
        }
        TableFactor::NestedJoin { alias, .. } => (alias, None),
        _ => return Vec::new(),
    };
    alias.as_ref().map(|alias| &alias.name).or(name).map(folded).into_iter().collect()
}

/// A column of a side that is named beside the one of the join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hidden {
    relation: String,
    name: String,
    side: Side,
    place: (usize, usize),
}

impl Hidden {
    /// The name under which it stays; no other column of the query has it.
    fn other_name(&self) -> String {
        let (Self { name, place: (relation, join), .. }, mark) =
            (self, if self.side == Side::Left { LEFT } else { RIGHT });
        format!("{mark}{relation}.{join} {name}")
    }

    /// The column `relation.name`, if it is not the one that a join gives anyway.
    fn of(relation: &str, name: &str, joins: &[Merged]) -> Option<Self> {
        let named = |join: &&Merged| join.names.iter().any(|known| known == name);
        let is_of = |side: &[String]| side.iter().any(|known| known == relation);
        let on_the_right = joins.iter().filter(named).find(|join| is_of(&join.right));
        let replaced = |join: &&Merged| matches!(join.join_type, JoinType::Right | JoinType::Full);
        let (side, join) = match on_the_right {
            Some(join) => (Side::Right, join),
            None => {
                let mut joins = joins.iter().filter(named).filter(replaced);
                (Side::Left, joins.find(|join| is_of(&join.left))?)
            }
        };
        Some(Self { relation: relation.to_owned(), name: name.to_owned(), side, place: join.place })
    }
}

/// The columns of all joins that are named.
fn hidden_columns(joins: &[Merged], select: &mut Select, order_by: &mut impl VisitMut) -> Vec<Hidden> {
    let mut hidden = BTreeSet::new();
    let mut columns = Columns::new(|parts: &mut Vec<Ident>| {
        if let [relation, name] = parts.as_slice() {
            hidden.extend(Hidden::of(&folded(relation), &folded(name), joins));
        }
    });
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = visit(select, order_by, &mut columns);
    for item in &select.projection {
        let Some(relation) = wildcard_of(item) else { continue };
        let names = joins.iter().flat_map(|join| &join.names);
        hidden.extend(names.filter_map(|name| {
            let hidden = Hidden::of(&relation, name, joins)?;
            let join = joins.iter().find(|join| join.place == hidden.place)?;
            // Of several relations on the left it is not known which of them has the column.
            (hidden.side == Side::Right || join.left.len() == 1).then_some(hidden)
        }));
    }
    hidden.into_iter().collect()
}

fn visit<V: VisitorMut>(
    select: &mut Select,
    order_by: &mut impl VisitMut,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    select.projection.visit(visitor)?;
    select.from.visit(visitor)?;
    select.selection.visit(visitor)?;
    select.group_by.visit(visitor)?;
    select.having.visit(visitor)?;
    select.qualify.visit(visitor)?;
    order_by.visit(visitor)
}

fn named_relations(select: &mut Select, order_by: &mut impl VisitMut) -> BTreeSet<String> {
    let mut named: BTreeSet<String> = select.projection.iter().filter_map(wildcard_of).collect();
    let mut columns = Columns::new(|parts: &mut Vec<Ident>| {
        named.insert(folded(&parts[0]));
    });
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = visit(select, order_by, &mut columns);
    named
}

/// Shows the columns that are named with their relation, but for relations of a subquery.
struct Columns<F> {
    show: F,
    /// The relations of the subqueries that are visited, from the outside inwards.
    inner: Vec<Vec<String>>,
}

impl<F: FnMut(&mut Vec<Ident>)> Columns<F> {
    fn new(show: F) -> Self {
        Self { show, inner: Vec::new() }
    }
}

impl<F: FnMut(&mut Vec<Ident>)> VisitorMut for Columns<F> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let tables = match query.body.as_ref() {
            SetExpr::Select(select) => select.from.as_slice(),
            _ => &[],
        };
        let factors = tables.iter().flat_map(|tables| {
            std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation))
        });
        self.inner.push(factors.flat_map(relations).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.inner.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::CompoundIdentifier(parts) = expr {
            let relation = folded(&parts[0]);
            if !self.inner.iter().flatten().any(|inner| *inner == relation) {
                (self.show)(parts);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Gives the columns their other names.
fn rename(hidden: &[Hidden], select: &mut Select, order_by: &mut impl VisitMut) {
    for item in &mut select.projection {
        name_result(item, hidden);
    }
    let mut columns = Columns::new(|parts: &mut Vec<Ident>| {
        if let [relation, name] = parts.as_mut_slice()
            && let Some(hidden) = found(hidden, relation, name)
        {
            *name = Ident { span: name.span, ..quoted(hidden.other_name()) };
        }
    });
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = visit(select, order_by, &mut columns);
    let projection = std::mem::take(&mut select.projection);
    select.projection = projection.into_iter().flat_map(|item| without(item, hidden)).collect();
}

fn found<'a>(hidden: &'a [Hidden], relation: &Ident, name: &Ident) -> Option<&'a Hidden> {
    let (relation, name) = (folded(relation), folded(name));
    hidden.iter().find(|hidden| hidden.relation == relation && hidden.name == name)
}

/// `b.k` stays the column `k` of the result.
fn name_result(item: &mut SelectItem, hidden: &[Hidden]) {
    if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item
        && let [relation, name] = parts.as_slice()
        && found(hidden, relation, name).is_some()
    {
        let (expr, alias) = (Expr::CompoundIdentifier(parts.clone()), name.clone());
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

/// The relation of `relation.*`.
fn wildcard_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => name_of(name),
        _ => None,
    }
}

/// `*` without the columns that have other names; `relation.*` with them under their own.
fn without(mut item: SelectItem, hidden: &[Hidden]) -> Vec<SelectItem> {
    let mut items = Vec::new();
    let relation = wildcard_of(&item);
    match (&mut item, relation) {
        (SelectItem::Wildcard(options), _) => {
            exclude(options, hidden.iter().map(Hidden::other_name).collect());
        }
        (SelectItem::QualifiedWildcard(_, options), Some(relation)) => {
            let of_it: Vec<&Hidden> = hidden.iter().filter(|hidden| hidden.relation == relation).collect();
            let mut names: Vec<String> = of_it.iter().map(|hidden| hidden.other_name()).collect();
            let of_left = of_it.iter().filter(|hidden| hidden.side == Side::Left);
            names.extend(of_left.map(|hidden| hidden.name.clone()));
            exclude(options, names);
            items.extend(of_it.into_iter().map(|hidden| SelectItem::ExprWithAlias {
                expr: Expr::CompoundIdentifier(vec![quoted(&hidden.relation), quoted(hidden.other_name())]),
                alias: quoted(&hidden.name),
            }));
        }
        _ => {}
    }
    items.push(item);
    items
}

fn exclude(options: &mut WildcardAdditionalOptions, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let mut all: Vec<ObjectName> = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => Vec::new(),
    };
    all.extend(names.into_iter().map(|name| quoted(name).into()));
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(all));
}

fn quoted(name: impl Into<String>) -> Ident {
    Ident::with_quote('"', name)
}
