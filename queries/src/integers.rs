//! `a + b`, `a - b`, `a * b` and `-a` of whole numbers have no value where the result is out of range, as in SQL; DataFusion
//! would begin anew at the other end.

use std::sync::Arc;

use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    BinaryExpr as LogicalBinary, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, cast, lit,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;

/// An expression that fails where a whole number is out of range.
///
/// # Errors
/// If its types are unknown.
pub(crate) fn checked(physical: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let checked = physical.transform_up(|expr| {
        let data_type = expr.data_type(schema)?;
        if !data_type.is_integer() {
            return Ok(Transformed::no(expr));
        }
        let of = |left: &Arc<dyn PhysicalExpr>, op, right: &Arc<dyn PhysicalExpr>| -> Arc<dyn PhysicalExpr> {
            let binary = BinaryExpr::new(Arc::clone(left), op, Arc::clone(right));
            Arc::new(binary.with_fail_on_overflow(true))
        };
        let checked = if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
            let zero: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
            Some(of(&zero, Operator::Minus, negative.arg()))
        } else {
            expr.downcast_ref::<BinaryExpr>()
                .filter(|binary| kernel(*binary.op()).is_some())
                .map(|binary| of(binary.left(), *binary.op(), binary.right()))
        };
        Ok(checked.map_or_else(|| Transformed::no(expr), Transformed::yes))
    })?;
    Ok(checked.data)
}

type Kernel = fn(
    &dyn arrow::array::Datum,
    &dyn arrow::array::Datum,
) -> std::result::Result<arrow::array::ArrayRef, arrow::error::ArrowError>;

fn kernel(op: Operator) -> Option<Kernel> {
    match op {
        Operator::Plus => Some(numeric::add),
        Operator::Minus => Some(numeric::sub),
        Operator::Multiply => Some(numeric::mul),
        _ => None,
    }
}

/// The same for what DataFusion runs itself.
#[derive(Debug)]
pub(crate) struct CheckedIntegers;

impl FunctionRewrite for CheckedIntegers {
    fn name(&self) -> &'static str {
        "checked_integers"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        if !matches!(expr, Expr::BinaryExpr(_) | Expr::Negative(_)) {
            return Ok(Transformed::no(expr));
        }
        // What has no type is told when types are made equal.
        let Some(data_type) = expr.get_type(schema).ok().filter(DataType::is_integer) else {
            return Ok(Transformed::no(expr));
        };
        let (left, op, right) = match expr {
            Expr::BinaryExpr(LogicalBinary { left, op, right }) if kernel(op).is_some() => {
                (*left, op, *right)
            }
            Expr::Negative(inner) => (lit(ScalarValue::new_zero(&data_type)?), Operator::Minus, *inner),
            other => return Ok(Transformed::no(other)),
        };
        let function = ScalarUDF::from(CheckedInteger::new(op));
        Ok(Transformed::yes(function.call(vec![cast(left, data_type.clone()), cast(right, data_type)])))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedInteger {
    op: Operator,
    name: String,
    signature: Signature,
}

impl CheckedInteger {
    fn new(op: Operator) -> Self {
        Self { op, name: op.to_string(), signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CheckedInteger {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (args.args.as_slice(), kernel(self.op)) {
            ([left, right], Some(kernel)) => apply(left, right, kernel),
            _ => datafusion::common::internal_err!("{} of whole numbers takes two of them", self.op),
        }
    }
}
