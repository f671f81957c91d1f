//! Connectors of Lineshaft: where rows enter and where they leave.
//!
//! A connector is one system, one folder or file, and one entry in [`CONNECTORS`]; [`source()`] and [`sink()`] build what
//! a query file declares by the option `connector`. [`check_source`] and [`check_sink`] tell all errors of a declaration
//! without opening anything.
//!
//! ```text
//! bytes --file, mqtt, ...: Source--> Chunk --format: Decoder--> rows     rows --Sink: mqtt, parquet, ...--> bytes
//! ```

pub mod broker;
pub mod file;
pub mod format;
pub mod generator;
pub mod history;
pub mod http;
pub mod memory;
pub mod mqtt;
pub mod options;
mod outbox;
pub mod outcomes;
pub mod parquet;
pub mod plant;
mod position;
mod random;
pub mod retry;
mod room;
mod rows;
pub mod stdout;

use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use lineshaft_engine::declaration::{OUTCOMES, OptionError, Options, SinkDeclaration, SourceDeclaration};
use lineshaft_engine::sink::SinkFactory;
use lineshaft_engine::source::Source;

use options::{OptionDoc, suggestion};

/// What connectors share in a program.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where async clients run.
    pub runtime: tokio::runtime::Handle,
    /// The channels of memory sources and sinks.
    pub memory: memory::Registry,
    /// Where HTTP sources listen.
    pub http: http::Servers,
    /// What has become of commands.
    pub outcomes: outcomes::Outcomes,
}

impl Context {
    /// What the connectors of one program share.
    pub fn new(runtime: tokio::runtime::Handle, memory: memory::Registry) -> Self {
        Self { runtime, memory, http: http::Servers::default(), outcomes: outcomes::Outcomes::default() }
    }
}

/// A column that a connector gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type; a declaration may have any type that this can be cast to.
    pub data_type: DataType,
}

/// What is known of a connector without building anything; the reference is made of it.
#[derive(Clone, Copy, Debug)]
pub struct Connector {
    /// The text of the option `connector`.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub summary: &'static str,
    /// The options of its source, if it has one.
    pub source: Option<&'static [OptionDoc]>,
    /// The options of its sink, if it has one.
    pub sink: Option<&'static [OptionDoc]>,
    /// The columns that its source gives.
    pub metadata: &'static [MetadataColumn],
}

/// All connectors.
pub const CONNECTORS: &[Connector] = &[
    Connector {
        name: "file",
        summary: "Files of CSV, JSON lines, SenML or Parquet, one or many, ended or growing.",
        source: Some(file::OPTIONS),
        sink: None,
        metadata: file::METADATA,
    },
    Connector {
        name: "generator",
        summary: "Seeded rows, at a rate or as fast as possible.",
        source: Some(generator::OPTIONS),
        sink: None,
        metadata: generator::METADATA,
    },
    Connector {
        name: "http",
        summary: "Rows that others POST to us, and rows that we POST to others.",
        source: Some(http::SOURCE_OPTIONS),
        sink: Some(http::SINK_OPTIONS),
        metadata: http::METADATA,
    },
    Connector {
        name: "memory",
        summary: "Rows from and to the Rust program that embeds the engine.",
        source: Some(memory::SOURCE_OPTIONS),
        sink: Some(memory::SINK_OPTIONS),
        metadata: &[],
    },
    Connector {
        name: "mqtt",
        summary: "Messages of an MQTT broker.",
        source: Some(mqtt::SOURCE_OPTIONS),
        sink: Some(mqtt::SINK_OPTIONS),
        metadata: mqtt::METADATA,
    },
    Connector {
        name: "parquet",
        summary: "History as a folder of Parquet files.",
        source: None,
        sink: Some(parquet::OPTIONS),
        metadata: &[],
    },
    Connector {
        name: "plant",
        summary: "The readings of a simulated plant, which follows set-points.",
        source: Some(plant::OPTIONS),
        sink: None,
        metadata: plant::METADATA,
    },
    Connector {
        name: "stdout",
        summary: "Rows as JSON lines, CSV or a table on the standard output.",
        source: None,
        sink: Some(stdout::OPTIONS),
        metadata: &[],
    },
];

/// Builds a source. What is wrong with its input (a file that is not there) is told here, too.
///
/// # Errors
/// All that is wrong with the declaration.
pub fn source(
    declaration: &SourceDeclaration,
    context: &Context,
) -> Result<Box<dyn Source>, Vec<OptionError>> {
    if named(&declaration.options) == OUTCOMES {
        return outcomes::source(declaration, &context.outcomes);
    }
    let errors = check_source(declaration);
    if !errors.is_empty() {
        return Err(errors);
    }
    match named(&declaration.options) {
        "file" => file::source(declaration),
        "generator" => generator::source(declaration),
        "http" => http::source(declaration, &context.http),
        "memory" => memory::source(declaration, &context.memory),
        "mqtt" => mqtt::source(declaration),
        "plant" => plant::source(declaration),
        other => Err(vec![unknown(other, "source")]),
    }
}

/// Builds a sink.
///
/// # Errors
/// All that is wrong with the declaration.
pub fn sink(
    declaration: &SinkDeclaration,
    context: &Context,
) -> Result<Box<dyn SinkFactory>, Vec<OptionError>> {
    match named(&declaration.options) {
        "http" => http::sink(declaration),
        "memory" => memory::sink(declaration, &context.memory),
        "mqtt" => mqtt::sink(declaration, &context.outcomes),
        "parquet" => parquet::sink(declaration),
        "stdout" => stdout::sink(declaration),
        other => Err(vec![unknown(other, "sink")]),
    }
}

/// What is wrong with the declaration of a source; opens nothing.
pub fn check_source(declaration: &SourceDeclaration) -> Vec<OptionError> {
    let name = named(&declaration.options);
    let mut errors = match name {
        "file" => file::check(declaration),
        "generator" => generator::check(declaration),
        "http" => http::check_source(declaration),
        "memory" => memory::check_source(declaration),
        "mqtt" => mqtt::check_source(declaration),
        "plant" => plant::check(declaration),
        other => return vec![unknown(other, "source")],
    };
    errors.extend(check_metadata(declaration, name));
    errors
}

/// What is wrong with the declaration of a sink; opens nothing.
pub fn check_sink(declaration: &SinkDeclaration) -> Vec<OptionError> {
    match named(&declaration.options) {
        "http" => http::check_sink(declaration),
        "memory" => memory::check_sink(declaration),
        "mqtt" => mqtt::check_sink(declaration),
        "parquet" => parquet::check(declaration),
        "stdout" => stdout::check(declaration),
        other => vec![unknown(other, "sink")],
    }
}

/// True if a source ends by itself: a file that is not followed, a generator of so many rows.
pub fn is_bounded(declaration: &SourceDeclaration) -> bool {
    let option = |name: &str| declaration.options.get(name).map(String::as_str);
    match named(&declaration.options) {
        "file" => option("follow") != Some("true"),
        "generator" => option("rows").is_some(),
        "memory" => option("bounded") == Some("true"),
        "plant" => option("duration").is_some(),
        OUTCOMES => true,
        _ => false,
    }
}

/// True if the connector can read the input of a table again when it changes.
pub fn can_read_again(declaration: &SourceDeclaration) -> bool {
    named(&declaration.options) == "file" && is_bounded(declaration)
}

/// True if an actuator with these options is told what has become of each of its commands.
pub fn tells_outcomes(options: &Options) -> bool {
    named(options) == "mqtt"
}

/// The columns that the source of a connector gives; `None` if there is no such source.
pub fn source_metadata(connector: &str) -> Option<&'static [MetadataColumn]> {
    CONNECTORS
        .iter()
        .find(|entry| entry.name == connector && entry.source.is_some())
        .map(|entry| entry.metadata)
}

/// The connector that is asked for; empty if none is.
fn named(options: &Options) -> &str {
    options.get("connector").map_or("", |name| name.trim())
}

fn unknown(name: &str, role: &str) -> OptionError {
    let has_role =
        |entry: &&Connector| if role == "source" { entry.source.is_some() } else { entry.sink.is_some() };
    let names: Vec<&str> = CONNECTORS.iter().filter(has_role).map(|entry| entry.name).collect();
    if name.is_empty() {
        let choices = format!("add connector = '...' to WITH, one of {}", names.join(", "));
        return OptionError::general(format!("the {role} has no connector")).help(choices);
    }
    let message = match CONNECTORS.iter().any(|entry| entry.name == name) {
        true => format!("connector {name:?} is no {role}"),
        false => format!("there is no connector {name:?}"),
    };
    OptionError::of("connector", message).help(suggestion(name, &names))
}

fn check_metadata(declaration: &SourceDeclaration, connector: &str) -> Vec<OptionError> {
    let known = source_metadata(connector).unwrap_or_default();
    let names: Vec<&str> = known.iter().map(|column| column.name).collect();
    let fields = declaration.metadata.iter().map(|at| declaration.schema.field(*at));
    fields
        .filter_map(|field| match known.iter().find(|column| column.name == field.name()) {
            Some(column) if fits(&column.data_type, field.data_type()) => None,
            Some(column) => {
                let message = format!(
                    "the metadata column {:?} is {}, not {}",
                    column.name,
                    column.data_type,
                    field.data_type()
                );
                Some(OptionError::general(message))
            }
            None if known.is_empty() => {
                Some(OptionError::general(format!("connector {connector:?} gives no metadata columns")))
            }
            None => {
                let message = format!("connector {connector:?} gives no column {:?}", field.name());
                Some(OptionError::general(message).help(suggestion(field.name(), &names)))
            }
        })
        .collect()
}

/// True if every value of a metadata column can be given in the declared type.
fn fits(given: &DataType, declared: &DataType) -> bool {
    let is_alike = given.is_string() == declared.is_string() && given.is_temporal() == declared.is_temporal();
    can_cast_types(given, declared) && (is_alike || declared.is_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::declaration;

    fn check(columns: &str, options: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
        let mut declaration = declaration(columns);
        declaration.options = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        check_source(&declaration).into_iter().map(|error| (error.message, error.help)).collect()
    }

    #[test]
    fn an_unknown_connector_suggests_the_nearest() {
        let error = &check("n INT", &[("connector", "fil")])[0];
        assert_eq!(error.0, "there is no connector \"fil\"");
        assert_eq!(error.1.as_deref(), Some("did you mean \"file\"?"));
        assert_eq!(check("n INT", &[("connector", "stdout")])[0].0, "connector \"stdout\" is no source");
        assert_eq!(check("n INT", &[])[0].0, "the source has no connector");
    }

    #[test]
    fn options_and_metadata_are_checked_without_opening_anything() {
        let errors = check(
            "n INT, file BIGINT METADATA, lines BIGINT METADATA",
            &[("connector", "file"), ("path", "nowhere.csv"), ("folow", "true"), ("delimiter", "ab")],
        );
        let messages: Vec<&str> = errors.iter().map(|(message, _)| message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "file source has no option \"folow\"",
                "option \"delimiter\" is \"ab\"",
                "the metadata column \"file\" is Utf8, not Int64",
                "connector \"file\" gives no column \"lines\"",
            ]
        );
    }

    #[test]
    fn every_connector_has_a_name_and_documents_its_options() {
        for connector in CONNECTORS {
            assert!(connector.source.is_some() || connector.sink.is_some(), "{}", connector.name);
            assert!(connector.summary.ends_with('.'));
            let docs = connector.source.iter().chain(&connector.sink).flat_map(|docs| docs.iter());
            assert!(docs.clone().all(|doc| doc.meaning.ends_with('.')), "{}", connector.name);
        }
    }
}
