use arrow::datatypes::Field;
use lineshaft_engine::testing::table;

use super::super::{CountAggregate, CountOptions, SessionAggregate, SessionOptions};
use super::*;
use crate::testing::{all_of, window_rows, window_schema};

const SECOND: i64 = 1_000_000;

fn early(windows: MakeWindows) -> EarlyWindows {
    EarlyWindows::new(EarlyOptions { windows, every: SECOND, keys: 1, schema: schema() }).unwrap()
}

fn schema() -> SchemaRef {
    window_schema(&[Field::new("machine", DataType::Utf8, true)], 4)
}

fn sessions() -> EarlyWindows {
    early(Arc::new(|| {
        let aggregates = all_of(2);
        let options =
            SessionOptions { time: 0, gap: 5 * SECOND, keys: vec![1], aggregates, schema: schema() };
        Ok(Box::new(SessionAggregate::new(options)?))
    }))
}

fn pairs() -> EarlyWindows {
    early(Arc::new(|| {
        let aggregates = all_of(2);
        let options =
            CountOptions { time: 0, slide: 2, size: 2, keys: vec![1], aggregates, schema: schema() };
        Ok(Box::new(CountAggregate::new(options)?))
    }))
}

/// One epoch: rows, then the watermark, then the end at a wall clock, both in seconds.
fn epoch(operator: &mut EarlyWindows, rows: &str, watermark: i64, wall_clock: i64) -> Vec<String> {
    let mut output = Output::new(1);
    if !rows.is_empty() {
        operator.on_batch(0, table(&format!("ts:ts m:s x:f {rows}")).into(), &mut output).unwrap();
    }
    let watermark = if watermark == i64::MAX { Watermark::END } else { Watermark(watermark * SECOND) };
    operator.on_watermark(watermark, &mut output).unwrap();
    let header = EpochHeader::new(0, wall_clock * SECOND);
    operator.on_epoch_end(header, &mut output).unwrap();
    let mut lines = Vec::new();
    for batch in output.take(0) {
        for row in 0..batch.num_rows() {
            let shown = window_rows([&batch.rows().slice(row, 1)]);
            lines.push(format!("{:+} {}", batch.weights().unwrap().value(row), shown[0]));
        }
    }
    lines.sort();
    lines
}

#[test]
fn an_open_session_is_given_as_it_is_so_far() {
    let mut operator = sessions();
    assert_eq!(epoch(&mut operator, "\n 1 a 4", 0, 100), [""; 0], "the first tick is the next one");
    assert_eq!(epoch(&mut operator, "", 0, 101), ["+1 a 1 6 1 4 4 4"]);
    assert_eq!(epoch(&mut operator, "", 0, 102), [""; 0], "nothing has come");
    let changed = epoch(&mut operator, "\n 3 a 1 \n 9 b 7", 0, 103);
    assert_eq!(changed, ["+1 a 1 8 2 5 1 4", "+1 b 9 14 1 7 7 7", "-1 a 1 6 1 4 4 4"]);
    assert_eq!(epoch(&mut operator, "", 9, 103), [""; 0], "it closes as it was given");
    assert_eq!(epoch(&mut operator, "\n 10 b 1", i64::MAX, 103), ["+1 b 9 15 2 8 1 7", "-1 b 9 14 1 7 7 7"]);
    assert!(operator.given.is_empty());
}

#[test]
fn a_count_window_is_given_when_it_is_full_and_changes_with_a_row_before() {
    let mut operator = pairs();
    assert_eq!(epoch(&mut operator, "\n 2 a 1 \n 4 a 2 \n 5 a 9", 0, 100), [""; 0]);
    assert_eq!(epoch(&mut operator, "", 0, 101), ["+1 a 2 4 2 3 1 2"]);
    let changed = epoch(&mut operator, "\n 1 a 5", 0, 102);
    assert_eq!(changed, ["+1 a 1 2 2 6 1 5", "+1 a 4 5 2 11 2 9", "-1 a 2 4 2 3 1 2"]);
    let restored = operator.snapshot().unwrap();
    let mut operator = pairs();
    operator.restore(restored).unwrap();
    assert_eq!(epoch(&mut operator, "", i64::MAX, 102), [""; 0]);
    assert!(operator.given.is_empty());
}
