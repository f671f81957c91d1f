//! A join without a window, kept up to date: every change of either side changes the joined rows.
//!
//! - Rows: changelogs in, a changelog out; left columns, then right columns (semi and anti: left columns only). State:
//!   all rows of both sides by key, shared with whoever else reads them by that key; for outer, semi and anti joins the
//!   keys of the other side too.
//! - NULL in a key equals nothing, unless said otherwise (`INTERSECT`, `EXCEPT`, `IS NOT DISTINCT FROM`).

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use differential_dataflow::VecCollection;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use lineshaft_engine::Result;
use lineshaft_engine::changelog::{ChangelogOperator, Failure, Index, Inputs, Row, Rows, with_nulls};
use lineshaft_engine::expression::Expression;
use timely::progress::Timestamp;

use super::steps::{filter, null_row};

/// Which rows a join gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without a partner.
    Left,
    /// Pairs, and right rows without a partner.
    Right,
    /// Pairs, and rows of both sides without a partner.
    Full,
    /// Left rows with a partner, once.
    Semi,
    /// Left rows without a partner.
    Anti,
}

/// What [`ChangelogJoin`] does.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// Which rows it gives.
    pub kind: JoinKind,
    /// The columns of the key on each side, of equal types; none: every row meets every row, on one worker.
    pub keys: [Vec<usize>; 2],
    /// The columns of each side.
    pub schemas: [SchemaRef; 2],
    /// NULL equals NULL.
    pub null_equals_null: bool,
    /// `NOT IN`: a NULL among the right keys leaves no row, and a left row with a NULL key passes only if the right side
    /// is empty.
    pub is_not_in: bool,
    /// What must also hold of the columns of both sides, left first.
    pub residual: Option<Arc<dyn Expression>>,
}

/// `left JOIN right ON keys AND residual`.
#[derive(Debug)]
pub struct ChangelogJoin {
    options: JoinOptions,
}

impl ChangelogJoin {
    /// A join.
    pub fn new(options: JoinOptions) -> Self {
        Self { options }
    }
}

impl ChangelogOperator for ChangelogJoin {
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>> {
        let left = inputs.index(0, &self.options.keys[0])?;
        let right = inputs.index(1, &self.options.keys[1])?;
        join(left, right, &self.options, inputs.failure())
    }
}

/// The columns of both sides, those of an outer join not yet nullable.
fn both(schemas: &[SchemaRef; 2]) -> SchemaRef {
    let fields = schemas[0].fields().iter().chain(schemas[1].fields()).enumerate();
    // Both sides may have a column of the same name.
    let named = fields.map(|(place, field)| field.as_ref().clone().with_name(format!("c{place}")));
    Arc::new(Schema::new(named.collect::<Vec<_>>()))
}

type Pairs<'scope, T> = VecCollection<'scope, T, (Row, Row), isize>;
type Keys<'scope, T> = Arranged<'scope, TraceAgent<ValSpine<Row, (), T, isize>>>;

/// Joins two sides that are arranged by their keys.
pub(super) fn join<'scope, T>(
    left: Index<'scope, T>,
    right: Index<'scope, T>,
    options: &JoinOptions,
    failure: Failure,
) -> Result<Rows<'scope, T>>
where
    T: Timestamp + Lattice,
{
    use JoinKind::{Anti, Full, Inner, Left, Right, Semi};
    if options.is_not_in {
        return Ok(not_in(left, right));
    }
    let matched = match (&options.residual, options.kind) {
        (None, Semi | Anti) => None,
        _ => Some(pairs(left.clone(), right.clone(), options, failure)?),
    };
    let glued = |pairs: &Pairs<'scope, T>| {
        pairs.clone().map(|(left, right)| {
            let mut row = left;
            row.extend_from_slice(&right);
            row
        })
    };
    let with = |side: Side| match (&options.residual, &matched) {
        (Some(_), Some(pairs)) => match side {
            Side::Left => among(rows(&left), pairs.clone().map(|(left, _)| left)),
            Side::Right => among(rows(&right), pairs.clone().map(|(_, right)| right)),
        },
        _ => match side {
            Side::Left => with_partner(&left, keys(&right, options.null_equals_null)),
            Side::Right => with_partner(&right, keys(&left, options.null_equals_null)),
        },
    };
    let without = |side: Side| match side {
        Side::Left => rows(&left).concat(with(side).negate()),
        Side::Right => rows(&right).concat(with(side).negate()),
    };
    let nulls = [null_row(&options.schemas[0])?, null_row(&options.schemas[1])?];
    let [left_nulls, right_nulls] = nulls;
    let lonely_left = || {
        without(Side::Left).map(move |mut row: Row| {
            row.extend_from_slice(&right_nulls);
            row
        })
    };
    let lonely_right = || {
        without(Side::Right).map(move |row: Row| {
            let mut padded = left_nulls.clone();
            padded.extend_from_slice(&row);
            padded
        })
    };
    Ok(match (options.kind, &matched) {
        (Semi, _) => with(Side::Left),
        (Anti, _) => without(Side::Left),
        (Inner, Some(pairs)) => glued(pairs),
        (Left, Some(pairs)) => glued(pairs).concat(lonely_left()),
        (Right, Some(pairs)) => glued(pairs).concat(lonely_right()),
        (Full, Some(pairs)) => glued(pairs).concat(lonely_left()).concat(lonely_right()),
        (Inner | Left | Right | Full, None) => unreachable!("pairs are made for all but semi and anti joins"),
    })
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

fn pairs<'scope, T>(
    left: Index<'scope, T>,
    right: Index<'scope, T>,
    options: &JoinOptions,
    failure: Failure,
) -> Result<Pairs<'scope, T>>
where
    T: Timestamp + Lattice,
{
    let equal_nulls = options.null_equals_null;
    let pairs = left.join_core(right, move |key, left, right| {
        (equal_nulls || !with_nulls(key)).then(|| (left.clone(), right.clone()))
    });
    let Some(residual) = &options.residual else { return Ok(pairs) };
    let glued = |(left, right): &(Row, Row)| [left.as_slice(), right.as_slice()].concat();
    filter(pairs, &both(&options.schemas), Arc::clone(residual), glued, failure)
}

/// The keys that have a row, each once.
fn keys<'scope, T>(side: &Index<'scope, T>, equal_nulls: bool) -> Keys<'scope, T>
where
    T: Timestamp + Lattice,
{
    side.clone().reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<Row, (), T, isize>, _, _>(
        "keys",
        move |key, rows, output| {
            let is_there = rows.iter().map(|(_, weight)| weight).sum::<isize>() > 0;
            if is_there && (equal_nulls || !with_nulls(key)) {
                output.push(((), 1));
            }
        },
        |updates, key, changes| {
            updates.clear();
            updates.extend(changes.drain(..).map(|((), time, weight)| ((key.clone(), ()), time, weight)));
        },
    )
}

fn rows<'scope, T>(side: &Index<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    side.clone().as_collection(|_, row| row.clone())
}

fn with_partner<'scope, T>(side: &Index<'scope, T>, keys: Keys<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    side.clone().join_core(keys, |_, row, ()| Some(row.clone()))
}

/// Those of `all` that are among `some`, as often as they are in `all`.
fn among<'scope, T>(all: Rows<'scope, T>, some: Rows<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    all.map(|row| (row, ())).semijoin(some.distinct()).map(|(row, ())| row)
}

/// The left rows whose key is `NOT IN` the right keys.
fn not_in<'scope, T>(left: Index<'scope, T>, right: Index<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    let partners = with_partner(&left, keys(&right, false));
    let lonely = rows(&left).concat(partners.negate());
    let null_left = left.flat_map_ref(|key, row| with_nulls(key).then(|| row.clone()));
    let known_left = lonely.concat(null_left.clone().negate());
    let any_right = right.clone().flat_map_ref(|_, _| Some(())).distinct();
    let null_right = right.flat_map_ref(|key, _| with_nulls(key).then_some(())).distinct();
    let unless = |rows: Rows<'scope, T>, is_there: VecCollection<'scope, T, (), isize>| {
        rows.map(|row| ((), row)).antijoin(is_there).map(|((), row)| row)
    };
    unless(known_left, null_right).concat(unless(null_left, any_right))
}
