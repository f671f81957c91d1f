//! Two streams joined by their event times: equal, as those of windows, or within an interval. Any other join of them is
//! a changelog.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan};
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::join::{IntervalJoin, IntervalOptions, JoinKind, TimedSide};

use super::join::Side;
use super::revision::Expected;
use super::{Lowering, Result};
use crate::program::arrow_schema;
use crate::time_bound::{TimeBound, conditions, time_bound};

impl Lowering<'_> {
    pub(super) fn interval_join(&mut self, join: &Join) -> Result<Origin> {
        let (left_times, right_times) = (self.times(&join.left), self.times(&join.right));
        let (Some(bound), Some(kind)) = (time_bound(join, &left_times, &right_times), kind(join.join_type))
        else {
            return self.changelog_join(join);
        };
        if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty() || join.null_aware {
            return self.changelog_join(join);
        }
        let (left_keys, right_keys) = keys(join, &bound);
        let left = self.expecting(Expected::Final, |lowering| lowering.side(&join.left, &left_keys))?;
        let right = self.expecting(Expected::Final, |lowering| lowering.side(&join.right, &right_keys))?;
        if self.plan.is_changelog(left.origin) || self.plan.is_changelog(right.origin) {
            return self.changelog_join(join);
        }
        let rest = conditions(join).into_iter().enumerate();
        let rest = rest.filter(|(place, _)| !bound.filters.contains(place)).map(|(_, part)| part.clone());
        let residual = conjunction(rest.collect::<Vec<_>>());
        let [left_side, right_side] = [
            self.timed_side(&join.left, &left, bound.left, left_times[bound.left]),
            self.timed_side(&join.right, &right, bound.right, right_times[bound.right]),
        ];
        let mut sides = [(join.left.as_ref(), &left), (join.right.as_ref(), &right)];
        let (mut lower, mut upper) = (bound.lower, bound.upper);
        let (mut first, mut second) = (left_side, right_side);
        if matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti) {
            sides.reverse();
            std::mem::swap(&mut first, &mut second);
            (lower, upper) = (upper.saturating_neg(), lower.saturating_neg());
        }
        let residual = residual.map(|residual| self.residual(&residual, sides)).transpose()?;
        let schema = Arc::new(join.schema.as_arrow().clone());
        let inputs = sides.map(|(_, side)| Input { from: side.origin, route: by_key(&side.keys) });
        let options = IntervalOptions {
            left: first,
            right: second,
            lower,
            upper,
            kind,
            residual,
            schema: Arc::clone(&schema),
        };
        let name = if lower == upper { "window join" } else { "interval join" };
        Ok(self.node(name, inputs.into(), vec![schema], false, move |_| {
            Ok(Box::new(IntervalJoin::new(options.clone())?))
        }))
    }

    /// A lowered side, whose column `time` stays `lag` behind the watermark.
    pub(super) fn timed_side(
        &self,
        plan: &LogicalPlan,
        side: &Side,
        time: usize,
        lag: Option<i64>,
    ) -> TimedSide {
        TimedSide {
            keys: side.keys.clone(),
            time,
            lag: lag.unwrap_or_default(),
            schema: self.plan.schema(side.origin),
            width: arrow_schema(plan).fields().len(),
        }
    }
}

/// What is compared besides the time. If that is nothing, equal times are what the rows are distributed by.
fn keys(join: &Join, bound: &TimeBound) -> (Vec<Expr>, Vec<Expr>) {
    let rest = |place: usize| !bound.on.contains(&place);
    let has_rest = (0..join.on.len()).any(rest);
    let pairs = join.on.iter().enumerate().filter(|(place, _)| !has_rest || rest(*place));
    pairs.map(|(_, pair)| pair.clone()).unzip()
}

/// Rows with the same key meet on one worker.
pub(super) fn by_key(keys: &[usize]) -> Route {
    if keys.is_empty() { Route::Gather } else { Route::ByKey(keys.to_vec()) }
}

/// `None` for a join that says of each row whether it has met something.
fn kind(join_type: JoinType) -> Option<JoinKind> {
    Some(match join_type {
        JoinType::Inner => JoinKind::Pairs { keeps: [false, false] },
        JoinType::Left => JoinKind::Pairs { keeps: [true, false] },
        JoinType::Right => JoinKind::Pairs { keeps: [false, true] },
        JoinType::Full => JoinKind::Pairs { keeps: [true, true] },
        JoinType::LeftSemi | JoinType::RightSemi => JoinKind::Semi,
        JoinType::LeftAnti | JoinType::RightAnti => JoinKind::Anti,
        JoinType::LeftMark | JoinType::RightMark => return None,
    })
}
