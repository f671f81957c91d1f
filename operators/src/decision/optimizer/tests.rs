use arrow::array::TimestampMicrosecondArray;
use lineshaft_engine::batch::event_time_field;
use lineshaft_engine::expression::Expression;
use lineshaft_engine::testing::{Step, run_restarted};
use proptest::prelude::*;

use super::*;

/// A function of state `demand` (column 2) and variable `speed` (column 3).
struct Formula<T>(fn(f64, f64) -> T, DataType);

impl<T> std::fmt::Debug for Formula<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("formula")
    }
}

fn both(rows: &RecordBatch) -> Vec<(f64, f64)> {
    floats(rows.column(2)).unwrap().into_iter().zip(floats(rows.column(3)).unwrap()).collect()
}

impl Expression for Formula<f64> {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from_iter_values(both(rows).into_iter().map(|(d, s)| self.0(d, s)))))
    }

    fn data_type(&self) -> &DataType {
        &self.1
    }
}

impl Expression for Formula<bool> {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::new(both(rows).into_iter().map(|(d, s)| Some(self.0(d, s))).collect::<BooleanArray>()))
    }

    fn data_type(&self) -> &DataType {
        &self.1
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        event_time_field("ts"),
        Field::new("line", DataType::Utf8, true),
        Field::new("demand", DataType::Float64, true),
    ]))
}

/// Least `(speed - demand)^2` with speed in 0..100, at least 20 unless `free`; ticks of 10.
fn options() -> OptimizerOptions {
    let speed = Variable { name: "speed".into(), lower: 0.0, upper: 100.0, max_step: None, is_whole: false };
    OptimizerOptions {
        name: "setpoints".into(),
        variables: vec![speed],
        objective: Arc::new(Formula(|demand, speed| (speed - demand).powi(2), DataType::Float64)),
        constraints: Vec::new(),
        keys: vec![1],
        event_time: 0,
        interval: 10,
        seed: 7,
        evaluations: 1_000,
    }
}

fn at_least_twenty() -> Constraint {
    Constraint {
        holds: Arc::new(Formula(|_, speed| speed >= 20.0, DataType::Boolean)),
        violation: Some(Arc::new(Formula(|_, speed| 20.0 - speed, DataType::Float64))),
    }
}

fn batch(rows: &[(i64, &str, f64)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    Batch::new(RecordBatch::try_new(schema(), columns).unwrap())
}

fn optimizer(options: OptimizerOptions) -> Optimizer {
    Optimizer::new(options, schema()).unwrap()
}

/// Tick, key, speed to 3 digits, feasible, reason.
type Row = (i64, String, Option<String>, bool, Option<String>);

fn rows(output: &mut Output) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in output.take(0) {
        let batch = batch.into_rows();
        let speed = batch.column(2).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            rows.push((
                batch.column(0).as_primitive::<TimestampMicrosecondType>().value(row),
                batch.column(1).as_string::<i32>().value(row).to_owned(),
                speed.is_valid(row).then(|| format!("{:.3}", speed.value(row))),
                batch.column(4).as_boolean().value(row),
                batch.column(5).as_string::<i32>().iter().nth(row).unwrap().map(str::to_owned),
            ));
        }
    }
    rows
}

fn feed(optimizer: &mut Optimizer, given: &[(i64, &str, f64)], watermark: Watermark) -> Vec<Row> {
    let mut output = Output::new(1);
    if !given.is_empty() {
        optimizer.on_batch(0, batch(given), &mut output).unwrap();
    }
    optimizer.on_watermark(watermark, &mut output).unwrap();
    rows(&mut output)
}

fn good(tick: i64, key: &str, speed: &str) -> Row {
    (tick, key.to_owned(), Some(speed.to_owned()), true, None)
}

#[test]
fn each_key_is_solved_once_a_tick_for_its_newest_row() {
    let mut optimizer = optimizer(options());
    let given = [(3, "b", 33.0), (9, "a", 50.0), (4, "a", 10.0), (10, "b", 44.0), (11, "a", 60.0)];
    assert_eq!(feed(&mut optimizer, &given, Watermark(10)), []);
    assert_eq!(feed(&mut optimizer, &[], Watermark(11)), [good(10, "a", "50.000"), good(10, "b", "44.000")]);
    assert_eq!(feed(&mut optimizer, &[(35, "b", 1.0)], Watermark(36)), [good(20, "a", "60.000")]);
    assert_eq!(feed(&mut optimizer, &[], Watermark::END), [good(40, "b", "1.000")]);
}

#[test]
fn of_rows_with_one_event_time_the_later_counts_and_a_late_row_does_not() {
    let mut optimizer = optimizer(options());
    assert_eq!(feed(&mut optimizer, &[(5, "a", 10.0), (5, "a", 20.0)], Watermark(6)), []);
    assert_eq!(feed(&mut optimizer, &[(5, "a", 30.0)], Watermark(15)), [good(10, "a", "30.000")]);
    assert_eq!(feed(&mut optimizer, &[(9, "a", 99.0)], Watermark::END), []);
}

#[test]
fn results_do_not_depend_on_how_rows_are_batched() {
    let given: Vec<(i64, &str, f64)> = (0..60)
        .map(|i| (i, if i % 3 == 0 { "a" } else { "b" }, f64::from(i32::try_from(i * 7 % 90).unwrap())))
        .collect();
    let mut whole = optimizer(options());
    let expected = feed(&mut whole, &given, Watermark::END);
    let mut pieces = optimizer(options());
    let mut found = Vec::new();
    for row in &given {
        found.extend(feed(&mut pieces, std::slice::from_ref(row), Watermark(row.0)));
    }
    found.extend(feed(&mut pieces, &[], Watermark::END));
    assert_eq!(found, expected);
}

#[test]
fn a_step_limits_how_far_a_choice_moves_from_the_last() {
    let mut options = options();
    options.variables[0].max_step = Some(5.0);
    let mut optimizer = optimizer(options);
    let given = [(5, "a", 10.0), (15, "a", 90.0), (25, "a", 0.0), (25, "b", 90.0)];
    let rows = feed(&mut optimizer, &given, Watermark::END);
    let expected =
        [good(10, "a", "10.000"), good(20, "a", "15.000"), good(30, "a", "10.000"), good(30, "b", "90.000")];
    assert_eq!(rows, expected);
}

#[test]
fn a_whole_variable_is_chosen_among_whole_numbers() {
    let mut options = options();
    options.variables[0] =
        Variable { name: "speed".into(), lower: 0.5, upper: 30.9, max_step: Some(2.5), is_whole: true };
    let mut optimizer = optimizer(options);
    let given = [(5, "a", 23.9), (15, "a", 90.0), (25, "a", 0.0), (25, "b", 0.0), (25, "c", 90.0)];
    let rows = feed(&mut optimizer, &given, Watermark::END);
    let expected = [
        good(10, "a", "24.000"),
        good(20, "a", "26.000"),
        good(30, "a", "24.000"),
        good(30, "b", "1.000"),
        good(30, "c", "30.000"),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_constraint_moves_the_choice_or_is_named_when_nothing_is_allowed() {
    let mut free = options();
    free.constraints.push(at_least_twenty());
    let mut optimizer = optimizer(free.clone());
    assert_eq!(feed(&mut optimizer, &[(5, "a", 3.0)], Watermark::END), [good(10, "a", "20.000")]);
    free.variables[0].upper = 15.5;
    let mut optimizer = Optimizer::new(free, schema()).unwrap();
    let reason = Some("infeasible: constraint 1 by 4.500000".to_owned());
    let expected = (10, "a".to_owned(), Some("15.500".to_owned()), false, reason);
    assert_eq!(feed(&mut optimizer, &[(5, "a", 3.0)], Watermark::END), [expected]);
}

#[test]
fn a_cost_that_is_never_a_number_gives_no_values() {
    let mut optimizer = optimizer(options());
    let rows = feed(&mut optimizer, &[(5, "a", f64::NAN)], Watermark::END);
    assert_eq!(rows, [(10, "a".to_owned(), None, false, Some("cost is NaN".to_owned()))]);
}

#[test]
fn a_restored_optimizer_goes_on_as_if_nothing_happened() {
    let mut options = options();
    options.variables[0].max_step = Some(5.0);
    let mut undisturbed = optimizer(options.clone());
    let first = [(5, "a", 10.0), (15, "a", 90.0), (12, "b", 4.0)];
    let before = feed(&mut undisturbed, &first, Watermark(11));
    let mut restored = optimizer(options);
    restored.restore(undisturbed.snapshot().unwrap()).unwrap();
    let second = [(18, "b", 9.0), (9, "a", 1.0)];
    let expected = feed(&mut undisturbed, &second, Watermark::END);
    assert_eq!(before, [good(10, "a", "10.000")]);
    assert_eq!(feed(&mut restored, &second, Watermark::END), expected);
    assert_eq!(expected, [good(20, "a", "15.000"), good(20, "b", "9.000")]);
}

#[test]
fn ticks_at_the_ends_of_time_do_not_overflow() {
    let mut optimizer = optimizer(options());
    let given = [(i64::MAX - 1, "a", 1.0), (-15, "a", 2.0)];
    let rows = feed(&mut optimizer, &given, Watermark::END);
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [-10, i64::MAX]);
}

#[test]
fn without_keys_there_is_one_choice_a_tick() {
    let plain = OptimizerOptions { keys: Vec::new(), ..options() };
    let mut first = optimizer(plain.clone());
    let mut output = Output::new(1);
    first.on_batch(0, batch(&[(3, "a", 10.0), (4, "b", 30.0)]), &mut output).unwrap();
    let mut restored = optimizer(plain);
    restored.restore(first.snapshot().unwrap()).unwrap();
    restored.on_watermark(Watermark::END, &mut output).unwrap();
    let rows = output.take(0).remove(0).into_rows();
    assert_eq!((rows.num_rows(), rows.num_columns()), (1, 5));
    assert!((rows.column(1).as_primitive::<Float64Type>().value(0) - 30.0).abs() < 1e-3);
}

#[test]
fn bounds_out_of_order_are_refused() {
    let mut options = options();
    options.variables[0].lower = 200.0;
    let error = Optimizer::new(options, schema()).unwrap_err().to_string();
    assert_eq!(error, "optimizer \"setpoints\": the bounds 200 and 100 of speed are not finite and in order");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_state_is_choices_keep_bounds_and_steps(
        demands in prop::collection::vec(
            prop_oneof![4 => -50.0..150.0, 1 => prop::num::f64::ANY, 1 => Just(1e300), 1 => Just(f64::NAN)],
            1..12,
        ),
    ) {
        let mut options = options();
        options.evaluations = 200;
        options.variables[0].max_step = Some(7.0);
        options.constraints.push(at_least_twenty());
        let mut optimizer = optimizer(options);
        let given: Vec<(i64, &str, f64)> = demands.iter().zip(0..).map(|(&demand, i)| (i * 10, "a", demand)).collect();
        let mut output = Output::new(1);
        optimizer.on_batch(0, batch(&given), &mut output).unwrap();
        optimizer.on_watermark(Watermark::END, &mut output).unwrap();
        let mut last: Option<f64> = None;
        for rows in output.take(0) {
            let (speeds, feasible) = (rows.rows().column(2), rows.rows().column(4).as_boolean().value(0));
            if speeds.is_null(0) {
                prop_assert!(!feasible);
                continue;
            }
            let speed = speeds.as_primitive::<Float64Type>().value(0);
            prop_assert!((0.0..=100.0).contains(&speed));
            prop_assert!(!feasible || speed >= 20.0);
            prop_assert!(last.is_none_or(|last| (speed - last).abs() <= 7.0 + 1e-9));
            if feasible {
                last = Some(speed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_restart_at_any_step_changes_no_choice(
        epochs in prop::collection::vec((0..9_i64, prop::sample::select(vec!["a", "b"]), 0.0..99.0, 0..12_i64), 1..9),
        restart in any::<prop::sample::Index>(),
    ) {
        let mut options = options();
        options.variables[0].max_step = Some(5.0);
        let (mut now, mut steps) = (0_i64, Vec::new());
        for (ahead, line, demand, pause) in epochs {
            steps.push(Step::Changes(0, batch(&[(now + ahead, line, demand)])));
            now += pause;
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            steps.push(Step::Watermark(now as f64 / 1e6));
        }
        steps.push(Step::End);
        let given = |restart| run_restarted(|| optimizer(options.clone()), 1, &steps, restart).unwrap();
        prop_assert_eq!(given(Some(restart.index(steps.len()))), given(None));
    }
}
