//! Topics: filters of a source, and the topic of each row of a sink.

use std::fmt::Write;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lineshaft_engine::Result;
use lineshaft_engine::declaration::OptionError;

/// MQTT counts the bytes of a topic in 16 bits.
const MAX_BYTES: usize = 65_535;

/// Whether a text is a topic filter (MQTT 3.1.1, 4.7).
pub(crate) fn check_filter(filter: &str) -> Result<(), OptionError> {
    let wrong = |why: &str| Err(OptionError::of("topic", format!("{filter:?} is not a topic filter: {why}")));
    if filter.is_empty() || filter.len() > MAX_BYTES || filter.contains('\0') {
        return wrong("it is empty, too long or has a NUL");
    }
    let levels: Vec<&str> = filter.split('/').collect();
    for (index, level) in levels.iter().enumerate() {
        if level.contains('#') && (*level != "#" || index + 1 < levels.len()) {
            return wrong("# stands for the rest, at the end only");
        }
        if level.contains('+') && *level != "+" {
            return wrong("+ stands for a whole level");
        }
    }
    Ok(())
}

/// A topic with `{column}` in it.
///
/// In a value, `/ + # %` and control characters are written as `%2F` and so on, so that a value is always one level
/// of the topic and different values have different topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

/// Why a row has no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTopic {
    #[error("a column of it is NULL")]
    Null,
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(usize),
}

impl Template {
    /// Reads a template over the columns of `schema`.
    pub(crate) fn parse(text: &str, schema: &Schema) -> Result<Self, OptionError> {
        let wrong = |message: String| OptionError::of("topic", message);
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| wrong(format!("{text:?} has no closing brace")))?;
            let index = schema.index_of(name).map_err(|_| {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                wrong(format!("there is no column {name:?} for the topic"))
                    .help(crate::options::suggestion(name, &names))
            })?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Column(index));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        if text.is_empty() || text.contains(['+', '#', '\0']) {
            return Err(
                wrong(format!("nothing can be published to {text:?}")).help("a topic has no +, # or NUL")
            );
        }
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self { parts })
    }

    /// The topic of each row, or why it has none.
    ///
    /// # Errors
    /// If a column has a type that has no text.
    pub(crate) fn topics(&self, rows: &RecordBatch) -> Result<Vec<Result<String, NoTopic>>> {
        let format = FormatOptions::new().with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
        let mut topics = vec![Ok(String::new()); rows.num_rows()];
        for part in &self.parts {
            match part {
                Part::Text(text) => topics.iter_mut().flatten().for_each(|topic| topic.push_str(text)),
                Part::Column(index) => {
                    let column = rows.column(*index);
                    let values = ArrayFormatter::try_new(column.as_ref(), &format)?;
                    for (row, topic) in topics.iter_mut().enumerate() {
                        if column.is_null(row) {
                            *topic = Err(NoTopic::Null);
                        } else if let Ok(topic) = topic {
                            push_level(topic, &values.value(row).try_to_string()?);
                        }
                    }
                }
            }
        }
        let checked = |topic: String| match topic.len() {
            0 => Err(NoTopic::Empty),
            1..=MAX_BYTES => Ok(topic),
            _ => Err(NoTopic::TooLong),
        };
        Ok(topics.into_iter().map(|topic| topic.and_then(checked)).collect())
    }
}

fn push_level(topic: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '/' | '+' | '#' | '%' | '\0'..='\x1f' | '\x7f' => {
                // Writing to a text cannot fail.
                write!(topic, "%{:02X}", u32::from(c)).unwrap_or_default();
            }
            c => topic.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn rows() -> RecordBatch {
        let machines: ArrayRef = Arc::new(StringArray::from(vec![Some("press"), Some("a/b+#%\0"), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        RecordBatch::try_from_iter_with_nullable([("machine", machines, true), ("n", numbers, true)]).unwrap()
    }

    #[test]
    fn a_value_is_always_one_level_of_the_topic() {
        let template = Template::parse("plant/{machine}/{n}/alarm", &rows().schema()).unwrap();
        let topics = template.topics(&rows()).unwrap();
        let expected = [Ok("plant/press/1/alarm"), Ok("plant/a%2Fb%2B%23%25%00/2/alarm"), Err(NoTopic::Null)];
        let topics: Vec<_> = topics.iter().map(|topic| topic.as_deref().map_err(|why| *why)).collect();
        assert_eq!(topics, expected);
    }

    #[test]
    fn a_topic_of_no_or_too_many_bytes_is_none() {
        let of = |value: String| {
            let column: ArrayRef = Arc::new(StringArray::from(vec![value]));
            let rows = RecordBatch::try_from_iter([("machine", column)]).unwrap();
            Template::parse("{machine}", &rows.schema()).unwrap().topics(&rows).unwrap().remove(0)
        };
        assert_eq!(of(String::new()), Err(NoTopic::Empty));
        assert!(of("x".repeat(MAX_BYTES)).is_ok());
        assert_eq!(of("x".repeat(MAX_BYTES + 1)), Err(NoTopic::TooLong));
    }

    #[test]
    fn a_wrong_template_is_told() {
        let error = |text| Template::parse(text, &rows().schema()).unwrap_err();
        assert_eq!(error("a/{machin}").help.as_deref(), Some("did you mean \"machine\"?"));
        assert!(error("a/{machine").message.contains("closing brace"));
        assert!(error("a/+").message.contains("published"));
    }

    #[test]
    fn filters_are_checked() {
        for good in ["#", "+/a", "plant/+/readings", "a/#", "/", "$share/group/a"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "a+/b", "a\0"] {
            assert!(check_filter(bad).is_err(), "{bad:?}");
        }
    }
}
