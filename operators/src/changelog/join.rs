//! A join without a window, kept up to date: every change of either side changes the joined rows.
//!
//! - Rows: changelogs in, a changelog out; left columns, then right columns (semi and anti: left columns only). State:
//!   all rows of both sides by key, shared with whoever else reads them by that key; for outer, semi and anti joins the
//!   keys of the other side too.
//! - NULL in a key equals nothing, unless said otherwise (`INTERSECT`, `EXCEPT`, `IS NOT DISTINCT FROM`).

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use differential_dataflow::lattice::Lattice;
use differential_dataflow::{Data, VecCollection};
use lineshaft_engine::Result;
use lineshaft_engine::changelog::index::{self, Keys, distinct_keys, keys_of};
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
    let equal_nulls = options.null_equals_null;
    // Which row of a side has met one is known from the pairs if more than the key decides.
    let pairs = match &options.residual {
        None => None,
        Some(residual) => {
            let pairs = met(&left, &right, equal_nulls, |left, right| (left.to_vec(), right.to_vec()));
            let glued = |(left, right): &(Row, Row)| [left.as_slice(), right.as_slice()].concat();
            Some(filter(pairs, &both(&options.schemas), Arc::clone(residual), glued, failure)?)
        }
    };
    let glued = || match &pairs {
        None => met(&left, &right, equal_nulls, |left, right| [left, right].concat()),
        Some(pairs) => pairs.clone().map(|(mut row, right)| {
            row.extend_from_slice(&right);
            row
        }),
    };
    let with = |side: Side| match (&pairs, side) {
        (Some(pairs), Side::Left) => among(rows(&left), pairs.clone().map(|(left, _)| left)),
        (Some(pairs), Side::Right) => among(rows(&right), pairs.clone().map(|(_, right)| right)),
        (None, Side::Left) => with_partner(&left, keys(&right, equal_nulls)),
        (None, Side::Right) => with_partner(&right, keys(&left, equal_nulls)),
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
    Ok(match options.kind {
        Semi => with(Side::Left),
        Anti => without(Side::Left),
        Inner => glued(),
        Left => glued().concat(lonely_left()),
        Right => glued().concat(lonely_right()),
        Full => glued().concat(lonely_left()).concat(lonely_right()),
    })
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// What `made` makes of the rows of each pair with the same key.
fn met<'scope, T, D: Data>(
    left: &Index<'scope, T>,
    right: &Index<'scope, T>,
    equal_nulls: bool,
    made: impl Fn(&[u8], &[u8]) -> D + 'static,
) -> VecCollection<'scope, T, D, isize>
where
    T: Timestamp + Lattice,
{
    left.clone().join_core(right.clone(), move |key, left, right| {
        (equal_nulls || !with_nulls(key)).then(|| made(left, right))
    })
}

/// The keys that have a row, each once.
fn keys<'scope, T>(side: &Index<'scope, T>, equal_nulls: bool) -> Keys<'scope, T>
where
    T: Timestamp + Lattice,
{
    keys_of(side.clone(), move |key| equal_nulls || !with_nulls(key))
}

fn rows<'scope, T>(side: &Index<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    index::rows(side.clone())
}

fn with_partner<'scope, T>(side: &Index<'scope, T>, keys: Keys<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    side.clone().join_core(keys, |_, row, ()| Some(row.to_vec()))
}

/// Those of `all` that are among `some`, as often as they are in `all`.
fn among<'scope, T>(all: Rows<'scope, T>, some: Rows<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    index::keys(all).join_core(distinct_keys(index::keys(some)), |row, (), ()| Some(row.to_vec()))
}

/// The left rows whose key is `NOT IN` the right keys.
fn not_in<'scope, T>(left: Index<'scope, T>, right: Index<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    let partners = with_partner(&left, keys(&right, false));
    let lonely = rows(&left).concat(partners.negate());
    let null_left = left.flat_map_ref(|key, row| with_nulls(key).then(|| row.to_vec()));
    let known_left = lonely.concat(null_left.clone().negate());
    // What is asked of all rows is asked of one key, the empty one.
    let nothing = || Some(Row::new());
    let any_right = right.clone().flat_map_ref(move |_, _| nothing());
    let null_right = right.flat_map_ref(move |key, _| nothing().filter(|_| with_nulls(key)));
    let unless = |rows: Rows<'scope, T>, is_there: Rows<'scope, T>| {
        let all = index::index(rows.map(|row| (Row::new(), row)));
        index::rows(all.clone()).concat(with_partner(&all, distinct_keys(index::keys(is_there))).negate())
    };
    unless(known_left, null_right).concat(unless(null_left, any_right))
}
