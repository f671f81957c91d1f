//! The connectors as the planner asks for them.

use lineshaft_connectors as connectors;
use lineshaft_engine::declaration::{OptionError, SinkDeclaration, SourceDeclaration};
use lineshaft_queries::Connectors;

/// All connectors of the `connectors` crate.
pub(crate) struct Catalog;

impl Connectors for Catalog {
    fn check_source(&self, declaration: &SourceDeclaration) -> Vec<OptionError> {
        connectors::check_source(declaration)
    }

    fn check_sink(&self, declaration: &SinkDeclaration) -> Vec<OptionError> {
        connectors::check_sink(declaration)
    }

    fn is_bounded(&self, declaration: &SourceDeclaration) -> bool {
        connectors::is_bounded(declaration)
    }

    fn can_read_again(&self, declaration: &SourceDeclaration) -> bool {
        connectors::can_read_again(declaration)
    }
}
