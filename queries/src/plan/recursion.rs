//! `WITH RECURSIVE`: the recursive term as a plan of its own, over the rows found so far and ordinary relations.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, RecursiveQuery, TableScan};
use lineshaft_engine::plan::Origin;
use lineshaft_operators::changelog::join::{JoinKind, JoinOptions};
use lineshaft_operators::changelog::recursion::{Recursion, Term};

use super::changelog::joined_schema;
use super::join::as_keys;
use super::{Lowering, Result};
use crate::context::WorkTable;
use crate::error::QueryError;
use crate::expression::expression;
use crate::program::arrow_schema;
use crate::window_function::external;

impl Lowering<'_> {
    pub(super) fn recursive(&mut self, query: &RecursiveQuery) -> Result<Origin> {
        let schema: SchemaRef = Arc::new(query.schema.as_arrow().clone());
        let first = self.lower(&query.static_term)?;
        let columns = cast_to(query.static_term.schema(), &schema);
        let first = self.map(first, query.static_term.schema(), None, Some(&columns), Arc::clone(&schema))?;
        let mut inputs = vec![first];
        let step = self.term(&query.recursive_term, &query.name, &mut inputs)?;
        let columns = cast_to(query.recursive_term.schema(), &schema);
        let step = mapped(step, query.recursive_term.schema(), &columns, &schema)?;
        let recursion = Recursion::new(step, inputs.len(), query.is_distinct);
        Ok(self.changelog_node("recursion", inputs, schema, Arc::new(recursion)))
    }

    /// The recursive term; relations that it reads become inputs of the node.
    fn term(&mut self, plan: &LogicalPlan, name: &str, inputs: &mut Vec<Origin>) -> Result<Term> {
        if !reads_itself(plan, name)? {
            let from = self.lower(plan)?;
            inputs.push(from);
            return Ok(Term::Input(inputs.len() - 1));
        }
        match plan {
            LogicalPlan::TableScan(scan) => itself(scan),
            LogicalPlan::SubqueryAlias(alias) => self.term(&alias.input, name, inputs),
            LogicalPlan::Projection(projection) => {
                let from = self.term(&projection.input, name, inputs)?;
                mapped(from, projection.input.schema(), &projection.expr, &arrow_schema(plan))
            }
            LogicalPlan::Filter(filter) => {
                let from = Box::new(self.term(&filter.input, name, inputs)?);
                let predicate = expression(&filter.predicate, filter.input.schema())?;
                Ok(Term::Filter { from, schema: arrow_schema(&filter.input), predicate })
            }
            LogicalPlan::Union(union) => {
                let schema = arrow_schema(plan);
                let terms = union.inputs.iter().map(|input| {
                    let from = self.term(input, name, inputs)?;
                    mapped(from, input.schema(), &cast_to(input.schema(), &schema), &schema)
                });
                Ok(Term::Union(terms.collect::<Result<_>>()?))
            }
            LogicalPlan::Distinct(datafusion::logical_expr::Distinct::All(input)) => {
                Ok(Term::Distinct(Box::new(self.term(input, name, inputs)?)))
            }
            LogicalPlan::Join(join) => self.term_join(join, name, inputs),
            other => {
                let what = format!("{} in the recursive part of WITH RECURSIVE", other.display());
                let error = QueryError::not_supported(what, None);
                let help = "it may filter, project, join and unite; aggregate over the result instead";
                Err(external(error.with_help(help)))
            }
        }
    }

    fn term_join(&mut self, join: &Join, name: &str, inputs: &mut Vec<Origin>) -> Result<Term> {
        // Rows that are there because others are not would come and go from round to round.
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::LeftSemi | JoinType::RightSemi => JoinKind::Semi,
            other => {
                let what = format!("a {other} join in the recursive part of WITH RECURSIVE");
                return Err(external(QueryError::not_supported(what, None)));
            }
        };
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        let mut sides = [
            (&join.left, as_keys(&join.left, &left_keys)?),
            (&join.right, as_keys(&join.right, &right_keys)?),
        ];
        if join.join_type == JoinType::RightSemi {
            sides.swap(0, 1);
        }
        let [left, right] = sides;
        let (left_term, left_schema, left_keys) = self.term_side(left.0, &left.1, name, inputs)?;
        let (right_term, right_schema, right_keys) = self.term_side(right.0, &right.1, name, inputs)?;
        let shown = [left.0, right.0].map(|plan| plan.schema().fields().len());
        let residual = match &join.filter {
            Some(filter) => Some(expression(filter, &named(left.0, &left_schema, right.0, &right_schema)?)?),
            None => None,
        };
        let widths = [left_schema.fields().len(), right_schema.fields().len()];
        let options = JoinOptions {
            kind,
            keys: [left_keys, right_keys],
            schemas: [left_schema, right_schema],
            null_equals_null: join.null_equality == datafusion::common::NullEquality::NullEqualsNull,
            is_not_in: false,
            residual,
        };
        let joined = joined_schema(&options);
        let term = Term::Join { sides: Box::new([left_term, right_term]), options };
        let mut keep: Vec<usize> = (0..shown[0]).collect();
        if kind == JoinKind::Inner {
            keep.extend(widths[0]..widths[0] + shown[1]);
        }
        Ok(kept(term, &joined, &keep, &Arc::new(join.schema.as_arrow().clone())))
    }

    /// A side of a join; a key that is computed becomes a column after the others.
    fn term_side(
        &mut self,
        plan: &LogicalPlan,
        keys: &[Expr],
        name: &str,
        inputs: &mut Vec<Origin>,
    ) -> Result<(Term, SchemaRef, Vec<usize>)> {
        let term = self.term(plan, name, inputs)?;
        let schema = arrow_schema(plan);
        let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let width = columns.len();
        let mut places = Vec::new();
        for key in keys {
            let place = columns.iter().position(|column| column == key);
            places.push(place.unwrap_or_else(|| {
                columns.push(key.clone());
                columns.len() - 1
            }));
        }
        if columns.len() == width {
            return Ok((term, schema, places));
        }
        let with_keys = super::join::with_keys(plan.schema(), &columns[width..])?;
        Ok((mapped(term, plan.schema(), &columns, &with_keys)?, with_keys, places))
    }
}

fn named(
    left: &LogicalPlan,
    left_schema: &SchemaRef,
    right: &LogicalPlan,
    right_schema: &SchemaRef,
) -> Result<DFSchema> {
    let mut fields = Vec::new();
    for (side, (plan, schema)) in [(left, left_schema), (right, right_schema)].into_iter().enumerate() {
        let width = plan.schema().fields().len();
        fields.extend(plan.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field))));
        let computed = schema.fields().iter().skip(width);
        fields.extend(computed.map(|field| -> (_, FieldRef) {
            let name = format!("{side} {}", field.name());
            (None, Arc::new(field.as_ref().clone().with_name(name)))
        }));
    }
    DFSchema::new_with_metadata(fields, std::collections::HashMap::new())
}

fn reads_itself(plan: &LogicalPlan, name: &str) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.source.downcast_ref::<WorkTable>().is_some_and(|table| table.name == name)
        {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The rows found so far, those columns of them that are read.
fn itself(scan: &TableScan) -> Result<Term> {
    let schema = scan.source.schema();
    Ok(match &scan.projection {
        Some(columns) => kept(Term::Itself, &schema, columns, &Arc::new(schema.project(columns)?)),
        None => Term::Itself,
    })
}

fn kept(from: Term, schema: &SchemaRef, keep: &[usize], output: &SchemaRef) -> Term {
    if keep.len() == schema.fields().len() {
        return from;
    }
    let column = |index: &usize| -> Arc<dyn lineshaft_engine::expression::Expression> {
        let data_type = schema.field(*index).data_type().clone();
        Arc::new(lineshaft_engine::expression::Column { index: *index, data_type })
    };
    let columns = keep.iter().map(column).collect();
    Term::Map { from: Box::new(from), schema: Arc::clone(schema), columns, output: Arc::clone(output) }
}

fn mapped(from: Term, input: &DFSchema, columns: &[Expr], output: &SchemaRef) -> Result<Term> {
    let columns = columns.iter().map(|column| expression(column, input)).collect::<Result<_>>()?;
    let schema = Arc::new(input.as_arrow().clone());
    Ok(Term::Map { from: Box::new(from), schema, columns, output: Arc::clone(output) })
}

/// The columns of `input` with the types of `schema`.
fn cast_to(input: &DFSchema, schema: &SchemaRef) -> Vec<Expr> {
    let columns = input.columns().into_iter().zip(input.fields()).zip(schema.fields());
    let casts = columns.map(|((column, found), wanted)| {
        let column = Expr::Column(column);
        let is_same = found.data_type() == wanted.data_type();
        if is_same { column } else { datafusion::logical_expr::cast(column, wanted.data_type().clone()) }
    });
    casts.collect()
}
