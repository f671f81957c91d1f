//! `Layout`: which columns a decoder reads, checks and gives, from the declaration of the source.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};

use super::timestamp::TimestampFormat;
use super::values::is_supported;

/// The columns of a source as its decoder sees them.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The columns that are read from the record, in the order of the declaration.
    pub columns: Vec<ColumnSpec>,
    /// Needed columns that the connector gives: place in `output`, name.
    pub metadata: Vec<(usize, String)>,
    /// The needed columns: those of the rows that come out.
    pub output: SchemaRef,
    /// How `TIMESTAMP` columns are written.
    pub timestamp: TimestampFormat,
}

/// A column that is read from the record.
#[derive(Clone, Debug)]
pub struct ColumnSpec {
    /// Name, type, and whether it may be NULL.
    pub field: FieldRef,
    /// Its place among the needed columns.
    pub output: Option<usize>,
    /// True for the event time of the source.
    pub is_event_time: bool,
}

impl Layout {
    /// The layout of a declaration.
    pub fn new(declaration: &SourceDeclaration, timestamp: TimestampFormat) -> Self {
        let schema = &declaration.schema;
        let output = |index: usize| declaration.needed.iter().position(|needed| *needed == index);
        let is_metadata = |index: &usize| declaration.metadata.contains(index);
        let column = |index: usize| ColumnSpec {
            field: Arc::clone(&schema.fields()[index]),
            output: output(index),
            is_event_time: declaration.event_time == Some(index),
        };
        let metadata = (0..schema.fields().len()).filter(is_metadata);
        let needed: Vec<FieldRef> =
            declaration.needed.iter().map(|at| Arc::clone(&schema.fields()[*at])).collect();
        Self {
            columns: (0..schema.fields().len()).filter(|index| !is_metadata(index)).map(column).collect(),
            metadata: metadata
                .filter_map(|at| Some((output(at)?, schema.field(at).name().clone())))
                .collect(),
            output: Arc::new(Schema::new(needed)),
            timestamp,
        }
    }

    /// The same layout with only its event time, to look into a file.
    pub fn event_time_only(&self) -> Option<Self> {
        let columns: Vec<ColumnSpec> = self
            .columns
            .iter()
            .map(|spec| ColumnSpec { output: spec.is_event_time.then_some(0), ..spec.clone() })
            .collect();
        let field = Arc::clone(&columns.iter().find(|spec| spec.is_event_time)?.field);
        Some(Self {
            columns,
            metadata: Vec::new(),
            output: Arc::new(Schema::new(vec![field])),
            timestamp: self.timestamp.clone(),
        })
    }
}

/// Columns whose type no text format can read.
pub(crate) fn unsupported(declaration: &SourceDeclaration) -> Vec<OptionError> {
    let fields = declaration.schema.fields().iter().enumerate();
    fields
        .filter(|(at, field)| !declaration.metadata.contains(at) && !is_supported(field.data_type()))
        .map(|(_, field)| {
            let message = format!(
                "column {:?} has the type {}, which this format cannot read",
                field.name(),
                field.data_type()
            );
            OptionError::general(message).help("declare it as TEXT and cast it in a view")
        })
        .collect()
}
