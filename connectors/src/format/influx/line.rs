//! The grammar of one line of Influx line protocol, over bytes and without copies where nothing is escaped.
//!
//! A backslash takes the meaning from a comma, an equals sign or a blank that follows it; in a text in quotes from a
//! quote or a backslash. Before anything else it is an ordinary character.

use std::borrow::Cow;

use crate::format::columns::Problem;

/// A text without its escapes.
type Text<'a> = Cow<'a, [u8]>;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// Without the letter that says whether it is a whole number.
    Number(&'a [u8]),
    Bool(bool),
    Text(Text<'a>),
}

/// A line from its beginning: ask for measurement, tags, fields and timestamp in this order.
pub(super) struct Line<'a> {
    bytes: &'a [u8],
    at: usize,
    has_field: bool,
}

impl<'a> Line<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, has_field: false }
    }

    pub(super) fn measurement(&mut self) -> Result<Text<'a>, Problem> {
        self.word(b", ", "a measurement")
    }

    /// The next tag; `None` where the fields begin.
    pub(super) fn next_tag(&mut self) -> Result<Option<(Text<'a>, Text<'a>)>, Problem> {
        if !self.takes(b',') {
            return Ok(None);
        }
        let name = self.name()?;
        Ok(Some((name, self.word(b", =", "a value")?)))
    }

    /// The next field; `None` after the last one. There is at least one.
    pub(super) fn next_field(&mut self) -> Result<Option<(Text<'a>, Value<'a>)>, Problem> {
        if !self.has_field {
            self.skip_blanks();
            if self.peek().is_none() {
                return Err(self.problem("a field"));
            }
        } else if !self.takes(b',') {
            return Ok(None);
        }
        self.has_field = true;
        let name = self.name()?;
        Ok(Some((name, self.value()?)))
    }

    /// The timestamp, if there is one; nothing follows it.
    pub(super) fn timestamp(&mut self) -> Result<Option<i64>, Problem> {
        self.skip_blanks();
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let number = match length {
            0 => None,
            _ => {
                let number = lexical_core::parse(&rest[..length]);
                Some(number.map_err(|_| self.problem("a timestamp, a whole number"))?)
            }
        };
        self.at += length;
        if self.at < self.bytes.len() { Err(self.problem("the end of the line")) } else { Ok(number) }
    }

    /// A name and the equals sign after it.
    fn name(&mut self) -> Result<Text<'a>, Problem> {
        let name = self.word(b"=, ", "a name")?;
        if self.takes(b'=') { Ok(name) } else { Err(self.problem("\"=\" and a value")) }
    }

    fn value(&mut self) -> Result<Value<'a>, Problem> {
        if self.takes(b'"') {
            return self.quoted().map(Value::Text);
        }
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b',' | b' ')).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.problem("a value"));
        }
        let value = number(&rest[..length]).or_else(|| boolean(&rest[..length]));
        let value = value.ok_or_else(|| self.problem("a number, a boolean or a text in quotes"))?;
        self.at += length;
        Ok(value)
    }

    /// The rest of a text in quotes.
    fn quoted(&mut self) -> Result<Text<'a>, Problem> {
        let text = self.until(b"\"", b"\"\\");
        if self.takes(b'"') { Ok(text) } else { Err(self.problem("the closing quote of a text")) }
    }

    /// A text that is not empty, up to one of `stops`.
    fn word(&mut self, stops: &[u8], expected: &str) -> Result<Text<'a>, Problem> {
        let word = self.until(stops, b",= ");
        if word.is_empty() { Err(self.problem(expected)) } else { Ok(word) }
    }

    /// The text up to one of `stops`, or the end; a backslash takes the meaning from those of `special`.
    fn until(&mut self, stops: &[u8], special: &[u8]) -> Text<'a> {
        let start = self.at;
        let mut has_escapes = false;
        while let Some(byte) = self.peek() {
            if byte == b'\\' && self.bytes.get(self.at + 1).is_some_and(|next| special.contains(next)) {
                has_escapes = true;
                self.at += 2;
            } else if stops.contains(&byte) {
                break;
            } else {
                self.at += 1;
            }
        }
        let text = &self.bytes[start..self.at];
        if has_escapes { Cow::Owned(unescaped(text, special)) } else { Cow::Borrowed(text) }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn skip_blanks(&mut self) {
        while self.takes(b' ') {}
    }

    fn problem(&self, expected: &str) -> Problem {
        let found = match self.peek() {
            Some(byte) if byte.is_ascii_graphic() || byte == b' ' => format!("{:?}", char::from(byte)),
            Some(byte) => format!("byte 0x{byte:02x}"),
            None => "the end".to_owned(),
        };
        let detail = format!("not line protocol: found {found} at byte {}, expected {expected}", self.at + 1);
        Problem::new("format", detail)
    }
}

fn unescaped(text: &[u8], special: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        match after.split_first() {
            Some((next, after)) if *byte == b'\\' && special.contains(next) => {
                plain.push(*next);
                rest = after;
            }
            _ => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

/// `1.5`, `-2e3`, `12i`, `12u`; no infinities.
fn number(text: &[u8]) -> Option<Value<'_>> {
    let is_number = |text: &[u8]| lexical_core::parse::<f64>(text).is_ok_and(f64::is_finite);
    let is_whole = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let (number, is_right) = match text.split_last()? {
        (b'i', number) => (number, is_whole(number.strip_prefix(b"-").unwrap_or(number))),
        (b'u', number) => (number, is_whole(number)),
        _ => (text, is_number(text)),
    };
    is_right.then_some(Value::Number(number))
}

fn boolean(text: &[u8]) -> Option<Value<'_>> {
    match text {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => Some(Value::Bool(true)),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => Some(Value::Bool(false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escape(text: &str, special: &str) -> String {
        let escape = |c: char| special.contains(c).then_some('\\').into_iter().chain([c]);
        text.chars().flat_map(escape).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_with_escapes_is_read_as_it_was(
            // A backslash before a comma cannot be written in a name.
            names in prop::collection::vec("[a-zé,= ]{1,8}", 3),
            tag in "[a-zé,= \"]{1,8}",
            text in "[a-zé,= \"\\\\]{0,8}",
            x in -1e300..1e300_f64,
            time in any::<Option<i64>>(),
        ) {
            let name = |at: usize| escape(&names[at], ",= ");
            let (tag_value, quoted) = (escape(&tag, ",= "), escape(&text, "\"\\"));
            let time_text = time.map_or(String::new(), |time| format!(" {time}"));
            let written =
                format!("m,{}={tag_value} {}={x:e},{}=\"{quoted}\"{time_text}", name(0), name(1), name(2));
            let mut line = Line::new(written.as_bytes());
            prop_assert!(line.measurement().unwrap().as_ref() == b"m");
            let (tag_name, value) = line.next_tag().unwrap().unwrap();
            prop_assert_eq!((tag_name.as_ref(), value.as_ref()), (names[0].as_bytes(), tag.as_bytes()));
            prop_assert!(line.next_tag().unwrap().is_none());
            let (number_name, number) = line.next_field().unwrap().unwrap();
            prop_assert_eq!(number_name.as_ref(), names[1].as_bytes());
            let Value::Number(number) = number else { panic!("{number:?} is no number") };
            prop_assert_eq!(lexical_core::parse::<f64>(number).unwrap().to_bits(), x.to_bits());
            let (_, value) = line.next_field().unwrap().unwrap();
            prop_assert_eq!(value, Value::Text(Cow::Borrowed(text.as_bytes())));
            prop_assert!(line.next_field().unwrap().is_none());
            prop_assert_eq!(line.timestamp().unwrap(), time);
        }

        #[test]
        fn no_bytes_are_a_crash(bytes in prop::collection::vec(prop::sample::select(b"a1,= \"\\i-.\xff".to_vec()), 0..40)) {
            let mut line = Line::new(&bytes);
            let read = line.measurement().and_then(|_| {
                while line.next_tag()?.is_some() {}
                while line.next_field()?.is_some() {}
                line.timestamp()
            });
            prop_assert!(read.is_ok() || read.is_err_and(|problem| problem.reason == "format"));
        }
    }
}
