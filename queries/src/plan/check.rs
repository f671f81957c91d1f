//! Everything of a program that cannot be run as a stream, told at once.

use std::collections::BTreeSet;
use std::path::Path;

use super::prune::Readers;
use super::wanted::Wanted;
use super::{Lowering, Outputs};
use crate::deep::deep;
use crate::error::QueryError;
use crate::program::Program;
use crate::span::Span;

/// What was said so far, and by whom.
#[derive(Default)]
struct Said(Vec<(String, QueryError)>);

impl Said {
    /// Adds the errors of `name`, but for those of what it has `read`.
    fn by(&mut self, name: &str, mut errors: Vec<QueryError>, read: &BTreeSet<String>) {
        errors.retain(|error| {
            let is_it = |(by, other): &(String, QueryError)| {
                read.contains(by) && other.to_string() == error.to_string()
            };
            !self.0.iter().any(is_it)
        });
        self.0.extend(errors.into_iter().map(|error| (name.to_owned(), error)));
    }
}

impl Program {
    /// Everything that cannot be run as a stream, at the view in which it is written: also what no sink reads.
    ///
    /// # Errors
    /// What cannot be run as a stream, each with its place.
    pub fn check(&self, data: &Path, outputs: &Outputs) -> std::result::Result<(), Vec<QueryError>> {
        let found = self.plan(data, outputs).err().unwrap_or_default();
        let mut errors = deep(|| self.check_views(&found));
        let is_said = |error: &QueryError| errors.iter().any(|other| other.to_string() == error.to_string());
        let more: Vec<QueryError> = found.into_iter().filter(|error| !is_said(error)).collect();
        errors.extend(more);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// What cannot be run as a stream of the views that are bound, whatever reads them. A training query runs as a
    /// batch, and may do more: what it reads is only wrong if it is among `found`.
    pub(crate) fn check_views(&self, found: &[QueryError]) -> Vec<QueryError> {
        let mut wanted = Wanted::new(self);
        let views = || self.views.iter().filter(|(name, _)| !self.optimizers.contains_key(*name));
        views().for_each(|(name, _)| wanted.relation(name));
        self.sinks.iter().for_each(|sink| wanted.plan(&sink.view.plan));
        let outputs = Outputs::default();
        let mut lowering = Lowering::new(self, Path::new(""), &outputs);
        lowering.add_sources(&wanted, &Readers::new(self));
        let trained_on = self.read_from(self.models.iter().map(|model| model.query.as_str()));
        let read_by = |span: Span| self.read_from([self.files[span.file].slice(span)]);
        let mut views: Vec<_> = views().map(|(name, view)| (name, view, read_by(view.span))).collect();
        // What a view has from those that it reads is said there.
        views.sort_by_key(|(.., read)| read.len());
        let mut said = Said::default();
        for (name, view, read) in views {
            let mut own = Vec::new();
            let lowered = lowering.relation(name);
            lowering.checked(lowered, view.span, &mut own);
            let counts = |error: &QueryError| {
                let is_it = |other: &QueryError| other.to_string() == error.to_string();
                !trained_on.contains(name) || found.iter().any(is_it)
            };
            own.retain(counts);
            said.by(name, own, &read);
        }
        for sink in &self.sinks {
            let mut options = sink.statement.options.to_map();
            let expected = lowering.expected_by(&options);
            let lowered = lowering.expecting(expected, |lowering| lowering.lower(&sink.view.plan));
            let rows = lowered.and_then(|from| lowering.sink_rows(from, &mut options));
            let mut own = Vec::new();
            lowering.checked(rows, sink.statement.span, &mut own);
            let statement = &sink.statement;
            said.by(&statement.name.value, own, &read_by(statement.span));
        }
        said.0.into_iter().map(|(_, error)| error).collect()
    }

    /// The views that these texts read, through others too. A view that is read once is a part of its reader's plan,
    /// so this goes by the words of the queries.
    fn read_from<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> BTreeSet<String> {
        let words = |text: &str| -> Vec<String> {
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.map(str::to_ascii_lowercase).filter(|word| self.views.contains_key(word)).collect()
        };
        let mut found = BTreeSet::new();
        let mut todo: Vec<String> = texts.into_iter().flat_map(words).collect();
        while let Some(name) = todo.pop() {
            let span = self.views[&name].span;
            if found.insert(name) {
                todo.extend(words(self.files[span.file].slice(span)));
            }
        }
        found
    }
}
