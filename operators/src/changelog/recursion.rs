//! `WITH RECURSIVE`, kept up to date: the least set of rows that holds the first term, and with each row all that the
//! recursive term makes of it.
//!
//! - Rows: changelogs in, a changelog out. State: the rows of all inputs and of all rounds, by the keys of the joins.
//! - The recursive term is a small plan of its own ([`Term`]), since it runs in rounds within an epoch.
//! - With `UNION` rows are kept once, so a cycle ends; with `UNION ALL`, or a counter in the row, a cycle has no end, in
//!   batch neither: after `MOST_ROUNDS` the program ends with an error.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use differential_dataflow::AsCollection;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::operators::iterate::Variable;
use lineshaft_engine::changelog::index::{distinct, index};
use lineshaft_engine::changelog::{ChangelogOperator, Failure, Inputs, Rows};
use lineshaft_engine::expression::Expression;
use lineshaft_engine::{Error, Result};
use timely::dataflow::operators::vec::Filter;
use timely::order::Product;
use timely::progress::Timestamp;

use super::join::{JoinOptions, join};
use super::steps::{filter, keyed, map};

/// A step of the recursive term.
#[derive(Clone, Debug)]
pub enum Term {
    /// The rows found so far.
    Itself,
    /// An input of the node.
    Input(usize),
    /// `WHERE` over rows of `schema`.
    Filter {
        /// Where the rows come from.
        from: Box<Term>,
        /// Its columns.
        schema: SchemaRef,
        /// What must be true.
        predicate: Arc<dyn Expression>,
    },
    /// `SELECT` over rows of `schema`.
    Map {
        /// Where the rows come from.
        from: Box<Term>,
        /// Its columns.
        schema: SchemaRef,
        /// What is computed.
        columns: Vec<Arc<dyn Expression>>,
        /// The columns of the output.
        output: SchemaRef,
    },
    /// A join of two terms.
    Join {
        /// Both sides.
        sides: Box<[Term; 2]>,
        /// How.
        options: JoinOptions,
    },
    /// `UNION ALL` of terms of the same columns.
    Union(Vec<Term>),
    /// `DISTINCT`.
    Distinct(Box<Term>),
}

/// `WITH RECURSIVE`: input 0 is the first term.
#[derive(Debug)]
pub struct Recursion {
    term: Term,
    inputs: usize,
    is_distinct: bool,
}

impl Recursion {
    /// A recursion over `inputs` inputs, the first of which is the first term; with `is_distinct` rows are kept once.
    pub fn new(term: Term, inputs: usize, is_distinct: bool) -> Self {
        Self { term, inputs, is_distinct }
    }
}

impl ChangelogOperator for Recursion {
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>> {
        let outer: Vec<Rows<'scope>> =
            (0..self.inputs).map(|input| inputs.rows(input)).collect::<Result<_>>()?;
        let (scope, failure) = (outer[0].scope(), inputs.failure());
        scope.scoped::<Product<_, u64>, _, _>("recursion", |rounds| {
            let (variable, found) = Variable::new(rounds, Product::new(Default::default(), 1));
            let entered: Vec<_> = outer.into_iter().map(|rows| rows.enter(rounds)).collect();
            let step = ending(rendered(&self.term, &found, &entered, &failure)?, failure);
            let all = entered[0].clone().concat(step);
            let all = if self.is_distinct { distinct(all) } else { all.consolidate() };
            variable.set(all.clone());
            Ok(all.leave(scope))
        })
    }
}

/// Rounds after which a recursion is taken for one without an end. Rows that differ in each round, as of a counter in
/// a cycle, would keep the worker in this epoch for ever, so that not even a signal stopped the program.
const MOST_ROUNDS: u64 = 10_000;

/// The rows of a round, and an error in place of those that come after too many of them.
fn ending<'scope, T: Timestamp + Lattice>(
    rows: Rows<'scope, Product<T, u64>>,
    failure: Failure,
) -> Rows<'scope, Product<T, u64>> {
    let is_within = move |(_, time, _): &(_, Product<T, u64>, _)| {
        let is_within = time.inner <= MOST_ROUNDS;
        if !is_within {
            failure(Error::operator("WITH RECURSIVE", format!("no end after {MOST_ROUNDS} rounds")));
        }
        is_within
    };
    rows.inner.filter(is_within).as_collection()
}

fn rendered<'scope, T>(
    term: &Term,
    found: &Rows<'scope, T>,
    inputs: &[Rows<'scope, T>],
    failure: &Failure,
) -> Result<Rows<'scope, T>>
where
    T: Timestamp + Lattice,
{
    let render = |term: &Term| rendered(term, found, inputs, failure);
    match term {
        Term::Itself => Ok(found.clone()),
        Term::Input(input) => Ok(inputs[*input].clone()),
        Term::Filter { from, schema, predicate } => {
            filter(render(from)?, schema, Arc::clone(predicate), Clone::clone, Arc::clone(failure))
        }
        Term::Map { from, schema, columns, output } => {
            map(render(from)?, schema, columns.clone(), output, Arc::clone(failure))
        }
        Term::Join { sides, options } => {
            let side = |side: usize| -> Result<_> {
                let (schema, key) = (&options.schemas[side], &options.keys[side]);
                Ok(index(keyed(render(&sides[side])?, schema, key, Arc::clone(failure))?))
            };
            join(side(0)?, side(1)?, options, Arc::clone(failure))
        }
        Term::Union(terms) => {
            let mut terms = terms.iter().map(render);
            let first = terms.next().unwrap_or_else(|| Ok(found.clone()))?;
            terms.try_fold(first, |all, term| Ok(all.concat(term?)))
        }
        Term::Distinct(from) => Ok(distinct(render(from)?)),
    }
}
