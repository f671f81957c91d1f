//! Which row groups may have a wanted row, by their statistics: the others are not read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Scalar};
use arrow::compute::kernels::cmp::{gt, gt_eq, lt, lt_eq};
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::declaration::{Comparison, Condition, SourceDeclaration};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use super::convert::convert;
use super::rows::Place;
use crate::format::layout::ColumnSpec;
use crate::format::timestamp::TimestampFormat;

/// One entry per row group: whether it is to be read.
pub(super) fn wanted_groups(
    declaration: &SourceDeclaration,
    timestamp: &TimestampFormat,
    metadata: &ArrowReaderMetadata,
    columns: &[(ColumnSpec, Place)],
) -> Vec<bool> {
    let count = metadata.metadata().num_row_groups();
    if declaration.wanted.is_empty() {
        return vec![true; count];
    }
    let mut wanted = vec![false; count];
    for conditions in &declaration.wanted {
        let mut possible = vec![true; count];
        for condition in conditions {
            // What the connector gives is not what the file has under that name.
            if declaration.metadata.contains(&condition.column) {
                continue;
            }
            let met = match folder(condition, &declaration.schema, columns) {
                Some(value) => met_by(condition, value, value).map(|met| vec![met[0]; count]),
                None => met(condition, &declaration.schema, timestamp, metadata),
            };
            for (possible, met) in possible.iter_mut().zip(met.into_iter().flatten()) {
                *possible &= met;
            }
        }
        wanted.iter_mut().zip(possible).for_each(|(wanted, possible)| *wanted |= possible);
    }
    wanted
}

/// The value of the column of a condition, if it stands in the name of the folder.
fn folder<'a>(
    condition: &Condition,
    schema: &SchemaRef,
    columns: &'a [(ColumnSpec, Place)],
) -> Option<&'a ArrayRef> {
    let name = schema.field(condition.column).name();
    columns.iter().find_map(|(spec, place)| match place {
        Place::Folder(value) if spec.field.name() == name => Some(value),
        _ => None,
    })
}

/// For each row group whether a row of it may meet the condition; `None` if the statistics do not tell.
fn met(
    condition: &Condition,
    schema: &SchemaRef,
    timestamp: &TimestampFormat,
    metadata: &ArrowReaderMetadata,
) -> Option<Vec<bool>> {
    let field = schema.field(condition.column);
    let found = metadata.schema().field_with_name(field.name()).ok()?;
    let declared = condition.value.data_type();
    if !has_order(found.data_type(), declared) {
        return None;
    }
    let groups = metadata.metadata().row_groups();
    let statistics =
        StatisticsConverter::try_new(field.name(), metadata.schema(), metadata.parquet_schema()).ok()?;
    let bound = |array: ArrayRef| convert(&array, declared, timestamp).ok();
    let (least, largest) =
        (bound(statistics.row_group_mins(groups).ok()?)?, bound(statistics.row_group_maxes(groups).ok()?)?);
    met_by(condition, &least, &largest)
}

/// Whether something between the least and the largest value may meet the condition; if these are not known, it may.
fn met_by(condition: &Condition, least: &ArrayRef, largest: &ArrayRef) -> Option<Vec<bool>> {
    let value = Scalar::new(Arc::clone(&condition.value));
    let may = |met: Result<BooleanArray, _>| {
        let met: BooleanArray = met.ok()?;
        Some((0..met.len()).map(|group| met.is_null(group) || met.value(group)).collect::<Vec<bool>>())
    };
    match condition.comparison {
        Comparison::Less => may(lt(least, &value)),
        Comparison::LessOrEqual => may(lt_eq(least, &value)),
        Comparison::GreaterOrEqual => may(gt_eq(largest, &value)),
        Comparison::Greater => may(gt(largest, &value)),
        Comparison::Equal => {
            let (above, below) = (may(lt_eq(least, &value))?, may(gt_eq(largest, &value))?);
            Some(above.into_iter().zip(below).map(|(above, below)| above && below).collect())
        }
    }
}

/// True if values of the file have the order of the declared ones. Floats have not, for NaN; nor have times as text.
fn has_order(found: &DataType, declared: &DataType) -> bool {
    let is_text =
        |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let found = match found {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    match declared {
        DataType::Timestamp(..) => found.is_temporal() || found.is_integer(),
        declared if declared.is_integer() => found.is_integer(),
        DataType::Date32 | DataType::Boolean => found == declared,
        declared if is_text(declared) => is_text(found),
        _ => false,
    }
}
