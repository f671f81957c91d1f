//! `Span`: a place in a query file, and `SourceFile`: its text with lines and columns.

use std::ops::Range;
use std::path::{Path, PathBuf};

use datafusion::common as df;
use datafusion::sql::sqlparser::tokenizer as sql;

/// A place in the text of a program: bytes `start..end` of one of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Index of the file in the list of files that was parsed.
    pub file: usize,
    /// First byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl Span {
    /// From the beginning of `self` to the end of `other`, which is of the same file.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The bytes in the file.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A value and the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, which stands at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A name as the program knows it: folded to lower case unless it was quoted.
pub type Name = Spanned<String>;

/// A line and a column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// A query file: what it is called in messages, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<usize>,
    /// How many characters are before each line.
    characters_before: Vec<usize>,
    /// The byte of every [`STEP`]th character: a program may write thousands of conditions into one line.
    steps: Vec<usize>,
}

/// Characters that are counted one by one.
const STEP: usize = 64;

impl SourceFile {
    /// A file. `name` is its path, or any word for a text that is no file.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let (mut line_starts, mut characters_before, mut steps) = (vec![0], vec![0], Vec::new());
        for (count, (at, character)) in text.char_indices().enumerate() {
            if count % STEP == 0 {
                steps.push(at);
            }
            if character == '\n' {
                line_starts.push(at + 1);
                characters_before.push(count + 1);
            }
        }
        Self { name: name.into(), text, line_starts, characters_before, steps }
    }

    /// Its path, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder it lies in, where relative paths of its sources begin.
    pub fn folder(&self) -> PathBuf {
        Path::new(&self.name).parent().unwrap_or(Path::new("")).to_owned()
    }

    /// The text at `span`.
    pub fn slice(&self, span: Span) -> &str {
        &self.text[span.range()]
    }

    /// Line and column of a byte.
    pub fn position(&self, byte: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= byte);
        let start = self.line_starts[line - 1];
        Position { line, column: self.text[start..byte].chars().count() + 1 }
    }

    /// The byte at a line and column. Beyond the end of a line it is the end of that line.
    pub fn offset(&self, position: Position) -> usize {
        let Some(before) = self.characters_before.get(position.line.saturating_sub(1)) else {
            return self.text.len();
        };
        // The line break counts as a character: a span may end behind it.
        let line_end = self.line_starts.get(position.line).copied().unwrap_or(self.text.len());
        let character = before + position.column.saturating_sub(1);
        let Some(step) = self.steps.get(character / STEP).filter(|step| **step < line_end) else {
            return line_end;
        };
        let found = self.text[*step..line_end].char_indices().nth(character % STEP);
        found.map_or(line_end, |(at, _)| step + at)
    }

    /// The text of a line (from 1), without its line break.
    pub fn line(&self, line: usize) -> &str {
        let start = self.line_starts[line - 1];
        let rest = &self.text[start..];
        rest.split('\n').next().unwrap_or(rest).trim_end_matches('\r')
    }
}

/// A statement, or a part of one, in the file that it stands in: turns the places of its syntax tree into spans.
///
/// A file is cut into tokens once, as a whole, so lines and columns in the syntax tree are those of the file.
#[derive(Clone, Copy, Debug)]
pub struct StatementText<'a> {
    /// The file.
    pub file: &'a SourceFile,
    /// Where the statement stands.
    pub span: Span,
}

impl<'a> StatementText<'a> {
    /// The statement at `span` of one of `files`.
    pub fn new(files: &'a [SourceFile], span: Span) -> Self {
        Self { file: &files[span.file], span }
    }

    /// The statement as it was written.
    pub fn text(&self) -> &'a str {
        self.file.slice(self.span)
    }

    /// The place of a node of the syntax tree; `None` if the node does not know its place.
    pub fn span_of(&self, node: sql::Span) -> Option<Span> {
        let at = |location: sql::Location| position(location.line, location.column);
        self.between(at(node.start), at(node.end))
    }

    /// The place that an error of DataFusion points to.
    pub fn span_of_planned(&self, span: df::Span) -> Option<Span> {
        let at = |location: df::Location| position(location.line, location.column);
        self.between(at(span.start), at(span.end))
    }

    fn between(&self, start: Option<Position>, end: Option<Position>) -> Option<Span> {
        let (start, end) = (self.file.offset(start?), self.file.offset(end?));
        (start <= end).then_some(Span { file: self.span.file, start, end })
    }

    /// The first place in the statement where `name` stands as a word of its own, in any case. For errors that
    /// name a thing but not its place.
    pub fn find_word(&self, name: &str) -> Option<Span> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let text = self.text();
        text.char_indices().map(|(at, _)| at).find_map(|at| {
            let word = text.get(at..at + name.len())?;
            let alone = !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part);
            (!name.is_empty() && alone && word.eq_ignore_ascii_case(name)).then_some(Span {
                file: self.span.file,
                start: self.span.start + at,
                end: self.span.start + at + name.len(),
            })
        })
    }
}

/// Line 0 is how both libraries say "nowhere".
fn position(line: u64, column: u64) -> Option<Position> {
    if line == 0 {
        return None;
    }
    Some(Position { line: usize::try_from(line).ok()?, column: usize::try_from(column).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_positions_are_two_names_for_one_place() {
        let file = SourceFile::new("a.sql", "über\n\tb\r\nc");
        for (byte, line, column) in [(0, 1, 1), (2, 1, 2), (5, 1, 5), (6, 2, 1), (7, 2, 2), (10, 3, 1)] {
            let position = Position { line, column };
            assert_eq!(file.position(byte), position);
            assert_eq!(file.offset(position), byte);
        }
        assert_eq!(file.position(11), Position { line: 3, column: 2 });
    }

    #[test]
    fn the_places_of_a_long_line_are_found_from_its_middle() {
        let text = format!("{}\n{}b\nc", "ä".repeat(200), "ö".repeat(150));
        let file = SourceFile::new("a.sql", &text);
        let offset = |line, column| file.offset(Position { line, column });
        assert_eq!([offset(1, 1), offset(1, 200), offset(1, 201), offset(1, 999)], [0, 398, 400, 401]);
        assert_eq!([offset(2, 1), offset(2, 151), offset(3, 1), offset(3, 9)], [401, 701, 703, 704]);
        assert_eq!(offset(4, 1), text.len());
    }

    #[test]
    fn a_line_comes_without_its_break() {
        let file = SourceFile::new("a.sql", "a\r\nb\n");
        assert_eq!([file.line(1), file.line(2), file.line(3)], ["a", "b", ""]);
    }

    #[test]
    fn a_word_is_found_only_as_a_whole() {
        let files = [SourceFile::new("a.sql", "SELECT barn, foo.Bar")];
        let all = Span { file: 0, start: 0, end: 20 };
        let found = StatementText::new(&files, all).find_word("bar").unwrap();
        assert_eq!(files[0].slice(found), "Bar");
    }
}
