//! SenML: a row per measured value.
//!
//! Two forms: the arrays of RFC 8428, and the object `{"e": [...], "bt": ..., "bn": ...}` of an early draft, in which
//! numbers may be strings, `sv` is a string value, and `bt` counts milliseconds when it is above 1e11. In a file a line
//! may begin with a number and a comma, which are skipped.
//!
//! Columns by name: `name`, `unit`, `value`, `text` (`vs`, `sv`), `flag` (`vb`), `source` (the string value of the
//! draft's element `source` or `subjectId`, else the base name), and one `TIMESTAMP` column of any name.

use std::borrow::Cow;

use arrow::datatypes::DataType;
use lineshaft_engine::declaration::OptionError;
use serde::Deserialize;
use serde_json::Value;

use super::columns::{Problem, Raw};
use super::layout::Layout;
use super::{Record, Rows};
use crate::options::{OptionReader, OptionValue, suggestion};

/// Times below are relative to the arrival (RFC 8428, 4.5.3).
const RELATIVE_BELOW_S: f64 = 268_435_456.0;
/// A base time of the draft above is in milliseconds: in seconds it would be the year 5138.
const MILLIS_ABOVE: f64 = 1e11;

/// Reads SenML.
#[derive(Debug)]
pub(crate) struct SenMl {
    columns: Vec<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Time,
    Name,
    Unit,
    Value,
    Text,
    Flag,
    Source,
}

const ROLES: [(&str, Role); 6] = [
    ("name", Role::Name),
    ("unit", Role::Unit),
    ("value", Role::Value),
    ("text", Role::Text),
    ("flag", Role::Flag),
    ("source", Role::Source),
];

/// An element; of the RFC with the base fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Element<'a> {
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    u: Option<Cow<'a, str>>,
    v: Option<Value>,
    #[serde(borrow, alias = "sv", alias = "vd")]
    vs: Option<Cow<'a, str>>,
    vb: Option<Value>,
    /// The base value of the RFC, or the boolean of the draft.
    bv: Option<Value>,
    t: Option<Value>,
    #[serde(borrow)]
    bn: Option<Cow<'a, str>>,
    bt: Option<Value>,
    #[serde(borrow)]
    bu: Option<Cow<'a, str>>,
}

/// The object of the draft.
#[derive(Debug, Deserialize)]
struct Draft<'a> {
    #[serde(borrow)]
    e: Vec<Element<'a>>,
    #[serde(default)]
    bt: Option<Value>,
    #[serde(borrow, default)]
    bn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    bu: Option<Cow<'a, str>>,
}

/// What holds for the elements that follow.
#[derive(Default)]
struct Base<'a> {
    name: Cow<'a, str>,
    unit: Option<Cow<'a, str>>,
    time: i64,
    value: f64,
    source: Option<Cow<'a, str>>,
}

impl SenMl {
    pub(crate) fn new(layout: &Layout, read: &mut OptionReader<'_>) -> Self {
        let mut columns = Vec::new();
        for spec in &layout.columns {
            let name = spec.field.name();
            let role = ROLES.iter().find(|(role, _)| role == name).map(|(_, role)| *role);
            let is_time = matches!(spec.field.data_type(), DataType::Timestamp(..));
            if let Some(role) = role.or(is_time.then_some(Role::Time)) {
                columns.push(role);
            } else {
                let error = OptionError::of("format", format!("senml has no column {name:?}"));
                read.error(error.help(suggestion(name, &ROLES.map(|(role, _)| role))));
            }
        }
        Self { columns }
    }

    /// Reads a record from each line.
    pub(crate) fn decode_lines(&self, bytes: &[u8], first_line: u64, received_at: i64, rows: &mut Rows<'_>) {
        for (line, bytes) in (first_line..).zip(bytes.split(|byte| *byte == b'\n')) {
            if !bytes.trim_ascii().is_empty() {
                let record = Record { bytes, line };
                if let Err(problem) = self.record(without_prefix(bytes), record, received_at, rows) {
                    rows.reject(record, problem);
                }
            }
        }
    }

    /// Reads the record of a message, or one from each of its lines.
    pub(crate) fn decode_message(&self, payload: &[u8], received_at: i64, rows: &mut Rows<'_>) {
        let record = Record { bytes: payload, line: 1 };
        let Err(problem) = self.record(without_prefix(payload), record, received_at, rows) else {
            return;
        };
        let lines = payload.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        if lines.clone().count() > 1 && lines.clone().all(|line| matches!(line[0], b'[' | b'{' | b'0'..=b'9'))
        {
            self.decode_lines(payload, 1, received_at, rows);
        } else {
            rows.reject(record, problem);
        }
    }

    fn record(
        &self,
        json: &[u8],
        record: Record<'_>,
        received_at: i64,
        rows: &mut Rows<'_>,
    ) -> Result<(), Problem> {
        let text =
            std::str::from_utf8(json).map_err(|_| Problem::new("utf8", "the record is not valid UTF-8"))?;
        let format = |error: serde_json::Error| Problem::new("format", format!("not SenML: {error}"));
        if text.trim_start().starts_with('[') {
            let elements: Vec<Element<'_>> = serde_json::from_str(text).map_err(format)?;
            self.rfc(elements, record, received_at, rows);
        } else {
            self.draft(serde_json::from_str(text).map_err(format)?, record, received_at, rows)?;
        }
        Ok(())
    }

    fn rfc(&self, elements: Vec<Element<'_>>, record: Record<'_>, received_at: i64, rows: &mut Rows<'_>) {
        let mut base = Base::default();
        for mut element in elements {
            let result = rebase(&mut base, &mut element).and_then(|()| {
                base.source = (!base.name.is_empty()).then(|| base.name.clone());
                self.element(&element, &base, record, received_at, rows)
            });
            if let Err(problem) = result {
                rows.reject(record, problem);
            }
        }
    }

    fn draft(
        &self,
        draft: Draft<'_>,
        record: Record<'_>,
        received_at: i64,
        rows: &mut Rows<'_>,
    ) -> Result<(), Problem> {
        let time = draft.bt.as_ref().map_or(Ok(0), |bt| {
            let number = number(bt, "bt")?;
            Ok(micros(if number.abs() > MILLIS_ABOVE { number / 1e3 } else { number }))
        })?;
        let is_source = |element: &Element<'_>| {
            matches!(element.n.as_deref(), Some("source" | "subjectId")) && element.vs.is_some()
        };
        let source = draft.e.iter().find(|element| is_source(element)).and_then(|element| element.vs.clone());
        let base = Base {
            source: source.or_else(|| draft.bn.clone()),
            name: draft.bn.unwrap_or_default(),
            unit: draft.bu,
            time,
            value: 0.0,
        };
        for mut element in draft.e {
            if is_source(&element) {
                continue;
            }
            if matches!(element.bv, Some(Value::Bool(_))) {
                element.vb = element.bv.take();
            }
            if let Err(problem) = self.element(&element, &base, record, received_at, rows) {
                rows.reject(record, problem);
            }
        }
        Ok(())
    }

    /// A row, if the element has a value.
    fn element(
        &self,
        element: &Element<'_>,
        base: &Base<'_>,
        record: Record<'_>,
        received_at: i64,
        rows: &mut Rows<'_>,
    ) -> Result<(), Problem> {
        if element.v.is_none() && element.vs.is_none() && element.vb.is_none() {
            return Ok(());
        }
        let local = element.n.as_deref().unwrap_or_default();
        let name = if base.name.is_empty() {
            Cow::Borrowed(local)
        } else {
            Cow::Owned(format!("{}{local}", base.name))
        };
        let relative = element.t.as_ref().map_or(Ok(0), |t| number(t, "t").map(micros))?;
        let mut time = base.time.saturating_add(relative);
        if time < micros(RELATIVE_BELOW_S) {
            time = time.saturating_add(received_at);
        }
        for (column, role) in self.columns.iter().enumerate() {
            let raw = match role {
                Role::Time => Raw::Micros(time),
                Role::Name => Raw::Text(name.as_bytes()),
                Role::Unit => text(element.u.as_ref().or(base.unit.as_ref())),
                Role::Value => match &element.v {
                    Some(value) => Raw::Double(base.value + number(value, &name)?),
                    None => Raw::Null,
                },
                Role::Text => text(element.vs.as_ref()),
                Role::Flag => match &element.vb {
                    Some(value) => Raw::Bool(flag(value, &name)?),
                    None => Raw::Null,
                },
                Role::Source => text(base.source.as_ref()),
            };
            rows.columns.push(column, raw)?;
        }
        rows.end_row(record.line)
    }
}

/// Takes over the base fields of an element.
fn rebase<'a>(base: &mut Base<'a>, element: &mut Element<'a>) -> Result<(), Problem> {
    if let Some(name) = element.bn.take() {
        base.name = name;
    }
    if let Some(unit) = element.bu.take() {
        base.unit = Some(unit);
    }
    if let Some(time) = &element.bt {
        base.time = micros(number(time, "bt")?);
    }
    if let Some(value) = &element.bv {
        base.value = number(value, "bv")?;
    }
    Ok(())
}

fn text<'a>(text: Option<&'a Cow<'_, str>>) -> Raw<'a> {
    text.map_or(Raw::Null, |text| Raw::Text(text.as_bytes()))
}

/// A number, also one in a string.
fn number(value: &Value, name: &str) -> Result<f64, Problem> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => f64::parse(text),
        _ => None,
    };
    number.ok_or_else(|| Problem::new("type", format!("{name:?}: found {value}, expected a number")))
}

fn flag(value: &Value, name: &str) -> Result<bool, Problem> {
    let flag = match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => bool::parse(text),
        _ => None,
    };
    flag.ok_or_else(|| Problem::new("type", format!("{name:?}: found {value}, expected true or false")))
}

#[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the last event time")]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// The record without `<number>,` before it.
fn without_prefix(line: &[u8]) -> &[u8] {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match line.get(digits) {
        Some(b',') if digits > 0 => &line[digits + 1..],
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use crate::format::Encoding;
    use crate::format::testing::{declaration, decode_message};

    #[test]
    fn the_form_of_the_rfc_resolves_its_base_fields() {
        let declaration = declaration(
            "ts TIMESTAMP NOT NULL, name TEXT, unit TEXT, value DOUBLE, text TEXT, flag BOOLEAN, source TEXT",
        );
        let payload = r#"[{"bn":"urn:dev:1/","bt":1.583748873e9,"bu":"A","bv":1,"n":"current","t":-0.5,"v":0.25},
                          {"n":"note","u":"x","vs":"ok"},{"n":"on","vb":true},{"bn":"urn:dev:2/"}]"#;
        let (rows, rejected) = decode_message(Encoding::SenMl, &declaration, payload.as_bytes());
        assert_eq!(rejected, Vec::<String>::new());
        assert_eq!(
            rows,
            [
                "2020-03-09T10:14:32.5Z|urn:dev:1/current|A|1.25|||urn:dev:1/",
                "2020-03-09T10:14:33Z|urn:dev:1/note|x||ok||urn:dev:1/",
                "2020-03-09T10:14:33Z|urn:dev:1/on|A|||true|urn:dev:1/",
            ]
        );
    }

    #[test]
    fn the_draft_has_numbers_in_strings_and_its_source_in_each_row() {
        let declaration =
            declaration("ts TIMESTAMP NOT NULL, source TEXT, name TEXT, unit TEXT, value DOUBLE");
        let payload = br#"1422748800000,{"e":[{"u":"string","n":"source","sv":"ci4"},{"v":"6.5","u":"lon","n":"longitude"},
            {"v":"x","u":"lat","n":"latitude"},{"v":8,"n":"temperature"}],"bt":"1422748800000"}"#;
        let (rows, rejected) = decode_message(Encoding::SenMl, &declaration, payload);
        assert_eq!(
            rows,
            ["2015-02-01T00:00:00Z|ci4|longitude|lon|6.5", "2015-02-01T00:00:00Z|ci4|temperature||8.0"]
        );
        assert_eq!(rejected, ["type: \"latitude\": found \"x\", expected a number"]);
    }

    #[test]
    fn a_column_that_senml_has_not_is_an_option_error() {
        use crate::format::TextFormat;
        use crate::options::OptionReader;
        let declaration = declaration("ts TIMESTAMP, valu DOUBLE");
        let mut read = OptionReader::new("source", "mqtt", &declaration.options, &[]);
        TextFormat::new(Encoding::SenMl, &declaration, &mut read);
        let errors = read.finish(()).unwrap_err();
        assert_eq!(errors[0].message, "senml has no column \"valu\"");
        assert_eq!(errors[0].help.as_deref(), Some("did you mean \"value\"?"));
    }
}
