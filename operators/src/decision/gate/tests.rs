use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
use lineshaft_engine::batch::event_time_field;
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        event_time_field("at"),
        Field::new("line", DataType::Utf8, true),
        Field::new("speed", DataType::Float64, true),
    ]))
}

/// Speed 10 to 40, in steps of at most 2, key `line`.
fn options(mode: Mode) -> GateOptions {
    let speed = Limits { column: 2, lower: Some(10.0), upper: Some(40.0), max_step: Some(2.0) };
    let name = "press_drive".to_owned();
    GateOptions {
        name,
        mode,
        limits: vec![speed],
        keys: vec![1],
        interlock_keys: vec![0],
        ..GateOptions::default()
    }
}

fn gate(options: GateOptions) -> Gate {
    Gate::new(options, schema()).unwrap()
}

type Proposal<'a> = (i64, Option<&'a str>, Option<f64>);

fn batch(rows: &[Proposal<'_>]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
    ];
    Batch::new(RecordBatch::try_new(schema(), columns).unwrap())
}

/// What went out (key, speed) and the log (decision, reason).
type Decisions = (Vec<(String, f64)>, Vec<(String, String)>);

fn propose(gate: &mut Gate, now: i64, rows: &[Proposal<'_>]) -> Decisions {
    let mut output = Output::new(2);
    if !rows.is_empty() {
        gate.on_batch(0, batch(rows), &mut output).unwrap();
    }
    assert!(output.take(0).is_empty(), "nothing goes out before the wall clock is known");
    gate.on_epoch_end(EpochHeader::new(1, now), &mut output).unwrap();
    read(&mut output)
}

fn read(output: &mut Output) -> Decisions {
    let mut sent = Vec::new();
    for batch in output.take(0) {
        let keys = batch.rows().column(1).as_string::<i32>().iter();
        let speeds = batch.rows().column(2).as_primitive::<Float64Type>().values().to_vec();
        sent.extend(keys.map(|key| key.unwrap().to_owned()).zip(speeds));
    }
    let mut log = Vec::new();
    for batch in output.take(1) {
        let texts = |column| batch.rows().column(column).as_string::<i32>().iter();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        log.extend(texts(4).map(text).zip(texts(5).map(text)));
    }
    (sent, log)
}

fn one(gate: &mut Gate, now: i64, speed: f64) -> (usize, String, String) {
    let (sent, mut log) = propose(gate, now, &[(now, Some("a"), Some(speed))]);
    let (decision, reason) = log.swap_remove(0);
    (sent.len(), decision, reason)
}

fn said(sent: usize, decision: &str, reason: &str) -> (usize, String, String) {
    (sent, decision.to_owned(), reason.to_owned())
}

#[test]
fn a_command_goes_out_only_within_bounds_and_step() {
    let mut gate = gate(options(Mode::Auto));
    assert_eq!(one(&mut gate, 1, 50.0), said(0, "rejected", "speed 50 is above the greatest 40"));
    assert_eq!(one(&mut gate, 2, 9.0), said(0, "rejected", "speed 9 is below the least 10"));
    assert_eq!(one(&mut gate, 3, 20.0), said(1, "sent", ""));
    assert_eq!(
        one(&mut gate, 4, 23.0),
        said(0, "rejected", "speed 23 is 3 from the last 20, more than the step 2")
    );
    assert_eq!(one(&mut gate, 5, 22.0), said(1, "sent", ""));
    assert_eq!(one(&mut gate, 6, f64::NAN), said(0, "rejected", "speed is NaN"));
    assert_eq!(one(&mut gate, 7, f64::INFINITY), said(0, "rejected", "speed is inf"));
    let (sent, log) = propose(&mut gate, 8, &[(8, Some("b"), None), (8, None, Some(20.0))]);
    assert!(sent.is_empty());
    assert_eq!(
        log.iter().map(|row| row.1.as_str()).collect::<Vec<_>>(),
        ["speed is NULL", "key line is NULL"]
    );
}

#[test]
fn shadow_decides_as_auto_does_and_sends_nothing() {
    let speeds = [20.0, 25.0, 21.0, 50.0, f64::NAN, 22.5];
    let rate = Some(Rate { count: 2, interval: 10 });
    let decide = |mode, closed| {
        let mut gate = gate(GateOptions { rate, closed, ..options(mode) });
        speeds.iter().zip(0..).map(|(&speed, now)| one(&mut gate, now, speed)).collect::<Vec<_>>()
    };
    let auto = decide(Mode::Auto, false);
    let as_auto = |rows: Vec<(usize, String, String)>, reason: &str| {
        assert!(rows.iter().all(|row| row.0 == 0));
        let passed = |row: &(usize, String, String)| row.1 == "shadow" && row.2 == reason;
        rows.iter().map(|row| if passed(row) { said(1, "sent", "") } else { row.clone() }).collect::<Vec<_>>()
    };
    assert_eq!(as_auto(decide(Mode::Shadow, false), ""), auto);
    assert_eq!(as_auto(decide(Mode::Auto, true), "backfill"), auto);
    assert_eq!(decide(Mode::Approve, false)[0], said(0, "held", ""));
}

#[test]
fn a_gate_that_approaches_goes_step_by_step() {
    let mut gate = gate(GateOptions { approaches: true, ..told() });
    one(&mut gate, 0, 20.0);
    tell(&mut gate, 1, &[("a", 20.0, 0, Outcome::Arrived)]);
    let (sent, log) = propose(&mut gate, 2, &[(2, Some("a"), Some(38.0)), (2, Some("b"), Some(30.0))]);
    assert_eq!(sent, [("a".to_owned(), 22.0), ("b".to_owned(), 30.0)]);
    let reason = "a step nearer: speed 38 is 18 from the last 20, more than the step 2";
    assert_eq!(log[0], ("sent".to_owned(), reason.to_owned()));
    // 22 may not have arrived.
    assert_eq!(propose(&mut gate, 3, &[(3, Some("a"), Some(38.0))]).0, [("a".to_owned(), 22.0)]);
    tell(&mut gate, 4, &[("a", 22.0, 2, Outcome::Arrived)]);
    assert_eq!(propose(&mut gate, 5, &[(5, Some("a"), Some(-9.0))]).1[0].0, "rejected", "out of bounds");
    assert_eq!(propose(&mut gate, 6, &[(6, Some("a"), Some(10.5))]).0, [("a".to_owned(), 20.0)]);
}

#[test]
fn the_rate_counts_per_key_in_a_sliding_interval() {
    let rate = Some(Rate { count: 2, interval: 10 * SECOND });
    let mut gate = gate(GateOptions { rate, ..options(Mode::Auto) });
    let decisions: Vec<usize> =
        [0, 4, 9, 10, 13, 14].map(|now| one(&mut gate, now * SECOND, 20.0).0).to_vec();
    assert_eq!(decisions, [1, 1, 0, 1, 0, 1]);
    let (sent, _) = propose(&mut gate, 14 * SECOND, &[(0, Some("b"), Some(30.0))]);
    assert_eq!(sent.len(), 1);
    let (_, _, reason) = one(&mut gate, 15 * SECOND, 20.0);
    assert_eq!(reason, "rate: 2 already sent in 10 s");
}

#[test]
fn a_command_says_until_when_it_holds() {
    let mut gate = gate(GateOptions { ttl: Some(2 * SECOND), ..options(Mode::Auto) });
    let mut output = Output::new(2);
    gate.on_batch(0, batch(&[(8 * SECOND, Some("a"), Some(20.0))]), &mut output).unwrap();
    gate.on_epoch_end(EpochHeader::new(1, 10 * SECOND), &mut output).unwrap();
    let sent = output.take(0);
    assert_eq!(sent[0].schema().field(3).name(), "expires_at");
    let expires_at = sent[0].rows().column(3).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(expires_at.values().to_vec(), [12 * SECOND]);
}

#[test]
fn an_array_with_a_missing_element_is_a_missing_value() {
    use arrow::datatypes::Float64Type;
    let item = Arc::new(Field::new("item", DataType::Float64, true));
    let schema = Arc::new(Schema::new(vec![Field::new("joints", DataType::List(item), true)]));
    let options = GateOptions { mode: Mode::Auto, ..GateOptions::default() };
    let mut gate = Gate::new(options, Arc::clone(&schema)).unwrap();
    let joints = arrow::array::ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(1.0), None]),
        Some(vec![Some(f64::NAN)]),
        None,
        Some(vec![]),
    ]);
    let rows = RecordBatch::try_new(schema, vec![Arc::new(joints)]).unwrap();
    let mut output = Output::new(2);
    gate.on_batch(0, Batch::new(rows), &mut output).unwrap();
    gate.on_epoch_end(EpochHeader::new(1, 1), &mut output).unwrap();
    assert_eq!(output.take(0)[0].num_rows(), 2);
    let log = output.take(1).remove(0).into_rows();
    let reasons: Vec<_> = log.column(3).as_string::<i32>().iter().flatten().collect();
    assert_eq!(reasons, ["an element of joints is NULL", "an element of joints is NaN", "joints is NULL"]);
}

#[test]
fn what_waits_for_its_broker_counts_for_the_rate_until_it_has_arrived_and_from_then_on() {
    let rate = Some(Rate { count: 1, interval: 2 * SECOND });
    let mut gate = gate(GateOptions { rate, ttl: Some(20 * SECOND), ..told() });
    let at = |gate: &mut Gate, second: i64| one(gate, second * SECOND, 20.0).0;
    assert_eq!(
        [at(&mut gate, 0), at(&mut gate, 3), at(&mut gate, 8)],
        [1, 0, 0],
        "it may arrive at any time"
    );
    tell(&mut gate, 9 * SECOND, &[("a", 20.0, 0, Outcome::Arrived)]);
    assert_eq!([at(&mut gate, 10), at(&mut gate, 11)], [0, 1]);
    // One that arrives at once counts from when it was sent.
    tell(&mut gate, 11 * SECOND + 20_000, &[("a", 20.0, 1, Outcome::Arrived)]);
    assert_eq!(at(&mut gate, 13), 1);
    // It did not arrive.
    tell(&mut gate, 14 * SECOND, &[("a", 20.0, 2, Outcome::Expired)]);
    assert_eq!(at(&mut gate, 14), 1);
    // Perhaps it has just arrived.
    tell(&mut gate, 20 * SECOND, &[("a", 20.0, 3, Outcome::Unknown)]);
    assert_eq!([at(&mut gate, 21), at(&mut gate, 22)], [0, 1]);
}

#[test]
fn a_locked_key_gets_no_command_until_it_is_unlocked() {
    let mut gate = gate(options(Mode::Auto));
    let lock = |gate: &mut Gate, key: &str, weight: i64| {
        let column: ArrayRef = Arc::new(arrow::array::StringViewArray::from(vec![key]));
        let rows = RecordBatch::try_from_iter([("line", column)]).unwrap();
        let batch = Batch::with_weights(rows, Int64Array::from(vec![weight]));
        gate.on_batch(INTERLOCK, batch, &mut Output::new(2)).unwrap();
    };
    lock(&mut gate, "a", 2);
    assert_eq!(one(&mut gate, 1, 20.0), said(0, "rejected", "interlock"));
    lock(&mut gate, "a", -1);
    assert_eq!(one(&mut gate, 2, 20.0), said(0, "rejected", "interlock"));
    let mut restored = self::gate(options(Mode::Auto));
    restored.restore(gate.snapshot().unwrap()).unwrap();
    assert_eq!(one(&mut restored, 3, 20.0), said(0, "rejected", "interlock"));
    lock(&mut restored, "a", -1);
    assert_eq!(one(&mut restored, 4, 20.0), said(1, "sent", ""));
}

#[test]
fn a_missing_value_sends_the_failsafe_once() {
    let mut gate = gate(GateOptions { failsafe: vec![(2, 10.0)], ..options(Mode::Auto) });
    assert_eq!(one(&mut gate, 1, 30.0).0, 1);
    let (sent, log) = propose(&mut gate, 2, &[(2, Some("a"), Some(f64::NAN)), (2, Some("a"), None)]);
    assert_eq!(sent, [("a".to_owned(), 10.0)]);
    let decisions: Vec<&str> = log.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(decisions, ["rejected", "failsafe", "rejected"]);
    // From the failsafe on, steps count from its value.
    assert_eq!(one(&mut gate, 3, 30.0).0, 0);
    assert_eq!(one(&mut gate, 4, 12.0).0, 1);
    assert_eq!(propose(&mut gate, 5, &[(5, Some("a"), None)]).0.len(), 1);
}

#[test]
fn the_failsafe_breaks_the_rate_once_and_then_keeps_it() {
    let rate = Some(Rate { count: 1, interval: 10 });
    let mut gate = gate(GateOptions { rate, failsafe: vec![(2, 10.0)], ..options(Mode::Auto) });
    assert_eq!(one(&mut gate, 0, 30.0).0, 1);
    let sent: Vec<usize> =
        [1, 2, 9, 11, 12].map(|now| propose(&mut gate, now, &[(now, Some("a"), None)]).0.len()).into();
    assert_eq!(sent, [1, 0, 0, 1, 0]);
}

/// Tells outcomes of commands by key, speed and number, and gives the rows of the log.
fn tell(gate: &mut Gate, now: i64, rows: &[(&str, f64, i64, Outcome)]) -> Vec<(String, String)> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|_| now))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.3.name()))),
    ];
    let rows = RecordBatch::try_new(GateOptions::outcome_schema(&schema()), columns).unwrap();
    let mut output = Output::new(2);
    gate.on_batch(OUTCOMES, Batch::new(rows), &mut output).unwrap();
    gate.on_epoch_end(EpochHeader::new(1, now), &mut output).unwrap();
    read(&mut output).1
}

fn told() -> GateOptions {
    GateOptions { tells_outcomes: true, ttl: Some(2 * SECOND), ..options(Mode::Auto) }
}

#[test]
fn a_step_counts_from_all_values_that_the_machine_may_have() {
    let mut gate = gate(told());
    assert_eq!(one(&mut gate, 1, 20.0).0, 1);
    assert_eq!(tell(&mut gate, 2, &[("a", 20.0, 0, Outcome::Arrived)]), []);
    assert_eq!(one(&mut gate, 3, 22.0).0, 1);
    // 22 may not have arrived yet.
    let refused = said(0, "rejected", "speed 24 is 4 from the last 20, more than the step 2");
    assert_eq!(one(&mut gate, 4, 24.0), refused);
    let refused = said(0, "rejected", "speed 18 is 4 from 22, which may have arrived, more than the step 2");
    assert_eq!(one(&mut gate, 4, 18.0), refused);
    assert_eq!(one(&mut gate, 5, 21.0).0, 1);
    // It may still arrive after a restart.
    let mut restored = self::gate(told());
    restored.restore(gate.snapshot().unwrap()).unwrap();
    assert_eq!(one(&mut restored, 6, 24.0).0, 0);
    assert_eq!(one(&mut restored, 6, 18.0).0, 0);
    // 22 has been overtaken.
    tell(&mut restored, 7, &[("a", 21.0, 2, Outcome::Arrived)]);
    assert_eq!(one(&mut restored, 8, 19.0).0, 1);
}

#[test]
fn a_command_that_has_expired_on_its_way_was_not_sent() {
    let rate = Some(Rate { count: 2, interval: 10 * SECOND });
    let mut gate = gate(GateOptions { rate, ..told() });
    one(&mut gate, 0, 20.0);
    tell(&mut gate, 1, &[("a", 20.0, 0, Outcome::Arrived)]);
    assert_eq!(one(&mut gate, 2, 22.0).0, 1);
    assert_eq!(one(&mut gate, 3, 20.0).2, "rate: 2 already sent in 10 s");
    let log = tell(&mut gate, 4, &[("a", 22.0, 1, Outcome::Expired), ("b", 1.0, 7, Outcome::Unknown)]);
    let decisions: Vec<&str> = log.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(decisions, ["expired"], "the other is not known here");
    // The machine is at 20.
    assert_eq!(one(&mut gate, 5, 24.0).2, "speed 24 is 4 from the last 20, more than the step 2");
    assert_eq!(one(&mut gate, 6, 18.0).0, 1);
    // Nobody knows where it is now: at 20 or at 18.
    tell(&mut gate, 7, &[("a", 18.0, 2, Outcome::Unknown)]);
    let later = 20 * SECOND;
    assert_eq!(one(&mut gate, later, 16.0).2, "speed 16 is 4 from the last 20, more than the step 2");
    assert_eq!(one(&mut gate, later, 19.0).0, 1);
}

#[test]
fn a_failsafe_that_did_not_arrive_goes_out_again() {
    let mut gate = gate(GateOptions { failsafe: vec![(2, 10.0)], ..told() });
    let failsafe = |gate: &mut Gate, now| propose(gate, now, &[(now, Some("a"), None)]).0.len();
    assert_eq!([failsafe(&mut gate, 0), failsafe(&mut gate, 1)], [1, 0], "it is on its way");
    tell(&mut gate, 2, &[("a", 10.0, 0, Outcome::Expired)]);
    assert_eq!(failsafe(&mut gate, 3), 1);
    tell(&mut gate, 4, &[("a", 10.0, 1, Outcome::Unknown)]);
    assert_eq!(failsafe(&mut gate, 5), 1);
    tell(&mut gate, 6, &[("a", 10.0, 2, Outcome::Arrived)]);
    assert_eq!(failsafe(&mut gate, 7), 0);
}

#[test]
fn a_machine_that_may_be_at_its_failsafe_or_far_from_it_is_sent_there_again() {
    let mut gate = gate(GateOptions { failsafe: vec![(2, 10.0)], ..told() });
    one(&mut gate, 0, 30.0);
    tell(&mut gate, 1, &[("a", 30.0, 0, Outcome::Arrived)]);
    propose(&mut gate, 2, &[(2, Some("a"), None)]);
    // It is on its way.
    assert_eq!(one(&mut gate, 3, 28.0).0, 0);
    tell(&mut gate, 4, &[("a", 10.0, 1, Outcome::Unknown)]);
    // No value is within a step from both 30 and 10.
    let (sent, log) = propose(&mut gate, 5, &[(5, Some("a"), Some(28.0))]);
    assert_eq!(sent, [("a".to_owned(), 10.0)]);
    let reason = "speed 28 is 18 from 10, which may have arrived, more than the step 2";
    assert_eq!(log[0], ("rejected".to_owned(), reason.to_owned()));
    assert_eq!(log[1].0, "failsafe");
    tell(&mut gate, 6, &[("a", 10.0, 2, Outcome::Arrived)]);
    assert_eq!(one(&mut gate, 7, 12.0).0, 1);
}

#[test]
fn what_was_on_its_way_when_the_program_ended_is_told_as_unknown() {
    let mut gate = gate(told());
    propose(
        &mut gate,
        0,
        &[(0, Some("b"), Some(30.0)), (7, Some("a"), Some(20.0)), (8, Some("a"), Some(21.0))],
    );
    tell(&mut gate, 1, &[("a", 20.0, 0, Outcome::Arrived)]);
    let mut restored = self::gate(told());
    restored.restore(gate.snapshot().unwrap()).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![None])),
        Arc::new(StringArray::from(vec![None::<&str>])),
        Arc::new(Float64Array::from(vec![None])),
        Arc::new(Int64Array::from(vec![-1])),
        Arc::new(StringArray::from(vec![Outcome::Begun.name()])),
    ];
    let begun = RecordBatch::try_new(GateOptions::outcome_schema(&schema()), columns).unwrap();
    let mut output = Output::new(2);
    restored.on_batch(OUTCOMES, Batch::new(begun.clone()), &mut output).unwrap();
    restored.on_epoch_end(EpochHeader::new(1, 9), &mut output).unwrap();
    let log = output.take(1).remove(0).into_rows();
    assert_eq!(log.column(1).as_primitive::<TimestampMicrosecondType>().values().to_vec(), [8, 0]);
    assert_eq!(log.column(2).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(log.column(3).as_primitive::<Float64Type>().values().to_vec(), [21.0, 30.0]);
    assert_eq!(log.column(4).as_string::<i32>().value(0), "unknown");
    // Once.
    restored.on_batch(OUTCOMES, Batch::new(begun), &mut output).unwrap();
    restored.on_epoch_end(EpochHeader::new(2, 10), &mut output).unwrap();
    assert!(output.take(1).is_empty());
}

#[test]
fn the_failsafe_is_only_logged_in_shadow_and_in_backfill() {
    for (mode, closed, expected) in [
        (Mode::Shadow, false, ("shadow", "failsafe")),
        (Mode::Approve, false, ("held", "failsafe")),
        (Mode::Auto, true, ("shadow", "failsafe, backfill")),
    ] {
        let mut gate = gate(GateOptions { closed, failsafe: vec![(2, 10.0)], ..options(mode) });
        let (sent, log) = propose(&mut gate, 1, &[(1, Some("a"), None)]);
        assert!(sent.is_empty());
        assert_eq!((log[1].0.as_str(), log[1].1.as_str()), expected);
    }
}

#[test]
fn a_retraction_is_no_proposal() {
    let mut gate = gate(options(Mode::Auto));
    let rows = batch(&[(1, Some("a"), Some(20.0)), (1, Some("a"), Some(21.0))]).into_rows();
    let mut output = Output::new(2);
    gate.on_batch(0, Batch::with_weights(rows, Int64Array::from(vec![-1, 1])), &mut output).unwrap();
    gate.on_epoch_end(EpochHeader::new(1, 1), &mut output).unwrap();
    let (sent, log) = read(&mut output);
    assert_eq!(sent, [("a".to_owned(), 21.0)]);
    assert_eq!(log.len(), 1);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refuse = |options: GateOptions| Gate::new(options, schema()).unwrap_err().to_string();
    let mut limits = options(Mode::Auto);
    limits.limits[0].lower = Some(41.0);
    assert!(refuse(limits).ends_with("the bounds 41 and 40 of speed are not in order"));
    let failsafe = refuse(GateOptions { failsafe: vec![(2, 5.0)], ..options(Mode::Auto) });
    assert_eq!(failsafe, "actuator \"press_drive\": failsafe speed 5 is below the least 10");
    let rate = Some(Rate { count: 0, interval: 1 });
    assert!(refuse(GateOptions { rate, ..options(Mode::Auto) }).contains("its rate is not at least 1"));
}

fn any_speed() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        6 => (5.0..45.0).prop_map(Some),
        2 => (18.0..22.0).prop_map(Some),
        1 => prop::num::f64::ANY.prop_map(Some),
        1 => prop::sample::select(vec![Some(1e300), Some(-1e300), Some(f64::NAN), Some(f64::INFINITY), None]),
    ]
}

proptest! {
    #[test]
    fn whatever_is_proposed_nothing_leaves_outside_bounds_step_and_rate(
        proposals in prop::collection::vec((0..3_i64, prop::sample::select(vec!["a", "b"]), any_speed()), 1..60),
        failsafe in any::<bool>(),
        snapshot_at in 0..60_usize,
    ) {
        let rate = Rate { count: 2, interval: 5 };
        let failsafe = if failsafe { vec![(2, 15.0)] } else { Vec::new() };
        let options = GateOptions { rate: Some(rate), failsafe, ..options(Mode::Auto) };
        let mut gate = gate(options.clone());
        let mut history: BTreeMap<&str, Vec<(i64, f64, bool)>> = BTreeMap::new();
        let mut now = 0;
        for (index, &(pause, key, speed)) in proposals.iter().enumerate() {
            now += pause;
            if index == snapshot_at {
                let snapshot = gate.snapshot().unwrap();
                gate = self::gate(options.clone());
                gate.restore(snapshot).unwrap();
            }
            let (sent, log) = propose(&mut gate, now, &[(now, Some(key), speed)]);
            prop_assert!(sent.len() <= 1);
            let is_failsafe = log.len() == 2;
            prop_assert_eq!(log.len(), 1 + usize::from(is_failsafe && sent.len() == 1));
            let Some(&(_, value)) = sent.first() else { continue };
            prop_assert!((10.0..=40.0).contains(&value));
            let history = history.entry(key).or_default();
            let recent = history.iter().filter(|(time, ..)| now - time < rate.interval).count();
            let entering = is_failsafe && !history.last().is_some_and(|last| last.2);
            prop_assert!(recent < rate.count || entering);
            if let Some((_, last, _)) = history.last() {
                prop_assert!(is_failsafe || (value - last).abs() <= 2.0 + 1e-9);
            }
            history.push((now, value, is_failsafe));
        }
    }

    #[test]
    fn whatever_becomes_of_commands_the_machine_never_makes_a_greater_step(
        proposals in prop::collection::vec((any_speed(), 0..8_u8), 1..80),
        snapshot_at in 0..80_usize,
        approaches in any::<bool>(),
    ) {
        let told = || GateOptions { approaches, ..told() };
        let mut gate = gate(told());
        // What the machine is at, and commands on their way: number, speed.
        let mut machine: Option<f64> = None;
        let mut on_its_way: VecDeque<(i64, f64)> = VecDeque::new();
        let mut number = 0;
        for (now, &(speed, event)) in (0_i64..).zip(&proposals) {
            if usize::try_from(now) == Ok(snapshot_at) {
                let snapshot = gate.snapshot().unwrap();
                gate = self::gate(told());
                gate.restore(snapshot).unwrap();
            }
            for (_, speed) in propose(&mut gate, now, &[(now, Some("a"), speed)]).0 {
                on_its_way.push_back((number, speed));
                number += 1;
            }
            // Some arrive, expire, or get lost, all in order; of the last kind half arrive.
            let Some(&(first, speed)) = on_its_way.front() else { continue };
            let outcome = match event {
                0..3 => Outcome::Arrived,
                3 => Outcome::Expired,
                4 | 5 => Outcome::Unknown,
                _ => continue,
            };
            on_its_way.pop_front();
            if outcome == Outcome::Arrived || event == 5 {
                prop_assert!(machine.is_none_or(|at| (speed - at).abs() <= 2.0 + 1e-9), "{machine:?} to {speed}");
                machine = Some(speed);
            }
            tell(&mut gate, now, &[("a", speed, first, outcome)]);
        }
    }

    #[test]
    fn each_proposal_has_its_row_in_the_log(
        proposals in prop::collection::vec((0..100_i64, any::<bool>(), any_speed()), 1..40),
    ) {
        let mut gate = gate(options(Mode::Auto));
        let rows: Vec<Proposal<'_>> =
            proposals.iter().map(|&(at, known, speed)| (at, known.then_some("a"), speed)).collect();
        let (sent, log) = propose(&mut gate, 100, &rows);
        prop_assert_eq!(log.len(), rows.len());
        prop_assert_eq!(sent.len(), log.iter().filter(|row| row.0 == "sent").count());
        prop_assert!(log.iter().all(|row| (row.0 == "sent") == row.1.is_empty()));
    }
}
