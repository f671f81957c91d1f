//! What `CREATE OPTIMIZER` says.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lineshaft_engine::batch::event_time_field;
use lineshaft_engine::error::{Error, Result};
use lineshaft_engine::expression::Expression;

/// A variable to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name, and that of the column of the choice.
    pub name: String,
    /// Least value.
    pub lower: f64,
    /// Greatest value.
    pub upper: f64,
    /// Greatest distance from the last feasible choice of the key.
    pub max_step: Option<f64>,
    /// Whole numbers only.
    pub is_whole: bool,
}

impl Variable {
    /// Its bounds: of a whole number the whole numbers within them.
    pub fn bounds(&self) -> (f64, f64) {
        match self.is_whole {
            true => (self.lower.ceil(), self.upper.floor()),
            false => (self.lower, self.upper),
        }
    }
}

/// A condition on candidates, over the candidate columns.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// Boolean column: true for an allowed candidate. NULL counts as false.
    pub holds: Arc<dyn Expression>,
    /// How far a candidate is off, greater than zero if it does not hold: `100 - x` for `x >= 100`. It leads the
    /// search towards what is allowed; without it a candidate that does not hold is off by 1.
    pub violation: Option<Arc<dyn Expression>>,
}

/// `CREATE OPTIMIZER`.
#[derive(Clone, Debug)]
pub struct OptimizerOptions {
    /// The name, for messages.
    pub name: String,
    /// `OVER (...)`, at least one.
    pub variables: Vec<Variable>,
    /// `MINIMIZE`, over the candidate columns.
    pub objective: Arc<dyn Expression>,
    /// `SUBJECT TO`.
    pub constraints: Vec<Constraint>,
    /// `PER`: columns of the input.
    pub keys: Vec<usize>,
    /// Column of the input with the event time.
    pub event_time: usize,
    /// `EVERY`, microseconds, greater than zero.
    pub interval: i64,
    /// Decides all that is random in the search, together with key and tick.
    pub seed: u64,
    /// Most candidates a key and tick.
    pub evaluations: usize,
}

impl OptimizerOptions {
    /// Candidates per key and tick if nothing else is said.
    pub const EVALUATIONS: usize = 3_000;

    /// The columns over which objective and constraints are planned: those of the input, then the variables.
    pub fn candidate_schema(input: &Schema, variables: &[Variable]) -> SchemaRef {
        let added = variables.iter().map(|variable| Field::new(&variable.name, DataType::Float64, false));
        Arc::new(Schema::new(
            input.fields().iter().map(|field| field.as_ref().clone()).chain(added).collect::<Vec<_>>(),
        ))
    }

    /// The columns of the rows that come out.
    pub fn output_schema(&self, input: &Schema) -> SchemaRef {
        let mut fields = vec![event_time_field(input.field(self.event_time).name())];
        fields.extend(self.keys.iter().map(|&key| input.field(key).clone()));
        fields.extend(self.variables.iter().map(|v| Field::new(&v.name, DataType::Float64, true)));
        fields.push(Field::new("cost", DataType::Float64, true));
        fields.push(Field::new("feasible", DataType::Boolean, false));
        fields.push(Field::new("reason", DataType::Utf8, true));
        Arc::new(Schema::new(fields))
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        let error = |reason: String| Error::operator(format!("optimizer {:?}", self.name), reason);
        if self.variables.is_empty() {
            return Err(error("it has no variable to choose; name one in OVER (...)".to_owned()));
        }
        if self.interval <= 0 {
            return Err(error("its interval is not greater than zero".to_owned()));
        }
        for variable in &self.variables {
            let (name, max_step, (lower, upper)) = (&variable.name, &variable.max_step, variable.bounds());
            if !(lower.is_finite() && upper.is_finite() && (upper - lower).is_finite() && lower <= upper) {
                return Err(error(format!(
                    "the bounds {lower} and {upper} of {name} are not finite and in order"
                )));
            }
            if max_step.is_some_and(|step| step.is_nan() || step <= 0.0) {
                return Err(error(format!("the step of {name} is not greater than zero")));
            }
        }
        Ok(())
    }
}
