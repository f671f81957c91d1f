use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::Schema;
use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::logical_expr::{Volatility, create_udf};
use datafusion::prelude::col;

use super::*;

/// An accumulator of whole numbers.
fn accumulator(call: &Expr) -> Box<dyn Accumulator> {
    let schema = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
    let schema = DFSchema::try_from(schema).unwrap();
    aggregate(call, &schema, &mut Arguments::default()).unwrap().accumulator().unwrap()
}

fn calls() -> [Expr; 3] {
    [sum(col("x")), min(col("x")), max(col("x"))]
}

fn column(values: &[Option<i64>]) -> [ArrayRef; 1] {
    [Arc::new(values.iter().copied().collect::<Int64Array>())]
}

#[test]
fn a_group_without_a_value_has_no_result_whatever_came_before_it_was_told_of() {
    for call in calls() {
        let mut rows = accumulator(&call);
        // Two groups are told of, and the rows of one of them come later.
        rows.update(&column(&[Some(4)]), &[1], None, 3).unwrap();
        rows.update(&column(&[None, Some(6)]), &[0, 2], None, 3).unwrap();
        let found = rows.evaluate().unwrap();
        assert_eq!((found.len(), found.null_count(), found.is_null(0)), (3, 1, true), "{call}");
    }
}

#[test]
fn a_group_without_a_partial_result_has_none_after_those_of_others() {
    for call in calls() {
        let (mut part, mut merged) = (accumulator(&call), accumulator(&call));
        part.update(&column(&[Some(4)]), &[0], None, 1).unwrap();
        merged.merge(&part.state().unwrap(), &[1], 3).unwrap();
        merged.update(&column(&[None, Some(6)]), &[0, 2], None, 3).unwrap();
        let found = merged.evaluate().unwrap();
        assert_eq!((found.len(), found.null_count(), found.is_null(0)), (3, 1, true), "{call}");
        merged.update(&column(&[Some(1)]), &[0], None, 1).unwrap();
        assert_eq!(merged.evaluate().unwrap().null_count(), 0, "it begins anew");
    }
}

#[test]
fn a_function_that_panics_has_no_value_for_the_row() {
    let number = DataType::Int64;
    let breaks = create_udf(
        "breaks",
        vec![number.clone()],
        number.clone(),
        Volatility::Immutable,
        Arc::new(|_| panic!("a fault of a kernel, provoked")),
    );
    let schema = Schema::new(vec![Field::new("x", number, true)]);
    let rows = RecordBatch::try_new(Arc::new(schema.clone()), column(&[Some(1)]).to_vec()).unwrap();
    let call = expression(&breaks.call(vec![col("x")]), &DFSchema::try_from(schema).unwrap()).unwrap();
    let Err(Error::Row { expression, reason }) = call.evaluate(&rows) else { panic!("no value is expected") };
    assert_eq!((expression.as_str(), reason.as_str()), ("breaks(x)", "the function has panicked"));
}

#[test]
fn a_computed_nan_is_the_one_of_all_others() {
    let schema = Schema::new(vec![Field::new("x", DataType::Float64, true)]);
    let named = DFSchema::try_from(schema.clone()).unwrap();
    let zeros: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![Some(0.0), None, Some(-1.0)]));
    let rows = RecordBatch::try_new(Arc::new(schema), vec![zeros]).unwrap();
    // A processor may give it a sign.
    let quotient = expression(&(-(col("x") / col("x"))), &named).unwrap().evaluate(&rows).unwrap();
    let quotient = quotient.as_primitive::<Float64Type>();
    assert_eq!(quotient.value(0).to_bits(), f64::NAN.to_bits());
    assert_eq!((quotient.iter().nth(1), quotient.value(2)), (Some(None), -1.0));
}
