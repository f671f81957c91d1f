//! `ASOF JOIN` and the versions of a table.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use lineshaft_engine::TIMESTAMP;
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::join::{AsOfJoin as Operator, AsOfOptions, TimedSide};

use super::join::Side;
use super::join_interval::by_key;
use super::revision::Expected;
use super::{Lowering, Result, compact};
use crate::as_of::AsOfJoin;
use crate::error::QueryError;
use crate::event_time::is_table;
use crate::time_bound::lag_of;
use crate::window_function::external;

impl Lowering<'_> {
    pub(super) fn as_of_join(&mut self, join: &AsOfJoin) -> Result<Origin> {
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        let (left, left_side) = self.as_of_side(&join.left, left_keys, &join.left_time, true)?;
        let (right, right_side) = self.as_of_side(&join.right, right_keys, &join.right_time, false)?;
        let declared = datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(join).as_arrow();
        // A table that has no watermark to wait for: every worker has the whole of it.
        let right_is_complete = self.plan.is_timeless(right.origin);
        let schema = compact::beside(&left_side.schema, left_side.width, declared, right_is_complete);
        let options = AsOfOptions {
            left: left_side,
            right: right_side,
            right_is_complete,
            nearest: join.nearest,
            keeps_left: join.keeps_left,
            schema: Arc::clone(&schema),
        };
        let routes = match right_is_complete {
            true => [Route::Local, Route::Broadcast],
            false => [by_key(&left.keys), by_key(&right.keys)],
        };
        let inputs = [left, right].into_iter().zip(routes);
        let inputs = inputs.map(|(side, route)| Input { from: side.origin, route }).collect();
        let origin = self.node("as-of join", inputs, vec![schema], false, move |_| {
            Ok(Box::new(Operator::new(options.clone())?))
        });
        if right_is_complete {
            self.mark_ordered(origin);
        }
        Ok(origin)
    }

    /// Lowers a side with its keys and its time; only text of the left may come as dictionaries.
    fn as_of_side(
        &mut self,
        plan: &LogicalPlan,
        keys: Vec<Expr>,
        time: &Expr,
        is_left: bool,
    ) -> Result<(Side, TimedSide)> {
        let lag = lag_of(time, plan.schema(), &self.times(plan));
        let is_table = is_table(plan);
        let is_time = time.get_type(plan.schema())? == TIMESTAMP;
        if lag.is_none() && !(is_table && is_time) {
            let message = format!("an ASOF JOIN compares event times, and {time} is none");
            let help = "declare it with WATERMARK FOR in its source, or join with a table";
            return Err(external(QueryError::invalid(message, None).with_help(help)));
        }
        let mut compared = keys;
        compared.push(time.clone());
        // All versions of a row of a table count, not the newest alone.
        let outer = std::mem::replace(&mut self.reads_tables, is_table);
        let side = self.expecting(Expected::Final, |lowering| match is_left && !is_table {
            true => lowering.compact_side(plan, &compared),
            false => lowering.side(plan, &compared),
        });
        self.reads_tables = outer;
        let mut side = side?;
        self.only_added(side.origin, "ASOF JOIN")?;
        let time = side.keys.pop().unwrap_or_default();
        let timed = self.timed_side(plan, &side, time, lag);
        Ok((side, timed))
    }
}
