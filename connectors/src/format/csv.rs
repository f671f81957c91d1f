//! CSV: a record is a row; fields are columns by the name in the header, or by position.
//!
//! Quotes and escapes are those of RFC 4180: a field may be quoted, a quote in it is doubled, and newlines in it belong
//! to it. A quote inside a field that does not begin with one is an ordinary character. A quote that is never closed
//! costs its line, not the rest of the file.

pub(super) mod plain;

use lineshaft_engine::declaration::OptionError;

use super::columns::{Problem, Raw};
use super::layout::Layout;
use super::{DELIMITER, NULL, QUOTE, Record, Rows};
use crate::options::{OptionReader, in_quotes, wrong_value};

/// A quoted field longer than this is taken for a quote that is never closed.
const MAX_RECORD: usize = 1 << 20;

/// Reads records of fields.
#[derive(Debug)]
pub(crate) struct Csv {
    delimiter: u8,
    /// False if a quote is an ordinary character.
    has_quotes: bool,
    null: Option<Vec<u8>>,
    by_position: Mapping,
}

/// The column of each field, if it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping(pub(crate) Vec<Option<usize>>);

/// Place of a field in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    start: usize,
    end: usize,
    /// True if it has doubled quotes.
    doubled: bool,
}

/// Why a record has no fields.
enum Unsplit {
    /// Its quote is not closed.
    Open,
    /// Something follows a closing quote.
    Trailing,
}

impl Csv {
    pub(crate) fn new(layout: &Layout, read: &mut OptionReader<'_>) -> Self {
        let text: String = read.or(DELIMITER.name, ",".to_owned());
        let delimiter = match text.as_str() {
            "\\t" => b'\t',
            one => match one.as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
                _ => {
                    read.error(wrong_value(DELIMITER.name, &text, "one ASCII character, or '\\t' for a tab"));
                    b','
                }
            },
        };
        let has_quotes = match read.or(QUOTE.name, "\"".to_owned()).as_str() {
            "\"" => true,
            "none" => false,
            other => {
                read.error(wrong_value(
                    QUOTE.name,
                    other,
                    "'\"', or 'none' if quotes are ordinary characters",
                ));
                true
            }
        };
        Self {
            delimiter,
            has_quotes,
            null: read.get::<String>(NULL.name).map(String::into_bytes),
            by_position: Mapping((0..layout.columns.len()).map(Some).collect()),
        }
    }

    /// Reads records; those of a file with a header have its `mapping`.
    pub(crate) fn decode(
        &self,
        bytes: &[u8],
        first_line: u64,
        mapping: Option<&Mapping>,
        rows: &mut Rows<'_>,
    ) {
        let mapping = mapping.unwrap_or(&self.by_position);
        let is_utf8 = std::str::from_utf8(bytes).is_ok();
        let mut line = first_line;
        let mut rest = bytes;
        while !rest.is_empty() {
            let stripe = plain::stripe_end(rest);
            let plain = is_utf8.then(|| self.plain(&rest[..stripe], line, mapping, rows)).flatten();
            let (end, lines) = match plain {
                Some(records) => (stripe, records as u64),
                None => self.records(rest, stripe, line, mapping, is_utf8, rows),
            };
            line += lines;
            rest = &rest[end..];
        }
    }

    /// Reads the records that begin before `limit` one by one; gives where the last one ends, and the lines.
    fn records(
        &self,
        bytes: &[u8],
        limit: usize,
        first_line: u64,
        mapping: &Mapping,
        is_utf8: bool,
        rows: &mut Rows<'_>,
    ) -> (usize, u64) {
        let (mut at, mut line) = (0, first_line);
        let mut fields = Vec::with_capacity(mapping.0.len());
        while at < limit {
            let rest = &bytes[at..];
            let record = Record { bytes: rest, line };
            let first_end = line_end(rest);
            let end = match self.checked(rest, first_end, mapping, is_utf8, &mut fields) {
                Ok(end) => {
                    if !is_blank(&fields)
                        && let Err(problem) = self.row(rest, &fields, mapping, line, rows)
                    {
                        rows.reject(record.until(end), problem);
                    }
                    end
                }
                Err(problem) => {
                    rows.reject(record.until(first_end), problem);
                    first_end
                }
            };
            line +=
                if end == first_end { 1 } else { memchr::memchr_iter(b'\n', &rest[..end]).count() as u64 };
            at += end;
        }
        (at, line - first_line)
    }

    /// The fields of the first record, as many as expected, and the end of the record.
    fn checked(
        &self,
        rest: &[u8],
        first_end: usize,
        mapping: &Mapping,
        is_utf8: bool,
        fields: &mut Vec<Field>,
    ) -> Result<usize, Problem> {
        let end = self.split(rest, first_end, fields).map_err(|unsplit| match unsplit {
            Unsplit::Open => Problem::new("format", "a quote is not closed"),
            Unsplit::Trailing => Problem::new("format", "text follows a closing quote"),
        })?;
        if !is_utf8 && std::str::from_utf8(&rest[..end]).is_err() {
            return Err(Problem::new("utf8", "the record is not valid UTF-8"));
        }
        if fields.len() != mapping.0.len() && !is_blank(fields) {
            let detail = format!("found {} fields, expected {}", fields.len(), mapping.0.len());
            return Err(Problem::new("fields", detail));
        }
        Ok(end)
    }

    fn row(
        &self,
        record: &[u8],
        fields: &[Field],
        mapping: &Mapping,
        line: u64,
        rows: &mut Rows<'_>,
    ) -> Result<(), Problem> {
        for (field, column) in fields.iter().zip(&mapping.0) {
            let Some(column) = *column else { continue };
            let mut text = &record[field.start..field.end];
            if field.doubled {
                undouble(text, &mut rows.scratch);
                text = &rows.scratch;
            }
            let is_null = self.null.as_deref() == Some(text);
            rows.columns.push(column, if is_null { Raw::Null } else { Raw::Field(text) })?;
        }
        rows.end_row(line)
    }

    /// The fields of the first record of `bytes`, whose first line ends at `first_end`; gives the end of the record.
    fn split(&self, bytes: &[u8], first_end: usize, fields: &mut Vec<Field>) -> Result<usize, Unsplit> {
        let line = &bytes[..first_end];
        if self.may_be_quoted(line) {
            return self.split_quoted(bytes, fields);
        }
        self.split_plain(line, fields);
        Ok(first_end)
    }

    fn may_be_quoted(&self, bytes: &[u8]) -> bool {
        self.has_quotes && memchr::memchr(b'"', bytes).is_some()
    }

    fn split_plain(&self, line: &[u8], fields: &mut Vec<Field>) {
        fields.clear();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut start = 0;
        for end in memchr::memchr_iter(self.delimiter, line) {
            if self.delimiter != b' ' || end > start {
                fields.push(Field { start, end, doubled: false });
            }
            start = end + 1;
        }
        if self.delimiter != b' ' || line.len() > start {
            fields.push(Field { start, end: line.len(), doubled: false });
        }
    }

    fn split_quoted(&self, bytes: &[u8], fields: &mut Vec<Field>) -> Result<usize, Unsplit> {
        fields.clear();
        let mut at = 0;
        loop {
            if self.delimiter == b' ' {
                at += bytes[at..].iter().take_while(|byte| **byte == b' ').count();
            }
            let is_quoted = bytes.get(at) == Some(&b'"');
            let field = if is_quoted {
                quoted(bytes, at + 1).ok_or(Unsplit::Open)?
            } else {
                self.unquoted(bytes, at)
            };
            at = field.end + usize::from(is_quoted);
            let end = self.after(&bytes[at..]).ok_or(Unsplit::Trailing)?;
            let is_end_after_blanks = self.delimiter == b' ' && !is_quoted && field.start == field.end;
            if !is_end_after_blanks {
                fields.push(field);
            }
            match end {
                After::Delimiter => at += 1,
                After::Record(length) => return Ok(at + length),
            }
        }
    }

    fn unquoted(&self, bytes: &[u8], start: usize) -> Field {
        let length = memchr::memchr2(self.delimiter, b'\n', &bytes[start..]).unwrap_or(bytes.len() - start);
        let end = start + length;
        let is_line_end = bytes.get(end).is_none_or(|byte| *byte == b'\n');
        let end = if is_line_end && bytes[start..end].ends_with(b"\r") { end - 1 } else { end };
        Field { start, end, doubled: false }
    }

    fn after(&self, rest: &[u8]) -> Option<After> {
        match rest {
            [byte, ..] if *byte == self.delimiter => Some(After::Delimiter),
            [] => Some(After::Record(0)),
            [b'\n', ..] | [b'\r'] => Some(After::Record(1)),
            [b'\r', b'\n', ..] => Some(After::Record(2)),
            _ => None,
        }
    }

    /// Where the first record ends, with its newline.
    pub(crate) fn first_record(&self, bytes: &[u8]) -> usize {
        let first_end = line_end(bytes);
        self.split(bytes, first_end, &mut Vec::new()).unwrap_or(first_end)
    }

    /// How many of `bytes` are whole records.
    pub(crate) fn cut(&self, bytes: &[u8]) -> usize {
        let last_line = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        if !self.may_be_quoted(bytes) {
            return last_line;
        }
        let mut fields = Vec::new();
        let mut at = 0;
        while at < last_line {
            let rest = &bytes[at..];
            let first_end = line_end(rest);
            at += match self.split(rest, first_end, &mut fields) {
                Ok(end) if rest[end - 1] == b'\n' => end,
                // The rest may still come; a quote that is open for too long is a mistake.
                Ok(_) | Err(Unsplit::Open) if rest.len() <= MAX_RECORD => return at,
                Ok(_) | Err(_) => first_end,
            };
        }
        at
    }

    /// The columns of the fields of a file with this header, and the declared columns that it has not.
    ///
    /// A name is taken as it is, then without blanks around it.
    pub(crate) fn mapping(&self, header: &[u8], layout: &Layout) -> (Mapping, Vec<usize>) {
        let names = self.names(header);
        let mut mapping = vec![None; names.len()];
        let mut missing = Vec::new();
        for (column, spec) in layout.columns.iter().enumerate() {
            let name = spec.field.name();
            let exact = names.iter().position(|found| found == name);
            match exact.or_else(|| names.iter().position(|found| found.trim() == name.trim())) {
                Some(field) => mapping[field] = Some(column),
                None => missing.push(column),
            }
        }
        (Mapping(mapping), missing)
    }

    /// The names in a header.
    pub(crate) fn names(&self, header: &[u8]) -> Vec<String> {
        let mut fields = Vec::new();
        if self.split(header, line_end(header), &mut fields).is_err() {
            self.split_plain(header, &mut fields);
        }
        let mut scratch = Vec::new();
        let name = |field: &Field| {
            undouble(&header[field.start..field.end], &mut scratch);
            String::from_utf8_lossy(&scratch).into_owned()
        };
        fields.iter().map(name).collect()
    }
}

fn is_blank(fields: &[Field]) -> bool {
    matches!(fields, [] | [Field { start: 0, end: 0, .. }])
}

enum After {
    Delimiter,
    /// The record ends here, with so many more bytes.
    Record(usize),
}

/// Where the line ends, with its newline.
pub(crate) fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// The quoted field whose text begins at `start`.
fn quoted(bytes: &[u8], start: usize) -> Option<Field> {
    let mut doubled = false;
    let mut at = start;
    loop {
        at += memchr::memchr(b'"', &bytes[at..])?;
        if bytes.get(at + 1) != Some(&b'"') {
            return Some(Field { start, end: at, doubled });
        }
        doubled = true;
        at += 2;
    }
}

fn undouble(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, b"\"\"") {
        out.extend_from_slice(&rest[..=at]);
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
}

/// The error of a header without columns that may not be NULL.
pub(crate) fn missing_columns(file: &str, names: &[String], missing: &[String]) -> OptionError {
    let list = |names: &[String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let near = missing.iter().find_map(|name| in_quotes(name, names));
    OptionError::of(
        "path",
        format!("the header of {file} has no column {}, declared NOT NULL", list(missing)),
    )
    .help(near.unwrap_or_else(|| format!("the header has {}; check delimiter and header", list(names))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{declaration, decode_lines};
    use crate::format::{Encoding, TextFormat};
    use lineshaft_engine::declaration::SourceDeclaration;

    fn csv(declaration: &SourceDeclaration) -> (Csv, Layout) {
        let docs = [DELIMITER, QUOTE, NULL];
        let mut read = OptionReader::new("source", "test", &declaration.options, &docs);
        match TextFormat::new(Encoding::Csv, declaration, &mut read) {
            (TextFormat::Csv(csv), layout) => (csv, layout),
            _ => unreachable!(),
        }
    }

    fn read(
        columns: &str,
        options: &[(&str, &str)],
        header: Option<&str>,
        bytes: &[u8],
    ) -> (Vec<String>, Vec<String>) {
        let mut declaration = declaration(columns);
        declaration.options = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        decode_lines(Encoding::Csv, &declaration, header, bytes)
    }

    #[test]
    fn without_quotes_a_line_may_be_one_text() {
        let (rows, rejected) = read(
            "text TEXT",
            &[("delimiter", "\\t"), ("quote", "none")],
            None,
            b"\"H1\",\"60\"\n\"open\n\"a\"b\r\n",
        );
        assert_eq!(rows, ["\"H1\",\"60\"", "\"open", "\"a\"b"]);
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    #[test]
    fn bad_records_are_rejected_alone_with_line_column_value_and_type() {
        let bytes = b"2020-03-09 10:14:33,a,1.5,1\n2020-03-09,b,x,2\n2020-03-09,c,1\n2020-03-09,d,1,2,3\n\
            2020-03-09,\xffe,1,2\n,f,1,2\n2020-03-09,,1,2\n\n2020-03-09,h,,3.0\r\n2020-03-09,i,2,3.5\nnever,j,1,2";
        let (rows, rejected) = read(
            "ts TIMESTAMP NOT NULL, name TEXT NOT NULL, bar DOUBLE, n BIGINT, line BIGINT METADATA",
            &[],
            None,
            bytes,
        );
        assert_eq!(rows, ["2020-03-09T10:14:33Z|a|1.5|1|1", "2020-03-09T00:00:00Z|h||3|9"]);
        assert_eq!(
            rejected,
            [
                "2 type: column \"bar\": found \"x\", expected DOUBLE",
                "3 fields: found 3 fields, expected 4",
                "4 fields: found 5 fields, expected 4",
                "5 utf8: the record is not valid UTF-8",
                "6 null_time: column \"ts\" is NULL, but declared NOT NULL",
                "7 null: column \"name\" is NULL, but declared NOT NULL",
                "10 type: column \"n\": found \"3.5\", expected BIGINT",
                "11 type: column \"ts\": found \"never\", expected a TIMESTAMP such as 2020-03-09T10:14:33Z",
            ]
        );
    }

    #[test]
    fn a_bad_record_among_many_costs_nobody_else_its_row() {
        let line = |n: i64| match n % 700 {
            699 => format!("a{n},x\n"),
            350 => format!("\"a{n}\",{n}\n"),
            _ => format!("a{n},{n}\n"),
        };
        let bytes: String = (1..=10_000).map(line).collect();
        let (rows, rejected) =
            read("name TEXT NOT NULL, n BIGINT, line BIGINT METADATA", &[], None, bytes.as_bytes());
        let good = (1..=10_000).filter(|n| n % 700 != 699).map(|n| format!("a{n}|{n}|{n}"));
        assert!(rows.into_iter().eq(good));
        assert_eq!(rejected.len(), 14);
        assert_eq!(rejected[1], "1399 type: column \"n\": found \"x\", expected BIGINT");
    }

    #[test]
    fn columns_come_by_name_and_the_rest_is_left_out() {
        let header = "other, Volume Flow RateRMS;;name\n".replace(',', ";");
        let options = [("delimiter", ";"), ("null", "NA")];
        let (rows, rejected) = read(
            "name TEXT, \"Volume Flow RateRMS\" DOUBLE, absent INT",
            &options,
            Some(&header),
            b"x; 32.0 ;;p\nx;NA;;q\n",
        );
        assert_eq!(rows, ["p|32.0|", "q||"]);
        assert_eq!(rejected, Vec::<String>::new());
    }

    #[test]
    fn quoted_fields_keep_delimiters_quotes_and_newlines() {
        let bytes = b"\"a,\"\"b\"\"\",1\n\"two\nlines\",2\n5\" pipe,3\n\"open,4\nx,5\n\"y\"z,6\nlast,7";
        let (rows, rejected) = read("name TEXT, n INT, line BIGINT METADATA", &[], None, bytes);
        assert_eq!(rows, ["a,\"b\"|1|1", "two\nlines|2|2", "5\" pipe|3|4", "x|5|6", "last|7|8"]);
        assert_eq!(
            rejected,
            ["5 format: text follows a closing quote", "7 format: text follows a closing quote"]
        );
    }

    #[test]
    fn blanks_in_a_row_count_as_one() {
        let options = [("delimiter", " ")];
        let (rows, rejected) = read(
            "unit INT, cycle INT, name TEXT",
            &options,
            None,
            b"  1   2 \"a b\"  \n3 4 x  \r\n   \n5 6\n",
        );
        assert_eq!(rows, ["1|2|a b", "3|4|x"]);
        assert_eq!(rejected, ["4 fields: found 2 fields, expected 3"]);
    }

    #[test]
    fn all_types_have_a_text_form() {
        let (rows, rejected) = read(
            "a INT, b BOOLEAN, c DATE, d DECIMAL, e REAL",
            &[],
            None,
            b" 1 ,TRUE,2020-03-09,12.34,1e3\n2147483648,1,2020-03-09,1,1\n-1,no,2020-02-30,1,1\n1,maybe,,,\n",
        );
        assert_eq!(rows, ["1|true|2020-03-09|12.34|1000.0"]);
        assert_eq!(
            rejected,
            [
                "2 type: column \"a\": found \"2147483648\", expected INT",
                "3 type: column \"c\": found \"2020-02-30\", expected a DATE such as 2020-03-09",
                "4 type: column \"b\": found \"maybe\", expected BOOLEAN",
            ]
        );
    }

    #[test]
    fn a_decimal_with_more_digits_than_its_column_is_rounded() {
        let text = b"1.005\n-1.009\n0.9949\n15e-3\n7\n99999999.99\n99999999.999\n";
        let (rows, rejected) = read("d DECIMAL", &[], None, text);
        assert_eq!(rows, ["1.01", "-1.01", "0.99", "0.02", "7.00", "99999999.99"]);
        assert_eq!(rejected.len(), 1);
    }

    #[test]
    fn a_cut_at_any_place_keeps_records_whole() {
        let (csv, _) = csv(&declaration("name TEXT, n INT"));
        let bytes = b"a,1\n\"two\nlines \"\"x\"\"\",2\r\nb,3\n";
        for end in 0..=bytes.len() {
            let cut = csv.cut(&bytes[..end]);
            assert!([0, 4, 25, 29].contains(&cut), "{cut} of {end}");
            assert!(cut <= end);
        }
        assert_eq!(csv.cut(bytes), bytes.len());
    }

    #[test]
    fn a_delimiter_is_one_character() {
        let mut declaration = declaration("n INT");
        declaration.options.insert("delimiter".into(), ";;".into());
        let mut read = OptionReader::new("source", "test", &declaration.options, &[DELIMITER]);
        TextFormat::new(Encoding::Csv, &declaration, &mut read);
        assert_eq!(read.finish(()).unwrap_err()[0].message, "option \"delimiter\" is \";;\"");
    }
}
