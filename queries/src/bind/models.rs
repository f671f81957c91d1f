//! `CREATE MODEL`: its training query, and what it takes and gives.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use lineshaft_operators::model::{Training, artifact};

use super::{Binder, Bound, output_type};
use crate::error::{NameKind, QueryError};
use crate::now::{not_here, plan_has_now};
use crate::predict::{Slot, is_key};
use crate::program::{Model, relations_of};
use crate::span::Span;
use crate::statement::{CreateModel, Statement};
use crate::window_function::external;

impl Binder<'_> {
    /// Plans the training query of a model and declares it, so that `predict` has a type.
    pub(super) fn model(&self, name: &str) {
        if self.models.borrow().contains_key(name) {
            return;
        }
        let Some(Statement::CreateModel(statement)) = self.names.get(name) else { return };
        self.models.borrow_mut().insert(name.to_owned(), None);
        // Models that are used in the training query come first.
        if let Some(training) = &statement.training {
            for other in self.names.keys().filter(|other| training.text.contains(&format!("'{other}'"))) {
                self.model(other);
            }
        }
        let model = self.bind_model(statement);
        if model.is_none() {
            self.predict.declare_broken(name);
        }
        self.models.borrow_mut().insert(name.to_owned(), model);
    }

    fn bind_model(&self, statement: &CreateModel) -> Option<Model> {
        if statement.options.get("format").is_some() {
            return self.model_file(statement);
        }
        let Some(query) = &statement.training else {
            let error = QueryError::invalid("CREATE MODEL needs a training query", statement.name.span);
            self.errors.borrow_mut().push(error.with_help("add AS SELECT features, target FROM ..."));
            return None;
        };
        let mut options = statement.options.to_map();
        options.remove("connector");
        if let Some(fault) = artifact::name_fault(&statement.name.value) {
            let message = format!("model {:?} cannot be stored: {fault}", statement.name.value);
            self.errors.borrow_mut().push(QueryError::invalid(message, statement.name.span));
        }
        let training = match Training::from_options(&statement.name.value, &options) {
            Ok(training) => {
                Training { per: statement.per.as_ref().map(|column| column.value.clone()), ..training }
            }
            Err(errors) => {
                self.errors
                    .borrow_mut()
                    .extend(errors.into_iter().map(|error| statement.options.error(error)));
                return None;
            }
        };
        let (_, view) = self.plan(query)?;
        if plan_has_now(&view.logical) {
            self.report(external(not_here()), query.span);
            return None;
        }
        self.check_bounded(&view.logical, query.span, &statement.name.value);
        let schema = Arc::new(view.plan.schema().as_arrow().clone());
        self.declare(statement, &training, &schema)?;
        let retrain_us = statement.retrain_us.as_ref().map(|every| every.value);
        let retrains_on_drift = statement.drift.is_some();
        let (query, plan, span) = (query.text.clone(), view.logical, statement.span);
        Some(Model { training, query, retrain_us, retrains_on_drift, file: None, plan, span })
    }

    fn declare(&self, statement: &CreateModel, training: &Training, schema: &SchemaRef) -> Option<()> {
        let option = |name: &str| statement.options.get(name).map(|entry| entry.value.span);
        let target = match &training.target {
            None => None,
            Some(target) => Some(self.training_column(schema, target, option("target"))?),
        };
        if let Some(name) = training.split.column() {
            self.training_column(schema, name, option("group").or(option("time")))?;
        }
        if let Some(per) = &statement.per {
            let key = self.training_column(schema, &per.value, Some(per.span))?;
            if !is_key(&key) {
                self.errors.borrow_mut().push(QueryError::TypeMismatch {
                    what: format!("PER {:?} of model {:?}", per.value, statement.name.value),
                    expected: "text, a number or BOOLEAN".into(),
                    found: key.to_string(),
                    span: Some(per.span),
                });
                return None;
            }
        }
        if let Some(cases) = &training.cases {
            self.case_column(schema, &cases.id, option("cases"))?;
            if let Some(label) = &cases.label {
                self.case_column(schema, label, option("case_label"))?;
            }
        }
        let features: Vec<_> =
            schema.fields().iter().filter(|field| training.is_feature(field.name())).collect();
        for field in &features {
            let span = statement.training.as_ref().map(|query| query.span);
            if let (DataType::Timestamp(..), None) = (field.data_type(), statement.options.text("time")) {
                let message = format!(
                    "feature {:?} of model {:?} is a time, but must be a number or BOOLEAN",
                    field.name(),
                    statement.name.value
                );
                let help =
                    format!("say time = '{}' if it is the time of the rows, or leave it out", field.name());
                self.errors.borrow_mut().push(QueryError::invalid(message, span).with_help(help));
            } else if !(field.data_type().is_numeric() || *field.data_type() == DataType::Boolean) {
                self.errors.borrow_mut().push(QueryError::TypeMismatch {
                    what: format!("feature {:?} of model {:?}", field.name(), statement.name.value),
                    expected: "a number or BOOLEAN".into(),
                    found: field.data_type().to_string(),
                    span,
                });
            }
        }
        let output = output_type(training.algorithm.task(), target);
        let features = training.features(schema.fields().iter().map(|field| field.name().as_str()));
        let features = features.map_err(|message| {
            let span = statement.training.as_ref().map(|query| query.span);
            self.errors.borrow_mut().push(QueryError::invalid(message, span));
        });
        let features = features.ok()?;
        let cases = training.case_type(&output);
        let slot = Slot::new(training.algorithm.clone(), output, training.per.clone(), features);
        let slot = slot.with_cases(cases);
        self.predict.declare(&statement.name.value, slot);
        Some(())
    }

    /// A column that names or describes a case must have a text.
    fn case_column(&self, schema: &SchemaRef, name: &str, span: Option<Span>) -> Option<()> {
        let found = self.training_column(schema, name, span)?;
        if is_key(&found) || found.is_temporal() {
            return Some(());
        }
        self.errors.borrow_mut().push(QueryError::TypeMismatch {
            what: format!("column {name:?} of the cases"),
            expected: "text, a number, BOOLEAN, a date or a time".into(),
            found: found.to_string(),
            span,
        });
        None
    }

    /// The type of a column of the training query that an option names.
    fn training_column(&self, schema: &SchemaRef, name: &str, span: Option<Span>) -> Option<DataType> {
        if let Ok(field) = schema.field_with_name(name) {
            return Some(field.data_type().clone());
        }
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        self.errors.borrow_mut().push(QueryError::unknown(NameKind::Column, name, span, columns));
        None
    }

    /// A model is trained on data that ends.
    fn check_bounded(&self, plan: &LogicalPlan, span: Span, model: &str) {
        for name in relations_of(plan) {
            let statement = self.names.get(&name);
            let is_live = self.sources.get(&name).is_some_and(|source| !source.is_bounded);
            if let (Some(Statement::CreateSource(_) | Statement::CreateTable(_)), true) = (statement, is_live)
            {
                let message = format!("model {model:?} is trained on {name:?}, which never ends");
                let help = "train on files or on the history, such as a source with connector = 'file'";
                self.errors.borrow_mut().push(QueryError::invalid(message, span).with_help(help));
            } else if let Ok(Some(Bound { view: Some(view), .. })) = self.bound(&name) {
                self.check_bounded(&view.logical, span, model);
            }
        }
    }
}
