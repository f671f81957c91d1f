use arrow::datatypes::Schema;
use lineshaft_engine::testing::{Step, lines, run, table, whole_snapshot};
use proptest::prelude::*;

use super::*;

const COLUMNS: &str = "ts:ts machine:s x:f y:f n:i";

fn resample(max_gap: Option<i64>, skip_gaps: bool) -> Resample {
    use Filling::{Key, Linear, None, Previous, Time};
    let schema: Schema = table(COLUMNS).schema().as_ref().clone();
    Resample::new(ResampleOptions {
        time: 0,
        keys: vec![1],
        grid: Grid { interval: 2_000_000, max_gap: max_gap.map(|gap| gap * 1_000_000), skip_gaps },
        fillings: vec![Time, Key, Linear, Previous, None],
        schema: Arc::new(schema),
    })
    .unwrap()
}

fn rows(text: &str) -> Step {
    Step::Rows(0, table(&format!("{COLUMNS}\n{text}")))
}

fn shown(resample: &mut Resample, steps: Vec<Step>) -> Vec<String> {
    let rows = run(resample, 1, steps).unwrap();
    lines(&rows).into_iter().map(|line| line.replace("1970-01-01T00:00:", "")).collect()
}

#[test]
fn points_are_filled_from_the_rows_around_them() {
    let steps = vec![rows("1 a 10 1 1 \n 2 a 20 2 2 \n 7 a 70 7 7 \n 3 b 5 5 5"), Step::End];
    let all = shown(&mut resample(None, false), steps);
    assert_eq!(all, ["02 a 20.0 2.0 2", "04 a 40.0 2.0 -", "06 a 60.0 2.0 -"]);
}

#[test]
fn a_point_comes_out_when_the_row_after_it_is_final() {
    let mut resample = resample(None, false);
    let steps = vec![rows("1 a 0 1 1 \n 6 a 50 2 2 \n 3 a 20 3 3"), Step::Watermark(6.0)];
    assert_eq!(shown(&mut resample, steps), ["02 a 10.0 1.0 -"]);
    assert_eq!(shown(&mut resample, vec![Step::End]), ["04 a 30.0 3.0 -", "06 a 50.0 2.0 2"]);
}

#[test]
fn rows_too_far_apart_give_no_values_and_if_wanted_no_points() {
    let far = || vec![rows("0 a 0 1 1 \n 5 a 50 2 2 \n 6 a 60 3 3"), Step::End];
    let with = shown(&mut resample(Some(4), false), far());
    assert_eq!(with, ["00 a 0.0 1.0 1", "02 a - - -", "04 a - - -", "06 a 60.0 3.0 3"]);
    let without = shown(&mut resample(Some(4), true), far());
    assert_eq!(without, ["00 a 0.0 1.0 1", "06 a 60.0 3.0 3"]);
    let near = shown(&mut resample(Some(5), false), far());
    assert_eq!(near[1], "02 a 20.0 1.0 -");
}

#[test]
fn of_rows_of_one_time_the_last_counts_and_null_is_no_end_of_a_line() {
    let steps = vec![rows("1 a 1 1 1 \n 1 a 2 - 2 \n 3 a 4 4 4 \n 5 a - 5 5"), Step::End];
    assert_eq!(shown(&mut resample(None, false), steps), ["02 a 3.0 - -", "04 a - 4.0 -"]);
}

#[test]
fn the_grid_goes_on_before_the_epoch_and_a_silence_of_a_million_points_is_not_filled() {
    let steps = vec![rows("-3 a 0 1 1 \n 1 a 4 2 2"), Step::End];
    let all = run(&mut resample(None, false), 1, steps).unwrap();
    assert_eq!(lines(&all), ["1969-12-31T23:59:58 a 1.0 1.0 -", "1970-01-01T00:00:00 a 3.0 1.0 -"]);
    let year = vec![rows("0 a 0 1 1 \n 32000000 a 4 2 2"), Step::End];
    assert_eq!(
        run(&mut resample(None, false), 1, year).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(),
        2
    );
}

proptest! {
    /// Epochs, watermarks and a restart in between change nothing.
    #[test]
    fn batches_watermarks_and_a_restart_change_no_point(
        steps in prop::collection::vec((0_i64..5, 0_u8..3, -9..9), 1..40),
        cuts in prop::collection::vec(1_usize..9, 1..9),
        restart in 0_usize..5,
    ) {
        let mut time = 0;
        let lines: Vec<(i64, String)> = steps
            .into_iter()
            .map(|(step, key, x)| { time += step; (time, format!("{time} k{key} {x} {x} {x}")) })
            .collect();
        let text = |part: &[(i64, String)]| part.iter().map(|line| line.1.as_str()).collect::<Vec<_>>().join("\n");
        let mut whole = shown(&mut resample(Some(6), false), vec![rows(&text(&lines)), Step::End]);
        let mut operator = resample(Some(6), false);
        let (mut parts, mut at) = (Vec::new(), 0);
        for (epoch, cut) in cuts.iter().cycle().enumerate() {
            let end = (at + cut).min(lines.len());
            let watermark = lines.get(end).map_or(time, |line| line.0);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let steps = vec![rows(&text(&lines[at..end])), Step::Watermark(watermark as f64)];
            parts.extend(shown(&mut operator, steps));
            if epoch == restart {
                let snapshot = whole_snapshot(&mut operator).unwrap();
                operator = resample(Some(6), false);
                operator.restore(snapshot).unwrap();
            }
            at = end;
            if at == lines.len() {
                break;
            }
        }
        parts.extend(shown(&mut operator, vec![Step::End]));
        whole.sort();
        parts.sort();
        prop_assert_eq!(parts, whole);
    }
}
