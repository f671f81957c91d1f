//! Prints what is wrong with a program, with the line of SQL it is about.
//!
//! ```text
//! error: column "vibraton" not found
//!   --> press.sql:4:8
//! 4 | SELECT vibraton FROM readings;
//!   |        ^^^^^^^^
//!   = help: did you mean "vibration"?
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, IsTerminal, Write as _};

use lineshaft_queries::error::{Errors, Note, QueryError};
use lineshaft_queries::span::{SourceFile, Span};
use unicode_width::UnicodeWidthChar;

/// A tab is shown as this many blanks, so that carets stand below what they mean.
const TAB_WIDTH: usize = 4;

/// Writes the errors to standard error; in colour if that is a terminal and `NO_COLOR` is not set.
///
/// # Errors
/// If standard error cannot be written to.
pub fn print(errors: &Errors, files: &[SourceFile]) -> io::Result<()> {
    let stderr = io::stderr();
    let colour = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    stderr.lock().write_all(render(errors, files, colour).as_bytes())
}

/// The errors as text, one after the other, and how many they are if there are several.
pub fn render(errors: &Errors, files: &[SourceFile], colour: bool) -> String {
    let paint = Paint { colour };
    let errors = errors.as_slice();
    let mut text = String::new();
    for error in errors {
        text.push_str(&one(error, files, paint));
        text.push('\n');
    }
    if errors.len() > 1 {
        text.push_str(&format!("{}\n", paint.bold(&format!("{} errors", errors.len()))));
    }
    text
}

/// An error of any kind with its causes, each on a line: `could not open file: no such file`.
pub fn chain(error: &dyn Error) -> String {
    let told = error.to_string();
    // The errors of a program are rendered with their places already.
    let begin = if told.starts_with("error: ") { "" } else { "error: " };
    let mut text = format!("{begin}{told}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {error}\n"));
        cause = error.source();
    }
    text
}

fn one(error: &QueryError, files: &[SourceFile], paint: Paint) -> String {
    let mut text = format!("{}{}\n", paint.red("error"), paint.bold(&format!(": {error}")));
    let gutter = error.span().map_or(1, |span| excerpt(&mut text, span, files, paint));
    let indent = " ".repeat(gutter);
    let mut remark = |kind: &str, message: &str| {
        text.push_str(&format!("{indent} {} {kind}: {message}\n", paint.blue("=")));
    };
    for note in error.notes() {
        remark("note", &with_place(&note, files));
    }
    if let Some(help) = error.help() {
        remark("help", &help);
    }
    text
}

/// Adds the place, the line and the carets; gives the width of the line number.
fn excerpt(text: &mut String, span: Span, files: &[SourceFile], paint: Paint) -> usize {
    let Some(file) = files.get(span.file) else {
        return 1;
    };
    let position = file.position(span.start);
    let number = position.line.to_string();
    let gutter = number.len();
    let indent = " ".repeat(gutter);
    let (line, column) = part(file.line(position.line), position.column);
    let (before, marked) = columns(&line, column, file.slice(span));
    let carets = paint.red(&"^".repeat(marked));
    let (bar, arrow) = (paint.blue("|"), paint.blue("-->"));
    let number = paint.blue(&number);
    text.push_str(&format!("{indent} {arrow} {}\n", place(span, file)));
    text.push_str(&format!("{number} {bar} {}\n", line.replace('\t', &" ".repeat(TAB_WIDTH))));
    text.push_str(&format!("{indent} {bar} {}{carets}\n", " ".repeat(before)));
    gutter
}

/// Characters of a line that are shown; of a longer one it is the part about its mark.
const LONGEST: usize = 240;

/// The part of a line about a column that is shown, and the column there.
fn part(line: &str, column: usize) -> (Cow<'_, str>, usize) {
    let Some(beyond) = line.chars().count().checked_sub(LONGEST).filter(|beyond| *beyond > 0) else {
        return (Cow::Borrowed(line), column);
    };
    let skipped = (column - 1).saturating_sub(LONGEST / 4).min(beyond);
    let mut shown: String = line.chars().skip(skipped).take(LONGEST).collect();
    if skipped < beyond {
        shown.push('…');
    }
    match skipped {
        0 => (Cow::Owned(shown), column),
        _ => (Cow::Owned(format!("…{shown}")), column - skipped + 1),
    }
}

/// How many cells of a terminal stand before the mark, and how many below it. A mark goes at most to the end of its
/// first line, or of what is shown of it, and has at least one cell.
fn columns(line: &str, column: usize, marked: &str) -> (usize, usize) {
    let before: usize = line.chars().take(column - 1).map(width).sum();
    let behind: usize = line.chars().skip(column - 1).map(width).sum();
    let first_line = marked.split('\n').next().unwrap_or_default().trim_end();
    (before, first_line.chars().map(width).sum::<usize>().min(behind).max(1))
}

fn width(c: char) -> usize {
    match c {
        '\t' => TAB_WIDTH,
        _ => c.width().unwrap_or(0),
    }
}

fn with_place(note: &Note, files: &[SourceFile]) -> String {
    match note.span.and_then(|span| Some((span, files.get(span.file)?))) {
        Some((span, file)) => format!("{} at {}: {:?}", note.message, place(span, file), file.slice(span)),
        None => note.message.clone(),
    }
}

fn place(span: Span, file: &SourceFile) -> String {
    let position = file.position(span.start);
    format!("{}:{}:{}", file.name(), position.line, position.column)
}

/// Escape codes of a terminal, or none.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn blue(self, text: &str) -> String {
        self.with("1;34", text)
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lineshaft_queries::parse::parse;

    fn report(name: &str, text: &str) -> String {
        let files = [SourceFile::new(name, text)];
        let (_, errors) = parse(&files);
        render(&Errors::new(errors), &files, false)
    }

    #[test]
    fn an_error_shows_its_line_and_what_to_do() {
        let text =
            "CREATE SOURCE readings (\n    ts TIMESTAMP,\n    WATERMARK FOR tz\n) WITH (connector = 'file');";
        assert_eq!(
            report("press.sql", text),
            "\
error: column \"tz\" not found
  --> press.sql:3:19
3 |     WATERMARK FOR tz
  |                   ^^
  = help: did you mean \"ts\"?

"
        );
    }

    #[test]
    fn several_errors_are_counted_and_stand_in_order() {
        let text = report("a.sql", "DROP VIEW v;\n\nCREATE VIEW;\n");
        assert_eq!(
            text,
            "\
error: expected CREATE or INSERT INTO, found \"DROP\"
  --> a.sql:1:1
1 | DROP VIEW v;
  | ^^^^
  = help: a program is read as a whole: change or remove the statement that declares it

error: expected a name, found end of statement
  --> a.sql:3:12
3 | CREATE VIEW;
  |            ^

2 errors
"
        );
    }

    #[test]
    fn carets_stay_right_behind_tabs_and_wide_characters() {
        let text = report("a.sql", "CREATE SOURCE s (\n\t\"größe 圧力\" FLOT\n);");
        assert_eq!(
            text,
            "\
error: type \"FLOT\" not found
  --> a.sql:2:13
2 |     \"größe 圧力\" FLOT
  |                  ^^^^

"
        );
    }

    #[test]
    fn of_a_long_line_the_part_about_the_mark_is_shown() {
        let columns = (0..2_000).map(|n| format!("c{n} DOUBLE")).collect::<Vec<_>>().join(", ");
        let sql = format!("CREATE SOURCE s ({columns}, d FLOT) WITH (connector = 'file');");
        let text = report("a.sql", &sql);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!("  --> a.sql:1:{}", sql.find("FLOT").unwrap() + 1));
        assert!(lines[2].starts_with("1 | …") && lines[2].chars().count() == 4 + 240 + 1, "{}", lines[2]);
        assert!(lines[2].ends_with(" d FLOT) WITH (connector = 'file');"), "{}", lines[2]);
        assert_eq!(lines[3].find('^'), lines[2].replace('…', ".").find("FLOT"));
        let text = report("a.sql", &format!("CREATE SOURCE s (d FLOT, {columns});"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].ends_with('…') && lines[2].chars().count() == 4 + 240 + 1, "{}", lines[2]);
    }

    #[test]
    fn the_first_declaration_of_a_name_is_shown_as_well() {
        let text = report("a.sql", "CREATE VIEW v AS SELECT 1;\nCREATE VIEW v AS SELECT 2;");
        assert_eq!(
            text,
            "\
error: table or view \"v\" is declared twice
  --> a.sql:2:13
2 | CREATE VIEW v AS SELECT 2;
  |             ^
  = note: first declared at a.sql:1:13: \"v\"
  = help: give one of them another name

"
        );
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let files = [SourceFile::new("a.sql", "CREATE VIEW")];
        let errors = Errors::new(parse(&files).1);
        let coloured = render(&errors, &files, true);
        assert!(coloured.contains("\x1b[1;31m"));
        let without = ["\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(without, render(&errors, &files, false));
    }
}
