//! The options of MQTT sources and sinks.

use std::time::Duration;

use arrow::datatypes::Schema;
use lineshaft_engine::declaration::{OptionError, Options};
use rumqttc::QoS;

use super::topic::{self, Template};
use crate::format::MessageDecoder;
use crate::options::{OptionDoc, OptionReader, Size};
use lineshaft_engine::hash::stable_hash;

const DEFAULT_PORT: u16 = 1883;

/// What source and sink share.
const CLIENT: [OptionDoc; 5] = [
    OptionDoc::required("url", "text", "The broker, such as 'mqtt://localhost:1883'."),
    OptionDoc::optional(
        "client_id",
        "text",
        "made of name, url and topic",
        "By which the broker knows this client; unique.",
    ),
    OptionDoc::optional("username", "text", "none", "For brokers that ask for it."),
    OptionDoc::optional("password", "text", "none", "For brokers that ask for it; best '${secret:NAME}'."),
    OptionDoc::optional("keep_alive", "duration", "30 s", "How often an idle connection is checked."),
];

/// The options of an MQTT source.
pub const SOURCE_OPTIONS: &[OptionDoc] = &[
    CLIENT[0],
    OptionDoc::required("topic", "text", "Topic filters, separated by commas, such as 'plant/+/readings'."),
    OptionDoc::optional("qos", "0 or 1", "1", "Quality of service: at most, or at least once."),
    CLIENT[1],
    CLIENT[2],
    CLIENT[3],
    CLIENT[4],
    OptionDoc::optional(
        "clean_session",
        "true or false",
        "false",
        "True: what was published while we were away is lost.",
    ),
    OptionDoc::optional(
        "max_payload",
        "size",
        "1 MiB",
        "A longer message goes to <source>.quarantine, cut to 4 KiB.",
    ),
    MessageDecoder::OPTIONS[0],
    MessageDecoder::OPTIONS[1],
    MessageDecoder::OPTIONS[2],
    MessageDecoder::OPTIONS[3],
    MessageDecoder::OPTIONS[4],
];

/// The options of an MQTT sink.
pub const SINK_OPTIONS: &[OptionDoc] = &[
    CLIENT[0],
    OptionDoc::required("topic", "text", "Where rows are published; {column} is the value of that column."),
    OptionDoc::optional("qos", "0 or 1", "1", "Quality of service: at most, or at least once."),
    OptionDoc::optional(
        "format",
        "json or csv",
        "json",
        "How a row is written: an object, or a line without header.",
    ),
    OptionDoc::optional(
        "retain",
        "true or false",
        "false",
        "Whether the broker keeps the last message of a topic.",
    ),
    CLIENT[1],
    CLIENT[2],
    CLIENT[3],
    CLIENT[4],
    OptionDoc::optional(
        "in_flight",
        "1 to 10000",
        "1000",
        "Messages that may wait for their acknowledgement.",
    ),
];

/// How to connect.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Client {
    /// As it was written, for messages.
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) keep_alive: Duration,
    pub(crate) clean_session: bool,
    /// Publications that may be unacknowledged.
    pub(crate) in_flight: u16,
}

impl Client {
    /// A client that leaves nothing behind in the broker.
    pub(crate) fn new(url: &str, id: String) -> Result<Self, OptionError> {
        let (host, port) = address(url)?;
        Ok(Self {
            url: url.to_owned(),
            host,
            port,
            id,
            username: None,
            password: None,
            keep_alive: Duration::from_secs(30),
            clean_session: true,
            in_flight: 1_000,
        })
    }

    /// Another number for each client, the same at every start: the seed of its back-off.
    pub(crate) fn seed(&self) -> u64 {
        stable_hash(&[self.id.as_bytes()])
    }

    fn read(read: &mut OptionReader<'_>, name: &str) -> Self {
        let url: Option<String> = read.get("url");
        let topic: String = read.required("topic");
        let hash = stable_hash(&[url.as_deref().unwrap_or_default().as_bytes(), topic.as_bytes()]);
        let id = read.or("client_id", format!("lineshaft-{name}-{hash:016x}"));
        if id.is_empty() {
            read.error(
                OptionError::of("client_id", "option \"client_id\" is empty")
                    .help("leave it out, or give a name"),
            );
        }
        let (host, port) = url
            .as_deref()
            .map(address)
            .transpose()
            .unwrap_or_else(|error| {
                read.error(error);
                None
            })
            .unwrap_or_default();
        Self {
            url: url.unwrap_or_default(),
            host,
            port,
            id,
            username: read.get("username"),
            password: read.get("password"),
            keep_alive: keep_alive(read),
            clean_session: true,
            in_flight: 1_000,
        }
    }
}

/// Options of a source.
#[derive(Clone, Debug)]
pub(crate) struct SourceOptions {
    pub(crate) client: Client,
    pub(crate) filters: Vec<String>,
    pub(crate) qos: QoS,
    pub(crate) max_payload: usize,
}

impl SourceOptions {
    /// Reads what is not of the format; what is wrong becomes an error of `read`.
    pub(crate) fn read(name: &str, read: &mut OptionReader<'_>) -> Self {
        let mut client = Client::read(read, name);
        client.clean_session = read.or("clean_session", false);
        let topics: Option<String> = read.get("topic");
        let split = |topics: String| topics.split(',').map(|filter| filter.trim().to_owned()).collect();
        let filters: Vec<String> = topics.map(split).unwrap_or_default();
        for error in filters.iter().filter_map(|filter| topic::check_filter(filter).err()) {
            read.error(error);
        }
        let Size(max_payload) = read.or("max_payload", Size(1 << 20));
        let max_payload = usize::try_from(max_payload).unwrap_or(usize::MAX);
        Self { client, filters, qos: qos(read), max_payload }
    }
}

/// How a row is written as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SinkFormat {
    Json,
    Csv,
}

/// Options of a sink.
#[derive(Clone, Debug)]
pub(crate) struct SinkOptions {
    pub(crate) client: Client,
    pub(crate) topic: Template,
    pub(crate) format: SinkFormat,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Rows are commands: they live for so long, and are sent once.
    pub(crate) ttl: Option<Duration>,
}

impl SinkOptions {
    /// All options of a sink whose rows have the columns of `schema`.
    pub(crate) fn read(name: &str, schema: &Schema, options: &Options) -> Result<Self, Vec<OptionError>> {
        let mut read = OptionReader::new("sink", "mqtt", options, SINK_OPTIONS);
        let mut client = Client::read(&mut read, name);
        client.in_flight = read.or("in_flight", 1_000);
        if !(1..=10_000).contains(&client.in_flight) {
            read.error(OptionError::of("in_flight", "option \"in_flight\" is not from 1 to 10000"));
        }
        let template = read.get("topic").map(|text: String| Template::parse(&text, schema));
        let topic = template.transpose().unwrap_or_else(|error| {
            read.error(error);
            None
        });
        let options = Self {
            client,
            topic: topic.unwrap_or_default(),
            format: read.choice(
                "format",
                &[("json", SinkFormat::Json), ("csv", SinkFormat::Csv)],
                SinkFormat::Json,
            ),
            qos: qos(&mut read),
            retain: read.or("retain", false),
            ttl: read.get("ttl"),
        };
        read.finish(options)
    }
}

fn qos(read: &mut OptionReader<'_>) -> QoS {
    match read.or("qos", 1_u8) {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        other => {
            let error = OptionError::of("qos", format!("option \"qos\" is {other}"));
            read.error(error.help("write 0 or 1; what is published at QoS 2 arrives at QoS 1"));
            QoS::AtLeastOnce
        }
    }
}

/// MQTT counts whole seconds, in 16 bits.
fn keep_alive(read: &mut OptionReader<'_>) -> Duration {
    let keep_alive = read.or("keep_alive", Duration::from_secs(30));
    if !(1..=65_535).contains(&keep_alive.as_secs()) {
        read.error(OptionError::of("keep_alive", "option \"keep_alive\" is not from 1 s to 65535 s"));
    }
    keep_alive
}

/// Host and port of a URL.
pub(crate) fn address(url: &str) -> Result<(String, u16), OptionError> {
    let wrong =
        |message: String| Err(OptionError::of("url", message).help("write such as 'mqtt://localhost:1883'"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong(format!("{url:?} is not the URL of a broker"));
    };
    match scheme {
        "mqtt" | "tcp" => {}
        "mqtts" | "ssl" | "tls" | "wss" => return wrong("TLS is not supported yet".into()),
        other => return wrong(format!("a broker is not reached by {other:?}")),
    }
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        let error = OptionError::of("url", "the URL of a broker has a user in it");
        return Err(error.help("use the options username and password"));
    }
    // The colons of an IPv6 address are within brackets.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (rest, Some(DEFAULT_PORT)),
    };
    match port {
        Some(port) if port > 0 && !host.is_empty() && !host.contains('/') => Ok((host.to_owned(), port)),
        _ => wrong(format!("{url:?} is not the URL of a broker")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn urls_have_a_host_and_perhaps_a_port() {
        assert_eq!(address("mqtt://localhost:1884").unwrap(), ("localhost".into(), 1884));
        assert_eq!(address("tcp://plant/").unwrap(), ("plant".into(), 1883));
        assert_eq!(address("mqtt://[::1]:1885").unwrap(), ("[::1]".into(), 1885));
        assert_eq!(address("mqtt://[::1]").unwrap(), ("[::1]".into(), 1883));
        for wrong in [
            "localhost:1883",
            "http://plant",
            "mqtt://",
            "mqtt://plant:",
            "mqtt://plant:70000",
            "mqtt://u:p@x",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert_eq!(address("mqtts://plant").unwrap_err().message, "TLS is not supported yet");
    }

    #[test]
    fn the_client_id_is_stable_and_differs_by_topic() {
        let read = |topic| {
            let options = options(&[("url", "mqtt://plant"), ("topic", topic)]);
            let mut read = OptionReader::new("source", "mqtt", &options, SOURCE_OPTIONS);
            let options = SourceOptions::read("readings", &mut read);
            read.finish(options).unwrap().client
        };
        assert_eq!(read("a/+").id, read("a/+").id);
        assert_ne!(read("a/+").id, read("b/+").id);
        assert!(read("a").id.starts_with("lineshaft-readings-"));
        assert!(!read("a").clean_session, "a session that lasts");
    }

    #[test]
    fn all_wrong_options_are_told() {
        let options =
            options(&[("topic", "a/#/b, c"), ("qos", "2"), ("keep_alive", "10 ms"), ("clientid", "x")]);
        let mut read = OptionReader::new("source", "mqtt", &options, SOURCE_OPTIONS);
        SourceOptions::read("readings", &mut read);
        let errors = read.finish(()).unwrap_err();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "mqtt source has no option \"clientid\"",
                "mqtt source needs the option \"url\"",
                "option \"keep_alive\" is not from 1 s to 65535 s",
                "\"a/#/b\" is not a topic filter: # stands for the rest, at the end only",
                "option \"qos\" is 2",
            ]
        );
    }
}
