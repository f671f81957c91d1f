//! The aggregates against the kernels, over groups, partial states, frames and arrays.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};

use super::ENTRIES;
use super::aggregate::Call;
use super::feature::{Feature, Kernel, Time};
use super::parameter::{Parameter, whole};
use super::testing::*;
use super::value::Value;

fn parameters(feature: &Feature) -> Vec<f64> {
    let value = |name: &str| match name {
        "p" => 95.0,
        "bins" => 10.0,
        "lag" => 3.0,
        "level" => 0.1,
        "hysteresis" => 0.3,
        "rate_hz" => 1000.0,
        "low_hz" => 40.0,
        "high_hz" => 200.0,
        "fraction" => 0.85,
        "n" => 3.0,
        "segment" => 64.0,
        "order" if feature.name.ends_with("zero_phase") => 2.0,
        "order" => 3.0,
        "hz" => 10.0,
        "q" => 0.01,
        "levels" => 3.0,
        "rpm_start" => 3000.0,
        "rpm_end" => 6000.0,
        "low_order" => 0.5,
        "high_order" => 2.0,
        "per_turn" => 16.0,
        "delay" | "harmonics" => 2.0,
        "m" => 2.0,
        "r" => 0.2,
        "lsl" => -0.3,
        "usl" => 0.8,
        "rpm" => 1200.0,
        "kind" => 1.0,
        "balls" => 9.0,
        "ball_diameter" => 0.3126,
        "pitch_diameter" => 1.537,
        "angle_deg" => 10.0,
        "slip" => 0.05,
        _ => panic!("no value for {name}"),
    };
    feature.parameters.iter().map(|parameter| value(parameter.name)).collect()
}

/// The same as they stand in a call.
fn literals(feature: &Feature) -> Vec<ScalarValue> {
    let literal = |(parameter, value): (&Parameter, f64)| match parameter.words {
        [] => ScalarValue::from(value),
        words => ScalarValue::from(words[whole(value)]),
    };
    feature.parameters.iter().zip(parameters(feature)).map(literal).collect()
}

/// The call in SQL; with times where they count.
fn call(feature: &Feature, x: &str, ts: &str) -> String {
    let mut arguments = vec![x.to_owned()];
    arguments.extend(literals(feature).iter().map(|value| match value {
        ScalarValue::Utf8(Some(word)) => format!("'{word}'"),
        number => number.to_string(),
    }));
    if feature.time != Time::Ignored {
        arguments.push(ts.to_owned());
    }
    format!("{}({})", feature.name, arguments.join(", "))
}

/// What the kernel gives for a group of `noise`.
fn expected(feature: &Feature, group: &str) -> Value {
    let timed = feature.time != Time::Ignored;
    let rows = (0..NOISE_ROWS).map(noise_row).filter(|row| row.0 == group);
    let rows = rows.filter_map(|(_, ts, x)| {
        let ts = if timed { ts? } else { 0 };
        Some((x.filter(|x| !x.is_nan())?, ts))
    });
    let (samples, times): (Vec<f64>, Vec<i64>) = rows.unzip();
    feature.evaluate(samples.into(), timed.then_some(times.into()), &parameters(feature))
}

fn assert_close(what: &str, found: &Value, expected: &Value) {
    let is_close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs() + 1e-12;
    let close = match (found, expected) {
        (Value::Number(Some(found)), Value::Number(Some(expected))) => is_close((found, expected)),
        (Value::List(Some(found)), Value::List(Some(expected))) => {
            found.len() == expected.len() && found.iter().zip(expected).all(is_close)
        }
        _ => found == expected,
    };
    assert!(close, "{what}: {found:?}, expected {expected:?}");
}

fn values(column: &ArrayRef) -> Vec<Value> {
    let list = |list: ArrayRef| list.as_primitive::<Float64Type>().values().to_vec();
    match column.data_type() {
        DataType::List(_) => {
            column.as_list::<i32>().iter().map(|found| Value::List(found.map(list))).collect()
        }
        _ => column.as_primitive::<Float64Type>().iter().map(Value::Number).collect(),
    }
}

/// Compares column `i + 1` of three rows, groups a, b, c, with the kernel of feature `i`.
fn assert_groups(batches: &[RecordBatch]) {
    let rows = datafusion::arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap();
    assert_eq!(rows.num_rows(), 3);
    for (entry, column) in ENTRIES.iter().zip(&rows.columns()[1..]) {
        for (found, group) in values(column).iter().zip(["a", "b", "c"]) {
            let expected = expected(entry.feature, group);
            let is_none = matches!(expected, Value::Number(None) | Value::List(None));
            assert!(!is_none, "{} of {group}", entry.feature.name);
            assert_close(entry.feature.name, found, &expected);
        }
    }
}

fn all_calls(x: &str, ts: &str) -> String {
    let calls: Vec<String> = ENTRIES.iter().map(|entry| call(entry.feature, x, ts)).collect();
    calls.join(", ")
}

#[tokio::test]
async fn grouped_results_over_partitions_are_those_of_the_kernels() {
    let sql = format!("SELECT g, {} FROM noise GROUP BY g ORDER BY g", all_calls("x", "ts"));
    assert_groups(&execute(&context(), &sql).await.unwrap());
}

#[tokio::test]
async fn results_without_groups_are_those_of_the_kernels() {
    let one = |group: &str| {
        format!("SELECT '{group}' AS g, {} FROM noise WHERE g = '{group}'", all_calls("x", "ts"))
    };
    let sql = format!("{} UNION ALL {} UNION ALL {} ORDER BY g", one("a"), one("b"), one("c"));
    assert_groups(&execute(&context(), &sql).await.unwrap());
}

#[tokio::test]
async fn the_array_form_gives_what_the_aggregate_gives() {
    // Without times for the functions that only sort by them, so these rows are left in here as well.
    let sql = format!(
        "SELECT g, {} FROM (SELECT g, array_agg(x) AS w, array_agg(ts) AS times FROM \
         (SELECT * FROM noise ORDER BY ts) GROUP BY g) ORDER BY g",
        all_calls("w", "times")
    );
    assert_groups(&execute(&context(), &sql).await.unwrap());
}

#[tokio::test]
async fn distinct_values_count_once() {
    let sql = "SELECT rms(DISTINCT x), median(DISTINCT x), abs_energy(DISTINCT x) \
               FROM (VALUES (1.0), (2.0), (2.0), (2.0), (4.0)) AS v(x)";
    assert_eq!(table(&context(), sql).await, format!("{} | 2.0 | 21.0", 7.0_f64.sqrt()));
}

#[tokio::test]
async fn a_frame_that_slides_forgets_the_rows_that_left() {
    let sql = "SELECT peak_to_peak(x) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), \
               rms(x) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), \
               abs_energy(x) OVER (ORDER BY i) \
               FROM (VALUES (1, 1e10), (2, 3.0), (3, NULL), (4, 4.0), (5, 4.0)) AS v(i, x) ORDER BY i";
    let rows = table(&context(), sql).await;
    let columns: Vec<&str> = rows.lines().map(|line| line.rsplit_once(" | ").unwrap().0).collect();
    assert_eq!(columns[0], "0.0 | 10000000000.0");
    assert_eq!(columns[2..], ["0.0 | 3.0", "0.0 | 4.0", "0.0 | 4.0"]);
    assert!(rows.lines().all(|line| line.contains("1e20") || line.contains("100000000000000000")), "{rows}");
}

#[tokio::test]
async fn a_parameter_must_be_a_constant_within_its_range() {
    for (sql, expected) in [
        ("SELECT percentile(x, x) FROM noise", "percentile: p must be a constant"),
        ("SELECT percentile(x, 0.95) FROM noise", "percentile: p must be a percentage"),
        (
            "SELECT entropy(x, 2.5) FROM noise",
            "entropy: bins must be a whole number from 1 to 65536, not 2.5",
        ),
        ("SELECT slope(DISTINCT x) FROM noise", "slope depends on the order of the rows"),
    ] {
        let found = execute(&context(), sql).await.unwrap_err().to_string();
        assert!(found.contains(expected), "{sql}: {found}");
    }
}

/// An accumulator over the columns x and ts.
fn groups(feature: &'static Feature) -> Box<dyn GroupsAccumulator> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Schema::new(vec![Field::new("x", DataType::Float64, true), Field::new("ts", time, true)]);
    let mut exprs: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("x", 0))];
    for value in literals(feature) {
        exprs.push(Arc::new(Literal::new(value)));
    }
    if feature.time != Time::Ignored {
        exprs.push(Arc::new(Column::new("ts", 1)));
    }
    let fields: Vec<_> = exprs.iter().map(|expr| expr.return_field(&schema).unwrap()).collect();
    let entry = super::find(feature.name).unwrap();
    let args = AccumulatorArgs {
        return_field: Arc::new(Field::new("result", DataType::Float64, true)),
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: feature.name,
        is_distinct: false,
        exprs: &exprs,
        expr_fields: &fields,
    };
    entry.aggregate.create_groups_accumulator(args).unwrap()
}

/// Columns of `noise` and the groups of its rows.
fn columns(feature: &Feature, rows: std::ops::Range<u32>) -> (Vec<ArrayRef>, Vec<usize>) {
    let rows: Vec<_> = rows.map(noise_row).collect();
    let x: Float64Array = rows.iter().map(|row| row.2).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(x)];
    columns.extend(parameters(feature).iter().map(|value| {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![*value; rows.len()]));
        column
    }));
    if feature.time != Time::Ignored {
        let ts: datafusion::arrow::array::TimestampMicrosecondArray = rows.iter().map(|row| row.1).collect();
        columns.push(Arc::new(ts));
    }
    let groups = rows.iter().map(|row| usize::from(row.0.as_bytes()[0] - b'a'));
    (columns, groups.collect())
}

#[test]
fn partial_states_merged_in_order_give_what_one_pass_gives() {
    for feature in ENTRIES.iter().map(|entry| entry.feature) {
        let mut merged = groups(feature);
        for start in [0, 1000, 2000] {
            let mut part = groups(feature);
            let (columns, of_row) = columns(feature, start..start + 1000);
            part.update_batch(&columns, &of_row, None, 3).unwrap();
            let state = part.state(EmitTo::All).unwrap();
            merged.merge_batch(&state, &[0, 1, 2], 3).unwrap();
        }
        let found = merged.evaluate(EmitTo::All).unwrap();
        for (found, group) in values(&found).iter().zip(["a", "b", "c"]) {
            assert_close(feature.name, found, &expected(feature, group));
        }
    }
}

#[test]
fn groups_whose_rows_are_all_there_give_what_an_accumulator_gives() {
    for feature in ENTRIES.iter().map(|entry| entry.feature) {
        let timed = feature.time != Time::Ignored;
        let call = Call { feature, parameters: parameters(feature), distinct: false, timed };
        let (columns, of_row) = columns(feature, 0..NOISE_ROWS);
        let mut order: Vec<u32> = (0..NOISE_ROWS).collect();
        order.sort_by_key(|row| of_row[*row as usize]);
        let order = UInt32Array::from(order);
        let sorted = call.of_rows(&columns).into_iter();
        let sorted: Vec<_> = sorted.map(|column| take(&column, &order, None).unwrap()).collect();
        let rows = |groups: usize| of_row.iter().filter(|group| **group < groups).count();
        let found = call.of_whole_groups(&sorted, &[rows(1), rows(2), rows(3), rows(3)]);
        for (found, group) in values(&found).iter().zip(["a", "b", "c"]) {
            assert_close(feature.name, found, &expected(feature, group));
        }
        assert!(found.len() == 4 && found.is_null(3), "{}", feature.name);
    }
}

#[test]
fn a_group_without_samples_is_null_and_emitted_groups_are_forgotten() {
    for feature in ENTRIES.iter().map(|entry| entry.feature) {
        let mut accumulator = groups(feature);
        let empty = accumulator.size();
        let (columns, of_row) = columns(feature, 0..1000);
        // Group 0 stays empty.
        let shifted: Vec<usize> = of_row.iter().map(|group| group + 1).collect();
        accumulator.update_batch(&columns, &shifted, None, 4).unwrap();
        assert!(accumulator.size() > empty);
        let first = accumulator.evaluate(EmitTo::First(2)).unwrap();
        assert!(first.is_null(0) && first.is_valid(1), "{}", feature.name);
        let rest = accumulator.evaluate(EmitTo::All).unwrap();
        assert_eq!((rest.len(), rest.null_count()), (2, 0), "{}", feature.name);
        let collects = !matches!(feature.kernel, Kernel::Samples(_)) || feature.sums.is_none();
        assert!(!collects || accumulator.size() <= empty + 1024, "{}", feature.name);
    }
}
