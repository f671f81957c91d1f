//! A program as it was bound: its relations with their plans, its models, sinks and actuators.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use lineshaft_engine::declaration::{OptionError, Options};
use lineshaft_operators::model::FileOptions;
use lineshaft_operators::model::Training;

use crate::alter::AlterModel;
use crate::catalog::{DRIFT, SourceEntry};
use crate::context::{Functions, RelationSource};
use crate::error::QueryError;
use crate::predict::Predict;
use crate::span::{SourceFile, Span};
use crate::statement::{CreateActuator, CreateOptimizer, CreateSink};

/// A program whose names and types are all known.
#[derive(Debug)]
pub struct Program {
    pub(crate) files: Vec<SourceFile>,
    /// By name.
    pub(crate) sources: BTreeMap<String, SourceEntry>,
    /// Views and optimisers by name, with the query that gives their rows.
    pub(crate) views: BTreeMap<String, View>,
    pub(crate) models: Vec<Model>,
    pub(crate) alterations: Vec<AlterModel>,
    pub(crate) optimizers: BTreeMap<String, CreateOptimizer>,
    pub(crate) actuators: BTreeMap<String, Actuator>,
    pub(crate) sinks: Vec<Sink>,
    /// Every relation, with its columns.
    pub(crate) relations: BTreeMap<String, Relation>,
    pub(crate) functions: Functions,
    pub(crate) predict: Predict,
}

/// What a relation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Source,
    Late(String),
    Quarantine(String),
    View,
    Optimizer,
    Log(String),
}

/// A relation of the program.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) kind: Kind,
    pub(crate) schema: SchemaRef,
}

/// A view, or the input of an optimiser.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// As it was written, types made equal: for batch execution.
    pub(crate) logical: LogicalPlan,
    /// Optimised: for the dataflow.
    pub(crate) plan: LogicalPlan,
    pub(crate) is_materialized: bool,
    pub(crate) span: Span,
}

/// `CREATE MODEL`.
#[derive(Clone, Debug)]
pub struct Model {
    /// How it is trained.
    pub training: Training,
    /// The training query as it was written.
    pub query: String,
    /// How often new data are looked for while the program runs, microseconds.
    pub retrain_us: Option<i64>,
    /// Whether they are looked for when the model has drifted, too.
    pub retrains_on_drift: bool,
    /// Where it comes from, if it is not trained.
    pub file: Option<ModelFile>,
    pub(crate) plan: LogicalPlan,
    /// The statement.
    pub span: Span,
}

/// A model that is read from a file.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// The file.
    pub path: PathBuf,
    /// What the statement says of it.
    pub options: FileOptions,
}

/// `CREATE ACTUATOR` with the commands that are inserted into it.
#[derive(Clone, Debug)]
pub(crate) struct Actuator {
    pub(crate) statement: CreateActuator,
    pub(crate) inserts: Vec<View>,
}

/// `CREATE SINK`.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) statement: CreateSink,
    pub(crate) view: View,
}

impl Model {
    /// The relation of its drifts, if it is trained on those: `<model>.drift`.
    pub fn drift(&self) -> Option<String> {
        self.retrains_on_drift.then(|| format!("{}.{DRIFT}", self.training.name))
    }

    /// The sink that those rows go to; a model has no other one of this name.
    pub fn drift_sink(&self) -> Option<String> {
        self.retrains_on_drift.then(|| format!("{}.retrain", self.training.name))
    }
}

impl Program {
    /// The text of the program, for its errors.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The models, each after those that its training query uses.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The `ALTER MODEL` of the program, in the order of the text.
    pub fn alterations(&self) -> &[AlterModel] {
        &self.alterations
    }

    /// The models in SQL; a trained model is put there.
    pub fn predict(&self) -> &Predict {
        &self.predict
    }

    /// The source or table `name`.
    pub fn source(&self, name: &str) -> Option<&SourceEntry> {
        self.sources.get(name)
    }

    /// All sources and tables.
    pub fn sources(&self) -> impl Iterator<Item = &SourceEntry> {
        self.sources.values()
    }

    /// The names of all actuators, and their options.
    pub fn actuators(&self) -> impl Iterator<Item = (&str, Options)> {
        self.actuators.iter().map(|(name, actuator)| (name.as_str(), actuator.statement.options.to_map()))
    }

    /// The names of all views.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        self.views.keys().map(String::as_str)
    }

    /// True if there is a relation of that name.
    pub fn has_relation(&self, name: &str) -> bool {
        self.relations.contains_key(name)
    }

    /// What a connector said about the source, table, sink or actuator `name`, at its place.
    pub fn option_error(&self, name: &str, error: OptionError) -> QueryError {
        let sink = || self.sinks.iter().map(|sink| &sink.statement).find(|sink| sink.name.value == name);
        if let Some(source) = self.sources.get(name) {
            source.statement.options.error(error)
        } else if let Some(sink) = sink() {
            sink.options.error(error)
        } else if let Some(actuator) = self.actuators.get(name) {
            actuator.statement.options.error(error)
        } else {
            QueryError::invalid(format!("{name}: {error}"), None)
        }
    }

    /// The sources and tables that the training query of a model reads, through all views.
    pub fn inputs_of(&self, model: &Model) -> BTreeSet<String> {
        let (mut inputs, mut todo) = (BTreeSet::new(), vec![model.plan.clone()]);
        let mut seen = BTreeSet::new();
        while let Some(plan) = todo.pop() {
            for name in relations_of(&plan) {
                if self.sources.contains_key(&name) {
                    inputs.insert(name);
                } else if let (Some(view), true) = (self.views.get(&name), seen.insert(name.clone())) {
                    todo.push(view.logical.clone());
                }
            }
        }
        inputs
    }

    /// For each column of a relation how far it stays behind the watermark; see [`crate::event_time`].
    pub(crate) fn times_of(&self, name: &str) -> Vec<Option<i64>> {
        let Some(relation) = self.relations.get(name) else { return Vec::new() };
        relation_times(name, self.views.get(name), relation, &self.sources, &|name| self.times_of(name))
    }
}

/// For each column of a relation how far it stays behind the watermark; see [`crate::event_time`].
pub(crate) fn relation_times(
    name: &str,
    view: Option<&View>,
    relation: &Relation,
    sources: &BTreeMap<String, SourceEntry>,
    times_of: &dyn Fn(&str) -> Vec<Option<i64>>,
) -> Vec<Option<i64>> {
    let mut times = vec![None; relation.schema.fields().len()];
    match &relation.kind {
        Kind::Source => {
            if let Some(watermark) = &sources[name].statement.watermark {
                times[watermark.column] = Some(sources[name].allowed_lateness);
            }
        }
        Kind::View => {
            if let Some(view) = view {
                times = crate::event_time::times(&view.plan, times_of);
            }
        }
        // The time of the tick.
        Kind::Optimizer => times[0] = Some(0),
        Kind::Late(_) | Kind::Quarantine(_) | Kind::Log(_) => {}
    }
    times
}

/// The names of the relations that a plan reads directly.
pub(crate) fn relations_of(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let collected = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            names.extend(scan.source.downcast_ref::<RelationSource>().map(|source| source.name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(collected.is_ok());
    names
}

/// Columns of a plan as an Arrow schema.
pub(crate) fn arrow_schema(plan: &LogicalPlan) -> SchemaRef {
    let schema: &Schema = plan.schema().as_arrow();
    Arc::new(schema.clone())
}
