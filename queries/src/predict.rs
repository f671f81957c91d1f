//! `predict('model', features...)` and `predict_proba('model', features...)`: models in SQL.
//!
//! A model has a slot from the time it is declared; its type is known then, so that queries can be planned. The
//! trained model is put into the slot before the program starts. Scoring is by batch.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use lineshaft_operators::model::Trained;

use crate::error::{NameKind, QueryError};
use crate::window_function::external;

/// The models of a program.
#[derive(Clone, Debug, Default)]
pub struct Predict {
    models: Arc<Mutex<BTreeMap<String, Arc<Slot>>>>,
}

/// A declared model.
#[derive(Debug)]
pub struct Slot {
    /// What `predict` gives.
    pub output: DataType,
    /// The names of its features, in order.
    pub features: Vec<String>,
    /// `predict_proba` makes sense.
    pub is_classifier: bool,
    trained: OnceLock<Arc<Trained>>,
}

impl Predict {
    /// Declares a model; its training query has these feature columns.
    pub fn declare(&self, name: &str, output: DataType, features: Vec<String>, is_classifier: bool) {
        let slot = Slot { output, features, is_classifier, trained: OnceLock::new() };
        self.lock().insert(name.to_owned(), Arc::new(slot));
    }

    /// Puts the trained model into its slot. The first one stays for the life of the program.
    pub fn set(&self, name: &str, trained: Arc<Trained>) {
        if let Some(slot) = self.slot(name) {
            slot.trained.get_or_init(|| trained);
        }
    }

    fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        self.lock().get(name).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The SQL functions.
    pub(crate) fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        let function = |kind| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(PredictFunction { kind, models: self.clone(), signature }))
        };
        vec![function(Kind::Predict), function(Kind::Probability)]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Predict,
    Probability,
}

struct PredictFunction {
    kind: Kind,
    models: Predict,
    signature: Signature,
}

impl fmt::Debug for PredictFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for PredictFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.models.models, &other.models.models)
    }
}

impl Eq for PredictFunction {}

impl Hash for PredictFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl PredictFunction {
    fn slot_of(&self, name: Option<&ScalarValue>) -> Result<Arc<Slot>> {
        let Some(name) = name.and_then(|name| name.try_as_str().flatten()) else {
            let message = format!("{}: the first argument must be the name of a model as text", self.name());
            return Err(external(QueryError::invalid(message, None)));
        };
        self.models.slot(name).ok_or_else(|| {
            let names: Vec<String> = self.models.lock().keys().cloned().collect();
            external(QueryError::unknown(NameKind::Model, name, None, names.iter().map(String::as_str)))
        })
    }
}

impl ScalarUDFImpl for PredictFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Predict => "predict",
            Kind::Probability => "predict_proba",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type depends on the model".into()))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let name = arguments.scalar_arguments.first().copied().flatten();
        let slot = self.slot_of(name)?;
        let shown = name.map(ToString::to_string).unwrap_or_default();
        let (wanted, found) = (slot.features.len(), arguments.arg_fields.len() - 1);
        if wanted != found {
            let message = format!("model {shown:?} takes {wanted} features, found {found}");
            let help = format!("its features are {}", slot.features.join(", "));
            return Err(external(QueryError::invalid(message, None).with_help(help)));
        }
        let data_type = match self.kind {
            Kind::Predict => slot.output.clone(),
            Kind::Probability if slot.is_classifier => DataType::Float64,
            Kind::Probability => {
                let message = format!("model {shown:?} is no classifier: it has no probabilities");
                return Err(external(QueryError::invalid(message, None).with_help("use predict")));
            }
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let number = |data_type: &DataType| {
            let fits = data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::Null);
            if fits {
                return Ok(DataType::Float64);
            }
            Err(external(QueryError::TypeMismatch {
                what: format!("a feature of {}", self.name()),
                expected: "a number or BOOLEAN".into(),
                found: data_type.to_string(),
                span: None,
            }))
        };
        let features = arguments.iter().skip(1).map(number);
        std::iter::once(Ok(DataType::Utf8)).chain(features).collect()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = match arguments.args.first() {
            Some(ColumnarValue::Scalar(name)) => Some(name),
            _ => None,
        };
        let slot = self.slot_of(name)?;
        let Some(trained) = slot.trained.get() else {
            return Err(DataFusionError::Execution(format!("model {name:?} is not trained")));
        };
        let columns: Vec<ArrayRef> = arguments.args[1..]
            .iter()
            .map(|argument| argument.to_array(arguments.number_rows))
            .collect::<Result<_>>()?;
        let scored = match self.kind {
            Kind::Predict => trained.predict(&columns),
            Kind::Probability => trained.predict_proba(&columns, None),
        };
        Ok(ColumnarValue::Array(scored.map_err(|error| DataFusionError::External(Box::new(error)))?))
    }
}
