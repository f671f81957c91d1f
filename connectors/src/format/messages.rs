//! `MessageDecoder`: messages of a broker to rows, for every connector whose input is messages.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::SourceDeclaration;
use lineshaft_engine::source::{Chunk, Decoded, Decoder, Message, Payload};
use lineshaft_engine::{Error, Result};

use super::columns::Problem;
use super::{DELIMITER, Encoding, Layout, NULL, Record, Rows, TIMESTAMP_FORMAT, TextFormat};
use crate::options::{OptionDoc, OptionReader};

/// Decodes messages in one of the formats of [`MessageDecoder::OPTIONS`].
///
/// A payload may hold one record or several: an object, an array of objects, or several lines.
#[derive(Debug)]
pub struct MessageDecoder {
    name: String,
    format: TextFormat,
    layout: Layout,
    max_payload: usize,
}

impl MessageDecoder {
    /// The options it reads.
    pub const OPTIONS: [OptionDoc; 4] = [
        OptionDoc::optional("format", "json, senml or csv", "json", "How the payload is written."),
        TIMESTAMP_FORMAT,
        DELIMITER,
        NULL,
    ];

    /// The decoder of a source; what is wrong with the options becomes an error of `read`. A payload longer than
    /// `max_payload` bytes is rejected as `too_large`, whatever it holds.
    pub fn new(declaration: &SourceDeclaration, read: &mut OptionReader<'_>, max_payload: usize) -> Self {
        let encodings = [("json", Encoding::Json), ("senml", Encoding::SenMl), ("csv", Encoding::Csv)];
        let encoding = read.choice("format", &encodings, Encoding::Json);
        let (format, layout) = TextFormat::new(encoding, declaration, read);
        Self { name: declaration.name.clone(), format, layout, max_payload }
    }

    fn decode_messages(&self, messages: &[Message]) -> Result<Decoded> {
        let mut rows = Rows::new(&self.layout, "");
        for (number, message) in messages.iter().enumerate() {
            rows.origin = &message.topic;
            rows.tag = Some(i64::try_from(number).unwrap_or(i64::MAX));
            if message.payload.len() > self.max_payload {
                let detail = format!("the message is longer than {} bytes", self.max_payload);
                rows.reject(Record { bytes: &message.payload, line: 1 }, Problem::new("too_large", detail));
            } else {
                self.format.decode_message(&message.payload, message.received_at, &mut rows);
            }
        }
        let (columns, tags, rejected) = rows.into_parts();
        let of_rows = || tags.iter().filter_map(|tag| messages.get(usize::try_from(*tag).ok()?));
        let rows = columns.finish(&self.layout, |name| metadata(name, of_rows()))?;
        Ok(Decoded::new(rows, rejected))
    }
}

fn metadata<'a>(name: &str, messages: impl Iterator<Item = &'a Message>) -> Result<ArrayRef> {
    Ok(match name {
        "topic" => Arc::new(StringArray::from_iter_values(messages.map(|message| &message.topic))),
        "qos" => Arc::new(Int32Array::from_iter_values(messages.map(|message| i32::from(message.qos)))),
        "retain" => Arc::new(BooleanArray::from_iter(messages.map(|message| Some(message.retain)))),
        "received_at" => {
            Arc::new(TimestampMicrosecondArray::from_iter_values(messages.map(|message| message.received_at)))
        }
        other => return Err(Error::Plan(format!("messages have no metadata {other:?}"))),
    })
}

impl Decoder for MessageDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.output)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        match chunk.payload {
            Payload::Messages(messages) => Ok(Box::new(std::iter::once(self.decode_messages(&messages)))),
            Payload::Gap(_) | Payload::Empty => Ok(Box::new(std::iter::empty())),
            _ => Err(Error::connector("message source", &self.name, "the chunk holds no messages")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{declaration, lines, reasons};

    fn message(topic: &str, payload: &str, received_at: i64) -> Message {
        Message { topic: topic.into(), payload: payload.into(), received_at, qos: 1, ..Message::default() }
    }

    #[test]
    fn rows_carry_the_metadata_of_their_message_and_bad_messages_are_kept_aside() {
        let declaration = declaration(
            "n INT, topic TEXT METADATA, qos INT METADATA, retain BOOLEAN METADATA, received_at TIMESTAMP METADATA",
        );
        let mut read = OptionReader::new("source", "mqtt", &declaration.options, &MessageDecoder::OPTIONS);
        let decoder = MessageDecoder::new(&declaration, &mut read, 20);
        let decoder = read.finish(decoder).unwrap();
        let messages = vec![
            message("a", "{\"n\":1}\n{\"n\":2}", 0),
            message("b", "{\"n\":\"a very long text\"}", 1),
            message("c", "{\"n\":true}", 2),
            message("d", "{\"n\":4}", 3_000_000),
        ];
        let mut batches = decoder.decode(Chunk::new(Payload::Messages(messages))).unwrap();
        let decoded = batches.next().unwrap().unwrap();
        assert_eq!(
            lines(&decoded.rows),
            [
                "1|a|1|false|1970-01-01T00:00:00Z",
                "2|a|1|false|1970-01-01T00:00:00Z",
                "4|d|1|false|1970-01-01T00:00:03Z",
            ]
        );
        assert_eq!(
            reasons(&decoded.rejected),
            [
                "too_large: the message is longer than 20 bytes",
                "type: column \"n\": found true, expected INT",
            ]
        );
        assert_eq!(decoded.rejected[1].origin, "c");
        assert!(batches.next().is_none());
    }
}
