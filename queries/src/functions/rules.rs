//! What rules make of an answer, as the functions that `CREATE RULES` becomes: see [`lineshaft_operators::decision::rules`].
//!
//! Arguments: the answer, the value of a veto, then of each rule, the least priority first, its name, `set` or `veto n`, its
//! condition, and one value or `n`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use lineshaft_operators::decision::rules::{Decision, Effect, Rule, decide};

/// How a veto is written; the number of its values follows.
pub(crate) const VETO: &str = "veto ";

/// A column that rules give.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    /// Its name.
    pub(crate) column: &'static str,
    /// The function that gives it. Nobody else can write its name without quotes.
    pub(crate) function: &'static str,
}

/// The decision, what decided, and all rules whose condition held.
pub(crate) const FORMS: [Form; 3] = [
    Form { column: "decision", function: "decision of rules" },
    Form { column: "decided_by", function: "decided by rule" },
    Form { column: "fired", function: "fired rules" },
];

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    FORMS.iter().map(|form| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(RulesFunction { form, signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RulesFunction {
    form: &'static Form,
    signature: Signature,
}

impl RulesFunction {
    fn result(&self, decision: &Decision) -> ArrayRef {
        match self.form.column {
            "decision" => Arc::clone(&decision.value),
            "decided_by" => decision.decided_by(),
            _ => decision.fired(),
        }
    }
}

impl ScalarUDFImpl for RulesFunction {
    fn name(&self) -> &str {
        self.form.function
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type is that of the answer".into()))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let answer = arguments.arg_fields.first().ok_or_else(no_rules)?.data_type();
        let data_type = match self.form.column {
            "decision" => answer.clone(),
            "decided_by" => DataType::Utf8,
            _ => DataType::new_list(DataType::Utf8, true),
        };
        Ok(Arc::new(Field::new(self.form.function, data_type, self.form.column == "decision")))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        // Values are cast to the type of the answer when it is known which they are.
        Ok(arguments.to_vec())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let mut arguments = arguments.args.into_iter();
        let answer = arguments.next().ok_or_else(no_rules)?.to_array(rows)?;
        let value_of = |argument: Option<ColumnarValue>| {
            let value = argument.ok_or_else(no_rules)?.to_array(rows)?;
            Ok::<_, DataFusionError>(cast(&value, answer.data_type())?)
        };
        let on_veto = value_of(arguments.next())?;
        let mut rules = Vec::new();
        while let Some(name) = arguments.next() {
            let (name, kind) = (text(Some(name))?, text(arguments.next())?);
            let condition = arguments.next().ok_or_else(no_rules)?.to_array(rows)?;
            let condition = cast(&condition, &DataType::Boolean)?.as_boolean().clone();
            let effect = match kind.strip_prefix(VETO) {
                None => Effect::Set(value_of(arguments.next())?),
                Some(count) => {
                    let count: usize = count.parse().map_err(|_| no_rules())?;
                    let values = (0..count).map(|_| value_of(arguments.next()));
                    Effect::Veto(values.collect::<Result<_>>()?)
                }
            };
            rules.push(Rule { name, condition, effect });
        }
        let decision = decide(&answer, &on_veto, rules);
        let decision = decision.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Array(self.result(&decision)))
    }
}

fn text(argument: Option<ColumnarValue>) -> Result<String> {
    match argument {
        Some(ColumnarValue::Scalar(text)) => {
            text.try_as_str().flatten().map(str::to_owned).ok_or_else(no_rules)
        }
        // An optimiser may have made a column of it.
        Some(ColumnarValue::Array(texts)) if !texts.is_empty() => {
            Ok(cast(&texts, &DataType::Utf8)?.as_string::<i32>().value(0).to_owned())
        }
        _ => Err(no_rules()),
    }
}

fn no_rules() -> DataFusionError {
    exec_datafusion_err!("rules are declared by CREATE RULES")
}
