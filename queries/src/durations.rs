//! `extract(part FROM a - b)` as PostgreSQL and DuckDB have it: `epoch` with the fraction of a second, which DataFusion leaves
//! out of what is between two times; `minute` as the minutes beyond the hours, where DataFusion gives all of them.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};

/// The parts of what is between two times.
#[derive(Debug)]
pub(crate) struct PartsOfDurations;

impl FunctionRewrite for PartsOfDurations {
    fn name(&self) -> &'static str {
        "parts_of_durations"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
        let part = match call.args.as_slice() {
            [Expr::Literal(part, _), _] if call.name() == "date_part" => part.try_as_str().flatten(),
            _ => None,
        };
        let Some(part) = part.map(str::to_ascii_lowercase) else {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        };
        if !matches!(call.args[1].get_type(schema)?, DataType::Duration(_)) {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        if part == "epoch" {
            call.args[1] = cast(call.args[1].clone(), DataType::Interval(IntervalUnit::MonthDayNano));
            return Ok(Transformed::yes(Expr::ScalarFunction(call)));
        }
        let Some((unit, count)) = unit_of(&part) else {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        };
        let micros =
            cast(cast(call.args[1].clone(), DataType::Duration(TimeUnit::Microsecond)), DataType::Int64);
        Ok(Transformed::yes(cast(micros / lit(unit) % lit(count), DataType::Int32)))
    }
}

/// Microseconds of a part, and how many of it make one of the next larger part.
fn unit_of(part: &str) -> Option<(i64, i64)> {
    Some(match part {
        "hour" | "hours" => (3_600_000_000, 24),
        "minute" | "minutes" => (60_000_000, 60),
        "second" | "seconds" => (1_000_000, 60),
        "millisecond" | "milliseconds" => (1_000, 60_000),
        "microsecond" | "microseconds" => (1, 60_000_000),
        _ => return None,
    })
}
