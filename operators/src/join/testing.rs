//! Two sides for the tests of joins by event time: `ts`, `key` and `id`, with `l` or `r` before each name.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use lineshaft_engine::TIMESTAMP;
use lineshaft_engine::testing::{Step, table};
use proptest::prelude::*;

use super::TimedSide;

pub(super) fn fields(prefix: &str) -> Vec<Field> {
    let field = |name: &str, data_type| Field::new(format!("{prefix}{name}"), data_type, true);
    vec![field("ts", TIMESTAMP), field("key", DataType::Utf8), field("id", DataType::Int64)]
}

pub(super) fn side(prefix: &str) -> TimedSide {
    let schema = Arc::new(Schema::new(fields(prefix)));
    TimedSide { keys: vec![1], time: 0, lag: 0, schema, width: 3 }
}

pub(super) fn left(text: &str) -> Step {
    Step::Rows(0, table(&format!("lts:ts lkey:s lid:i \n {text}")))
}

pub(super) fn right(text: &str) -> Step {
    Step::Rows(1, table(&format!("rts:ts rkey:s rid:i \n {text}")))
}

/// Rows of either side in any order, and watermarks that do not wait for them.
pub(super) fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..20_i64, prop::sample::select(vec!["a", "b", "-"]));
    let rows = prop::collection::vec(row, 1..5);
    prop::collection::vec((prop::bool::ANY, rows, 0..4_i64), 1..10).prop_map(|steps| {
        let (mut watermark, mut ids, mut made) = (0, 0.., Vec::new());
        for (is_left, rows, ahead) in steps {
            let rows = rows.into_iter().zip(&mut ids);
            let text: String = rows.map(|((time, key), id)| format!("{time} {key} {id} \n ")).collect();
            made.push(if is_left { left(&text) } else { right(&text) });
            watermark += ahead;
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            made.push(Step::Watermark(watermark as f64));
        }
        made.push(Step::End);
        made
    })
}
