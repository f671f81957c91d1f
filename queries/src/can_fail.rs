//! Which expressions may have no value for a row: those whose rows can go aside.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

/// Functions of DataFusion that have a value, or NULL, for every row. What is not listed counts as one that may fail:
/// that costs an edge in the dataflow, and nothing per row.
const TOTAL: [&str; 35] = [
    "cbrt",
    "exp",
    "ln",
    "log",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "degrees",
    "radians",
    "signum",
    "isnan",
    "iszero",
    "nanvl",
    "coalesce",
    "nullif",
    "upper",
    "lower",
    "btrim",
    "ltrim",
    "rtrim",
    "character_length",
    "octet_length",
    "concat",
    "starts_with",
    "ends_with",
    "strpos",
];

/// Those that have one for every double: of decimals and whole numbers they may go beyond what the type has.
const ROUNDING: [&str; 4] = ["round", "floor", "ceil", "trunc"];

/// True if the expression may end in an error for some row.
pub(crate) fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    // An error means that the expression cannot be looked through, which is told elsewhere.
    expr.exists(|part| Ok(fails_itself(part, schema))).unwrap_or(true)
}

fn fails_itself(part: &Expr, schema: &DFSchema) -> bool {
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    match part {
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Case(_)
        | Expr::TryCast(_) => false,
        Expr::Like(like) => !matches!(like.pattern.as_ref(), Expr::Literal(..)),
        Expr::Negative(inner) => !type_of(inner).is_some_and(|found| found.is_floating()),
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Plus | Operator::Minus | Operator::Multiply => {
                !type_of(part).is_some_and(|found| found.is_floating())
            }
            Operator::Divide | Operator::Modulo => !type_of(part).is_some_and(|found| found.is_floating()),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::And
            | Operator::Or
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
            | Operator::StringConcat => false,
            _ => true,
        },
        Expr::Cast(cast) => match type_of(&cast.expr) {
            Some(from) => !has_place(&from, cast.field.data_type()),
            None => true,
        },
        Expr::ScalarFunction(call) if ROUNDING.contains(&call.func.name()) => {
            let is_of_double = call.args.first().and_then(type_of).is_some_and(|found| found.is_floating());
            !is_of_double || !call.args.iter().skip(1).all(is_small)
        }
        Expr::ScalarFunction(call) => !TOTAL.contains(&call.func.name()),
        _ => true,
    }
}

/// True for a literal that is a number of decimal places.
fn is_small(places: &Expr) -> bool {
    matches!(places, Expr::Literal(places, _) if places.to_string().parse::<i16>().is_ok())
}

/// True if every value of a type has its place in another.
fn has_place(from: &DataType, to: &DataType) -> bool {
    let width = |data_type: &DataType| data_type.primitive_width();
    match (from, to) {
        (from, to) if from == to => true,
        (from, DataType::Float32 | DataType::Float64) => from.is_numeric() || *from == DataType::Boolean,
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => width(from) <= width(to),
        (from, to) if from.is_unsigned_integer() && to.is_integer() => width(from) < width(to),
        (from, DataType::Utf8) => {
            from.is_numeric() || matches!(from, DataType::Boolean | DataType::Utf8View | DataType::LargeUtf8)
        }
        (DataType::Null, _) => true,
        _ => false,
    }
}
