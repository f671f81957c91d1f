//! The text options of `WITH (...)` as typed values. All errors of a declaration are collected and told at once.
//!
//! ```
//! use lineshaft_connectors::options::{OptionDoc, OptionReader};
//! # use std::collections::BTreeMap;
//! const DOCS: &[OptionDoc] = &[OptionDoc::optional("rate", "number", "1", "Rows per second.")];
//! let options = BTreeMap::from([("rat".to_owned(), "5".to_owned())]);
//! let mut read = OptionReader::new("source", "generator", &options, DOCS);
//! let rate = read.or("rate", 1.0_f64);
//! assert_eq!(read.finish(rate).unwrap_err()[0].help.as_deref(), Some("did you mean \"rate\"?"));
//! ```

use std::time::Duration;

use lineshaft_engine::declaration::{OptionError, Options};

/// What the reference says of an option; also the list of the names that a connector takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionDoc {
    /// Its name.
    pub name: &'static str,
    /// What is written: `text`, `number`, `true or false`, `duration`, ...
    pub kind: &'static str,
    /// The value that holds without it; `None` if it must be given.
    pub default: Option<&'static str>,
    /// What it does, in a sentence.
    pub meaning: &'static str,
}

impl OptionDoc {
    /// An option that must be given.
    pub const fn required(name: &'static str, kind: &'static str, meaning: &'static str) -> Self {
        Self { name, kind, default: None, meaning }
    }

    /// An option that may be left out.
    pub const fn optional(
        name: &'static str,
        kind: &'static str,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default), meaning }
    }
}

/// Options of every source, which the engine reads and connectors ignore.
pub const COMMON_SOURCE_OPTIONS: &[OptionDoc] = &[
    OptionDoc::optional(
        "idle_after",
        "duration",
        "none",
        "A silence (of a partition or key) after which the watermark no longer waits for it. That of a live source \
         that is silent as a whole goes on with the clock.",
    ),
    OptionDoc::optional(
        "allowed_lateness",
        "duration",
        "0s",
        "How late a row may be and still correct the windows that it belongs to.",
    ),
    OptionDoc::optional(
        "max_future",
        "duration",
        "5 min; no limit for a source that ends",
        "A row whose event time is further ahead of its arrival goes to <source>.quarantine.",
    ),
    OptionDoc::optional(
        "quarantine_size",
        "size",
        "1 GB",
        "What <source>.quarantine may have on the disk. Beyond it the oldest files are deleted, which the log tells; rows are counted as before.",
    ),
    OptionDoc::optional(
        "on_overload",
        "block, spill, latest, sample or drop_oldest",
        "spill",
        "What becomes of the input of a live source that comes faster than it is worked on. spill: it is kept and waits in the \
         journal. block: the source is not read. latest: of what waits only the newest row of each key is worked on. sample: one \
         message in overload_sample is kept. drop_oldest: when more than overload_limit waits the oldest is given up. With \
         --volatile there is no journal, and every source waits.",
    ),
    OptionDoc::optional(
        "overload_key",
        "columns",
        "PER key of the watermark, or PRIMARY KEY",
        "With on_overload = 'latest': the columns whose newest row counts.",
    ),
    OptionDoc::optional(
        "overload_sample",
        "number",
        "10",
        "With on_overload = 'sample': one message in so many is kept while the program is behind.",
    ),
    OptionDoc::optional(
        "overload_limit",
        "size",
        "64 MiB",
        "With on_overload = 'drop_oldest': raw input that may wait.",
    ),
];

/// Options of every sink.
pub const COMMON_SINK_OPTIONS: &[OptionDoc] = &[OptionDoc::optional(
    "ttl",
    "duration",
    "none",
    "Set by the TTL of an actuator: rows are commands, sent once and not after the time in their column expires_at.",
)];

/// A value that an option can have.
pub trait OptionValue: Sized {
    /// What is expected, for the error.
    const EXPECTED: &'static str;

    /// The value of a text; `None` if it is not one.
    fn parse(text: &str) -> Option<Self>;
}

impl OptionValue for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl OptionValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        text.trim().to_ascii_lowercase().parse().ok()
    }
}

impl OptionValue for f64 {
    const EXPECTED: &'static str = "a number";

    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().filter(|number: &Self| number.is_finite())
    }
}

macro_rules! whole_number {
    ($($integer:ty),+) => {
        $(impl OptionValue for $integer {
            const EXPECTED: &'static str = "a whole number";

            fn parse(text: &str) -> Option<Self> {
                text.trim().replace('_', "").parse().ok()
            }
        })+
    };
}

whole_number!(u8, u16, u32, u64, usize, i64);

impl OptionValue for Duration {
    const EXPECTED: &'static str = "a duration such as '500 ms', '5s', '1 min' or '2 hours'";

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let seconds = match unit.to_ascii_lowercase().as_str() {
            "us" | "microsecond" | "microseconds" => 1e-6,
            "ms" | "millisecond" | "milliseconds" => 1e-3,
            "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3_600.0,
            "d" | "day" | "days" => 86_400.0,
            _ => return None,
        };
        Self::try_from_secs_f64(number * seconds).ok()
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl OptionValue for Size {
    const EXPECTED: &'static str = "a size such as '4096', '64 KiB' or '1 MB'";

    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number in the range")]
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let bytes = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "kib" => 1024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            _ => return None,
        };
        let size = (number * bytes).round();
        (0.0..=1e15).contains(&size).then_some(Self(size as u64))
    }
}

fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

/// Reads the options of one declaration and collects what is wrong with them.
#[derive(Debug)]
pub struct OptionReader<'a> {
    what: String,
    options: &'a Options,
    errors: Vec<OptionError>,
}

impl<'a> OptionReader<'a> {
    /// Begins with the names: each option must be in `docs`, be `connector`, or be common to all sources or sinks;
    /// each required option must be there. `role` is `source` or `sink`.
    pub fn new(role: &str, connector: &str, options: &'a Options, docs: &[OptionDoc]) -> Self {
        let what = format!("{connector} {role}");
        let common = if role == "source" { COMMON_SOURCE_OPTIONS } else { COMMON_SINK_OPTIONS };
        let known: Vec<&str> = docs.iter().chain(common).map(|doc| doc.name).chain(["connector"]).collect();
        let mut errors: Vec<OptionError> = options
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| {
                OptionError::of(name, format!("{what} has no option {name:?}")).help(suggestion(name, &known))
            })
            .collect();
        // What is misspelt is not missing as well.
        let misspelt = options.keys().filter(|name| !known.contains(&name.as_str()));
        let meant: Vec<&str> = misspelt.filter_map(|name| nearest(name, &known)).collect();
        errors.extend(missing(&what, options, docs, &meant));
        if role == "source" {
            errors.extend(COMMON_SOURCE_OPTIONS.iter().filter_map(|doc| bad_value(options, doc)));
        }
        Self { what, options, errors }
    }

    /// The value of `name` if it is given and right; what is wrong becomes an error of [`OptionReader::finish`].
    pub fn get<T: OptionValue>(&mut self, name: &str) -> Option<T> {
        let text = self.options.get(name)?;
        let value = T::parse(text);
        if value.is_none() {
            self.error(wrong_value(name, text, T::EXPECTED));
        }
        value
    }

    /// The value of `name`, or `default`.
    pub fn or<T: OptionValue>(&mut self, name: &str, default: T) -> T {
        self.get(name).unwrap_or(default)
    }

    /// The value of a required `name`; empty where it is missing, which is an error already.
    pub fn required<T: OptionValue + Default>(&mut self, name: &str) -> T {
        self.get(name).unwrap_or_default()
    }

    /// The value of `name` as one of `choices`, or `default`.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(text) = self.options.get(name) else {
            return default;
        };
        let found = choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(text.trim()));
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            let error = OptionError::of(name, format!("option {name:?} cannot be {text:?}"));
            self.error(error.help(suggestion(text, &names)));
        }
        found.map_or(default, |(_, value)| *value)
    }

    /// Adds an error.
    pub fn error(&mut self, error: OptionError) {
        self.errors.push(error);
    }

    /// The kind of connector, such as `file source`, for messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// All that was wrong.
    pub fn errors(self) -> Vec<OptionError> {
        self.errors
    }

    /// Gives `value` if nothing was wrong.
    ///
    /// # Errors
    /// All that was wrong with the options.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<OptionError>> {
        if self.errors.is_empty() { Ok(value) } else { Err(self.errors) }
    }
}

/// The error of an option whose text is not a value of its kind.
pub fn wrong_value(name: &str, found: &str, expected: &str) -> OptionError {
    OptionError::of(name, format!("option {name:?} is {found:?}")).help(format!("write {expected}"))
}

fn missing(what: &str, options: &Options, docs: &[OptionDoc], meant: &[&str]) -> Vec<OptionError> {
    let is_there = |name: &str| options.contains_key(name) || meant.contains(&name);
    let missing = docs.iter().filter(|doc| doc.default.is_none() && !is_there(doc.name));
    missing
        .map(|doc| {
            let error = OptionError::general(format!("{what} needs the option {:?}", doc.name));
            error.help(format!("add {} = '...' to WITH: {}", doc.name, doc.meaning))
        })
        .collect()
}

/// What is wrong with a duration or size.
fn bad_value(options: &Options, doc: &OptionDoc) -> Option<OptionError> {
    let text = options.get(doc.name)?;
    let (is_wrong, expected) = match doc.kind {
        "duration" => (Duration::parse(text).is_none(), Duration::EXPECTED),
        "size" => (Size::parse(text).is_none(), Size::EXPECTED),
        _ => return None,
    };
    is_wrong.then(|| wrong_value(doc.name, text, expected))
}

/// The one of `known` that `name` may be a misspelling of.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len() / 3));
    near.map(|(_, candidate)| *candidate)
}

/// What to do if one of `known` differs from `name` in upper case and blanks only: a name without quotes has none.
pub fn in_quotes(name: &str, known: &[impl AsRef<str>]) -> Option<String> {
    let mut known = known.iter().map(|known| known.as_ref().trim());
    let found = known.find(|known| known.to_lowercase() == name.trim().to_lowercase())?;
    Some(format!("write the column as \"{found}\", with quotes, in the query file"))
}

/// "did you mean ..." if one of `known` is near to `name`, else all of them.
pub fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(candidate) => format!("did you mean {candidate:?}?"),
        None => format!("choose one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &[OptionDoc] = &[
        OptionDoc::required("path", "text", "Where the file is."),
        OptionDoc::optional("follow", "true or false", "false", "Keeps reading."),
    ];

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(Duration::parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(Duration::parse("500 ms"), Some(Duration::from_millis(500)));
        assert_eq!(Duration::parse("1.5 min"), Some(Duration::from_secs(90)));
        assert_eq!(Duration::parse("2 hours"), Some(Duration::from_secs(7_200)));
        assert_eq!(Duration::parse("5"), None);
        assert_eq!(Duration::parse("five s"), None);
        assert_eq!(Size::parse("64 KiB"), Some(Size(65_536)));
        assert_eq!(Size::parse("1e"), None);
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let options = options(&[("pth", "x"), ("follow", "perhaps"), ("idle_after", "soon")]);
        let mut read = OptionReader::new("source", "file", &options, DOCS);
        let follow = read.or("follow", false);
        let errors = read.finish(follow).unwrap_err();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "file source has no option \"pth\"",
                "option \"idle_after\" is \"soon\"",
                "option \"follow\" is \"perhaps\"",
            ]
        );
        assert_eq!(errors[0].help.as_deref(), Some("did you mean \"path\"?"));
    }

    #[test]
    fn a_choice_names_what_can_be_chosen() {
        let options = options(&[("path", "x"), ("follow", "gzip")]);
        let mut read = OptionReader::new("sink", "file", &options, DOCS);
        assert_eq!(read.choice("follow", &[("zstd", 1), ("snappy", 2)], 1), 1);
        let errors = read.finish(()).unwrap_err();
        assert_eq!(errors[0].help.as_deref(), Some("choose one of zstd, snappy"));
    }
}
