//! A feature as a function of an array column: one value per row.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float64Type, TimestampMicrosecondType,
};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use lineshaft_operators::signal::without_nan;

use super::feature::{Feature, event_time_type};
use super::parameter::of_row;
use super::value::Values;

/// `rms(waveform)`: the feature of each row's array. An array that is NULL gives NULL.
#[derive(Debug)]
pub(super) struct FeatureOfArray {
    feature: &'static Feature,
    signature: Signature,
}

impl FeatureOfArray {
    pub(super) fn new(feature: &'static Feature) -> Self {
        Self { feature, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn values<O: OffsetSizeTrait>(&self, arguments: &[ArrayRef]) -> ArrayRef {
        let count = self.feature.parameters.len();
        let samples = arguments[0].as_list::<O>();
        let items = samples.values().as_primitive::<Float64Type>();
        let known = self.feature.parameters;
        let parameters: Vec<_> =
            known.iter().zip(&arguments[1..]).map(|(known, column)| known.column(column)).collect();
        let times = arguments.get(count + 1).map(|times| times.as_list::<O>());
        let mut of_this = vec![0.0; count];
        let value = |row: usize| {
            if samples.is_null(row) || !of_row(known, &parameters, row, &mut of_this) {
                return None;
            }
            let Some(times) = times else {
                let samples = present(items, range(samples.value_offsets(), row));
                return Some(self.feature.evaluate(samples, None, &of_this));
            };
            let samples = samples.value(row);
            let times = times.is_valid(row).then(|| times.value(row))?;
            let (samples, times) = timed(samples.as_primitive(), times.as_primitive())?;
            Some(self.feature.evaluate(samples.into(), Some(times.into()), &of_this))
        };
        let mut values = Values::new(&self.feature.data_type(), samples.len());
        for value in (0..samples.len()).map(value) {
            match value {
                Some(value) => values.push(value),
                None => values.push_null(),
            }
        }
        values.finish()
    }
}

impl PartialEq for FeatureOfArray {
    fn eq(&self, other: &Self) -> bool {
        self.feature.name == other.feature.name
    }
}

impl Eq for FeatureOfArray {}

impl Hash for FeatureOfArray {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.feature.name.hash(state);
    }
}

impl ScalarUDFImpl for FeatureOfArray {
    #[expect(clippy::misnamed_getters, reason = "the name itself is that of the aggregate")]
    fn name(&self) -> &str {
        self.feature.array_name
    }

    /// A column is called what the user wrote: `rms(waveform)`.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let arguments: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("{}({})", self.feature.name, arguments.join(",")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.feature.data_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        for (parameter, value) in self.feature.parameters.iter().zip(args.scalar_arguments.iter().skip(1)) {
            if let Some(value) = value {
                parameter.of_constant(self.feature.name, value)?;
            }
        }
        Ok(Arc::new(Field::new(self.feature.array_name, self.feature.data_type(), true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let feature = self.feature;
        let Some(item) = types.first().and_then(item_type).filter(|item| item.is_numeric() || item.is_null())
        else {
            return plan_err!("{}: x must be an array of numbers", feature.name);
        };
        debug_assert!(!item.is_nested(), "numbers only");
        let list = |item: DataType| {
            let item = Arc::new(Field::new_list_field(item, true));
            match types[0] {
                DataType::LargeList(_) => DataType::LargeList(item),
                _ => DataType::List(item),
            }
        };
        let mut coerced = feature.coerce(list(DataType::Float64), types)?;
        if let Some(found) = types.get(coerced.len()) {
            let Some(time) = item_type(found).and_then(event_time_type) else {
                return plan_err!("{}: ts must be an array of TIMESTAMP, not {found}", feature.name);
            };
            coerced.push(list(time));
        }
        Ok(coerced)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = args
            .args
            .iter()
            .map(|argument| argument.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let values = match arguments[0].data_type() {
            DataType::LargeList(_) => self.values::<i64>(&arguments),
            _ => self.values::<i32>(&arguments),
        };
        Ok(ColumnarValue::Array(values))
    }
}

/// The type of the items, if this is an array.
pub(super) fn item_type(found: &DataType) -> Option<&DataType> {
    match found {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item.data_type()),
        _ => None,
    }
}

fn range<O: OffsetSizeTrait>(offsets: &[O], row: usize) -> std::ops::Range<usize> {
    offsets[row].as_usize()..offsets[row + 1].as_usize()
}

/// The samples of a row that are neither NULL nor NaN; not copied if all are.
pub(super) fn present(items: &PrimitiveArray<Float64Type>, range: std::ops::Range<usize>) -> Cow<'_, [f64]> {
    let samples = &items.values()[range.clone()];
    match items.nulls() {
        Some(nulls) if nulls.slice(range.start, range.len()).null_count() > 0 => {
            let valid = range.clone().filter(|i| nulls.is_valid(*i) && !items.value(*i).is_nan());
            valid.map(|i| items.value(i)).collect()
        }
        _ => without_nan(samples),
    }
}

/// Samples with their times, where both are there; nothing if there are more of one than of the other.
pub(super) fn timed(
    samples: &PrimitiveArray<Float64Type>,
    times: &PrimitiveArray<TimestampMicrosecondType>,
) -> Option<(Vec<f64>, Vec<i64>)> {
    type Time = <TimestampMicrosecondType as ArrowPrimitiveType>::Native;
    let row = |(x, time): (Option<f64>, Option<Time>)| Some((x.filter(|x| !x.is_nan())?, time?));
    (samples.len() == times.len()).then(|| samples.iter().zip(times).filter_map(row).unzip())
}
