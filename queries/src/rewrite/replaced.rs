//! `SELECT * REPLACE (x + 1 AS y)`: DataFusion passes over a name that no column has. In `EXCLUDE` it does not, so that the query with
//! the one in place of the other tells it.

use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Query, Select, SelectItem, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

/// The query that leaves out what it would replace; `None` if it replaces nothing.
pub(crate) fn left_out(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    let mut visitor = LeftOut { found: false };
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut visitor);
    visitor.found.then_some(query)
}

/// True if the query that [`left_out`] gave failed because it names a column that is not there.
pub(crate) fn is_no_column(error: &DataFusionError) -> bool {
    let DataFusionError::SchemaError(found, _) = error.find_root() else { return false };
    matches!(found.as_ref(), SchemaError::FieldNotFound { .. })
}

struct LeftOut {
    found: bool,
}

impl VisitorMut for LeftOut {
    type Break = std::convert::Infallible;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for item in &mut select.projection {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
                self.found |= leave_out(options);
            }
        }
        ControlFlow::Continue(())
    }
}

fn leave_out(options: &mut WildcardAdditionalOptions) -> bool {
    let Some(replaced) = options.opt_replace.take() else { return false };
    let mut names = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => Vec::new(),
    };
    names.extend(replaced.items.into_iter().map(|item| item.column_name.into()));
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
    true
}
