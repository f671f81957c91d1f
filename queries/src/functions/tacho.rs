//! Order tracking by a tacho: functions of two arrays of a row, samples and the times of the pulses.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use lineshaft_operators::signal::{self, Tacho, without_nan};

use super::machine::{HIGH_ORDER, LOW_ORDER, PER_TURN};
use super::parameter::{Parameter, is_whole, names, of_row, whole};
use super::spectrum::RATE;
use super::value::{Value, Values, list_type};

/// A function of samples and pulses: what SQL calls it, what it computes, and what the reference says of it.
#[derive(Debug)]
pub(super) struct OfTacho {
    pub(super) name: &'static str,
    /// Numbers behind samples and pulses: the rate, then those of its own, then the pulses and the samples of a turn.
    pub(super) parameters: &'static [Parameter],
    gives_list: bool,
    kernel: fn(&[f64], Tacho<'_>, &[f64]) -> Value,
    pub(super) summary: &'static str,
    pub(super) formula: &'static str,
    pub(super) unit: &'static str,
}

const PULSES: Parameter = Parameter::list(
    "pulses",
    "an array of the times of the pulses in seconds after the first sample, ascending; those outside of the samples do not count",
);
const PULSES_PER_TURN: Parameter =
    Parameter::number("pulses_per_turn", "a whole number from 1 to 100000", |n| {
        is_whole(n) && (1.0..=100_000.0).contains(&n)
    });

pub(super) const OF_TACHO: &[OfTacho] = &[
    OfTacho {
        name: "tacho_resample",
        parameters: &[RATE, PULSES_PER_TURN.or(1.0), PER_TURN.or(64.0)],
        gives_list: true,
        kernel: |x, tacho, p| Value::List(tacho.resampled(x, p[0])),
        summary: "The samples at even angles of a shaft, per_turn of them a turn, over all whole turns from the first pulse on: in its \
            spectrum, with per_turn as the rate, a frequency is an order. Orders above half of per_turn fold back: filter first",
        formula: "x at the time of each angle, on the line through two samples; the time goes monotonely through all pulses (PCHIP)",
        unit: "unit of x, an array",
    },
    OfTacho {
        name: "tacho_order_energy",
        parameters: &[RATE, LOW_ORDER, HIGH_ORDER, PULSES_PER_TURN.or(1.0), PER_TURN.or(64.0)],
        gives_list: false,
        kernel: |x, tacho, p| Value::Number(signal::tacho_order_energy(x, p[0], tacho, p[1], p[2])),
        summary: "The mean square of what turns with a shaft, low_order <= o < high_order events a turn, at any speed: `order_energy` by the \
            pulses of a tacho",
        formula: "sum(P_k) / n over the band of `tacho_resample`",
        unit: "unit of x, squared",
    },
    OfTacho {
        name: "tacho_synchronous_average",
        parameters: &[RATE, PULSES_PER_TURN.or(1.0), PER_TURN.or(64.0)],
        gives_list: true,
        kernel: |x, tacho, p| Value::List(signal::tacho_synchronous_average(x, p[0], tacho)),
        summary: "The mean turn of a shaft, an array of per_turn angles from that of the first pulse on: what does not turn with it is \
            averaged out. `synchronous_average` by the pulses of a tacho",
        formula: "mean over all whole turns of `tacho_resample` at the angle",
        unit: "unit of x, an array",
    },
];

const SOURCE: &str = "Fyfe, Munck (1997), Analysis of computed order tracking; Fritsch, Butland (1984)";
const NULL_WHEN: &str = "the pulses make no whole turn or do not ascend, there are fewer than two samples, or the turns have more than ten million \
    angles together";

/// The section of the reference.
pub(super) fn section() -> String {
    let mut page = "
## With the pulses of a tacho

Functions of two arrays of a row: the samples, and the times of the pulses of a tacho in the same record, as `pulse_times` finds them in the
samples of a tacho, or as a counter gives them. The speed may do what it likes between the pulses.
"
    .to_owned();
    for function in OF_TACHO {
        let parameters: String = function.parameters[1..].iter().map(Parameter::entry).collect();
        page += &format!(
            "\n### `{}`\n\n{}.\n\n{}{}{parameters}- Formula: `{}`\n- Source: {SOURCE}\n- Unit: {}\n- NULL if {NULL_WHEN}\n",
            function.signature(),
            function.summary,
            RATE.entry(),
            PULSES.entry(),
            function.formula,
            function.unit,
        );
    }
    page
}

impl OfTacho {
    /// `name(x, rate_hz, pulses, ...)`.
    fn signature(&self) -> String {
        format!("{}(x, {}, {}{})", self.name, RATE.name, PULSES.name, names(&self.parameters[1..]))
    }

    fn data_type(&self) -> DataType {
        if self.gives_list { list_type() } else { DataType::Float64 }
    }

    /// The parameter at a place of the arguments; samples are arrays like pulses.
    fn parameter(&self, place: usize) -> &Parameter {
        match place {
            0 | 2 => &PULSES,
            1 => &self.parameters[0],
            place => &self.parameters[place - 2],
        }
    }
}

/// It as a function of DataFusion.
#[derive(Debug)]
pub(super) struct TachoFunction {
    function: &'static OfTacho,
    signature: Signature,
}

impl TachoFunction {
    pub(super) fn new(function: &'static OfTacho) -> Self {
        Self { function, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for TachoFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for TachoFunction {}

impl Hash for TachoFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for TachoFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.function.data_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let function = self.function;
        for (place, value) in
            args.scalar_arguments.iter().enumerate().filter(|(place, _)| place % 2 == 1 || *place > 2)
        {
            if let Some(value) = value {
                function.parameter(place).of_constant(function.name, value)?;
            }
        }
        Ok(Arc::new(Field::new(function.name, function.data_type(), true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let function = self.function;
        let least = 2 + function.parameters.iter().filter(|parameter| parameter.default.is_none()).count();
        if types.len() < least || types.len() > 2 + function.parameters.len() {
            return plan_err!("wrong number of arguments: {} takes {}", function.name, function.signature());
        }
        if let [samples, ..] = types
            && PULSES.coerce(function.name, samples).is_err()
        {
            return plan_err!("{}: x must be an array of numbers, not {samples}", function.name);
        }
        let typed = types.iter().enumerate();
        typed.map(|(place, found)| function.parameter(place).coerce(function.name, found)).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (function, rows) = (self.function, args.number_rows);
        let argument = |place: usize| match args.args.get(place) {
            Some(argument) => argument.to_array(rows),
            None => ScalarValue::Float64(function.parameter(place).default).to_array_of_size(rows),
        };
        let (samples, pulses) = (argument(0)?, argument(2)?);
        let (samples, pulses) = (samples.as_list::<i32>(), pulses.as_list::<i32>());
        let places = (0..function.parameters.len()).map(|at| if at == 0 { 1 } else { at + 2 });
        let numbers = places.map(|place| Ok(function.parameter(place).column(&argument(place)?)));
        let numbers: Vec<Float64Array> = numbers.collect::<Result<_>>()?;
        let mut values = Values::new(&function.data_type(), rows);
        let mut of_this = vec![0.0; numbers.len()];
        for row in 0..rows {
            let is_given = of_row(function.parameters, &numbers, row, &mut of_this);
            if !is_given || samples.is_null(row) || pulses.is_null(row) {
                values.push_null();
                continue;
            }
            let (samples, pulses_s) = (present(&samples.value(row)), present(&pulses.value(row)));
            let [.., pulses_per_turn, per_turn] = of_this[..] else { continue };
            let tacho = Tacho {
                pulses_s: &pulses_s,
                pulses_per_turn: whole(pulses_per_turn),
                per_turn: whole(per_turn),
            };
            values.push((function.kernel)(&samples, tacho, &of_this));
        }
        Ok(ColumnarValue::Array(values.finish()))
    }
}

/// NULL and NaN are no samples.
fn present(items: &dyn Array) -> Vec<f64> {
    let known: Vec<f64> = items.as_primitive::<Float64Type>().iter().flatten().collect();
    without_nan(&known).into_owned()
}
