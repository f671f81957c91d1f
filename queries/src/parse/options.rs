//! `WITH (name = value, ...)`, and `${env:NAME}` and `${secret:NAME}` inside the values.

use std::path::{Path, PathBuf};

use datafusion::sql::sqlparser::tokenizer::Token;

use super::Context;
use super::tokens::{Result, Tokens};
use crate::error::{NameKind, QueryError};
use crate::span::{Name, Span, Spanned};
use crate::statement::{OptionEntry, OptionValue, Options};

/// Where `${env:NAME}` and `${secret:NAME}` come from.
pub trait Environment {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// A secret.
    fn secret(&self, name: &str) -> Option<String>;

    /// How a person gives a missing secret.
    fn secret_help(&self, name: &str) -> String;
}

/// The environment of the process. The secret `NAME` is the variable `LINESHAFT_SECRET_NAME`, or else the file
/// `NAME` in the folder that `LINESHAFT_SECRETS` names (`/run/secrets` if it names none), without a line break at
/// its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

/// Where Docker, Podman and Kubernetes set-ups put secrets.
const SECRETS_FOLDER: &str = "/run/secrets";

impl ProcessEnvironment {
    fn secrets_folder() -> PathBuf {
        std::env::var_os("LINESHAFT_SECRETS").map_or_else(|| PathBuf::from(SECRETS_FOLDER), PathBuf::from)
    }
}

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn secret(&self, name: &str) -> Option<String> {
        std::env::var(format!("LINESHAFT_SECRET_{name}"))
            .ok()
            .or_else(|| read_secret(&Self::secrets_folder(), name))
    }

    fn secret_help(&self, name: &str) -> String {
        let file = Self::secrets_folder().join(name);
        format!("set the variable LINESHAFT_SECRET_{name}, or write the file {}", file.display())
    }
}

fn read_secret(folder: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(name)).ok()?;
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// `WITH (...)` if it comes next; else no options.
pub(super) fn options(tokens: &mut Tokens<'_>, name: &Name, context: &mut Context<'_>) -> Result<Options> {
    let mark = tokens.mark();
    if !tokens.eat(&["WITH"]) {
        return Ok(Options { entries: Vec::new(), span: name.span });
    }
    let entries = tokens.parenthesised()?.list(|tokens| entry(tokens, context))?;
    for (at, entry) in entries.iter().enumerate() {
        if let Some(first) = entries[..at].iter().find(|other| other.name.value == entry.name.value) {
            context.duplicate(NameKind::Option, &entry.name, first.name.span);
        }
    }
    Ok(Options { entries, span: tokens.since(mark) })
}

fn entry(tokens: &mut Tokens<'_>, context: &mut Context<'_>) -> Result<OptionEntry> {
    let name = option_name(tokens)?;
    tokens.expect_symbol(&Token::Eq)?;
    let value = value(tokens)?;
    let replaced = replace(&value, context);
    Ok(OptionEntry { name, value: Spanned::new(replaced, value.span) })
}

/// `qos`, `csv.header` or `'qos'`.
fn option_name(tokens: &mut Tokens<'_>) -> Result<Name> {
    let mark = tokens.mark();
    if let Some(Token::SingleQuotedString(text)) = tokens.peek() {
        tokens.next();
        return Ok(Name::new(text.clone(), tokens.since(mark)));
    }
    let mut name = tokens.name("the name of an option")?.value;
    while tokens.eat_symbol(&Token::Period) {
        name = format!("{name}.{}", tokens.name("the name of an option")?.value);
    }
    Ok(Name::new(name, tokens.since(mark)))
}

fn value(tokens: &mut Tokens<'_>) -> Result<Spanned<String>> {
    let mark = tokens.mark();
    let text = match tokens.peek() {
        Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
        Some(Token::Number(..) | Token::Minus) => {
            tokens.number("a value")?;
            let span = tokens.since(mark);
            return Ok(Spanned::new(tokens.file().slice(span).to_owned(), span));
        }
        _ if tokens.is(&["TRUE"]) => "true".into(),
        _ if tokens.is(&["FALSE"]) => "false".into(),
        _ => {
            let help = "quote it: name = 'value'; numbers, true and false need no quotes";
            return Err(tokens.unexpected("a value").with_help(help));
        }
    };
    tokens.next();
    Ok(Spanned::new(text, tokens.since(mark)))
}

/// Puts in what the placeholders stand for. A missing one is reported, and left as it is.
fn replace(value: &Spanned<String>, context: &mut Context<'_>) -> OptionValue {
    let mut text = String::new();
    let mut replaced = Vec::new();
    let mut rest = value.value.as_str();
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let Some((placeholder, behind)) = after.split_once('}') else {
            context.errors.push(no_placeholder(&format!("${{{after}"), value.span));
            rest = "";
            break;
        };
        rest = behind;
        match look_up(placeholder, value.span, context.environment) {
            Ok(found) => {
                text.push_str(&found);
                replaced.push((found, format!("${{{placeholder}}}")));
            }
            Err(error) => context.errors.push(error),
        }
    }
    text.push_str(rest);
    OptionValue { text, replaced }
}

fn look_up(placeholder: &str, span: Span, environment: &dyn Environment) -> Result<String> {
    let wrong = || no_placeholder(&format!("${{{placeholder}}}"), span);
    let (kind, name) = placeholder.split_once(':').ok_or_else(wrong)?;
    // A name is no path: a query file must not reach files outside of the folder.
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_name) {
        return Err(wrong());
    }
    let (kind, found, help) = match kind {
        "env" => ("environment variable", environment.variable(name), format!("set it: export {name}=...")),
        "secret" => ("secret", environment.secret(name), environment.secret_help(name)),
        _ => return Err(wrong()),
    };
    found.ok_or_else(|| QueryError::MissingVariable { kind, name: name.to_owned(), span, help })
}

fn no_placeholder(text: &str, span: Span) -> QueryError {
    QueryError::invalid(format!("{text:?} is no placeholder"), span)
        .with_help("write ${env:NAME} for an environment variable or ${secret:NAME} for a secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_without_its_last_line_break() {
        let folder = std::env::temp_dir().join(format!("lineshaft-secret-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("mqtt"), "two\nlines\r\n").unwrap();
        assert_eq!(read_secret(&folder, "mqtt").unwrap(), "two\nlines");
        assert_eq!(read_secret(&folder, "other"), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
