//! JSON: an object is a row; its members are columns by name. Read in one pass, without a tree.
//!
//! Members that are no column are checked and left out; of a member that occurs twice the last one counts. A string
//! never stands for a number, except as a time.

mod parser;

use std::collections::HashMap;

use super::columns::{Problem, Raw};
use super::layout::Layout;
use super::{Record, Rows};
use parser::Parser;

/// Reads objects of JSON.
#[derive(Debug)]
pub(crate) struct Json {
    names: Vec<Vec<u8>>,
    columns: HashMap<Vec<u8>, usize>,
}

impl Json {
    pub(crate) fn new(layout: &Layout) -> Self {
        let names: Vec<Vec<u8>> =
            layout.columns.iter().map(|spec| spec.field.name().clone().into_bytes()).collect();
        let columns = names.iter().cloned().enumerate().map(|(at, name)| (name, at)).collect();
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
            let record = Record { bytes: &bytes[start..], line };
            let result = match first {
                b'[' => self.array(&mut parser, record, is_utf8, rows),
                _ => self.object(&mut parser, record, is_utf8, false, rows),
            };
            if let Err(problem) = result {
                // A bad value leaves the record whole, and the next one may follow on the same line.
                let mut whole = Parser { at: start, ..Parser::new(bytes) };
                let end = match whole.skip_value(0).and_then(|()| whole.expect_end()) {
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
        parser.skip_value(0).map_err(|error| parser.problem(error, start))?;
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
                    let mut end = Parser { at: item, ..Parser::new(array) };
                    end.skip_value(1).map_err(|error| end.problem(error, item))?;
                    let record = Record { bytes: &array[item..end.at], line: record.line };
                    if let Err(problem) = self.object(&mut inner, record, is_utf8, true, rows) {
                        rows.reject(record, problem);
                    }
                    inner.at = end.at;
                }
            }
        }
    }

    /// Reads an object as a row; behind one that is no item of an array the line must end.
    fn object(
        &self,
        parser: &mut Parser<'_>,
        record: Record<'_>,
        is_utf8: bool,
        is_item: bool,
        rows: &mut Rows<'_>,
    ) -> Result<(), Problem> {
        let start = parser.at;
        let result = self.members(parser, start, rows).and_then(|()| {
            if !is_item {
                parser.expect_end().map_err(|error| parser.problem(error, start))?;
            }
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
        parser.expect(b'{', "an object").map_err(|error| syntax(parser, error))?;
        // Members mostly come in the order of the columns.
        let mut guess = 0;
        let mut is_first = true;
        while parser.next_item(b'}', &mut is_first).map_err(|error| syntax(parser, error))? {
            let name = parser.string().map_err(|error| syntax(parser, error))?;
            let column = self.column(parser.unescaped(name, &mut rows.scratch), guess);
            parser.expect(b':', "\":\"").map_err(|error| syntax(parser, error))?;
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
    parser.expect(b'[', "an array").map_err(|error| syntax(&parser, error))?;
    let mut is_first = true;
    while parser.next_item(b']', &mut is_first).map_err(|error| syntax(&parser, error))? {
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
    lines.find(|at| bytes.get(*at).is_none_or(|byte| resume(*byte))).unwrap_or(bytes.len())
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
        let (rows, _) =
            lines("name TEXT, \"a\"b\" INT", br#"{"name":"x\"\\\/\n\u00e9\ud83d\ude00\ud800y","a\"b":1}"#);
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
        let behind = read(b"{\"n\":1} x {\"n\":2}\n{\"n\":3}");
        assert_eq!(behind.0, ["3"], "what is wrong behind an object takes it along");
        assert_eq!(
            behind.1,
            ["format: not JSON: found 'x' at byte 9, expected another object or the end of the line"]
        );
        assert_eq!(read(b"{\n \"n\": x\n}").1, ["format: not JSON: found 'x' at byte 9, expected a value"]);
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
