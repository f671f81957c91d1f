//! Actuators and the queries whose rows are their commands.

use std::collections::BTreeSet;
use std::path::PathBuf;

use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use lineshaft_engine::declaration::SinkDeclaration;

use super::{Binder, Parts};
use crate::catalog::LOG;
use crate::error::{NameKind, QueryError, in_sql};
use crate::optimize::optimize;
use crate::program::{Actuator, Program, View, relations_of};
use crate::statement::{CreateActuator, InsertInto, Statement};
use crate::window_function::external;

impl Binder<'_> {
    pub(super) fn actuator(&self, actuator: &CreateActuator, parts: &mut Parts) {
        if let Some(interlock) = &actuator.interlock {
            let help = "leave the rows of open guards out with a join for now";
            self.errors
                .borrow_mut()
                .push(QueryError::not_supported("INTERLOCK", interlock.span).with_help(help));
        }
        self.check_actuator(actuator);
        self.touch(&format!("{}.{LOG}", actuator.name.value), actuator.span);
        let inserts = parts.actuators.remove(&actuator.name.value).map(|a| a.inserts).unwrap_or_default();
        parts
            .actuators
            .insert(actuator.name.value.clone(), Actuator { statement: actuator.clone(), inserts });
    }

    pub(super) fn insert(&self, insert: &InsertInto, parts: &mut Parts) {
        let name = &insert.target.value;
        let Some(Statement::CreateActuator(actuator)) = self.names.get(name) else {
            if !matches!(self.names.get(name), Some(Statement::Broken(_))) {
                let actuators = self.names.iter().filter(|(_, s)| matches!(s, Statement::CreateActuator(_)));
                let known = actuators.map(|(name, _)| name.as_str());
                let error = QueryError::unknown(NameKind::Actuator, name, Some(insert.target.span), known);
                self.errors.borrow_mut().push(error);
            }
            // For the mistakes of its own.
            self.plan(&insert.query);
            return;
        };
        let Some((raw, view)) = self.plan(&insert.query) else { return };
        match self.command(insert, actuator, raw) {
            Ok(logical) => {
                let Ok(plan) = optimize(logical.clone()) else { return };
                let entry = parts.actuators.entry(name.clone());
                let entry =
                    entry.or_insert_with(|| Actuator { statement: actuator.clone(), inserts: vec![] });
                entry.inserts.push(View { logical, plan, ..view });
            }
            Err(error) => self.report(error, insert.query.span),
        }
    }

    /// The rows of an insert with the columns of the actuator, in its order and of its types.
    fn command(
        &self,
        insert: &InsertInto,
        actuator: &CreateActuator,
        raw: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let found = raw.schema().columns();
        let names: Vec<&str> = match insert.columns.is_empty() {
            true => actuator.columns.iter().map(|c| c.column.name.value.as_str()).collect(),
            false => insert.columns.iter().map(|name| name.value.as_str()).collect(),
        };
        if names.len() != found.len() {
            let message = format!(
                "actuator {:?} takes {} columns ({}), the query gives {}",
                actuator.name.value,
                names.len(),
                names.join(", "),
                found.len()
            );
            return Err(external(QueryError::invalid(message, insert.query.span)));
        }
        let columns = actuator.columns.iter().map(|bounded| {
            let column = &bounded.column;
            let place = names.iter().position(|name| *name == column.name.value).ok_or_else(|| {
                let message = format!(
                    "column {:?} of actuator {:?} is not given",
                    column.name.value, actuator.name.value
                );
                external(QueryError::invalid(message, insert.query.span))
            })?;
            let value = Expr::Column(found[place].clone());
            // A text in the place of a number is another column.
            let data_type = raw.schema().field(place).data_type();
            if data_type.is_string() && column.data_type.is_numeric() {
                let mismatch = QueryError::TypeMismatch {
                    what: format!("column {:?} of actuator {:?}", column.name.value, actuator.name.value),
                    expected: in_sql(&column.data_type.to_string()),
                    found: in_sql(&data_type.to_string()),
                    span: Some(insert.query.span),
                };
                return Err(external(mismatch));
            }
            let value = datafusion::logical_expr::cast(value, column.data_type.clone());
            Ok(value.alias(&column.name.value))
        });
        let columns: Result<Vec<Expr>> = columns.collect();
        LogicalPlanBuilder::from(raw).project(columns?)?.build()
    }
    /// The same for the sink of an actuator, as it is when commands go out.
    fn check_actuator(&self, actuator: &CreateActuator) {
        let (schema, options) = crate::plan::sent(actuator);
        let (name, folder) = (actuator.name.value.clone(), PathBuf::new());
        let errors = self.connectors.check_sink(&SinkDeclaration { name, schema, options, folder });
        self.errors.borrow_mut().extend(errors.into_iter().map(|error| actuator.options.error(error)));
    }
}

/// Actuators that are commanded from their own log.
pub(super) fn circles(program: &Program) -> Vec<QueryError> {
    let circle = |(name, actuator): (&String, &Actuator)| {
        let insert =
            actuator.inserts.iter().find(|insert| reads(program, insert, &format!("{name}.{LOG}")))?;
        let message = format!("actuator {name:?} is commanded from its own log");
        Some(QueryError::invalid(message, insert.span))
    };
    program.actuators.iter().filter_map(circle).collect()
}

/// True if the rows of a query come from that relation, through others.
fn reads(program: &Program, query: &View, relation: &str) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![query]);
    while let Some(view) = todo.pop() {
        for name in relations_of(&view.logical) {
            if name == relation {
                return true;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            todo.extend(program.views.get(&name));
            let commanded =
                name.strip_suffix(LOG).and_then(|name| program.actuators.get(name.trim_end_matches('.')));
            todo.extend(commanded.iter().flat_map(|actuator| &actuator.inserts));
        }
    }
    false
}
