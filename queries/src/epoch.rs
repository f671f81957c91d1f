//! `extract(epoch FROM a - b)` with the fraction of a second, which DataFusion leaves out of what is between two times.

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

/// Takes what is between two times as an interval, of which the fraction is kept.
#[derive(Debug)]
pub(crate) struct EpochOfDuration;

impl FunctionRewrite for EpochOfDuration {
    fn name(&self) -> &'static str {
        "epoch_of_duration"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
        let is_epoch = match call.args.as_slice() {
            [Expr::Literal(part, _), _] if call.name() == "date_part" => {
                part.try_as_str().flatten().is_some_and(|part| part.eq_ignore_ascii_case("epoch"))
            }
            _ => false,
        };
        if !is_epoch || !matches!(call.args[1].get_type(schema)?, DataType::Duration(_)) {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        call.args[1] = cast(call.args[1].clone(), DataType::Interval(IntervalUnit::MonthDayNano));
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    }
}
