//! `ASOF JOIN` and the versions of a table.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan};
use lineshaft_engine::plan::{Input, Origin};
use lineshaft_operators::join::{AsOfJoin as Operator, AsOfOptions, TimedSide};

use super::join::Side;
use super::join_interval::by_key;
use super::revision::Expected;
use super::{Lowering, Result};
use crate::as_of::AsOfJoin;
use crate::error::QueryError;
use crate::event_time::is_table;
use crate::time_bound::lag_of;
use crate::window_function::external;

impl Lowering<'_> {
    pub(super) fn as_of_join(&mut self, join: &AsOfJoin) -> Result<Origin> {
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        let (left, left_side) = self.as_of_side(&join.left, left_keys, &join.left_time)?;
        let (right, right_side) = self.as_of_side(&join.right, right_keys, &join.right_time)?;
        let schema =
            Arc::new(datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(join).as_arrow().clone());
        let options = AsOfOptions {
            left: left_side,
            right: right_side,
            nearest: join.nearest,
            keeps_left: join.keeps_left,
            schema: Arc::clone(&schema),
        };
        let inputs = [left, right].map(|side| Input { from: side.origin, route: by_key(&side.keys) });
        Ok(self.node("as-of join", inputs.into(), vec![schema], false, move |_| {
            Ok(Box::new(Operator::new(options.clone())?))
        }))
    }

    /// Lowers a side with its keys and its time.
    fn as_of_side(&mut self, plan: &LogicalPlan, keys: Vec<Expr>, time: &Expr) -> Result<(Side, TimedSide)> {
        let lag = lag_of(time, plan.schema(), &self.times(plan));
        let lag = lag.ok_or_else(|| {
            let message = format!("an ASOF JOIN compares event times, and {time} is none");
            let help = "declare it with WATERMARK FOR in its source or table";
            external(QueryError::invalid(message, None).with_help(help))
        })?;
        let mut compared = keys;
        compared.push(time.clone());
        // All versions of a row of a table count, not the newest alone.
        let outer = std::mem::replace(&mut self.reads_tables, is_table(plan));
        let side = self.expecting(Expected::Final, |lowering| lowering.side(plan, &compared));
        self.reads_tables = outer;
        let mut side = side?;
        self.only_added(side.origin, "ASOF JOIN")?;
        let time = side.keys.pop().unwrap_or_default();
        let timed = self.timed_side(plan, &side, time, Some(lag));
        Ok((side, timed))
    }
}
