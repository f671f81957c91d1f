//! Influx line protocol: a line is a row; measurement, tags and fields are columns by name.
//!
//! ```text
//! vibration,machine=press\ 1,line=a rms=0.82,running=true,count=12i 1583748873000000000
//! measurement,tags                  fields                          timestamp
//! ```
//!
//! - The measurement is the column `measurement`. A field that has the name of a tag replaces it.
//! - The timestamp, in the unit of the option `precision`, is the event time, or else the column `ts` or `time`; a line
//!   without one has the time when it came.
//! - A tag is a text that may stand for a value of any type; a field is a number, a boolean or a text in quotes.
//! - A line is read as a whole or rejected: a text in quotes does not go on in the next line.
//!
//! Reference: InfluxDB line protocol, <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>.

mod line;

use std::collections::HashMap;

use lineshaft_engine::TIMESTAMP;

use super::columns::{Problem, Raw};
use super::layout::{ColumnSpec, Layout};
use super::timestamp::Unit;
use super::{PRECISION, Record, Rows};
use crate::options::OptionReader;
use line::{Line, Value};

/// The column of the measurement.
const MEASUREMENT: &[u8] = b"measurement";
/// The columns of the timestamp, if there is no event time.
const TIMES: [&str; 2] = ["ts", "time"];

/// Reads lines of the protocol.
#[derive(Debug)]
pub(crate) struct Influx {
    columns: HashMap<Vec<u8>, usize>,
    time: Option<usize>,
    unit: Unit,
}

impl Influx {
    pub(crate) fn new(layout: &Layout, read: &mut OptionReader<'_>) -> Self {
        let units = [("ns", Unit::Nanos), ("us", Unit::Micros), ("ms", Unit::Millis), ("s", Unit::Seconds)];
        let is_time = |spec: &ColumnSpec| {
            *spec.field.data_type() == TIMESTAMP && TIMES.contains(&spec.field.name().as_str())
        };
        let specs = &layout.columns;
        let time =
            specs.iter().position(|spec| spec.is_event_time).or_else(|| specs.iter().position(is_time));
        let names = specs.iter().map(|spec| spec.field.name().clone().into_bytes());
        Self {
            columns: names.enumerate().map(|(at, name)| (name, at)).collect(),
            time,
            unit: read.choice(PRECISION.name, &units, Unit::Nanos),
        }
    }

    /// Reads a row from each line; empty lines and those that begin with `#` are none.
    pub(crate) fn decode(&self, bytes: &[u8], first_line: u64, received_at: i64, rows: &mut Rows<'_>) {
        for (number, bytes) in (first_line..).zip(bytes.split(|byte| *byte == b'\n')) {
            let text = bytes.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let read = self.row(text, received_at, rows).and_then(|()| rows.end_row(number));
            if let Err(problem) = read {
                rows.reject(Record { bytes, line: number }, problem);
            }
        }
    }

    fn row(&self, text: &[u8], received_at: i64, rows: &mut Rows<'_>) -> Result<(), Problem> {
        if std::str::from_utf8(text).is_err() {
            return Err(Problem::new("utf8", "the record is not valid UTF-8"));
        }
        let mut line = Line::new(text);
        let measurement = line.measurement()?;
        self.push(MEASUREMENT, Raw::Field(&measurement), rows)?;
        while let Some((name, value)) = line.next_tag()? {
            self.push(&name, Raw::Field(&value), rows)?;
        }
        while let Some((name, value)) = line.next_field()? {
            let raw = match &value {
                Value::Number(text) => Raw::Number(text),
                Value::Bool(value) => Raw::Bool(*value),
                Value::Text(text) => Raw::Text(text),
            };
            self.push(&name, raw, rows)?;
        }
        let Some(time) = self.time else { return line.timestamp().map(|_| ()) };
        let micros = match line.timestamp()? {
            Some(number) => self.unit.micros(number).ok_or_else(|| too_far(number))?,
            None => received_at,
        };
        rows.columns.push(time, Raw::Micros(micros))
    }

    fn push(&self, name: &[u8], raw: Raw<'_>, rows: &mut Rows<'_>) -> Result<(), Problem> {
        match self.columns.get(name) {
            Some(column) => rows.columns.push(*column, raw),
            None => Ok(()),
        }
    }
}

fn too_far(number: i64) -> Problem {
    Problem::new("type", format!("the timestamp {number} is out of range; set the option precision"))
}

#[cfg(test)]
mod tests {
    use crate::format::Encoding;
    use crate::format::testing::{declaration, decode_lines, decode_message};

    const COLUMNS: &str = "ts TIMESTAMP NOT NULL, measurement TEXT, machine TEXT, line INT, x DOUBLE, n BIGINT, ok BOOLEAN, note TEXT";

    fn lines(text: &[u8]) -> (Vec<String>, Vec<String>) {
        decode_lines(Encoding::Influx, &declaration(COLUMNS), None, text)
    }

    #[test]
    fn measurement_tags_and_fields_are_columns_by_name() {
        let (rows, rejected) = lines(
            b"# a comment\n\
              vib,machine=p1,line=7 x=0.5,n=12i,ok=t,note=\"a \\\"b\\\" \\\\ c, d=e\" 1583748873500000000\r\n\
              \n\
              vib\\,2\\ b,machine=press\\ 1\\=a\\,b,other=z ok=FALSE,x=-1e3,n=3u,unknown=\"\"   1583748873000000000\n\
              vib x=1",
        );
        assert_eq!(rejected, Vec::<String>::new());
        assert_eq!(
            rows,
            [
                "2020-03-09T10:14:33.5Z|vib|p1|7|0.5|12|true|a \"b\" \\ c, d=e",
                "2020-03-09T10:14:33Z|vib,2 b|press 1=a,b||-1000.0|3|false|",
                "1970-01-01T00:00:00Z|vib|||1.0|||",
            ]
        );
    }

    #[test]
    fn bad_lines_are_rejected_alone() {
        let (rows, rejected) = lines(
            b"vib x=1 1\nvib\nvib,machine x=1\nvib,machine= x=1\n,a=b x=1\nvib x=\nvib x=1,\nvib x=\"a\nvib x=nan\nvib x=1 soon\n\
              vib x=1 1 2\nvib n=1.5i\nvib n=-1u\nvib x=\"1\"\nvib n=1.5\nvib,machine=\xff x=1\nvib x=1 99999999999999999999\n\
              vib x=2 2000",
        );
        assert_eq!(rows, ["1970-01-01T00:00:00Z|vib|||1.0|||", "1970-01-01T00:00:00.000002Z|vib|||2.0|||"]);
        assert_eq!(
            rejected,
            [
                "2 format: not line protocol: found the end at byte 4, expected a field",
                "3 format: not line protocol: found ' ' at byte 12, expected \"=\" and a value",
                "4 format: not line protocol: found ' ' at byte 13, expected a value",
                "5 format: not line protocol: found ',' at byte 1, expected a measurement",
                "6 format: not line protocol: found the end at byte 7, expected a value",
                "7 format: not line protocol: found the end at byte 9, expected a name",
                "8 format: not line protocol: found the end at byte 9, expected the closing quote of a text",
                "9 format: not line protocol: found 'n' at byte 7, expected a number, a boolean or a text in quotes",
                "10 format: not line protocol: found 's' at byte 9, expected a timestamp, a whole number",
                "11 format: not line protocol: found ' ' at byte 10, expected the end of the line",
                "12 format: not line protocol: found '1' at byte 7, expected a number, a boolean or a text in quotes",
                "13 format: not line protocol: found '-' at byte 7, expected a number, a boolean or a text in quotes",
                "14 type: column \"x\": found \"1\", expected DOUBLE",
                "15 type: column \"n\": found 1.5, expected BIGINT",
                "16 utf8: the record is not valid UTF-8",
                "17 format: not line protocol: found '9' at byte 9, expected a timestamp, a whole number",
            ]
        );
    }

    #[test]
    fn the_precision_is_an_option_and_a_message_holds_lines() {
        let mut declaration = declaration("x DOUBLE, time TIMESTAMP");
        declaration.event_time = None;
        declaration.options.insert("precision".into(), "s".into());
        let (rows, rejected) = decode_message(
            Encoding::Influx,
            &declaration,
            b"vib x=1 1583748873\nvib x=2 9223372036854775807",
        );
        assert_eq!(rows, ["1.0|2020-03-09T10:14:33Z"]);
        assert_eq!(
            rejected,
            ["type: the timestamp 9223372036854775807 is out of range; set the option precision"]
        );
    }
}
