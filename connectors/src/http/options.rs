//! The options of HTTP sources and sinks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use lineshaft_engine::declaration::{OptionError, Options};

use super::target::{Target, target};
use crate::format::MessageDecoder;
use crate::options::{OptionDoc, OptionReader, Size, wrong_value};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// More rows in a batch would not fit into the outbox.
const MAX_BATCH_ROWS: usize = 10_000;

/// The options of an HTTP source.
pub const SOURCE_OPTIONS: &[OptionDoc] = &[
    OptionDoc::optional(
        "listen",
        "address and port",
        "127.0.0.1:8080",
        "Where requests are taken; several sources may share it. 0.0.0.0 takes them from other machines, too.",
    ),
    OptionDoc::optional("path", "text", "/ and the name of the source", "The path of the requests."),
    OptionDoc::optional(
        "token",
        "text",
        "none",
        "Requests need the header 'Authorization: Bearer <token>'; best '${secret:NAME}'.",
    ),
    OptionDoc::optional(
        "max_payload",
        "size",
        "1 MiB",
        "A longer body, packed or unpacked, is refused with 413.",
    ),
    OptionDoc::optional(
        "idempotency_window",
        "duration",
        "1 hour",
        "How long a repeated Idempotency-Key is known, of the last 100,000.",
    ),
    OptionDoc::optional(
        "format",
        "json, senml, csv, influx or auto",
        "json",
        "How the body is written; CSV begins with the names, and auto is json, csv or influx by Content-Type.",
    ),
    MessageDecoder::OPTIONS[1],
    MessageDecoder::OPTIONS[2],
    MessageDecoder::OPTIONS[3],
    MessageDecoder::OPTIONS[4],
];

/// The options of an HTTP sink.
pub const SINK_OPTIONS: &[OptionDoc] = &[
    OptionDoc::required("url", "text", "Where rows are posted, such as 'http://mes:8000/alarms'."),
    OptionDoc::optional(
        "format",
        "json, jsonl or csv",
        "json",
        "How a batch is written: an array of objects, an object a line, or lines with a header.",
    ),
    OptionDoc::optional("batch_rows", "1 to 10000", "500", "Most rows of one request."),
    OptionDoc::optional("linger", "duration", "200 ms", "How long a row waits for more in its request."),
    OptionDoc::optional(
        "token",
        "text",
        "none",
        "Sent as 'Authorization: Bearer <token>'; best '${secret:NAME}'.",
    ),
    OptionDoc::optional(
        "headers",
        "text",
        "none",
        "More headers, separated by commas, such as 'X-Plant: north, X-Line: 7'.",
    ),
    OptionDoc::optional("timeout", "duration", "10 s", "A request that takes longer is tried again."),
];

/// Options of a source.
#[derive(Clone, Debug)]
pub(super) struct SourceOptions {
    pub(super) listen: SocketAddr,
    pub(super) path: String,
    /// The header that requests must have.
    pub(super) token: Option<HeaderValue>,
    pub(super) max_payload: usize,
    pub(super) idempotency_window: Duration,
}

impl SourceOptions {
    /// Reads what is not of the format; what is wrong becomes an error of `read`.
    pub(super) fn read(name: &str, read: &mut OptionReader<'_>) -> Self {
        let Size(max_payload) = read.or("max_payload", Size(1 << 20));
        Self {
            listen: listen(read),
            path: path(name, read),
            token: token(read),
            max_payload: usize::try_from(max_payload).unwrap_or(usize::MAX),
            idempotency_window: read.or("idempotency_window", Duration::from_secs(3_600)),
        }
    }
}

fn listen(read: &mut OptionReader<'_>) -> SocketAddr {
    let Some(text) = read.get::<String>("listen") else { return DEFAULT_LISTEN };
    let numeric = text.trim().replace("localhost:", "127.0.0.1:");
    numeric.parse().unwrap_or_else(|_| {
        read.error(wrong_value("listen", &text, "an address and a port such as '127.0.0.1:8080'"));
        DEFAULT_LISTEN
    })
}

fn path(name: &str, read: &mut OptionReader<'_>) -> String {
    let path = read.or("path", format!("/{name}"));
    let is_path = PathAndQuery::try_from(path.as_str()).is_ok_and(|parsed| parsed.path() == path);
    if !is_path || !path.starts_with('/') {
        let expected =
            "a path such as '/readings', in which only ASCII letters, digits and -._~/ stand for themselves";
        read.error(wrong_value("path", &path, expected));
    }
    path
}

/// The header of the option `token`.
fn token(read: &mut OptionReader<'_>) -> Option<HeaderValue> {
    let token: String = read.get("token")?;
    let header = bearer(&token);
    if header.is_none() {
        // The text of a secret is not shown.
        let error =
            OptionError::of("token", "option \"token\" is empty, or has characters that no header can have");
        read.error(error.help("leave it out, or give one without blanks"));
    }
    header
}

/// The value of the header that carries a token.
fn bearer(token: &str) -> Option<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| is_token)?;
    value.set_sensitive(true);
    Some(value)
}

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SinkFormat {
    Json,
    JsonLines,
    Csv,
}

impl SinkFormat {
    /// The `Content-Type` of a batch.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv",
        })
    }
}

/// Options of a sink.
#[derive(Clone, Debug)]
pub(super) struct SinkOptions {
    pub(super) target: Target,
    pub(super) format: SinkFormat,
    pub(super) batch_rows: usize,
    pub(super) linger: Duration,
    /// Those of every request but `Idempotency-Key`.
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
}

impl SinkOptions {
    /// All options of a sink.
    pub(super) fn read(options: &Options) -> Result<Self, Vec<OptionError>> {
        let mut read = OptionReader::new("sink", "http", options, SINK_OPTIONS);
        if options.contains_key("ttl") {
            let error = OptionError::of(
                "ttl",
                "an http sink takes no commands: it sends again what may have arrived",
            );
            read.error(error.help("send commands by connector = 'mqtt'"));
        }
        let formats =
            [("json", SinkFormat::Json), ("jsonl", SinkFormat::JsonLines), ("csv", SinkFormat::Csv)];
        let format = read.choice("format", &formats, SinkFormat::Json);
        let target = read.get::<String>("url").map(|url| target(&url)).transpose();
        let options = Self {
            target: target
                .unwrap_or_else(|error| {
                    read.error(error);
                    None
                })
                .unwrap_or_default(),
            format,
            batch_rows: batch_rows(&mut read),
            linger: read.or("linger", Duration::from_millis(200)),
            headers: headers(format, &mut read),
            timeout: read.or("timeout", Duration::from_secs(10)),
        };
        read.finish(options)
    }
}

fn batch_rows(read: &mut OptionReader<'_>) -> usize {
    let rows = read.or("batch_rows", 500);
    if !(1..=MAX_BATCH_ROWS).contains(&rows) {
        let message = format!("option \"batch_rows\" is not from 1 to {MAX_BATCH_ROWS}");
        read.error(OptionError::of("batch_rows", message));
    }
    rows
}

fn headers(format: SinkFormat, read: &mut OptionReader<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(hyper::header::CONTENT_TYPE, format.content_type());
    let written: String = read.or("headers", String::new());
    for one in written.split(',').filter(|one| !one.trim().is_empty()) {
        let parsed = one.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::try_from(value.trim()).ok()?))
        });
        match parsed {
            Some((name, value)) => drop(headers.insert(name, value)),
            None => read.error(wrong_value(
                "headers",
                one,
                "a name, a colon and a value, such as 'X-Plant: north'",
            )),
        }
    }
    if let Some(token) = token(read) {
        headers.insert(AUTHORIZATION, token);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn told(errors: Vec<OptionError>) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_source_listens_on_this_machine_at_its_own_name_unless_it_says_otherwise() {
        let read = |pairs: &[(&str, &str)]| {
            let options = options(pairs);
            let mut read = OptionReader::new("source", "http", &options, SOURCE_OPTIONS);
            let options = SourceOptions::read("readings", &mut read);
            read.finish(options).unwrap()
        };
        let all = read(&[]);
        assert_eq!((all.listen.to_string().as_str(), all.path.as_str()), ("127.0.0.1:8080", "/readings"));
        let some = read(&[("listen", "localhost:81"), ("path", "/api/v2/write")]);
        assert_eq!((some.listen.to_string().as_str(), some.path.as_str()), ("127.0.0.1:81", "/api/v2/write"));
    }

    #[test]
    fn all_wrong_options_of_a_source_are_told_and_a_token_is_not_shown() {
        let options =
            options(&[("listen", "8080"), ("path", "a b?"), ("token", "se cret"), ("max_payload", "much")]);
        let mut read = OptionReader::new("source", "http", &options, SOURCE_OPTIONS);
        SourceOptions::read("readings", &mut read);
        assert_eq!(
            told(read.errors()),
            [
                "option \"max_payload\" is \"much\"",
                "option \"listen\" is \"8080\"",
                "option \"path\" is \"a b?\"",
                "option \"token\" is empty, or has characters that no header can have",
            ]
        );
    }

    #[test]
    fn all_wrong_options_of_a_sink_are_told() {
        let options = options(&[
            ("batch_rows", "0"),
            ("headers", "X-Plant: north, nonsense"),
            ("ttl", "1 s"),
            ("token", ""),
        ]);
        assert_eq!(
            told(SinkOptions::read(&options).unwrap_err()),
            [
                "http sink needs the option \"url\"",
                "an http sink takes no commands: it sends again what may have arrived",
                "option \"batch_rows\" is not from 1 to 10000",
                "option \"headers\" is \" nonsense\"",
                "option \"token\" is empty, or has characters that no header can have",
            ]
        );
    }

    #[test]
    fn headers_and_token_are_those_of_every_request() {
        let options = options(&[
            ("url", "http://mes"),
            ("headers", "X-Plant: north,x-line:7"),
            ("token", "t"),
            ("format", "csv"),
        ]);
        let headers = SinkOptions::read(&options).unwrap().headers;
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(
            [header("x-plant"), header("x-line"), header("authorization"), header("content-type")],
            ["north", "7", "Bearer t", "text/csv"]
        );
        assert!(headers["authorization"].is_sensitive(), "not shown in a log");
    }
}
