use arrow::array::{AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use lineshaft_engine::TIMESTAMP;
use lineshaft_engine::expression::{Aggregate, Column, Expression, Moment};
use lineshaft_engine::testing::{Step, lines, run, run_restarted, table};
use proptest::prelude::*;

use super::*;
use crate::online::{Butterworth, Ewma, MovingMedian, Online, Stuck};
use crate::testing::{Statistic, aggregate};

fn value(column: usize, data_type: DataType, n: i64, ignore_nulls: bool) -> Function {
    let argument = Arc::new(Column { index: column, data_type });
    Function::Value(Value { argument, n, ignore_nulls, default: None })
}

fn last_x(n: i64, ignore_nulls: bool) -> Function {
    value(2, DataType::Float64, n, ignore_nulls)
}

fn rows_between(start: i64, end: i64) -> Frame {
    Frame { units: Units::Rows, start: Some(start), end }
}

fn so_far() -> Frame {
    Frame { units: Units::Range, start: None, end: 0 }
}

fn seconds(start: i64, end: i64) -> Frame {
    Frame { units: Units::Range, start: Some(start * 1_000_000), end: end * 1_000_000 }
}

/// Over columns `ts`, `machine`, `x`; the key is `machine`.
fn over(calls: &[(Function, Frame, DataType)]) -> Over {
    let input = table("ts:ts machine:s x:f").schema();
    let results =
        calls.iter().enumerate().map(|(i, (_, _, of))| Field::new(format!("r{i}"), of.clone(), true));
    let fields = input.fields().iter().map(|field| field.as_ref().clone()).chain(results);
    Over::new(OverOptions {
        time: 0,
        keys: vec![1],
        order: Vec::new(),
        calls: calls.iter().map(|(f, frame, _)| Call { function: f.clone(), frame: *frame }).collect(),
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        input,
    })
    .unwrap()
}

fn shown(over: &mut Over, steps: Vec<Step>) -> Vec<String> {
    let rows = run(over, 1, steps).unwrap();
    lines(&rows).into_iter().map(|line| line.replace("1970-01-01T00:00:", "")).collect()
}

#[test]
fn a_row_comes_out_when_the_watermark_has_passed_it_and_rows_are_in_event_time_order() {
    let calls = [
        (last_x(1, false), Frame::row(-1), DataType::Float64),
        (Function::RowNumber, so_far(), DataType::UInt64),
    ];
    let mut over = over(&calls);
    let steps = vec![
        Step::Rows(0, table("ts:ts machine:s x:f \n 3 a 3 \n 1 a 1 \n 2 b 20 \n 2 a 2")),
        Step::Watermark(3.0),
    ];
    assert_eq!(shown(&mut over, steps), ["01 a 1.0 - 1", "02 a 2.0 1.0 2", "02 b 20.0 - 1"]);
    let steps = vec![Step::Rows(0, table("ts:ts machine:s x:f \n 4 b 40")), Step::End];
    assert_eq!(shown(&mut over, steps), ["03 a 3.0 2.0 3", "04 b 40.0 20.0 2"]);
}

#[test]
fn a_frame_that_follows_waits_for_rows_or_for_time() {
    let ahead = [(last_x(1, false), Frame::row(1), DataType::Float64)];
    let rows = || Step::Rows(0, table("ts:ts machine:s x:f \n 1 a 1 \n 2 a 2 \n 2 b 20"));
    let mut lead = over(&ahead);
    assert_eq!(shown(&mut lead, vec![rows(), Step::Watermark(9.0)]), ["01 a 1.0 2.0"]);
    assert_eq!(shown(&mut lead, vec![Step::End]), ["02 a 2.0 -", "02 b 20.0 -"]);
    let last = [(last_x(-1, false), seconds(0, 3), DataType::Float64)];
    let mut within = over(&last);
    assert_eq!(shown(&mut within, vec![rows(), Step::Watermark(5.0)]), ["01 a 1.0 2.0"]);
    let steps = vec![Step::Rows(0, table("ts:ts machine:s x:f \n 5 a 5")), Step::Watermark(6.0)];
    assert_eq!(shown(&mut within, steps), ["02 a 2.0 5.0", "02 b 20.0 20.0"]);
}

#[test]
fn rows_are_kept_only_as_long_as_a_frame_needs_them() {
    let calls = [
        (Function::Aggregate(aggregate(Statistic::Sum, 2, None)), rows_between(-2, 0), DataType::Float64),
        (last_x(-1, true), so_far(), DataType::Float64),
    ];
    let mut over = over(&calls);
    for i in 0..100 {
        let rows = table(&format!("ts:ts machine:s x:f \n {i} a {i} \n {i} b -"));
        run(&mut over, 1, vec![Step::Rows(0, rows), Step::Watermark(f64::from(i) + 0.5)]).unwrap();
        let rows: usize = over.partitions.iter().map(|partition| partition.rows.len()).sum();
        assert!(over.live <= 4 && rows <= 2, "{} and {rows} rows", over.live);
    }
}

#[test]
fn keys_of_which_nothing_is_in_a_frame_any_more_are_forgotten() {
    let calls = [(last_x(-1, false), seconds(-5, 0), DataType::Float64)];
    let mut over = over(&calls);
    for i in 0..5_000 {
        let rows = table(&format!("ts:ts machine:s x:f \n {i} m{i} 1"));
        run(&mut over, 1, vec![Step::Rows(0, rows), Step::Watermark(f64::from(i) + 1.0)]).unwrap();
    }
    assert!(over.interner.len() <= FEW_SLOTS + 10, "{} keys", over.interner.len());
}

/// Time in seconds, key, value.
type Reading = (i64, u8, Option<i32>);

fn batch(rows: &[Reading]) -> RecordBatch {
    let lines: Vec<String> = rows
        .iter()
        .map(|(time, key, x)| format!("{time} k{key} {}", x.map_or("-".to_owned(), |x| x.to_string())))
        .collect();
    table(&format!("ts:ts machine:s x:f \n {}", lines.join("\n")))
}

/// A statistic that is a moment.
#[derive(Debug)]
struct OfMoment(Arc<dyn Aggregate>, Moment);

impl Aggregate for OfMoment {
    fn accumulator(&self) -> Result<Box<dyn lineshaft_engine::expression::Accumulator>> {
        self.0.accumulator()
    }

    fn arguments(&self) -> &[Arc<dyn Expression>] {
        self.0.arguments()
    }

    fn filter(&self) -> Option<&Arc<dyn Expression>> {
        None
    }

    fn result(&self) -> &Field {
        self.0.result()
    }

    fn state(&self) -> &[Field] {
        self.0.state()
    }

    fn moment(&self) -> Option<Moment> {
        Some(self.1)
    }
}

fn all_kinds() -> Vec<(Function, Frame, DataType)> {
    let sum = || Function::Aggregate(aggregate(Statistic::Sum, 2, None));
    let moment = |moment| Function::Aggregate(Arc::new(OfMoment(aggregate(Statistic::Sum, 2, None), moment)));
    let variance = Moment::Variance { sample: true };
    vec![
        (moment(variance), seconds(-4, 0), DataType::Float64),
        (moment(Moment::Mean), rows_between(-60, 2), DataType::Float64),
        (moment(Moment::Max), seconds(-6, -1), DataType::Float64),
        (moment(Moment::Min), seconds(1, 4), DataType::Float64),
        (moment(Moment::Sum), so_far(), DataType::Float64),
        (moment(Moment::Rows), so_far(), DataType::Int64),
        (moment(Moment::Count), seconds(-2, 1), DataType::Int64),
        (sum(), rows_between(-3, 1), DataType::Float64),
        (sum(), seconds(-4, 2), DataType::Float64),
        (last_x(2, true), so_far(), DataType::Float64),
        (last_x(-2, true), so_far(), DataType::Float64),
        (last_x(-1, false), Frame { units: Units::Rows, start: None, end: -2 }, DataType::Float64),
        (Function::RowNumber, so_far(), DataType::UInt64),
        (Function::Rank, so_far(), DataType::UInt64),
        (Function::DenseRank, so_far(), DataType::UInt64),
        (online(Ewma::new(2e6, true).unwrap(), true), so_far(), DataType::Float64),
        (online(MovingMedian::new(3).unwrap(), false), so_far(), DataType::Float64),
        (online(Butterworth::lowpass(1.0, 10.0, 4).unwrap(), false), so_far(), DataType::Float64),
        (online(Stuck::new(2).unwrap(), false), so_far(), DataType::Boolean),
    ]
}

fn online(function: impl Into<Online>, is_timed: bool) -> Function {
    let column = |index, data_type| -> Arc<dyn Expression> { Arc::new(Column { index, data_type }) };
    let mut arguments = vec![column(2, DataType::Float64)];
    arguments.extend(is_timed.then(|| column(0, TIMESTAMP)));
    Function::Online { function: function.into(), arguments, is_timed }
}

proptest! {
    /// Epochs, watermarks and a restart in between change nothing.
    #[test]
    fn batches_watermarks_and_a_restart_change_no_result(
        steps in prop::collection::vec((0_i64..3, 0_u8..3, prop::option::weighted(0.8, -9..9)), 1..60),
        cuts in prop::collection::vec(1_usize..9, 1..9),
        restart in 0_usize..16,
    ) {
        let mut time = 0;
        let rows: Vec<Reading> =
            steps.into_iter().map(|(step, key, x)| { time += step; (time, key, x) }).collect();
        let whole = vec![Step::Rows(0, batch(&rows)), Step::End];
        let (mut steps, mut at) = (Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let end = (at + cut).min(rows.len());
            let watermark = rows.get(end).map_or(time, |row| row.0);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            steps.extend([Step::Rows(0, batch(&rows[at..end])), Step::Watermark(watermark as f64)]);
            at = end;
            if at == rows.len() {
                break;
            }
        }
        steps.push(Step::End);
        let [mut parts, mut whole] = [(steps, Some(restart)), (whole, None)].map(|(steps, restart)| {
            run_restarted(|| over(&all_kinds()), 1, &steps, restart).unwrap().concat()
        });
        whole.sort();
        parts.sort();
        prop_assert_eq!(parts, whole);
    }

    /// Short and long frames against sums by hand.
    #[test]
    fn moments_of_frames_are_those_by_hand(
        values in prop::collection::vec(prop::option::weighted(0.9, -1000..1000), 1..200),
        length in 1_usize..120,
    ) {
        let column: Float64Array = values.iter().map(|x| x.map(f64::from)).collect();
        let rows = Rows {
            columns: vec![Arc::new(column.clone())],
            segments: vec![Segment { slot: 0, first: 0, rows: 0..values.len(), computed: 0..values.len() }],
            begins_peers: vec![true; values.len()],
        };
        let partition =
            Partition { rows: values.iter().map(|_| Kept { time: 0, begins_peers: true }).collect(), ..Partition::default() };
        let frame = rows_between(1 - i64::try_from(length).unwrap(), 0);
        let mut spans = Vec::new();
        frame.spans(&partition, 0..values.len(), &mut spans);
        let of = |moment| {
            let mut function: Box<dyn call::Evaluate> = match frame.is_short(moments::SHORT) {
                true => Box::new(moments::ShortMoment { moment, argument: 0 }),
                false => Box::new(moments::SlidingMoment::new(moment, 0)),
            };
            function.evaluate(&rows, &spans).unwrap()
        };
        let numbers = |moment| of(moment).as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
        let [sums, means, least, greatest, variances] =
            [Moment::Sum, Moment::Mean, Moment::Min, Moment::Max, Moment::Variance { sample: true }].map(numbers);
        let counts = of(Moment::Count);
        let counts: &Int64Array = counts.as_primitive();
        for (row, span) in spans.iter().enumerate() {
            let frame: Vec<f64> = values[span.clone()].iter().flatten().copied().map(f64::from).collect();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let n = frame.len() as f64;
            let sum: f64 = frame.iter().sum();
            let mean = sum / n;
            let variance = frame.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let near = |found: Option<f64>, expected: f64, least: usize| match found {
                None => frame.len() < least,
                Some(found) => frame.len() >= least && (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
            };
            prop_assert_eq!(usize::try_from(counts.value(row)).unwrap(), frame.len());
            prop_assert!(near(sums[row], sum, 1) && near(means[row], mean, 1));
            prop_assert!(near(least[row], frame.iter().copied().fold(f64::MAX, f64::min), 1));
            prop_assert!(near(greatest[row], frame.iter().copied().fold(f64::MIN, f64::max), 1));
            prop_assert!(near(variances[row], variance, 2), "{:?} {}", variances[row], variance);
        }
    }
}
