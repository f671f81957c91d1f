//! `CREATE MODEL name WITH (format = ..., path = ...)`: the file is read when the program is checked, so that what cannot be scored
//! is told then, and `predict` has a type.

use datafusion::logical_expr::LogicalPlanBuilder;
use lineshaft_operators::model::{FileOptions, Trained};

use super::Binder;
use crate::error::QueryError;
use crate::predict::Slot;
use crate::program::{Model, ModelFile};
use crate::statement::{CreateModel, Drift};

impl Binder<'_> {
    pub(super) fn model_file(&self, statement: &CreateModel) -> Option<Model> {
        let name = &statement.name.value;
        let mut errors = Vec::new();
        if let Some(query) = &statement.training {
            let error = QueryError::invalid("a model of a file is not trained, and has no query", query.span);
            errors.push(error.with_help("leave out AS SELECT ..., or the option `format`"));
        }
        if let Some(per) = &statement.per {
            let error = QueryError::invalid("a model of a file scores all rows, and has no PER", per.span);
            errors.push(error.with_help("declare a model for each file and choose with CASE"));
        }
        if let Some(drift) = &statement.drift {
            let place = match drift {
                Drift::Features(span) => *span,
                Drift::Query(query) => query.span,
            };
            let message = "a model of a file is not trained, and so it is not trained again ON DRIFT";
            let error = QueryError::invalid(message, place);
            errors.push(error.with_help("RETRAIN EVERY reads the file again"));
        }
        let mut options = statement.options.to_map();
        options.remove("connector");
        match FileOptions::from_options(&options) {
            Ok((path, options)) if errors.is_empty() => {
                let path = self.files[statement.span.file].folder().join(path);
                match Trained::from_file(name, &path, &options) {
                    Ok((trained, _)) => {
                        return self.declared(statement, &trained, ModelFile { path, options });
                    }
                    Err(error) => errors.push(self.unreadable(statement, &error)),
                }
            }
            Ok(_) => {}
            Err(wrong) => errors.extend(wrong.into_iter().map(|error| statement.options.error(error))),
        }
        self.errors.borrow_mut().extend(errors);
        None
    }

    fn declared(&self, statement: &CreateModel, trained: &Trained, file: ModelFile) -> Option<Model> {
        let training = trained.training.clone();
        let slot =
            Slot::new(training.algorithm.clone(), trained.output_type(), None, trained.features.clone());
        self.predict.declare(&statement.name.value, slot);
        let retrain_us = statement.retrain_us.as_ref().map(|every| every.value);
        let plan = LogicalPlanBuilder::empty(false).build().ok()?;
        let (query, file) = (String::new(), Some(file));
        let retrains_on_drift = false;
        Some(Model { training, query, retrain_us, retrains_on_drift, file, plan, span: statement.span })
    }

    fn unreadable(&self, statement: &CreateModel, error: &lineshaft_engine::Error) -> QueryError {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            message += &format!(": {cause}");
            source = cause.source();
        }
        let path = statement.options.get("path").map(|path| path.value.span);
        QueryError::invalid(message, path.unwrap_or(statement.name.span))
            .with_help("see \"Models of files\" in docs/reference/statements.md for what is read")
    }
}
