//! JSON: an object is a row; its members are columns by name. Read in one pass, without a tree.
//!
//! Members that are no column are checked and left out; of a member that occurs twice the last one counts. A string
//! never stands for a number, except as a time.

use std::collections::HashMap;

use super::columns::{Problem, Raw};
use super::layout::Layout;
use super::{Record, Rows};

/// Nested deeper than this, a record is rejected, so that no input can exhaust the stack.
const MAX_DEPTH: usize = 128;

/// Reads objects of JSON.
#[derive(Debug)]
pub(crate) struct Json {
    names: Vec<Vec<u8>>,
    columns: HashMap<Vec<u8>, usize>,
}

/// What is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    at: usize,
    expected: &'static str,
}

impl Json {
    pub(crate) fn new(layout: &Layout) -> Self {
        let names: Vec<Vec<u8>> = layout
            .columns
            .iter()
            .map(|spec| spec.field.name().clone().into_bytes())
            .collect();
        let columns = names
            .iter()
            .cloned()
            .enumerate()
            .map(|(at, name)| (name, at))
            .collect();
        Self { names, columns }
    }

    /// Reads objects, and arrays of objects, one after the other, usually one a line. After an error it goes on with
    /// the next line; `resume` says whether that line can begin a record.
    pub(crate) fn decode(&self, bytes: &[u8], first_line: u64, resume: fn(u8) -> bool, rows: &mut Rows<'_>) {
        let is_utf8 = std::str::from_utf8(bytes).is_ok();
        let mut parser = Parser::new(bytes);
        let (mut line, mut counted) = (first_line, 0);
        loop {
            parser.skip_blanks();
            line += count_lines(&bytes[counted..parser.at]);
            counted = parser.at;
            let start = parser.at;
            let Some(first) = parser.peek() else { return };
            let record = Record {
                bytes: &bytes[start..],
                line,
            };
            let result = match first {
                b'[' => self.array(&mut parser, record, is_utf8, rows),
                _ => self.object(&mut parser, record, is_utf8, rows),
            };
            if let Err(problem) = result {
                // A bad value leaves the record whole, and the next one may follow on the same line.
                let mut whole = Parser {
                    at: start,
                    ..Parser::new(bytes)
                };
                let end = match whole.skip_value(0) {
                    Ok(()) => whole.at,
                    Err(_) => next_record(bytes, start, resume),
                };
                rows.reject(record.until(end - start), problem);
                parser.at = end;
            }
        }
    }

    /// An array of objects; each is a row or is rejected by itself, as long as the array is JSON.
    fn array(
        &self,
        parser: &mut Parser<'_>,
        record: Record<'_>,
        is_utf8: bool,
        rows: &mut Rows<'_>,
    ) -> Result<(), Problem> {
        let start = parser.at;
        parser
            .skip_value(0)
            .map_err(|error| parser.problem(error, start))?;
        let array = &parser.bytes[start..parser.at];
        let mut inner = Parser::new(array);
        inner.at = 1;
        loop {
            inner.skip_blanks();
            match inner.peek() {
                None | Some(b']') => return Ok(()),
                Some(b',') => inner.at += 1,
                Some(_) => {
                    let item = inner.at;
                    let mut end = Parser {
                        at: item,
                        ..Parser::new(array)
                    };
                    end.skip_value(1).map_err(|error| end.problem(error, item))?;
                    let record = Record {
                        bytes: &array[item..end.at],
                        line: record.line,
                    };
                    if let Err(problem) = self.object(&mut inner, record, is_utf8, rows) {
                        rows.reject(record, problem);
                    }
                    inner.at = end.at;
                }
            }
        }
    }

    /// Reads an object as a row.
    fn object(
        &self,
        parser: &mut Parser<'_>,
        record: Record<'_>,
        is_utf8: bool,
        rows: &mut Rows<'_>,
    ) -> Result<(), Problem> {
        let start = parser.at;
        let result = self.members(parser, start, rows).and_then(|()| {
            if !is_utf8 && std::str::from_utf8(&parser.bytes[start..parser.at]).is_err() {
                return Err(Problem::new("utf8", "the record is not valid UTF-8"));
            }
            rows.end_row(record.line)
        });
        if result.is_err() {
            rows.columns.abandon_row();
        }
        result
    }

    fn members(&self, parser: &mut Parser<'_>, start: usize, rows: &mut Rows<'_>) -> Result<(), Problem> {
        let syntax = |parser: &Parser<'_>, error| parser.problem(error, start);
        parser
            .expect(b'{', "an object")
            .map_err(|error| syntax(parser, error))?;
        // Members mostly come in the order of the columns.
        let mut guess = 0;
        let mut is_first = true;
        while parser
            .next_item(b'}', &mut is_first)
            .map_err(|error| syntax(parser, error))?
        {
            let name = parser.string().map_err(|error| syntax(parser, error))?;
            let column = self.column(parser.unescaped(name, &mut rows.scratch), guess);
            parser
                .expect(b':', "\":\"")
                .map_err(|error| syntax(parser, error))?;
            let value = parser.value(1).map_err(|error| syntax(parser, error))?;
            if let Some(column) = column {
                guess = column + 1;
                rows.columns.push(column, parser.raw(value, &mut rows.scratch))?;
            }
        }
        Ok(())
    }

    fn column(&self, name: &[u8], guess: usize) -> Option<usize> {
        if self.names.get(guess).is_some_and(|expected| expected == name) {
            return Some(guess);
        }
        self.columns.get(name).copied()
    }
}

/// Calls `push` with each item of an array.
pub(crate) fn items(
    array: &[u8],
    push: &mut dyn FnMut(Raw<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut parser = Parser::new(array);
    let mut scratch = Vec::new();
    let syntax = |parser: &Parser<'_>, error| parser.problem(error, 0);
    parser
        .expect(b'[', "an array")
        .map_err(|error| syntax(&parser, error))?;
    let mut is_first = true;
    while parser
        .next_item(b']', &mut is_first)
        .map_err(|error| syntax(&parser, error))?
    {
        let value = parser.value(1).map_err(|error| syntax(&parser, error))?;
        push(parser.raw(value, &mut scratch))?;
    }
    Ok(())
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Where the next line begins that can be a record.
fn next_record(bytes: &[u8], from: usize, resume: fn(u8) -> bool) -> usize {
    let mut lines = memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at + 1);
    lines
        .find(|at| bytes.get(*at).is_none_or(|byte| resume(*byte)))
        .unwrap_or(bytes.len())
}

/// A value that has been checked: its kind, and where it is.
#[derive(Clone, Copy)]
struct Value {
    kind: Kind,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Null,
    Bool(bool),
    Number,
    /// With escapes or without; without the quotes.
    Text {
        escaped: bool,
    },
    Array,
    Object,
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, Syntax> {
        Err(Syntax {
            at: self.at,
            expected,
        })
    }

    fn problem(&self, error: Syntax, start: usize) -> Problem {
        let place = error.at.saturating_sub(start) + 1;
        let found = match self.bytes.get(error.at) {
            Some(byte) if byte.is_ascii_graphic() => format!("{:?}", char::from(*byte)),
            Some(byte) => format!("byte 0x{byte:02x}"),
            None => "the end".to_owned(),
        };
        Problem::new(
            "format",
            format!(
                "not JSON: found {found} at byte {place}, expected {}",
                error.expected
            ),
        )
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Syntax> {
        self.skip_blanks();
        if self.peek() != Some(byte) {
            return self.error(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes to the next item of an object or array; false at its end.
    fn next_item(&mut self, close: u8, is_first: &mut bool) -> Result<bool, Syntax> {
        self.skip_blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(is_first) {
            self.expect(b',', "\",\" or the end of the object or array")?;
            self.skip_blanks();
        }
        Ok(true)
    }

    fn value(&mut self, depth: usize) -> Result<Value, Syntax> {
        self.skip_blanks();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => self.container(b'}', depth)?,
            Some(b'[') => self.container(b']', depth)?,
            Some(b't') => self.literal(b"true", Kind::Bool(true))?,
            Some(b'f') => self.literal(b"false", Kind::Bool(false))?,
            Some(b'n') => self.literal(b"null", Kind::Null)?,
            _ => return self.error("a value"),
        };
        Ok(Value {
            kind,
            start,
            end: self.at,
        })
    }

    fn skip_value(&mut self, depth: usize) -> Result<(), Syntax> {
        self.value(depth).map(|_| ())
    }

    fn literal(&mut self, word: &'static [u8], kind: Kind) -> Result<Kind, Syntax> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.error("true, false or null");
        }
        self.at += word.len();
        Ok(kind)
    }

    fn container(&mut self, close: u8, depth: usize) -> Result<Kind, Syntax> {
        if depth >= MAX_DEPTH {
            return self.error("less nesting (at most 128 levels)");
        }
        self.at += 1;
        let mut is_first = true;
        while self.next_item(close, &mut is_first)? {
            if close == b'}' {
                self.string()?;
                self.expect(b':', "\":\"")?;
            }
            self.skip_value(depth + 1)?;
        }
        Ok(if close == b'}' { Kind::Object } else { Kind::Array })
    }

    fn number(&mut self) -> Result<Kind, Syntax> {
        self.at += usize::from(self.peek() == Some(b'-'));
        let whole = self.at;
        self.digits()?;
        if self.bytes[whole] == b'0' && self.at > whole + 1 {
            self.at = whole + 1;
            return self.error("a number without leading zeros");
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), Syntax> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            self.error("a digit")
        } else {
            Ok(())
        }
    }

    /// A string; its place is without the quotes.
    fn string(&mut self) -> Result<Value, Syntax> {
        if self.peek() != Some(b'"') {
            return self.error("a string in double quotes");
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0x20..) => self.at += 1,
                _ => return self.error("the end of the string"),
            }
        }
        self.at += 1;
        Ok(Value {
            kind: Kind::Text { escaped },
            start,
            end: self.at - 1,
        })
    }

    fn escape(&mut self) -> Result<(), Syntax> {
        self.at += 1;
        let length = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
            Some(b'u') => 5,
            _ => return self.error("an escape"),
        };
        let digits = self.bytes.get(self.at + 1..self.at + length);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return self.error("four hexadecimal digits");
        }
        self.at += length;
        Ok(())
    }

    /// The bytes of a string; `scratch` holds them if it has escapes.
    fn unescaped<'b>(&self, text: Value, scratch: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let raw = &self.bytes[text.start..text.end];
        if !matches!(text.kind, Kind::Text { escaped: true }) {
            return raw;
        }
        scratch.clear();
        unescape(raw, scratch);
        scratch
    }

    fn raw<'b>(&self, value: Value, scratch: &'b mut Vec<u8>) -> Raw<'b>
    where
        'a: 'b,
    {
        let bytes: &'a [u8] = &self.bytes[value.start..value.end];
        match value.kind {
            Kind::Null => Raw::Null,
            Kind::Bool(value) => Raw::Bool(value),
            Kind::Number => Raw::Number(bytes),
            Kind::Text { .. } => Raw::Text(self.unescaped(value, scratch)),
            Kind::Array => Raw::Array(bytes),
            Kind::Object => Raw::Object(bytes),
        }
    }
}

/// Replaces escapes, which were checked. Half of a surrogate pair becomes U+FFFD.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let code = rest[at + 1];
        rest = &rest[at + 2..];
        match code {
            b'u' => {
                let (character, length) = unicode(rest);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[length..];
            }
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
}

/// The character of the four digits after `\u`, and of a second `\u....` where they are a pair; and their length.
fn unicode(text: &[u8]) -> (char, usize) {
    let unit = |text: &[u8]| {
        text.iter().fold(0, |number, digit| {
            number * 16 + char::from(*digit).to_digit(16).unwrap_or(0)
        })
    };
    let first = unit(&text[..4]);
    if (0xD800..0xDC00).contains(&first) && text.len() >= 10 && &text[4..6] == b"\\u" {
        let second = unit(&text[6..10]);
        if (0xDC00..0xE000).contains(&second) {
            let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
        }
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

#[cfg(test)]
mod tests {
    use crate::format::Encoding;
    use crate::format::testing::{declaration, decode_lines, decode_message};

    fn lines(columns: &str, text: &[u8]) -> (Vec<String>, Vec<String>) {
        decode_lines(Encoding::Json, &declaration(columns), None, text)
    }

    #[test]
    fn members_are_columns_by_name_in_any_order() {
        let (rows, rejected) = lines(
            "ts TIMESTAMP NOT NULL, machine TEXT, bar DOUBLE, n BIGINT, ok BOOLEAN, wave DOUBLE[]",
            br#"{"ts":"2020-03-09T10:14:33Z","machine":"p1","bar":1,"n":2,"ok":true,"wave":[1,2.5,null]}
                {"wave":[],"other":{"a":[1,{"b":"}"}]},"bar":-1.5e1,"ts":"2020-03-09 10:14:34","bar":3.0,"n":2.0}
                {"ts":"2020-03-09","machine":{"id": 7},"bar":null}"#,
        );
        assert_eq!(rejected, Vec::<String>::new());
        assert_eq!(
            rows,
            [
                "2020-03-09T10:14:33Z|p1|1.0|2|true|[1.0,2.5,null]",
                "2020-03-09T10:14:34Z||3.0|2||[]",
                "2020-03-09T00:00:00Z|{\"id\": 7}||||",
            ]
        );
    }

    #[test]
    fn bad_records_are_rejected_alone() {
        let (rows, rejected) = lines(
            "ts TIMESTAMP NOT NULL, bar DOUBLE, n INT, wave DOUBLE[]",
            b"{\"ts\":\"2020-03-09\",\"bar\":1}\n{\"ts\":\"2020-03-09\",\"bar\":\"1\"}\n{\"ts\":\"2020-03-09\",\"bar\":1\n\
              {\"ts\":\"2020-03-09\" \"bar\":1}\n{\"bar\":1}\nnonsense\n{\"ts\":\"2020-03-09\",\"n\":1.5}\n\
              {\"ts\":\"\xff\"}\n{\"ts\":\"2020-03-09\",\"x\":\"\xff\"}\n{\"ts\":1583748873}\n{\"ts\":\"2020-03-09\",\"wave\":[1,\"a\"]}\n\
              {\"ts\":\"2020-03-09\",\"bar\":01}\n{\"ts\":\"2020-03-09\",\"bar\":2}",
        );
        assert_eq!(rows, ["2020-03-09T00:00:00Z|1.0||", "2020-03-09T00:00:00Z|2.0||"]);
        assert_eq!(
            rejected,
            [
                "2 type: column \"bar\": found \"1\", expected DOUBLE",
                "3 format: not JSON: found '{' at byte 28, expected \",\" or the end of the object or array",
                "4 format: not JSON: found '\"' at byte 20, expected \",\" or the end of the object or array",
                "5 null_time: column \"ts\" is NULL, but declared NOT NULL",
                "6 format: not JSON: found 'n' at byte 1, expected an object",
                "7 type: column \"n\": found 1.5, expected INT",
                "8 type: column \"ts\": found \"\u{fffd}\", expected a TIMESTAMP such as 2020-03-09T10:14:33Z",
                "9 utf8: the record is not valid UTF-8",
                "10 type: column \"ts\": found 1583748873, expected a TIMESTAMP such as 2020-03-09T10:14:33Z",
                "11 type: column \"wave\": found the array [1,\"a\"], expected an array of DOUBLE",
                "12 format: not JSON: found '1' at byte 27, expected a number without leading zeros",
            ]
        );
    }

    #[test]
    fn escapes_are_replaced() {
        let (rows, _) = lines(
            "name TEXT, \"a\"b\" INT",
            br#"{"name":"x\"\\\/\n\u00e9\ud83d\ude00\ud800y","a\"b":1}"#,
        );
        assert_eq!(rows, ["x\"\\/\n\u{e9}\u{1f600}\u{fffd}y|1"]);
    }

    #[test]
    fn a_message_holds_an_object_an_array_or_lines() {
        let declaration = declaration("n INT");
        let read = |payload: &[u8]| decode_message(Encoding::Json, &declaration, payload);
        assert_eq!(read(b"{\n \"n\": 1\n}").0, ["1"]);
        assert_eq!(read(b"[{\"n\":1}, {\"n\":\"x\"}, {\"n\":3}]").0, ["1", "3"]);
        assert_eq!(read(b"{\"n\":1}\n{\"n\":2}\r\n").0, ["1", "2"]);
        assert_eq!(read(b"{\"n\":\"x\"}{\"n\":2}").0, ["2"]);
        assert_eq!(
            read(b"{\n \"n\": x\n}").1,
            ["format: not JSON: found 'x' at byte 9, expected a value"]
        );
        assert_eq!(read(b"").0, Vec::<String>::new());
    }

    #[test]
    fn deep_nesting_is_rejected_and_not_a_crash() {
        let deep = format!("{{\"x\":{}}}\n{{\"n\":1}}", "[".repeat(100_000));
        let (rows, rejected) = lines("n INT", deep.as_bytes());
        assert_eq!(rows, ["1"]);
        assert_eq!(rejected.len(), 1);
    }
}
