//! `MessageDecoder`: messages of a broker and bodies of requests to rows, for every connector whose input is messages.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::SourceDeclaration;
use lineshaft_engine::source::{Chunk, Decoded, Decoder, Message, Payload};
use lineshaft_engine::{Error, Result};

use super::columns::Problem;
use super::{
    DELIMITER, Encoding, Layout, NULL, PRECISION, QUOTE, Record, Rows, TIMESTAMP_FORMAT, TextFormat,
};
use crate::options::{OptionDoc, OptionReader};

/// Decodes messages in one of the formats of [`MessageDecoder::OPTIONS`].
///
/// A payload may hold one record or several: an object, an array of objects, or several lines.
#[derive(Debug)]
pub struct MessageDecoder {
    name: String,
    /// What a message may be written in; one that does not say is in the first.
    formats: Vec<(Encoding, TextFormat)>,
    /// Whether CSV begins with the names.
    has_header: bool,
    layout: Layout,
    max_payload: usize,
}

const ENCODINGS: [(&str, Encoding); 4] = [
    ("json", Encoding::Json),
    ("senml", Encoding::SenMl),
    ("csv", Encoding::Csv),
    ("influx", Encoding::Influx),
];
/// The formats between which a request chooses.
const OF_REQUESTS: [Encoding; 3] = [Encoding::Json, Encoding::Csv, Encoding::Influx];

impl MessageDecoder {
    /// The options it reads.
    pub const OPTIONS: [OptionDoc; 6] = [
        OptionDoc::optional("format", "json, senml, csv or influx", "json", "How the payload is written."),
        TIMESTAMP_FORMAT,
        DELIMITER,
        QUOTE,
        NULL,
        PRECISION,
    ];

    /// The decoder of a source; what is wrong with the options becomes an error of `read`. A payload longer than
    /// `max_payload` bytes is rejected as `too_large`, whatever it holds.
    pub fn new(declaration: &SourceDeclaration, read: &mut OptionReader<'_>, max_payload: usize) -> Self {
        let encoding = read.choice("format", &ENCODINGS, Encoding::Json);
        Self::of(&[encoding], declaration, read, max_payload)
    }

    /// The decoder of bodies of requests: CSV begins with the names, and with `format = 'auto'` each body says how it is
    /// written, [`Request::format`](lineshaft_engine::source::Request::format).
    pub(crate) fn of_requests(
        declaration: &SourceDeclaration,
        read: &mut OptionReader<'_>,
        max_payload: usize,
    ) -> Self {
        let choices: Vec<(&str, Option<Encoding>)> = ENCODINGS
            .iter()
            .map(|(name, encoding)| (*name, Some(*encoding)))
            .chain([("auto", None)])
            .collect();
        let decoder = match read.choice("format", &choices, Some(Encoding::Json)) {
            Some(encoding) => Self::of(&[encoding], declaration, read, max_payload),
            None => Self::of(&OF_REQUESTS, declaration, read, max_payload),
        };
        Self { has_header: true, ..decoder }
    }

    fn of(
        encodings: &[Encoding],
        declaration: &SourceDeclaration,
        read: &mut OptionReader<'_>,
        max_payload: usize,
    ) -> Self {
        let layout = TextFormat::layout(declaration, read);
        let format = |encoding: &Encoding| (*encoding, TextFormat::of(*encoding, &layout, read));
        let formats = encodings.iter().map(format).collect();
        Self { name: declaration.name.clone(), formats, has_header: false, layout, max_payload }
    }

    /// What a message may be written in.
    pub(crate) fn encodings(&self) -> impl Iterator<Item = Encoding> {
        self.formats.iter().map(|(encoding, _)| *encoding)
    }

    /// What is wrong with a body as a whole: there is no record in it that could be right.
    pub(crate) fn check_whole(&self, encoding: Encoding, body: &[u8]) -> Result<(), &'static str> {
        let format = self.formats.iter().find(|(known, _)| *known == encoding).map(|(_, format)| format);
        match (format, body.trim_ascii_start().first()) {
            (_, None) => Err("the body is empty"),
            (Some(TextFormat::Json(_) | TextFormat::SenMl(_)), Some(first)) if !b"{[".contains(first) => {
                Err("the body is not JSON: it begins with neither { nor [")
            }
            (Some(TextFormat::Csv(csv)), _) => {
                let header = &body[..csv.first_record(body)];
                let missing = csv.mapping(header, &self.layout).1.len();
                let has_columns = missing < self.layout.columns.len();
                if has_columns { Ok(()) } else { Err("the first line names no column of the source") }
            }
            _ => Ok(()),
        }
    }

    fn decode_message(&self, message: &Message, rows: &mut Rows<'_>) {
        let said = message.request.as_ref().map(|request| request.format.as_str());
        let named = |(encoding, _): &&(Encoding, TextFormat)| Some(encoding.name()) == said;
        let Some((_, format)) = self.formats.iter().find(named).or(self.formats.first()) else { return };
        match format {
            TextFormat::Csv(csv) if self.has_header => {
                let (header, records) = message.payload.split_at(csv.first_record(&message.payload));
                let mapping = csv.mapping(header, &self.layout).0;
                csv.decode(records, 2, Some(&mapping), rows);
            }
            format => format.decode_message(&message.payload, message.received_at, rows),
        }
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
                self.decode_message(message, &mut rows);
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
        "topic" | "path" => Arc::new(StringArray::from_iter_values(messages.map(|message| &message.topic))),
        "remote" => {
            let remote = |message: &'a Message| message.request.as_ref().map(|request| &request.remote);
            Arc::new(StringArray::from_iter(messages.map(remote)))
        }
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
