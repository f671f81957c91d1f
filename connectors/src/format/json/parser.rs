//! The grammar of JSON (RFC 8259), over bytes and without a tree.

use crate::format::columns::{Problem, Raw};

/// Nested deeper than this, a record is rejected, so that no input can exhaust the stack.
const MAX_DEPTH: usize = 128;

/// What is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    at: usize,
    expected: &'static str,
}

/// A value that has been checked: its kind, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Value {
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

/// Reads and checks JSON from its beginning.
pub(super) struct Parser<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, expected })
    }

    pub(super) fn problem(&self, error: Syntax, start: usize) -> Problem {
        let place = error.at.saturating_sub(start) + 1;
        let found = match self.bytes.get(error.at) {
            Some(byte) if byte.is_ascii_graphic() => format!("{:?}", char::from(*byte)),
            Some(byte) => format!("byte 0x{byte:02x}"),
            None => "the end".to_owned(),
        };
        Problem::new(
            "format",
            format!("not JSON: found {found} at byte {place}, expected {}", error.expected),
        )
    }

    /// Fails if something follows on the line that is no other record.
    pub(super) fn expect_end(&self) -> Result<(), Syntax> {
        let mut rest = Parser { at: self.at, ..Parser::new(self.bytes) };
        while matches!(rest.peek(), Some(b' ' | b'\t')) {
            rest.at += 1;
        }
        match rest.peek() {
            None | Some(b'\n' | b'\r' | b'{' | b'[') => Ok(()),
            Some(_) => rest.error("another object or the end of the line"),
        }
    }

    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Syntax> {
        self.skip_blanks();
        if self.peek() != Some(byte) {
            return self.error(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes to the next item of an object or array; false at its end.
    pub(super) fn next_item(&mut self, close: u8, is_first: &mut bool) -> Result<bool, Syntax> {
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

    pub(super) fn value(&mut self, depth: usize) -> Result<Value, Syntax> {
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
        Ok(Value { kind, start, end: self.at })
    }

    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Syntax> {
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
        if self.at == start { self.error("a digit") } else { Ok(()) }
    }

    /// A string; its place is without the quotes.
    pub(super) fn string(&mut self) -> Result<Value, Syntax> {
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
        Ok(Value { kind: Kind::Text { escaped }, start, end: self.at - 1 })
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
    pub(super) fn unescaped<'b>(&self, text: Value, scratch: &'b mut Vec<u8>) -> &'b [u8]
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

    pub(super) fn raw<'b>(&self, value: Value, scratch: &'b mut Vec<u8>) -> Raw<'b>
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
        text.iter().fold(0, |number, digit| number * 16 + char::from(*digit).to_digit(16).unwrap_or(0))
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
