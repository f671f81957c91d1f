//! Takes the options of a model out one by one and notes all that is wrong with them.

use std::str::FromStr;

use lineshaft_engine::declaration::{OptionError, Options};

/// The options of a statement, and what was found of them so far.
pub(crate) struct Reader<'a> {
    options: &'a Options,
    known: Vec<&'static str>,
    pub(crate) errors: Vec<OptionError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self { options, known: Vec::new(), errors: Vec::new() }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.options.get(name).cloned()
    }

    /// Notes that there is such an option, which is not given; gives `value`.
    pub(crate) fn known<T>(&mut self, name: &'static str, value: T) -> T {
        self.known.push(name);
        value
    }

    pub(crate) fn number<T: FromStr>(
        &mut self,
        name: &'static str,
        default: T,
        valid: fn(&T) -> bool,
        what: &str,
    ) -> T {
        self.optional(name, valid, what).unwrap_or(default)
    }

    pub(crate) fn at_least_one(&mut self, name: &'static str, default: usize) -> usize {
        self.number(name, default, |&n| n > 0, "a whole number of at least 1")
    }

    pub(crate) fn optional<T: FromStr>(
        &mut self,
        name: &'static str,
        valid: fn(&T) -> bool,
        what: &str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = text.trim().parse().ok().filter(valid);
        if value.is_none() {
            self.errors.push(OptionError::of(name, format!("{name} = {text:?} is not {what}")));
        }
        value
    }

    /// One of some names; the first if the option is not given.
    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&'static str, T)]) -> T {
        let default = choices[0].1;
        let Some(text) = self.text(name) else { return default };
        let found = choices.iter().find(|(known, _)| *known == text).map(|&(_, value)| value);
        found.unwrap_or_else(|| {
            let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            let message = format!("{name} = {text:?} is not one of {}", known.join(", "));
            self.errors.push(OptionError::of(name, message).help(did_you_mean(&text, &known)));
            default
        })
    }

    pub(crate) fn refuse_unknown(&mut self, algorithm: &str) {
        for name in self.options.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let message = format!("{algorithm} has no option {name:?}");
            self.errors.push(OptionError::of(name, message).help(did_you_mean(name, &self.known)));
        }
    }
}

/// The nearest of the known names, or all of them.
pub(crate) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let nearest =
        known.iter().max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    match nearest {
        Some(near) if strsim::jaro_winkler(name, near) > 0.8 => format!("did you mean {near:?}?"),
        _ => format!("known are {}", known.join(", ")),
    }
}
