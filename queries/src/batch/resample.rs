//! `RESAMPLE` over whole tables: each point of the grid looked up among all rows of its key.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::{DataFusionError, Result};
use lineshaft_operators::resample::{Grid, MOST_POINTS, Point, Position, fill};

use crate::window_function::Resample;

/// The rows of `RESAMPLE` over `rows`.
pub(super) fn resampled(resample: &Resample, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let place = |column| resample.input.schema().index_of_column(column);
    let times = rows.column(place(&resample.time)?).as_primitive::<TimestampMicrosecondType>();
    let keys = resample.keys.iter().map(|key| Ok(ArrayRef::clone(rows.column(place(key)?))));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let converter =
        RowConverter::new(keys.iter().map(|key| SortField::new(key.data_type().clone())).collect())?;
    let encoded = if keys.is_empty() { None } else { Some(converter.convert_columns(&keys)?) };
    let mut by_key: HashMap<Option<OwnedRow>, Vec<(i64, u32)>> = HashMap::new();
    for (number, row) in (0_u32..).zip(0..rows.num_rows()) {
        if times.is_valid(row) {
            let key = encoded.as_ref().map(|keys| keys.row(row).owned());
            by_key.entry(key).or_default().push((times.value(row), number));
        }
    }
    let mut points = Vec::new();
    for mut rows in by_key.into_values() {
        rows.sort_by_key(|(time, _)| *time);
        all_points(&rows, resample.grid(), &mut points);
    }
    points.sort_by_key(|point| (point.after, point.time));
    let columns = fill(rows.columns(), &points, &resample.fillings());
    let columns = columns.map_err(|error| DataFusionError::Execution(error.to_string()))?;
    Ok(RecordBatch::try_new(SchemaRef::clone(schema), columns)?)
}

/// The points of one key, whose rows are sorted by time.
fn all_points(rows: &[(i64, u32)], grid: Grid, points: &mut Vec<Point>) {
    let [(first, _), .., (last, _)] = rows else {
        if let [(time, row)] = rows
            && time.rem_euclid(grid.interval) == 0
        {
            points.push(Point { time: *time, before: *row, after: *row, position: Position::Row });
        }
        return;
    };
    let mut time = (first + grid.interval - 1).div_euclid(grid.interval) * grid.interval;
    while time <= *last {
        let next = rows.partition_point(|row| row.0 <= time);
        let (start, before) = rows[next - 1];
        if start == time {
            points.push(Point { time, before, after: before, position: Position::Row });
            time += grid.interval;
            continue;
        }
        let end = rows[next].0;
        let (_, after) = rows[rows.partition_point(|row| row.0 <= end) - 1];
        let is_gap = grid.max_gap.is_some_and(|most| end - start > most);
        let steps = (end - time + grid.interval - 1) / grid.interval;
        if is_gap && grid.skip_gaps || steps > MOST_POINTS {
            time += steps * grid.interval;
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "spans of time far below 2^53 us")]
        let share = (time - start) as f64 / (end - start) as f64;
        let position = if is_gap { Position::Gap } else { Position::Between(share) };
        points.push(Point { time, before, after, position });
        time += grid.interval;
    }
}
