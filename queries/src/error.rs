//! `QueryError`: what is wrong with a program, where, and what to do. Nothing has been started when one appears.

mod planning;
mod types;

use std::fmt;

use datafusion::error::DataFusionError;
use lineshaft_engine::declaration::OptionError;

use crate::span::Span;

pub use planning::from_datafusion;
pub(crate) use planning::{reword, strip_prefix};
pub use types::in_sql;
pub(crate) use types::in_sql_but_quoted;

/// One thing that is wrong with a program.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The text is not what the language allows here.
    #[error("expected {expected}, found {found}")]
    Syntax {
        /// What may stand here.
        expected: String,
        /// What stands here.
        found: String,
        /// Where.
        span: Span,
        /// What to do.
        help: Option<String>,
    },
    /// A name that nothing has.
    #[error("{kind} {name:?} not found")]
    UnknownName {
        /// What it should be the name of.
        kind: NameKind,
        /// The name.
        name: String,
        /// The name that was perhaps meant.
        nearest: Option<String>,
        /// Where.
        span: Option<Span>,
    },
    /// A name that is given twice.
    #[error("{kind} {name:?} is declared twice")]
    DuplicateName {
        /// What it is the name of.
        kind: NameKind,
        /// The name.
        name: String,
        /// The second declaration.
        span: Span,
        /// The first declaration, if it stands in a file.
        first: Option<Span>,
    },
    /// A value of a type that does not fit.
    #[error("{what} is {found}, but must be {expected}")]
    TypeMismatch {
        /// What has the type, such as `event time "ts"`.
        what: String,
        /// The type that is needed.
        expected: String,
        /// The type that it has.
        found: String,
        /// Where.
        span: Option<Span>,
    },
    /// Something that the language has and this version does not.
    #[error("not supported yet: {what}")]
    NotSupported {
        /// The clause, function or statement.
        what: String,
        /// Where.
        span: Option<Span>,
        /// What to use instead.
        help: Option<String>,
    },
    /// An option of `WITH (...)` that the connector, model or format does not take.
    #[error("{error}")]
    Option {
        /// What is wrong with it.
        error: OptionError,
        /// The option, or the whole clause if one is missing.
        span: Span,
    },
    /// A variable or secret of `${env:...}` or `${secret:...}` that is not there.
    #[error("{kind} {name:?} is not set")]
    MissingVariable {
        /// `environment variable` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The option that uses it.
        span: Span,
        /// How to set it.
        help: String,
    },
    /// A window, or another thing that waits for event time, over a relation that promises none.
    #[error("{relation:?} has no watermark, but {needed_by} needs one")]
    MissingWatermark {
        /// The source or view.
        relation: String,
        /// What needs it, such as `TUMBLE`.
        needed_by: String,
        /// Where.
        span: Option<Span>,
    },
    /// Another rule of the language that the program breaks.
    #[error("{message}")]
    Invalid {
        /// What is wrong: lower case, no full stop, kind and value of what it is about.
        message: String,
        /// Where.
        span: Option<Span>,
        /// What to do.
        help: Option<String>,
    },
    /// DataFusion could not plan a query, for a reason that is none of the above.
    #[error("{message}")]
    Planning {
        /// The first line of what it said, in our wording.
        message: String,
        /// Where, if it said so.
        span: Option<Span>,
        /// What it said besides.
        notes: Vec<Note>,
        /// What it proposes.
        help: Option<String>,
    },
}

/// A remark about an error, perhaps about another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The remark.
    pub message: String,
    /// The place it is about.
    pub span: Option<Span>,
}

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameKind {
    /// A source, table or view.
    Relation,
    /// A column of a relation.
    Column,
    /// A function of SQL.
    Function,
    /// A model.
    Model,
    /// An actuator.
    Actuator,
    /// A sink.
    Sink,
    /// A connector.
    Connector,
    /// An option of `WITH (...)`.
    Option,
    /// A variable of an optimizer.
    Variable,
    /// A rule beside a model.
    Rule,
    /// A type of SQL.
    Type,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relation => "table or view",
            Self::Column => "column",
            Self::Function => "function",
            Self::Model => "model",
            Self::Actuator => "actuator",
            Self::Sink => "sink",
            Self::Connector => "connector",
            Self::Option => "option",
            Self::Variable => "variable",
            Self::Rule => "rule",
            Self::Type => "type",
        })
    }
}

impl QueryError {
    /// The name `name` is not one of `candidates`; proposes the nearest of them.
    pub fn unknown<'a>(
        kind: NameKind,
        name: &str,
        span: Option<Span>,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::UnknownName { kind, name: name.to_owned(), nearest: nearest(name, candidates), span }
    }

    /// Something that this version does not do.
    pub fn not_supported(what: impl Into<String>, span: impl Into<Option<Span>>) -> Self {
        Self::NotSupported { what: what.into(), span: span.into(), help: None }
    }

    /// A broken rule.
    pub fn invalid(message: impl Into<String>, span: impl Into<Option<Span>>) -> Self {
        Self::Invalid { message: message.into(), span: span.into(), help: None }
    }

    /// Says what to do, for the kinds that do not know it themselves.
    #[must_use]
    pub fn with_help(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Syntax { help, .. }
            | Self::NotSupported { help, .. }
            | Self::Invalid { help, .. }
            | Self::Planning { help, .. } => *help = Some(text.into()),
            Self::Option { error, .. } => error.help = Some(text.into()),
            Self::MissingVariable { help, .. } => *help = text.into(),
            Self::UnknownName { .. }
            | Self::DuplicateName { .. }
            | Self::TypeMismatch { .. }
            | Self::MissingWatermark { .. } => {}
        }
        self
    }

    /// Gives the error a place if it has none.
    #[must_use]
    pub fn or_at(mut self, place: Option<Span>) -> Self {
        match &mut self {
            Self::UnknownName { span, .. }
            | Self::TypeMismatch { span, .. }
            | Self::NotSupported { span, .. }
            | Self::MissingWatermark { span, .. }
            | Self::Invalid { span, .. }
            | Self::Planning { span, .. } => *span = span.or(place),
            Self::Syntax { .. }
            | Self::DuplicateName { .. }
            | Self::Option { .. }
            | Self::MissingVariable { .. } => {}
        }
        self
    }

    /// Proposes the nearest of `candidates` if this is an unknown name of that kind without a proposal.
    #[must_use]
    pub fn suggest<'a>(mut self, of: NameKind, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        if let Self::UnknownName { kind, name, nearest: proposal @ None, .. } = &mut self
            && *kind == of
        {
            *proposal = nearest(name, candidates);
        }
        self
    }

    /// With the types that it tells by the names of query files.
    fn with_sql_types(mut self) -> Self {
        let say = |text: &mut String| *text = types::in_sql(text);
        match &mut self {
            Self::TypeMismatch { expected, found, .. } => [expected, found].into_iter().for_each(say),
            Self::NotSupported { what: message, help, .. } | Self::Invalid { message, help, .. } => {
                say(message);
                help.iter_mut().for_each(say);
            }
            Self::Planning { message, notes, help, .. } => {
                say(message);
                notes.iter_mut().for_each(|note| say(&mut note.message));
                help.iter_mut().for_each(say);
            }
            // These tell no type.
            Self::Syntax { .. }
            | Self::UnknownName { .. }
            | Self::DuplicateName { .. }
            | Self::Option { .. }
            | Self::MissingVariable { .. }
            | Self::MissingWatermark { .. } => {}
        }
        self
    }

    /// Where the error is.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Syntax { span, .. }
            | Self::DuplicateName { span, .. }
            | Self::Option { span, .. }
            | Self::MissingVariable { span, .. } => Some(*span),
            Self::UnknownName { span, .. }
            | Self::TypeMismatch { span, .. }
            | Self::NotSupported { span, .. }
            | Self::MissingWatermark { span, .. }
            | Self::Invalid { span, .. }
            | Self::Planning { span, .. } => *span,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Syntax { help, .. }
            | Self::NotSupported { help, .. }
            | Self::Invalid { help, .. }
            | Self::Planning { help, .. } => help.clone(),
            Self::UnknownName { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean {name:?}?"))
            }
            Self::DuplicateName { .. } => Some("give one of them another name".into()),
            Self::TypeMismatch { expected, .. } => Some(format!("use a value of type {expected}, or a cast")),
            Self::Option { error, .. } => error.help.clone(),
            Self::MissingVariable { help, .. } => Some(help.clone()),
            Self::MissingWatermark { .. } => {
                Some("declare one in the source: WATERMARK FOR ts AS ts - INTERVAL '5' SECOND".into())
            }
        }
    }

    /// Remarks about other places.
    pub fn notes(&self) -> Vec<Note> {
        match self {
            Self::Planning { notes, .. } => notes.clone(),
            Self::DuplicateName { first: Some(first), .. } => {
                vec![Note { message: "first declared".into(), span: Some(*first) }]
            }
            _ => Vec::new(),
        }
    }
}

/// Lets code that DataFusion calls (a table look-up, a relation planner) say where and what; [`from_datafusion`]
/// gets the error back as it was.
impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

/// Everything that is wrong with a program, in the order of its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors(Vec<QueryError>);

impl Errors {
    /// Puts the errors in order and drops repetitions.
    pub fn new(errors: Vec<QueryError>) -> Self {
        let mut errors: Vec<_> = errors.into_iter().map(QueryError::with_sql_types).collect();
        errors.sort_by_key(|error| (error.span().is_none(), error.span()));
        errors.dedup();
        Self(errors)
    }

    /// `Ok` if there is no error.
    ///
    /// # Errors
    /// If there are any.
    pub fn check(errors: Vec<QueryError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self::new(errors)) }
    }

    /// The errors.
    pub fn as_slice(&self) -> &[QueryError] {
        &self.0
    }
}

impl From<QueryError> for Errors {
    fn from(error: QueryError) -> Self {
        Self::new(vec![error])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if at > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// The candidate that `name` is perhaps a slip of: less than every third character differs, or only the case does.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    let limit = name.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_proposed_and_a_far_one_is_not() {
        let error = QueryError::unknown(NameKind::Column, "vibraton", None, ["ts", "vibration"]);
        assert_eq!(error.to_string(), "column \"vibraton\" not found");
        assert_eq!(error.help().unwrap(), "did you mean \"vibration\"?");
        assert_eq!(QueryError::unknown(NameKind::Column, "x", None, ["pressure"]).help(), None);
        assert_eq!(nearest("Machine", ["machine"]), Some("machine".into()));
    }

    #[test]
    fn errors_stand_in_the_order_of_the_text_and_only_once() {
        let at = |start| Span { file: 0, start, end: start + 1 };
        let late = QueryError::invalid("late", at(9));
        let early = QueryError::invalid("early", at(1));
        let nowhere = QueryError::invalid("nowhere", None);
        let errors = Errors::new(vec![nowhere, late.clone(), early, late]);
        assert_eq!(errors.to_string(), "early\nlate\nnowhere");
    }
}
