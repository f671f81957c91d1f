//! What a join of two streams says of their event times: that one lies within a fixed interval around the other.
//!
//! Any linear form will do: `a.ts BETWEEN b.ts - INTERVAL '5' SECOND AND b.ts`, `b.ts + INTERVAL '1' SECOND > a.ts`,
//! `a.window_end = b.window_end`.

use std::collections::BTreeMap;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};
use lineshaft_operators::join::Nearest;

use crate::as_of::AsOfJoin;
use crate::context::RelationSource;
use crate::event_time::{Bound, is_table, size_of, windows_of};
use crate::window_function::AssignWindow;

/// `lower <= left - right <= upper`, for columns of event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeBound {
    /// A column of the left side.
    pub(crate) left: usize,
    /// A column of the right side.
    pub(crate) right: usize,
    /// Microseconds.
    pub(crate) lower: i64,
    /// Microseconds.
    pub(crate) upper: i64,
    /// The equalities of the join that say so.
    pub(crate) on: Vec<usize>,
    /// The parts of its filter that say so.
    pub(crate) filters: Vec<usize>,
}

/// The narrowest bound of a join; `left` and `right` are the lags of the columns.
pub(crate) fn time_bound(join: &Join, left: &[Option<i64>], right: &[Option<i64>]) -> Option<TimeBound> {
    let sides = Sides { left: join.left.schema(), right: join.right.schema() };
    let mut bounds: BTreeMap<(usize, usize), Found> = BTreeMap::new();
    let is_time = |(a, b): (usize, usize)| left[a].is_some() && right[b].is_some();
    for (place, (a, b)) in join.on.iter().enumerate() {
        if let Some((columns, from)) = sides.difference(a, b).filter(|(columns, _)| is_time(*columns)) {
            let found = bounds.entry(columns).or_default();
            found.narrow(Some(-from), Some(-from));
            found.on.push(place);
        }
    }
    for (place, condition) in conditions(join).into_iter().enumerate() {
        let Some((columns, lower, upper)) = sides.bound(condition) else { continue };
        if is_time(columns) {
            let found = bounds.entry(columns).or_default();
            found.narrow(lower, upper);
            found.filters.push(place);
        }
    }
    let bounds = bounds.into_iter().filter_map(|((left, right), found)| {
        let (lower, upper) = (found.lower?, found.upper?);
        Some(TimeBound { left, right, lower, upper, on: found.on, filters: found.filters })
    });
    let lag = |bound: &TimeBound| left[bound.left].max(right[bound.right]);
    bounds.min_by_key(|bound| (bound.upper.saturating_sub(bound.lower), lag(bound)))
}

/// The parts of the filter of a join.
pub(crate) fn conditions(join: &Join) -> Vec<&Expr> {
    join.filter.iter().flat_map(split_conjunction).collect()
}

#[derive(Default)]
struct Found {
    lower: Option<i64>,
    upper: Option<i64>,
    on: Vec<usize>,
    filters: Vec<usize>,
}

impl Found {
    fn narrow(&mut self, lower: Option<i64>, upper: Option<i64>) {
        self.lower = self.lower.max(lower);
        self.upper = [self.upper, upper].into_iter().flatten().min();
    }
}

/// A sum of columns, each with a factor, and microseconds. Columns of the right side come after those of the left.
#[derive(Debug, Default)]
struct Linear {
    factors: BTreeMap<usize, i64>,
    constant: i64,
    /// DataFusion compares intervals part by part, so that a day is more than 25 hours.
    is_interval: bool,
    has_days: bool,
}

impl Linear {
    fn plus(mut self, other: Self, sign: i64) -> Self {
        for (column, factor) in other.factors {
            *self.factors.entry(column).or_default() += sign * factor;
        }
        self.factors.retain(|_, factor| *factor != 0);
        self.constant = self.constant.saturating_add(sign.saturating_mul(other.constant));
        self.is_interval |= other.is_interval;
        self.has_days |= other.has_days;
        self
    }
}

struct Sides<'a> {
    left: &'a DFSchema,
    right: &'a DFSchema,
}

type Columns = (usize, usize);

impl Sides<'_> {
    /// The bounds that a comparison sets.
    fn bound(&self, condition: &Expr) -> Option<(Columns, Option<i64>, Option<i64>)> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
        // `a - b + c >= 0`
        let (columns, constant, sign) = self.signed_difference(left, right)?;
        let zero = -constant;
        let (lower, upper) = match op {
            Operator::Eq => (Some(zero), Some(zero)),
            Operator::GtEq => (Some(zero), None),
            Operator::Gt => (Some(zero + 1), None),
            Operator::LtEq => (None, Some(zero)),
            Operator::Lt => (None, Some(zero - 1)),
            _ => return None,
        };
        // The other way round it is `b - a`.
        Some(match sign {
            1 => (columns, lower, upper),
            _ => (columns, upper.map(|upper| -upper), lower.map(|lower| -lower)),
        })
    }

    /// `a - b` as a column of the left minus one of the right, and microseconds.
    fn difference(&self, a: &Expr, b: &Expr) -> Option<(Columns, i64)> {
        let (columns, constant, sign) = self.signed_difference(a, b)?;
        Some((columns, sign * constant))
    }

    /// The same, or with -1 a column of the right minus one of the left.
    fn signed_difference(&self, a: &Expr, b: &Expr) -> Option<(Columns, i64, i64)> {
        let difference = self.linear(a)?.plus(self.linear(b)?, -1);
        if difference.is_interval && difference.has_days {
            return None;
        }
        let width = self.left.fields().len();
        let mut factors = difference.factors.into_iter();
        let (first, second) = (factors.next()?, factors.next()?);
        let is_pair = factors.next().is_none() && first.0 < width && second.0 >= width;
        match (first.1, second.1) {
            (1, -1) if is_pair => Some(((first.0, second.0 - width), difference.constant, 1)),
            (-1, 1) if is_pair => Some(((first.0, second.0 - width), difference.constant, -1)),
            _ => None,
        }
    }

    fn linear(&self, expr: &Expr) -> Option<Linear> {
        match expr {
            Expr::Alias(alias) => self.linear(&alias.expr),
            Expr::Column(column) => {
                let factors = BTreeMap::from([(self.place(column)?, 1)]);
                Some(Linear { factors, ..Linear::default() })
            }
            Expr::Literal(value, _) => constant(value),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let sign = match op {
                    Operator::Plus => 1,
                    Operator::Minus => -1,
                    _ => return None,
                };
                Some(self.linear(left)?.plus(self.linear(right)?, sign))
            }
            Expr::Cast(cast) => {
                use arrow::datatypes::{DataType, TimeUnit::Microsecond};
                let inner = self.linear(&cast.expr)?;
                match cast.field.data_type() {
                    DataType::Timestamp(Microsecond, None) | DataType::Duration(Microsecond) => Some(inner),
                    DataType::Interval(_) => Some(Linear { is_interval: true, ..inner }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn place(&self, column: &Column) -> Option<usize> {
        let right = || Some(self.left.fields().len() + self.right.maybe_index_of_column(column)?);
        self.left.maybe_index_of_column(column).or_else(right)
    }
}

/// A span of time that is always of the same length, in microseconds.
fn constant(value: &ScalarValue) -> Option<Linear> {
    let micros = match value {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 && i.nanoseconds % 1000 == 0 => {
            let constant = i64::from(i.days) * 86_400_000_000 + i.nanoseconds / 1000;
            return Some(Linear { constant, has_days: i.days != 0, ..Linear::default() });
        }
        ScalarValue::IntervalDayTime(Some(i)) => {
            let constant = i64::from(i.days) * 86_400_000_000 + i64::from(i.milliseconds) * 1000;
            return Some(Linear { constant, has_days: i.days != 0, ..Linear::default() });
        }
        ScalarValue::DurationSecond(Some(s)) => s.checked_mul(1_000_000)?,
        ScalarValue::DurationMillisecond(Some(ms)) => ms.checked_mul(1000)?,
        ScalarValue::DurationMicrosecond(Some(us)) => *us,
        _ => return None,
    };
    Some(Linear { constant: micros, ..Linear::default() })
}

/// The lag of each column of the left and then the right side of a join by time.
pub(crate) fn joined_times(
    join: &Join,
    bound: &TimeBound,
    left: &[Option<i64>],
    right: &[Option<i64>],
) -> Option<[Vec<Option<i64>>; 2]> {
    let (left_lag, right_lag) = (left[bound.left]?, right[bound.right]?);
    // A row may wait for one of the other side, and be as much older as the bound allows.
    let of_left = left_lag.max(right_lag.saturating_sub(bound.lower));
    let of_right = right_lag.max(left_lag.saturating_add(bound.upper));
    let side = |plan: &LogicalPlan, time: usize, lags: &[Option<i64>], lag: i64| {
        let of = |column: usize| lags[column].and_then(|_| Some(lag + behind(plan, time, column)?));
        (0..lags.len()).map(of).collect()
    };
    Some([side(&join.left, bound.left, left, of_left), side(&join.right, bound.right, right, of_right)])
}

/// The lag of a column of event time, plus or minus a constant.
pub(crate) fn lag_of(expr: &Expr, schema: &DFSchema, lags: &[Option<i64>]) -> Option<i64> {
    let (column, constant) = shifted(expr, schema)?;
    Some(lags[column]?.saturating_sub(constant))
}

/// A column and what is added to it.
fn shifted(expr: &Expr, schema: &DFSchema) -> Option<(usize, i64)> {
    let sides = Sides { left: schema, right: &DFSchema::empty() };
    let linear = sides.linear(expr)?;
    let mut factors = linear.factors.into_iter();
    match (factors.next()?, factors.next()) {
        ((column, 1), None) => Some((column, linear.constant)),
        _ => None,
    }
}

/// The lag of each column of an as-of join.
pub(crate) fn as_of_times(
    join: &AsOfJoin,
    left: &[Option<i64>],
    right: &[Option<i64>],
) -> Option<Vec<Option<i64>>> {
    let looks_ahead = matches!(join.nearest, Nearest::AtOrAfter | Nearest::After);
    // All rows of a table without a watermark are there before those of the stream.
    let waits = lag_of(&join.right_time, join.right.schema(), right);
    if looks_ahead && waits.is_some() {
        looking_ahead(join, left, right)
    } else {
        looking_back(join, left, right, waits)
    }
}

/// What holds rows of a plan back however long it takes, and what to do instead; `None` if nothing does.
pub(crate) fn held_back(plan: &LogicalPlan) -> Option<(&'static str, &'static str)> {
    const NEXT: (&str, &str) = (
        "an ASOF JOIN that waits for the next row",
        "use the time of that row, which is event time of an inner ASOF JOIN, or >= for the row before",
    );
    const WINDOW: (&str, &str) = (
        "rows of windows that end by their rows",
        "use window_end, which is event time, or GROUP BY window_start, window_end",
    );
    let by_node = |node: &LogicalPlan| match node {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<RelationSource>();
            source.and_then(|source| source.plan.as_ref()).and_then(held_back)
        }
        node if AssignWindow::of(node).is_some_and(|assign| size_of(assign).is_none()) => Some(WINDOW),
        node => AsOfJoin::of(node)
            .filter(|join| matches!(join.nearest, Nearest::AtOrAfter | Nearest::After))
            .map(|_| NEXT),
    };
    let mut held = None;
    plan.exists(|node| {
        held = by_node(node);
        Ok(held.is_some())
    })
    .ok()?;
    held
}

/// A row waits until the row after it has come, however long that takes: the event time of what comes out is that of the right
/// side. It is missing where nothing came.
fn looking_ahead(join: &AsOfJoin, left: &[Option<i64>], right: &[Option<i64>]) -> Option<Vec<Option<i64>>> {
    let (time, shift) = shifted(&join.right_time, join.right.schema())?;
    let passes = lag_of(&join.left_time, join.left.schema(), left)?.saturating_add(shift);
    let lag = right[time]?.max(passes);
    let is_there = !join.keeps_left;
    let of = |column: usize| {
        right[column].filter(|_| is_there).and_then(|_| Some(lag + behind(&join.right, time, column)?))
    };
    Some(left.iter().map(|_| None).chain((0..right.len()).map(of)).collect())
}

/// The rows of the right side may be as old as they like.
fn looking_back(
    join: &AsOfJoin,
    left: &[Option<i64>],
    right: &[Option<i64>],
    waits: Option<i64>,
) -> Option<Vec<Option<i64>>> {
    let (time, constant) = shifted(&join.left_time, join.left.schema())?;
    // A row waits until the watermark of the other side has passed it; a table without one holds nothing up.
    let lag = match waits {
        Some(waits) => left[time]?.max(waits.saturating_add(constant)),
        None if is_table(&join.right) => left[time]?,
        None => return None,
    };
    let of = |column: usize| left[column].and_then(|_| Some(lag + behind(&join.left, time, column)?));
    let lags = (0..left.len()).map(of).chain(right.iter().map(|_| None));
    Some(lags.collect())
}

/// By how much a column of event time can be less than another one of the same row, if that is bounded.
pub(crate) fn behind(plan: &LogicalPlan, time: usize, column: usize) -> Option<i64> {
    if time == column {
        return Some(0);
    }
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<RelationSource>()?;
            let place = |column: usize| match &scan.projection {
                Some(columns) => columns.get(column).copied(),
                None => Some(column),
            };
            behind(source.plan.as_ref()?, place(time)?, place(column)?)
        }
        LogicalPlan::Projection(projection) => {
            let place = |column: usize| match projection.expr[column].clone().unalias_nested().data {
                Expr::Column(column) => projection.input.schema().maybe_index_of_column(&column),
                _ => None,
            };
            behind(&projection.input, place(time)?, place(column)?)
        }
        LogicalPlan::Filter(filter) => behind(&filter.input, time, column),
        LogicalPlan::SubqueryAlias(alias) => behind(&alias.input, time, column),
        LogicalPlan::Aggregate(aggregate) => {
            let windows = windows_of(&aggregate.input)?;
            let bound = |column: usize| {
                let group = aggregate.group_expr.get(column)?;
                windows.bound(&windows.substituted(group, &aggregate.input).ok()?)
            };
            match (bound(time)?, bound(column)?) {
                (Bound::End, Bound::Start) => size_of(windows.assign),
                _ => Some(0),
            }
        }
        LogicalPlan::Extension(_) => {
            let assign = AssignWindow::of(plan)?;
            let (start, end) =
                (assign.input.schema().fields().len(), assign.input.schema().fields().len() + 1);
            let row = assign.input.schema().index_of_column(&assign.time).ok()?;
            match (time, column) {
                (time, column) if time < start && column < start => behind(&assign.input, time, column),
                (time, column) if time == end && column == start => size_of(assign),
                (time, column) if time == start && column == end => Some(0),
                // The time of a row lies in its window.
                (time, column) if time == row && column == start => size_of(assign),
                (time, column) if time == row && column == end => Some(0),
                (time, column) if time == start && column == row => Some(0),
                (time, column) if time == end && column == row => size_of(assign),
                _ => None,
            }
        }
        _ => None,
    }
}
