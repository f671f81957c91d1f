//! Models in SQL: `predict('model', features...)`, `predict_proba(...)`, `model_value('model', 'figure', features...)` and
//! `contributions('model', 'figure', features...)`, `model_transform('model', features...)`. Of a model `PER key` the key stands before
//! the features. `nearest_cases('model', k, features...)` gives the rows of the training that are most like a row. The name of a class stands before both: `predict_proba('model', 'worn', features...)`.
//! `model_version(...)` is the version that scores a row, `predict_shadow(...)` and `predict_proba_shadow(...)` what the version
//! beside it gives.
//!
//! A model has a slot from the time it is declared; its type is known then, so that queries can be planned. The
//! trained model is put into the slot before the program starts, and others may follow, each with the epoch from which it
//! scores ([`lineshaft_engine::swap`]). Scoring is by batch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow::array::{Array, ArrayRef, Int64Array, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use lineshaft_engine::swap::worked_on;
use lineshaft_engine::time::Epoch;
use lineshaft_operators::model::cases::MOST_NEAREST;
use lineshaft_operators::model::{Algorithm, Task, Trained};

use crate::bind::reported;
use crate::error::{NameKind, QueryError};
use crate::window_function::external;

/// The models of a program.
#[derive(Clone, Debug, Default)]
pub struct Predict {
    models: Arc<Mutex<BTreeMap<String, Arc<Slot>>>>,
    /// The names of models whose statements are wrong, which has been told.
    broken: Arc<Mutex<BTreeSet<String>>>,
}

/// A declared model.
#[derive(Debug)]
pub struct Slot {
    algorithm: Algorithm,
    /// What `predict` gives.
    output: DataType,
    /// The column of its key, if there is a model for each value of it.
    key: Option<String>,
    /// The names of its features, in order.
    features: Vec<String>,
    /// What `nearest_cases` gives; `None` if the model keeps no cases.
    cases: Option<DataType>,
    /// The classes that queries name.
    classes: Mutex<BTreeSet<String>>,
    /// What scores, with the epochs from which it does; the first one does before, too.
    versions: RwLock<Vec<(Epoch, Scoring)>>,
}

/// What scores the rows of an epoch.
#[derive(Clone, Debug)]
pub struct Scoring {
    /// The number of the version.
    pub version: u32,
    /// The version that scores.
    pub live: Arc<Trained>,
    /// The version that scores beside it.
    pub shadow: Option<Arc<Trained>>,
}

impl Slot {
    /// A model that is not trained yet. `output` is the type of `predict`.
    pub fn new(algorithm: Algorithm, output: DataType, key: Option<String>, features: Vec<String>) -> Self {
        let (classes, versions) = (Mutex::default(), RwLock::default());
        Self { algorithm, output, key, features, cases: None, classes, versions }
    }

    /// The same for a model that keeps cases; `cases` is what `nearest_cases` gives.
    pub fn with_cases(self, cases: Option<DataType>) -> Self {
        Self { cases, ..self }
    }

    fn versions(&self) -> std::sync::RwLockWriteGuard<'_, Vec<(Epoch, Scoring)>> {
        self.versions.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What scores the rows that this thread computes.
    fn scoring(&self) -> Option<Scoring> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let epoch = worked_on().unwrap_or_default();
        let newest = versions.iter().rev().find(|(from, _)| *from <= epoch);
        newest.or(versions.first()).map(|(_, scoring)| scoring.clone())
    }

    /// The class that a call names before key and features, and the number of arguments up to those.
    fn class_of<'a>(
        &self,
        kind: Kind,
        arguments: usize,
        second: Option<&'a ScalarValue>,
    ) -> (usize, Option<&'a str>) {
        let (names, inputs) = (kind.names(), self.features.len() + usize::from(self.key.is_some()));
        match second.and_then(|class| class.try_as_str().flatten()) {
            Some(class) if kind.takes_class() && arguments == names + 1 + inputs => (names + 1, Some(class)),
            _ => (names, None),
        }
    }

    /// The classes that queries name and a version does not know.
    fn unknown_classes(&self, trained: &Trained) -> Vec<String> {
        let classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |class: &&String| trained.class(Some(class)).is_ok();
        classes.iter().filter(|class| !is_known(class)).cloned().collect()
    }

    /// What a version must have to score in place of another one.
    fn fits(&self, trained: &Trained) -> bool {
        trained.features == self.features
            && trained.training.per == self.key
            && trained.training.algorithm.task() == self.algorithm.task()
            && self.algorithm.values().iter().all(|name| trained.training.algorithm.values().contains(name))
            && self
                .algorithm
                .contributions()
                .iter()
                .all(|name| trained.training.algorithm.contributions().contains(name))
            && trained.training.case_type(&trained.output_type()) == self.cases
            && (self.algorithm.task() != Task::Classification || trained.output_type() == self.output)
    }
}

impl Predict {
    /// Declares a model.
    pub fn declare(&self, name: &str, slot: Slot) {
        self.lock().insert(name.to_owned(), Arc::new(slot));
    }

    /// Puts the trained model into its slot, for rows of any epoch until [`Predict::swap`] is called.
    pub fn set(&self, name: &str, scoring: Scoring) {
        if let Some(slot) = self.slot(name) {
            *slot.versions() = vec![(Epoch::MAX, scoring)];
        }
    }

    /// `scoring` scores the rows of the epoch `from` and later.
    pub fn swap(&self, name: &str, from: Epoch, scoring: Scoring) {
        let Some(slot) = self.slot(name) else { return };
        let mut versions = slot.versions();
        versions.retain(|(known, _)| *known != Epoch::MAX && *known != from);
        versions.push((from, scoring));
    }

    /// No row of an epoch below `epoch` is scored any more, but for those that may be taken back: the first version stays.
    pub fn forget_before(&self, name: &str, epoch: Epoch) {
        let Some(slot) = self.slot(name) else { return };
        let mut versions = slot.versions();
        let past = versions.iter().take_while(|(from, _)| *from <= epoch).count();
        if past > 2 {
            versions.drain(1..past - 1);
        }
    }

    /// The classes that queries name and a version does not know.
    pub fn unknown_classes(&self, name: &str, trained: &Trained) -> Vec<String> {
        self.slot(name).map(|slot| slot.unknown_classes(trained)).unwrap_or_default()
    }

    /// True if `trained` takes and gives what the program says of the model.
    pub fn fits(&self, name: &str, trained: &Trained) -> bool {
        self.slot(name).is_some_and(|slot| slot.fits(trained))
    }

    /// The names of the features of a model that is declared.
    pub(crate) fn features(&self, name: &str) -> Option<Vec<String>> {
        self.slot(name).map(|slot| slot.features.clone())
    }

    fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        self.lock().get(name).cloned()
    }

    /// Notes that the statement of a model is wrong: those who ask it are not told that there is none.
    pub(crate) fn declare_broken(&self, name: &str) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    fn is_broken(&self, name: &str) -> bool {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
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
        KINDS.map(function).into()
    }
}

/// Key and features of a call that asks `model`, as they are written: its last arguments, `inputs` of them.
pub(crate) fn asked<'a>(call: &'a Expr, model: &str, inputs: usize) -> Option<&'a [Expr]> {
    let Expr::ScalarFunction(call) = call else { return None };
    call.func.inner().downcast_ref::<PredictFunction>()?;
    let Expr::Literal(name, _) = call.args.first()? else { return None };
    if name.try_as_str().flatten() != Some(model) {
        return None;
    }
    call.args.get(call.args.len().checked_sub(inputs)?..)
}

/// True if the values of a column can be keys of models.
pub(crate) fn is_key(data_type: &DataType) -> bool {
    let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    is_text || is_number(data_type)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::Null)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Predict,
    Probability,
    Value,
    Contributions,
    Transform,
    Version,
    Shadow,
    ShadowProbability,
    NearestCases,
}

const KINDS: [Kind; 9] = [
    Kind::Predict,
    Kind::Probability,
    Kind::Value,
    Kind::Contributions,
    Kind::Transform,
    Kind::Version,
    Kind::Shadow,
    Kind::ShadowProbability,
    Kind::NearestCases,
];

impl Kind {
    /// Arguments before key and features: the names of the model and of the figure, or the number of cases.
    fn names(self) -> usize {
        match self {
            Self::Value | Self::Contributions | Self::NearestCases => 2,
            _ => 1,
        }
    }

    /// True if the name of a class may follow.
    fn takes_class(self) -> bool {
        matches!(self, Self::Probability | Self::ShadowProbability | Self::Value | Self::Contributions)
    }
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
            if self.models.is_broken(name) {
                return reported();
            }
            let names: Vec<String> = self.models.lock().keys().cloned().collect();
            external(QueryError::unknown(NameKind::Model, name, None, names.iter().map(String::as_str)))
        })
    }

    /// Key and features must be as many as the model takes, and the features numbers.
    fn check_inputs(&self, slot: &Slot, shown: &str, inputs: &[FieldRef]) -> Result<()> {
        let (wanted, keys) = (slot.features.len(), usize::from(slot.key.is_some()));
        if inputs.len() != wanted + keys {
            let found = inputs.len().saturating_sub(keys);
            let message = match &slot.key {
                Some(key) => format!(
                    "model {shown:?} takes its key {key:?} and {wanted} features, found {} arguments",
                    inputs.len()
                ),
                None => format!("model {shown:?} takes {wanted} features, found {found}"),
            };
            let help = format!("its features are {}", slot.features.join(", "));
            return Err(external(QueryError::invalid(message, None).with_help(help)));
        }
        match inputs[keys..].iter().find(|field| !is_number(field.data_type())) {
            Some(text) => Err(not_a_number(self.name(), text.data_type())),
            None => Ok(()),
        }
    }

    fn check_figure(&self, shown: &str, figure: Option<&ScalarValue>, known: &[&str]) -> Result<()> {
        let figure = figure.and_then(|figure| figure.try_as_str().flatten());
        if figure.is_some_and(|figure| known.contains(&figure)) {
            return Ok(());
        }
        let found = figure.map_or("found no text".to_owned(), |figure| format!("found {figure:?}"));
        let message =
            format!("{}: the second argument names a figure of model {shown}, {found}", self.name());
        let help = match known {
            [] => "its algorithm has none".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        Err(external(QueryError::invalid(message, None).with_help(help)))
    }

    /// The type of the cases, of which a constant number is asked for.
    fn check_cases(&self, slot: &Slot, shown: &str, count: Option<&ScalarValue>) -> Result<DataType> {
        let Some(cases) = &slot.cases else {
            let message = format!("model {shown:?} keeps no cases");
            let help = match &slot.algorithm {
                Algorithm::Onnx(_) | Algorithm::Safetensors(_) | Algorithm::Forecast(_) => {
                    "train a model that keeps its cases beside it"
                }
                _ => "name the column of its training query that identifies a case, with the option `cases`",
            };
            return Err(external(QueryError::invalid(message, None).with_help(help)));
        };
        if count.and_then(count_of).is_none() {
            let message = format!(
                "{}: the second argument is how many cases are wanted, a constant from 1 to {MOST_NEAREST}",
                self.name()
            );
            return Err(external(QueryError::invalid(message, None)));
        }
        Ok(cases.clone())
    }
}

/// The number of cases that a call asks for.
fn count_of(count: &ScalarValue) -> Option<usize> {
    let ScalarValue::Int64(count) = count else { return None };
    usize::try_from((*count)?).ok().filter(|count| (1..=MOST_NEAREST).contains(count))
}

impl ScalarUDFImpl for PredictFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Predict => "predict",
            Kind::Probability => "predict_proba",
            Kind::Value => "model_value",
            Kind::Contributions => "contributions",
            Kind::Transform => "model_transform",
            Kind::Version => "model_version",
            Kind::Shadow => "predict_shadow",
            Kind::ShadowProbability => "predict_proba_shadow",
            Kind::NearestCases => "nearest_cases",
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
        let scalar = |place: usize| arguments.scalar_arguments.get(place).copied().flatten();
        let (names, class) = slot.class_of(self.kind, arguments.arg_fields.len(), scalar(self.kind.names()));
        self.check_inputs(&slot, &shown, arguments.arg_fields.get(names..).unwrap_or_default())?;
        if let Some(class) = class {
            slot.classes.lock().unwrap_or_else(PoisonError::into_inner).insert(class.to_owned());
        }
        let figure = arguments.scalar_arguments.get(1).copied().flatten();
        let data_type = match self.kind {
            Kind::Predict | Kind::Shadow => slot.output.clone(),
            Kind::Version => DataType::Int64,
            Kind::Probability | Kind::ShadowProbability if slot.algorithm.has_probabilities() => {
                DataType::Float64
            }
            Kind::Probability | Kind::ShadowProbability => {
                let what = if slot.algorithm.task() == Task::Classification {
                    slot.algorithm.name()
                } else {
                    "no classifier"
                };
                let message = format!("model {shown:?} is {what}: it has no probabilities");
                return Err(external(QueryError::invalid(message, None).with_help("use predict")));
            }
            Kind::Transform if slot.algorithm.transforms() => Algorithm::contribution_type(),
            Kind::Transform => {
                let message =
                    format!("model {shown:?} is {}: it gives no other coordinates", slot.algorithm.name());
                return Err(external(QueryError::invalid(message, None).with_help("use algorithm = 'pca'")));
            }
            Kind::Value => {
                self.check_figure(&shown, figure, slot.algorithm.values())?;
                DataType::Float64
            }
            Kind::Contributions => {
                self.check_figure(&shown, figure, slot.algorithm.contributions())?;
                Algorithm::contribution_type()
            }
            Kind::NearestCases => self.check_cases(&slot, &shown, figure)?,
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let names = self.kind.names();
        let last_text = names + usize::from(self.kind.takes_class());
        let input = |(place, data_type): (usize, &DataType)| match data_type {
            _ if place == 1 && self.kind == Kind::NearestCases => Ok(DataType::Int64),
            _ if place < names => Ok(DataType::Utf8),
            data_type if is_number(data_type) => Ok(DataType::Float64),
            // Perhaps a class or a key: the model is not known here.
            data_type if place <= last_text && is_key(data_type) => Ok(DataType::Utf8),
            data_type if self.kind.takes_class() && is_key(data_type) => {
                let function = format!("{}, which come after the name of a class,", self.name());
                Err(not_a_number(&function, data_type))
            }
            data_type => Err(not_a_number(self.name(), data_type)),
        };
        arguments.iter().enumerate().map(input).collect()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = |place: usize| match arguments.args.get(place) {
            Some(ColumnarValue::Scalar(text)) => Some(text),
            _ => None,
        };
        let name = text(0);
        let slot = self.slot_of(name)?;
        let Some(Scoring { version, live, shadow }) = slot.scoring() else {
            return Err(DataFusionError::Execution(format!("model {name:?} is not trained")));
        };
        let (names, class) = slot.class_of(self.kind, arguments.args.len(), text(self.kind.names()));
        let columns: Vec<ArrayRef> = arguments.args[names..]
            .iter()
            .map(|argument| argument.to_array(arguments.number_rows))
            .collect::<Result<_>>()?;
        let figure = text(1).and_then(|figure| figure.try_as_str().flatten()).unwrap_or_default();
        let scored = match self.kind {
            Kind::Predict => live.predict(&columns),
            Kind::Probability => live.predict_proba(&columns, class),
            Kind::Value => live.value(figure, class, &columns),
            Kind::Contributions => live.contributions(figure, class, &columns),
            Kind::Transform => live.transform(&columns),
            Kind::NearestCases => live.nearest_cases(text(1).and_then(count_of).unwrap_or(1), &columns),
            Kind::Version => live.predict(&columns).map(|scores| version_of(version, &scores)),
            Kind::Shadow | Kind::ShadowProbability => match shadow {
                None => Ok(new_null_array(arguments.return_type(), arguments.number_rows)),
                Some(shadow) if self.kind == Kind::Shadow => shadow.predict(&columns),
                Some(shadow) => shadow.predict_proba(&columns, class),
            },
        };
        Ok(ColumnarValue::Array(scored.map_err(|error| DataFusionError::External(Box::new(error)))?))
    }
}

fn not_a_number(function: &str, found: &DataType) -> DataFusionError {
    external(QueryError::TypeMismatch {
        what: format!("a feature of {function}"),
        expected: "a number or BOOLEAN".into(),
        found: found.to_string(),
        span: None,
    })
}

/// The version where there is a score, as that is what it has scored.
fn version_of(version: u32, scores: &ArrayRef) -> ArrayRef {
    let versions = Int64Array::from_value(version.into(), scores.len());
    let (_, values, _) = versions.into_parts();
    Arc::new(Int64Array::new(values, scores.logical_nulls()))
}
