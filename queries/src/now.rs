//! `now()`: the time of the epoch that a row came in. In a plan it is a function without a value, for which a column is put in
//! when it is lowered (`plan/stamp.rs`).

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    cast,
};
use lineshaft_engine::TIMESTAMP;

use crate::error::QueryError;

const NOW: &str = "now";

/// `now()`, also as `current_timestamp`; and `current_date`, also as `today()`.
pub(crate) fn functions() -> [ScalarUDF; 2] {
    [
        ScalarUDF::from(Now::new()),
        ScalarUDF::from(CurrentDate { signature: volatile(), aliases: ["today".into()] }),
    ]
}

/// True for a call that stands for the time of the epoch.
pub(crate) fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Now>().is_some()
        || call.func.inner().downcast_ref::<CurrentDate>().is_some())
}

/// True if the value of an expression depends on the time of the epoch.
pub(crate) fn has_now(expr: &Expr) -> bool {
    expr.exists(|part| Ok(is_now(part))).unwrap_or(true)
}

/// True if any row of a plan does.
pub(crate) fn plan_has_now(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let looked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= has_now(expr);
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })
    });
    found || looked.is_err()
}

/// Where `now()` stands and has no time.
pub(crate) fn not_here() -> QueryError {
    let error = QueryError::not_supported("now() here", None);
    error.with_help(
        "give each row its time in a view, as in SELECT *, now() AS seen FROM readings, and use that",
    )
}

/// Another value at each epoch: nothing may be folded or moved.
fn volatile() -> Signature {
    Signature::nullary(Volatility::Volatile)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    signature: Signature,
    aliases: [String; 1],
}

impl Now {
    fn new() -> Self {
        Self { signature: volatile(), aliases: ["current_timestamp".into()] }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        NOW
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(TIMESTAMP)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("now() has a value in a stream only")
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentDate {
    signature: Signature,
    aliases: [String; 1],
}

impl ScalarUDFImpl for CurrentDate {
    fn name(&self) -> &str {
        "current_date"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("current_date has a value in a stream only")
    }

    fn simplify(&self, _: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Simplified(cast(
            ScalarUDF::from(Now::new()).call(Vec::new()),
            DataType::Date32,
        )))
    }
}
