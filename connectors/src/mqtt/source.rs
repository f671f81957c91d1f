//! The source: messages of a subscription, in order of arrival, in chunks.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::DataType;
use lineshaft_engine::clock::Clock;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{
    Chunk, ChunkSender, Decoder, MAX_UNSETTLED, Message, Packet as Delivery, Payload, Source, Stopped,
};
use lineshaft_engine::{Error, Result, TIMESTAMP};
use rumqttc::{Packet, Publish, QoS, SubAck, SubscribeReasonCode};
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Lost};
use super::options::{SOURCE_OPTIONS, SourceOptions};
use super::reconnect::{GOOD_AFTER, Reconnect};
use crate::MetadataColumn;
use crate::format::MessageDecoder;
use crate::options::OptionReader;

/// What a connection may gather while the engine is busy; then it stops reading. Otherwise a chunk is handed over as
/// soon as nothing more is ready, or there are so many.
const MAX_MESSAGES: usize = 1_024;
const MAX_BYTES: usize = 256 << 10;
/// Acknowledgements of which it is not known whether the broker has read them. With so many we hang up, which tells, and come
/// back at once: what the engine remembers has an end. Only a broker with a long way of packets behind it comes to that.
const MAX_ON_THE_WAY: u64 = if cfg!(test) { 5_000 } else { MAX_UNSETTLED as u64 / 2 };
/// A table is loaded when for so long nothing has come after the subscription: a broker sends what it retains at once.
const QUIET: Duration = Duration::from_millis(200);
/// So long streams wait for a table whose broker is away, or that never is quiet.
const LOAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a program that stops waits for what it has handed over.
const KEPT_WITHIN: Duration = Duration::from_secs(3);
/// The columns that a source gives.
pub const METADATA: &[MetadataColumn] = &[
    MetadataColumn { name: "topic", data_type: DataType::Utf8 },
    MetadataColumn { name: "qos", data_type: DataType::Int32 },
    MetadataColumn { name: "retain", data_type: DataType::Boolean },
    MetadataColumn { name: "received_at", data_type: TIMESTAMP },
];

/// A source of messages.
///
/// # Errors
/// All that is wrong with the options and columns.
pub fn source(declaration: &SourceDeclaration) -> Result<Box<dyn Source>, Vec<OptionError>> {
    let mut read = OptionReader::new("source", "mqtt", &declaration.options, SOURCE_OPTIONS);
    let options = SourceOptions::read(&declaration.name, &mut read);
    let decoder = MessageDecoder::new(declaration, &mut read, options.max_payload);
    let name = declaration.name.clone();
    let is_table = declaration.table.is_some();
    let source = MqttSource { name, is_table, options, decoder: Arc::new(decoder) };
    Ok(Box::new(read.finish(source)?))
}

/// What is wrong with the declaration of a source.
pub(crate) fn check_source(declaration: &SourceDeclaration) -> Vec<OptionError> {
    source(declaration).err().unwrap_or_default()
}

struct MqttSource {
    name: String,
    is_table: bool,
    options: SourceOptions,
    decoder: Arc<MessageDecoder>,
}

impl Source for MqttSource {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        let reader = Reader {
            reconnect: Reconnect::new(&self.options.client),
            name: self.name,
            options: self.options,
            chunks,
            gathered: Gathered::default(),
            settled: Settled::default(),
            is_subscribed: false,
            is_loaded: Arc::new(AtomicBool::new(!self.is_table)),
        };
        runtime.block_on(async {
            let late =
                load_at_last(reader.name.clone(), Arc::clone(&reader.is_loaded), reader.chunks.clone());
            let late = tokio::spawn(late);
            let end = reader.run().await;
            late.abort();
            end
        })
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::<MessageDecoder>::clone(&self.decoder)
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn loads(&self) -> bool {
        self.is_table
    }
}

/// Says that all is there, though it may not be, so that streams do not wait for ever.
async fn load_at_last(name: String, is_loaded: Arc<AtomicBool>, chunks: ChunkSender) {
    if is_loaded.load(Ordering::Relaxed) {
        return;
    }
    sleep(LOAD_WITHIN).await;
    if !is_loaded.swap(true, Ordering::Relaxed) {
        let seconds = LOAD_WITHIN.as_secs();
        tracing::warn!(
            "table {name:?} was not loaded within {seconds} s: streams begin without all of its rows"
        );
        // If the program stops, nobody waits any more.
        send_loaded(chunks).await.ok();
    }
}

async fn send_loaded(chunks: ChunkSender) -> Result<(), Stopped> {
    chunks.send_async(Chunk { is_loaded: true, ..Chunk::new(Payload::Empty) }).await
}

/// Why reading ended.
enum End {
    /// The program stops.
    Stopped,
    /// The connection is gone.
    Lost(Lost),
    /// It is better to connect again.
    Renewed,
    /// Trying again cannot help.
    Failed(Error),
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// A chunk on its way into the engine, and the packet ids that are acknowledged when it is there.
struct HandOver {
    sending: Pin<Box<dyn Future<Output = Result<(), Stopped>> + Send>>,
    ids: Vec<u16>,
}

/// Which deliveries of a connection the engine need not remember any more.
#[derive(Default)]
struct Settled {
    taken: u64,
    /// The first new delivery, then the last that was marked: what the broker sends again comes before.
    mark: Option<u64>,
}

impl Settled {
    /// Takes note of the next delivery. True if it is a mark: the broker has read the acknowledgement of the mark before.
    fn is_mark(&mut self, again: bool, settled: u64) -> bool {
        self.taken += 1;
        if again || self.mark.is_some_and(|mark| settled < mark) {
            return false;
        }
        self.mark.replace(self.taken).is_some()
    }
}

struct Reader {
    name: String,
    options: SourceOptions,
    chunks: ChunkSender,
    reconnect: Reconnect,
    gathered: Gathered,
    settled: Settled,
    /// The session of the broker has our subscription.
    is_subscribed: bool,
    /// What the broker retains has been handed over, or it is no table, for which nobody waits.
    is_loaded: Arc<AtomicBool>,
}

impl Reader {
    /// Connects and reads, again and again, until the program stops.
    async fn run(mut self) -> Result<()> {
        loop {
            let wait = match self.connect().await {
                Ok((mut connection, has_session)) => {
                    tracing::info!("source {:?} is connected to {}", self.name, self.options.client.url);
                    self.reconnect.connected();
                    let end = self.read(&mut connection, has_session).await;
                    if let End::Stopped | End::Renewed = end {
                        connection.close().await;
                    }
                    match end {
                        End::Lost(lost) => self.reconnect.lost(&lost),
                        End::Renewed => continue,
                        End::Failed(error) => return Err(error),
                        End::Stopped => return Ok(()),
                    }
                }
                Err(Ok(lost)) => self.reconnect.failed(&lost),
                Err(Err(Stopped)) => return Ok(()),
            };
            tokio::select! {
                () = wait => {}
                () = self.chunks.stopped() => return Ok(()),
            }
        }
    }

    async fn connect(&self) -> Result<(Connection, bool), Result<Lost, Stopped>> {
        tokio::select! {
            opened = Connection::open(&self.options.client) => opened.map_err(Ok),
            () = self.chunks.stopped() => Err(Err(Stopped)),
        }
    }

    /// Reads one connection to its end. All that was gathered has been handed over then, or the program stops.
    async fn read(&mut self, connection: &mut Connection, has_session: bool) -> End {
        if !has_session {
            self.is_subscribed = false;
            if self.tell_gap().await.is_err() {
                return End::Stopped;
            }
        }
        self.settled = Settled::default();
        let mut hand_over = None;
        let end = match self.read_on(connection, &mut hand_over).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        match end {
            End::Lost(lost) => match self.hand_over_rest(hand_over).await {
                Ok(()) => End::Lost(lost),
                Err(Stopped) => End::Stopped,
            },
            End::Stopped => {
                acknowledge_last(connection, hand_over).await;
                End::Stopped
            }
            End::Renewed | End::Failed(_) => end,
        }
    }

    /// Packet ids of a new session say nothing of the old one, and what was published between the two is gone.
    async fn tell_gap(&self) -> Result<(), Stopped> {
        let reason = format!("{} has not kept the session of this client", self.options.client.url);
        self.chunks.send_async(Chunk::new(Payload::Gap(reason))).await
    }

    async fn read_on(
        &mut self,
        connection: &mut Connection,
        hand_over: &mut Option<HandOver>,
    ) -> Result<std::convert::Infallible, End> {
        // Again only if need be: with the answer comes what is retained, also what we have.
        if !self.is_subscribed || !self.is_loaded.load(Ordering::Relaxed) {
            connection.subscribe(&self.options.filters, self.options.qos).await?;
        }
        let chunks = self.chunks.clone();
        let good = sleep(GOOD_AFTER);
        tokio::pin!(good);
        let mut is_good = false;
        let quiet = sleep(LOAD_WITHIN);
        tokio::pin!(quiet);
        loop {
            let is_sending = hand_over.is_some();
            let may_take = connection.unsettled() < MAX_ON_THE_WAY;
            if !may_take && !is_sending && self.gathered.is_empty() {
                return Err(End::Renewed);
            }
            let reads = may_take && !self.gathered.is_full();
            tokio::select! {
                biased;
                () = chunks.stopped() => return Err(End::Stopped),
                sent = handed_over(hand_over), if is_sending => {
                    sent?;
                    // The one place where messages are acknowledged: the engine keeps them.
                    let ids = hand_over.take().map(|done| done.ids).unwrap_or_default();
                    connection.acknowledge(&ids).await?;
                }
                packet = connection.next_if(reads) => {
                    let packet = packet?;
                    if is_of_the_start(&packet) {
                        quiet.set(sleep(QUIET));
                    }
                    self.take(packet, connection.settled())?;
                }
                () = ready(()), if !is_sending && !self.gathered.is_empty() => {
                    *hand_over = Some(self.begin_hand_over());
                }
                () = &mut quiet, if !is_sending && !self.is_loaded.load(Ordering::Relaxed) => {
                    self.is_loaded.store(true, Ordering::Relaxed);
                    *hand_over = Some(HandOver { sending: Box::pin(send_loaded(chunks.clone())), ids: vec![] });
                }
                () = &mut good, if !is_good => {
                    is_good = true;
                    self.reconnect.held();
                }
            }
        }
    }

    fn begin_hand_over(&mut self) -> HandOver {
        let gathered = std::mem::take(&mut self.gathered);
        let chunks = self.chunks.clone();
        let sending = async move {
            if gathered.messages.is_empty() {
                return Ok(());
            }
            chunks.deliver(Chunk::new(Payload::Messages(gathered.messages))).await
        };
        HandOver { sending: Box::pin(sending), ids: gathered.ids }
    }

    /// After a loss: what was read goes to the engine, for messages without acknowledgement do not come again. The others
    /// do, and the engine tells that it has them.
    async fn hand_over_rest(&mut self, hand_over: Option<HandOver>) -> Result<(), Stopped> {
        if let Some(hand_over) = hand_over {
            hand_over.sending.await?;
        }
        self.begin_hand_over().sending.await
    }

    fn take(&mut self, packet: Packet, settled: u64) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.gather(publish, settled),
            Packet::SubAck(answer) => {
                self.check_subscription(&answer)?;
                self.is_subscribed = true;
                tracing::info!("source {:?} is subscribed to {}", self.name, self.options.filters.join(", "));
            }
            // Answers to pings; what else a broker sends is refused by the client library.
            _ => {}
        }
        Ok(())
    }

    fn gather(&mut self, publish: Publish, settled: u64) {
        let packet = (publish.qos != QoS::AtMostOnce).then(|| Delivery {
            id: publish.pkid,
            again: publish.dup,
            settles: self.settled.is_mark(publish.dup, settled),
        });
        self.gathered.ids.extend(packet.map(|packet| packet.id));
        // The decoder rejects what is longer than max_payload; it need not have all of it for that.
        let kept = publish.payload.len().min(self.options.max_payload.saturating_add(1));
        self.gathered.bytes += kept + publish.topic.len();
        self.gathered.messages.push(Message {
            payload: publish.payload[..kept].to_vec(),
            received_at: Clock::system().now(),
            qos: publish.qos as u8,
            retain: publish.retain,
            packet,
            topic: publish.topic,
            request: None,
        });
    }

    fn check_subscription(&self, answer: &SubAck) -> Result<(), End> {
        let refused = answer.return_codes.iter().position(|code| *code == SubscribeReasonCode::Failure);
        let Some(index) = refused else { return Ok(()) };
        let filter = self.options.filters.get(index).map_or("", String::as_str);
        let url = &self.options.client.url;
        let reason = format!("{url} refused the subscription to {filter:?}; ask for the right to read it");
        Err(End::Failed(Error::connector("mqtt source", &self.name, reason)))
    }
}

/// True for the answer to a subscription and what the broker has kept, which comes with it.
fn is_of_the_start(packet: &Packet) -> bool {
    match packet {
        Packet::SubAck(_) => true,
        Packet::Publish(publish) => publish.retain,
        _ => false,
    }
}

/// What is on its way when the program stops is kept or not: the broker need not send it again if it is.
async fn acknowledge_last(connection: &mut Connection, hand_over: Option<HandOver>) {
    let Some(HandOver { sending, ids }) = hand_over else { return };
    if let Ok(Ok(())) = timeout(KEPT_WITHIN, sending).await {
        // If the broker is gone it sends them again, and the engine knows them.
        connection.acknowledge(&ids).await.ok();
    }
}

/// Waits for a chunk that is on its way.
async fn handed_over(hand_over: &mut Option<HandOver>) -> Result<(), Stopped> {
    match hand_over {
        Some(hand_over) => hand_over.sending.as_mut().await,
        None => Ok(()),
    }
}

/// Messages that were read and not yet handed over.
#[derive(Default)]
struct Gathered {
    messages: Vec<Message>,
    bytes: usize,
    /// What to acknowledge with them, in order of arrival.
    ids: Vec<u16>,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.ids.len() >= MAX_MESSAGES || self.messages.len() >= MAX_MESSAGES || self.bytes >= MAX_BYTES
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.ids.is_empty()
    }
}
