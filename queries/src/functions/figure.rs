//! Functions of single numbers: `bearing_frequency`, `iso_zone`, OEE and its parts.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Float64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use lineshaft_operators::signal::{self, MACHINES};

use super::machine::{BEARING, BEARINGS, bearing};
use super::parameter::{Parameter, of_row, whole};

/// A figure of numbers: what SQL calls it, what it computes, and what the reference says of it.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    kernel: Kernel,
    pub(super) summary: &'static str,
    pub(super) formula: &'static str,
    pub(super) source: &'static str,
    pub(super) unit: &'static str,
}

#[derive(Debug)]
enum Kernel {
    Number(fn(&[f64]) -> Option<f64>),
    Text(fn(&[f64]) -> Option<&'static str>),
}

const MACHINE_NAMES: [&str; MACHINES.len()] = {
    let mut names = [""; MACHINES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = MACHINES[at].0;
        at += 1;
    }
    names
};

const OEE: &str = "ISO 22400-2:2014";

const fn amount(name: &'static str, range: &'static str) -> Parameter {
    Parameter::number(name, range, |x| x >= 0.0 && x.is_finite())
}

pub(super) const FIGURES: &[Figure] = &[
    Figure {
        name: "bearing_frequency",
        parameters: &BEARING,
        kernel: Kernel::Number(|p| {
            let (rpm, fault, bearing) = bearing(p);
            bearing.frequency_hz(rpm, fault)
        }),
        summary: "The frequency at which a fault of a rolling-element bearing strikes; the outer race stands still",
        formula: "with s = rpm / 60, r = ball_diameter / pitch_diameter * cos(angle): BPFO s * balls / 2 * (1 - r), \
            BPFI s * balls / 2 * (1 + r), BSF s * pitch_diameter / ball_diameter / 2 * (1 - r^2), FTF s / 2 * (1 - r)",
        source: BEARINGS,
        unit: "Hz",
    },
    Figure {
        name: "iso_zone",
        parameters: &[
            amount("velocity_rms_mm_s", "the root mean square of the velocity in mm/s, from 0 up"),
            Parameter::word(
                "machine",
                "'class I' .. 'class IV' (ISO 10816-1), or 'group 1 rigid', 'group 1 flexible', 'group 2 rigid', 'group 2 flexible' (ISO 10816-3)",
                &MACHINE_NAMES,
            ),
        ],
        kernel: Kernel::Text(|p| signal::iso_zone(p[0], whole(p[1]))),
        summary: "The zone of the vibration of a machine: 'A' (new), 'B' (unrestricted), 'C' (not for long), 'D' (damage). For \
            other limits join a table of your own",
        formula: "limits A/B, B/C, C/D in mm/s: class I 0.71, 1.8, 4.5; II 1.12, 2.8, 7.1; III 1.8, 4.5, 11.2; \
            IV 2.8, 7.1, 18; group 1 rigid 2.3, 4.5, 7.1, flexible 3.5, 7.1, 11; group 2 rigid 1.4, 2.8, 4.5, flexible \
            2.3, 4.5, 7.1; a limit belongs to the zone below it",
        source: "ISO 10816-1:1995, annex B; ISO 10816-3:2009, annex A",
        unit: "text",
    },
    Figure {
        name: "oee",
        parameters: &[
            amount("availability", "a share from 0 up"),
            amount("effectiveness", "a share from 0 up"),
            amount("quality_ratio", "a share from 0 up"),
        ],
        kernel: Kernel::Number(|p| signal::oee(p[0], p[1], p[2])),
        summary: "The overall equipment effectiveness",
        formula: "availability * effectiveness * quality_ratio",
        source: OEE,
        unit: "share",
    },
    Figure {
        name: "availability",
        parameters: &[
            amount("production_time", "the actual production time, from 0 up"),
            amount("planned_time", "the planned busy time, in the same unit; 0 gives NULL"),
        ],
        kernel: Kernel::Number(|p| signal::availability(p[0], p[1])),
        summary: "The share of the planned time in which a machine produces",
        formula: "production_time / planned_time",
        source: OEE,
        unit: "share",
    },
    Figure {
        name: "effectiveness",
        parameters: &[
            amount("time_per_piece", "the planned time for one piece, from 0 up"),
            amount("produced", "how many pieces were made, from 0 up"),
            amount(
                "production_time",
                "the actual production time, in the unit of time_per_piece; 0 gives NULL",
            ),
        ],
        kernel: Kernel::Number(|p| signal::effectiveness(p[0], p[1], p[2])),
        summary: "How fast a machine produces against plan; above 1 if faster",
        formula: "time_per_piece * produced / production_time",
        source: OEE,
        unit: "share",
    },
    Figure {
        name: "quality_ratio",
        parameters: &[
            amount("good", "how many pieces are good, from 0 up"),
            amount("produced", "how many pieces were made; 0 gives NULL"),
        ],
        kernel: Kernel::Number(|p| signal::quality_ratio(p[0], p[1])),
        summary: "The share of the pieces that are good",
        formula: "good / produced",
        source: OEE,
        unit: "share",
    },
];

impl Figure {
    /// `name(argument, argument)`.
    pub(super) fn signature(&self) -> String {
        let names: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
        format!("{}({})", self.name, names.join(", "))
    }

    fn data_type(&self) -> DataType {
        match self.kernel {
            Kernel::Number(_) => DataType::Float64,
            Kernel::Text(_) => DataType::Utf8,
        }
    }
}

/// A figure as a function of DataFusion.
#[derive(Debug)]
pub(super) struct FigureFunction {
    figure: &'static Figure,
    signature: Signature,
}

impl FigureFunction {
    pub(super) fn new(figure: &'static Figure) -> Self {
        Self { figure, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for FigureFunction {
    fn eq(&self, other: &Self) -> bool {
        self.figure.name == other.figure.name
    }
}

impl Eq for FigureFunction {}

impl Hash for FigureFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.figure.name.hash(state);
    }
}

impl ScalarUDFImpl for FigureFunction {
    fn name(&self) -> &str {
        self.figure.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.figure.data_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        for (parameter, value) in self.figure.parameters.iter().zip(args.scalar_arguments) {
            if let Some(value) = value {
                parameter.of_constant(self.figure.name, value)?;
            }
        }
        Ok(Arc::new(Field::new(self.figure.name, self.figure.data_type(), true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Figure { name, parameters, .. } = self.figure;
        if types.len() != parameters.len() {
            return plan_err!("wrong number of arguments: {name} takes {}", self.figure.signature());
        }
        parameters.iter().zip(types).map(|(parameter, found)| parameter.coerce(name, found)).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let parameters = self.figure.parameters;
        let column = |(parameter, argument): (&Parameter, &ColumnarValue)| {
            Ok(parameter.column(&argument.to_array(args.number_rows)?))
        };
        let columns = parameters.iter().zip(&args.args).map(column).collect::<Result<Vec<_>>>()?;
        let mut values = vec![0.0; parameters.len()];
        let is_given = |row: usize, values: &mut [f64]| of_row(parameters, &columns, row, values);
        let rows = 0..args.number_rows;
        Ok(ColumnarValue::Array(match self.figure.kernel {
            Kernel::Number(kernel) => Arc::new(
                rows.map(|row| is_given(row, &mut values).then(|| kernel(&values))?)
                    .collect::<Float64Array>(),
            ),
            Kernel::Text(kernel) => Arc::new(
                rows.map(|row| is_given(row, &mut values).then(|| kernel(&values))?).collect::<StringArray>(),
            ),
        }))
    }
}
