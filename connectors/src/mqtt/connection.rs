//! One connection to a broker: what source, sink and plant need of MQTT 3.1.1, on rumqttc.
//!
//! A connection that was lost is dropped and a new one opened, with a fresh state of rumqttc: what that library keeps
//! over a reconnect loses publications and can hang for ever on an id. Nothing waits in its request queue either:
//! packets are written at once, many to a flush, and [`Connection::next`] is the only one that polls.
//!
//! The pings are ours, too: their answers tell which acknowledgements the broker has read.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use rumqttc::{
    ConnectReturnCode, ConnectionError, Disconnect, Event, EventLoop, MqttOptions, NetworkOptions, Packet,
    PubAck, Publish, QoS, Request, StateError, Subscribe, SubscribeFilter,
};
use tokio::time::{Sleep, sleep, timeout};

use super::options::Client;

/// Largest packet that is taken or sent: a payload of 16 MiB, its topic and header.
const MAX_PACKET: usize = (16 << 20) + (128 << 10);
/// A broker that does not take our packets for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// After so many acknowledgements the broker is asked whether it has read them.
const ASK_AFTER: u64 = 512;
/// rumqttc asks for a queue; only its size of at least one matters here.
const REQUESTS: usize = 1;

/// An open connection.
pub(crate) struct Connection {
    event_loop: EventLoop,
    /// Packet ids that no publication in flight has.
    free_ids: VecDeque<u16>,
    /// Why it ended; told after the packets that were read before.
    ended: Option<Lost>,
    /// Acknowledgements that were written.
    acknowledged: u64,
    /// Of each ping without an answer, what had been acknowledged before it.
    pings: VecDeque<u64>,
    /// Acknowledgements that the broker has read: it answered a ping behind them.
    settled: u64,
    keep_alive: Duration,
    next_ping: Pin<Box<Sleep>>,
    /// Something has come since the last look.
    is_alive: bool,
}

impl Connection {
    /// Connects. Also says whether the broker has kept the session of this client.
    pub(crate) async fn open(client: &Client) -> Result<(Self, bool), Lost> {
        let mut event_loop = EventLoop::new(mqtt_options(client), REQUESTS);
        let mut network = NetworkOptions::new();
        // Acknowledgements are small: without this they wait for those of TCP, up to 40 ms.
        network.set_tcp_nodelay(true);
        event_loop.set_network_options(network);
        match event_loop.poll().await? {
            Event::Incoming(Packet::ConnAck(answer)) => {
                // rumqttc gives id 1 to the subscription.
                let free_ids = (2..client.in_flight.saturating_add(2)).collect();
                event_loop.mqtt_options.set_keep_alive(Duration::ZERO);
                let connection = Self {
                    event_loop,
                    free_ids,
                    ended: None,
                    acknowledged: 0,
                    pings: VecDeque::new(),
                    settled: 0,
                    keep_alive: client.keep_alive,
                    next_ping: Box::pin(sleep(client.keep_alive)),
                    is_alive: true,
                };
                Ok((connection, answer.session_present))
            }
            other => Err(Lost::Protocol(format!("the broker answered {other:?} instead of CONNACK"))),
        }
    }

    /// The next packet of the broker. May be cancelled without losing one.
    pub(crate) async fn next(&mut self) -> Result<Packet, Lost> {
        self.next_if(true).await
    }

    /// The same if it `reads`; else it only keeps the connection alive.
    pub(crate) async fn next_if(&mut self, reads: bool) -> Result<Packet, Lost> {
        loop {
            let event = tokio::select! {
                event = next_event(&mut self.event_loop, &mut self.ended), if reads => event?,
                () = &mut self.next_ping => {
                    self.keep_alive(reads).await?;
                    continue;
                }
            };
            // What goes out is known to who sent it.
            let Event::Incoming(packet) = event else { continue };
            self.is_alive = true;
            match &packet {
                Packet::PubAck(ack) => self.free_ids.push_back(ack.pkid),
                Packet::PingResp => self.settled = self.pings.pop_front().unwrap_or(self.settled),
                _ => {}
            }
            return Ok(packet);
        }
    }

    /// Pings the broker. One that has said nothing since the last ping is gone, if we have listened.
    async fn keep_alive(&mut self, reads: bool) -> Result<(), Lost> {
        let was_alive = std::mem::replace(&mut self.is_alive, !reads);
        if reads && !was_alive {
            return Err(Lost::Protocol("the broker does not answer".into()));
        }
        self.next_ping = Box::pin(sleep(self.keep_alive));
        self.ping().await?;
        self.flush().await
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        self.pings.push_back(self.acknowledged);
        self.write(Packet::PingReq).await
    }

    /// How many acknowledgements the broker is known to have read.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// How many it may not have read: it sends these messages again if we go now.
    pub(crate) fn unsettled(&self) -> u64 {
        self.acknowledged - self.settled
    }

    /// Asks for the messages of `filters`; the answer is a packet of [`Connection::next`].
    pub(crate) async fn subscribe(&mut self, filters: &[String], qos: QoS) -> Result<(), Lost> {
        let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), qos));
        self.request(Request::Subscribe(Subscribe::new_many(filters))).await?;
        self.flush().await
    }

    /// Acknowledges messages in the order of `ids`.
    pub(crate) async fn acknowledge(&mut self, ids: &[u16]) -> Result<(), Lost> {
        if ids.is_empty() {
            return Ok(());
        }
        for id in ids {
            self.write(Packet::PubAck(PubAck::new(*id))).await?;
        }
        self.acknowledged += ids.len() as u64;
        if self.acknowledged - self.pings.back().copied().unwrap_or(self.settled) >= ASK_AFTER {
            self.ping().await?;
        }
        self.flush().await
    }

    /// How many more publications of QoS 1 may be in flight.
    pub(crate) fn room(&self) -> usize {
        self.free_ids.len()
    }

    /// Sends a publication with the next [`Connection::flush`], and gives its packet id; 0 for QoS 0.
    pub(crate) async fn publish(&mut self, mut publish: Publish) -> Result<u16, Lost> {
        if publish.qos != QoS::AtMostOnce {
            let id = self.free_ids.pop_front();
            publish.pkid = id.ok_or_else(|| Lost::Protocol("too many publications in flight".into()))?;
        }
        let id = publish.pkid;
        self.request(Request::Publish(publish)).await?;
        // The event of our own packet; others are left for `next`.
        self.event_loop.state.events.pop_back();
        Ok(id)
    }

    /// Brings what was written to the broker.
    pub(crate) async fn flush(&mut self) -> Result<(), Lost> {
        let network = self.event_loop.network.as_mut().ok_or_else(closed)?;
        timeout(WRITE_TIMEOUT, network.flush()).await.map_err(|_| stuck())?.map_err(Lost::from)
    }

    /// Says goodbye, and waits until the broker hangs up: it has read all acknowledgements then. To hang up ourselves with
    /// packets unread would be a reset, on which the broker drops what it has not read.
    pub(crate) async fn close(mut self) {
        let goodbye = async {
            self.request(Request::Disconnect(Disconnect)).await?;
            self.flush().await?;
            loop {
                self.next().await?;
            }
        };
        let end: Result<Result<Infallible, Lost>, _> = timeout(GOODBYE_WITHIN, goodbye).await;
        tracing::debug!("hung up: {end:?}");
    }

    /// Lets the state of rumqttc know of a request, then writes it.
    async fn request(&mut self, request: Request) -> Result<(), Lost> {
        match self.event_loop.state.handle_outgoing_packet(request)? {
            Some(packet) => self.write(packet).await,
            None => Err(Lost::Protocol("a packet id is in use".into())),
        }
    }

    async fn write(&mut self, packet: Packet) -> Result<(), Lost> {
        let network = self.event_loop.network.as_mut().ok_or_else(closed)?;
        timeout(WRITE_TIMEOUT, network.write(packet)).await.map_err(|_| stuck())?.map_err(Lost::from)
    }
}

/// The next event of rumqttc; those that it had before the end come before the end.
async fn next_event(event_loop: &mut EventLoop, ended: &mut Option<Lost>) -> Result<Event, Lost> {
    if ended.is_none() {
        match event_loop.poll().await {
            Ok(event) => return Ok(event),
            Err(error) => *ended = Some(error.into()),
        }
    }
    match event_loop.state.events.pop_front() {
        Some(left) => Ok(left),
        None => Err(ended.take().unwrap_or_else(closed)),
    }
}

fn closed() -> Lost {
    Lost::Protocol("connection closed".into())
}

fn stuck() -> Lost {
    Lost::Protocol("the broker takes no data".into())
}

fn mqtt_options(client: &Client) -> MqttOptions {
    let mut options = MqttOptions::new(&client.id, &client.host, client.port);
    options
        .set_keep_alive(client.keep_alive)
        .set_clean_session(client.clean_session)
        .set_manual_acks(true)
        .set_inflight(client.in_flight.saturating_add(2))
        .set_max_packet_size(MAX_PACKET, MAX_PACKET);
    if let Some(username) = &client.username {
        options.set_credentials(username, client.password.as_deref().unwrap_or_default());
    }
    options
}

/// Why a connection could not be opened, or ended. Always worth another try.
#[derive(Debug)]
pub(crate) enum Lost {
    Client(Box<ConnectionError>),
    Protocol(String),
}

impl Lost {
    /// True if the broker is there and does not want us.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Client(error) if matches!(**error, ConnectionError::ConnectionRefused(_)))
    }
}

impl From<ConnectionError> for Lost {
    fn from(error: ConnectionError) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<StateError> for Lost {
    fn from(error: StateError) -> Self {
        ConnectionError::from(error).into()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Protocol(text) => return f.write_str(text),
            Self::Client(error) => error.as_ref(),
        };
        match error {
            ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => {
                write_io(error, f)
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                f.write_str("connection closed by the broker")
            }
            ConnectionError::MqttState(StateError::AwaitPingResp) => {
                f.write_str("the broker does not answer")
            }
            ConnectionError::MqttState(StateError::Deserialization(
                rumqttc::Error::PayloadSizeLimitExceeded(size),
            )) => {
                write!(
                    f,
                    "a packet of {size} bytes is above the limit of {MAX_PACKET} bytes and blocks the stream; \
                     set message_size_limit in the broker"
                )
            }
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
                f.write_str("no answer in time")
            }
            ConnectionError::ConnectionRefused(code) => write_refusal(*code, f),
            other => write!(f, "{other}"),
        }
    }
}

fn write_io(error: &std::io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error.kind() {
        ErrorKind::ConnectionRefused => f.write_str("connection refused"),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            f.write_str("connection closed by the broker")
        }
        ErrorKind::TimedOut => f.write_str("no answer in time"),
        _ => write!(f, "{error}"),
    }
}

fn write_refusal(code: ConnectReturnCode, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match code {
        ConnectReturnCode::BadUserNamePassword => "the broker refused the user name or password",
        ConnectReturnCode::NotAuthorized => "the broker does not authorize this client",
        ConnectReturnCode::BadClientId => "the broker refused the client_id",
        ConnectReturnCode::ServiceUnavailable => "the broker is not available",
        ConnectReturnCode::RefusedProtocolVersion => "the broker does not speak MQTT 3.1.1",
        ConnectReturnCode::Success => "the broker refused the connection",
    })
}
