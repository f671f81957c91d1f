//! The sink: a message for each row, in order, through one connection for all workers.
//!
//! A row is done when the broker has acknowledged it. After a loss what was not acknowledged is sent again, so a message
//! may come twice. A command (a sink with a `ttl`) is the exception: it leaves at most once, and not after the time in its
//! column `expires_at`. What has become of it is told to its actuator.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::clock::Clock;
use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::sink::{Outcome, Run, Sink, SinkFactory, Worker};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Batch, Error, Result};
use rumqttc::{Packet, Publish, QoS};
use tokio::time::{Instant, sleep};

use super::command::CommandColumns;
use super::connection::{Connection, Lost};
use super::options::{SinkFormat, SinkOptions};
use super::publication::{self, Command, Publication};
use super::reconnect::{GOOD_AFTER, Reconnect};
use crate::format::rows::{JsonObjects, write_csv};
use crate::outbox::Outbox;
use crate::outcomes::{Outcomes, Teller};
use crate::rows::insertions;

/// How long `write` waits for room while the broker takes nothing: then the program ends, so that it can be started
/// again where nothing is lost, rather than hang.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the end of the program waits for the last acknowledgements.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// Publications that are written before a flush.
const MAX_AT_ONCE: usize = 256;
/// How often what waits is looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// In the place of a packet id: the connection was lost before, or while the message was written.
const NOT_SENT: u16 = 0;
const PERHAPS_SENT: u16 = u16::MAX;

/// A sink of messages.
///
/// # Errors
/// All that is wrong with the options.
pub fn sink(
    declaration: &SinkDeclaration,
    outcomes: &Outcomes,
) -> Result<Box<dyn SinkFactory>, Vec<OptionError>> {
    let options = checked(declaration)?;
    let columns = options.ttl.and_then(|ttl| CommandColumns::of(&declaration.schema, ttl));
    let is_told = columns.is_some_and(|columns| columns.are_numbered());
    let teller = is_told.then(|| outcomes.teller(&declaration.name));
    let (name, open, run) = (declaration.name.clone(), Mutex::default(), Mutex::default());
    Ok(Box::new(MqttSinkFactory { name, options, teller, open, run }))
}

/// What is wrong with the declaration of a sink.
pub(crate) fn check_sink(declaration: &SinkDeclaration) -> Vec<OptionError> {
    checked(declaration).err().unwrap_or_default()
}

fn checked(declaration: &SinkDeclaration) -> Result<SinkOptions, Vec<OptionError>> {
    let options = SinkOptions::read(&declaration.name, &declaration.schema, &declaration.options)?;
    if options.ttl.is_some_and(|ttl| CommandColumns::of(&declaration.schema, ttl).is_none()) {
        let error = OptionError::of("ttl", "option \"ttl\" needs a column expires_at of type TIMESTAMP");
        return Err(vec![error.help("it is set by actuators; leave it out of a sink")]);
    }
    if options.ttl.is_some() && options.retain {
        let error = OptionError::of("retain", "a command is not retained");
        return Err(vec![error.help("who connects later would get an old one: leave retain out")]);
    }
    Ok(options)
}

struct MqttSinkFactory {
    name: String,
    options: SinkOptions,
    /// Of commands whose outcome is told.
    teller: Option<Teller>,
    /// The publisher, as long as a worker has the sink open.
    open: Mutex<Weak<Publisher>>,
    run: Mutex<Run>,
}

impl SinkFactory for MqttSinkFactory {
    fn begin(&self, run: &Run) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run.clone();
    }

    fn open(&self, schema: SchemaRef, worker: Worker) -> Result<Box<dyn Sink>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let publisher = match open.upgrade() {
            Some(publisher) => publisher,
            None => Arc::new(Publisher::start(&self.name, &self.options, self.teller.clone())?),
        };
        *open = Arc::downgrade(&publisher);
        Ok(Box::new(MqttSink {
            name: self.name.clone(),
            options: self.options.clone(),
            commands: self.options.ttl.and_then(|ttl| CommandColumns::of(&schema, ttl)),
            teller: self.teller.clone(),
            publisher,
            run: self.run.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            tells_rest: worker.index == 0,
            is_kept: false,
        }))
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn is_at_most_once(&self) -> bool {
        self.options.ttl.is_some()
    }
}

struct MqttSink {
    name: String,
    options: SinkOptions,
    /// If its rows are commands.
    commands: Option<CommandColumns>,
    teller: Option<Teller>,
    publisher: Arc<Publisher>,
    run: Run,
    /// The workers share the outbox: one of them puts it into checkpoints.
    tells_rest: bool,
    /// All that was put so far is part of a checkpoint.
    is_kept: bool,
}

impl Sink for MqttSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let batch = insertions(batch)?;
        let mut rows = batch.rows().clone();
        let mut commands = None;
        if let Some(columns) = &self.commands {
            let split = columns.split(&rows)?;
            (rows, commands) = (split.messages, Some(split.commands));
        }
        let topics = self.options.topic.topics(&rows)?;
        let payloads = payloads(self.options.format, &rows)?;
        let mut publications = Vec::with_capacity(rows.num_rows());
        let mut without = None;
        for (row, (topic, payload)) in topics.into_iter().zip(payloads).enumerate() {
            let command = commands.as_ref().map(|commands| commands.at(row));
            let topic = match topic {
                Ok(topic) => topic,
                Err(why) => {
                    tell(&self.teller, Outcome::Unaddressed, command.as_ref());
                    without = Some((without.map_or(1, |(count, _)| count + 1), why));
                    continue;
                }
            };
            let mut publish = Publish::new(topic, self.options.qos, payload);
            publish.retain = self.options.retain;
            publications.push(Publication { publish, command });
        }
        if let Some((count, why)) = without {
            tracing::warn!("sink {:?}: {count} rows are not sent: their topic is none, as {why}", self.name);
        }
        self.put(publications, false)
    }

    /// What the broker has not acknowledged goes on with the program.
    fn commit(&mut self) -> Result<Snapshot> {
        self.is_kept = true;
        let left = if self.tells_rest { self.publisher.outbox.left() } else { Vec::new() };
        publication::snapshot(&left)
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        let left = publication::restored(snapshot, self.options.qos);
        let damaged = || Error::connector("mqtt sink", &self.name, "its part of the checkpoint is damaged");
        self.put(left.ok_or_else(damaged)?, true)
    }

    fn finish(&mut self) -> Result<()> {
        let left = self.publisher.outbox.wait_until_empty(LAST_PATIENCE);
        if self.is_kept && self.options.ttl.is_none() {
            return Ok(());
        }
        // The workers share the connection: one of them tells.
        if left > 0 && !self.publisher.has_told.swap(true, Ordering::Relaxed) {
            let url = &self.options.client.url;
            let reason = format!("{left} messages were not acknowledged by {url} and may be lost");
            return Err(Error::connector("mqtt sink", &self.name, reason));
        }
        Ok(())
    }
}

impl MqttSink {
    fn put(&mut self, publications: Vec<Publication>, is_restored: bool) -> Result<()> {
        self.is_kept = false;
        let must_not_wait = || is_restored || self.run.is_stopping();
        self.publisher.outbox.put(publications, PATIENCE, must_not_wait).map_err(|_| {
            let reason = format!(
                "{} has taken nothing for 10 minutes and the outbox is full",
                self.options.client.url
            );
            Error::connector("mqtt sink", &self.name, reason)
        })
    }
}

/// Tells what has become of a message, if it is a command.
fn tell(teller: &Option<Teller>, outcome: Outcome, command: Option<&Command>) {
    if let (Some(teller), Some(command)) = (teller, command) {
        teller.tell(outcome, &command.row);
    }
}

fn payloads(format: SinkFormat, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    match format {
        SinkFormat::Json => {
            let objects = JsonObjects::new(rows)?;
            let object = |row| {
                let mut payload = Vec::new();
                objects.write(row, &mut payload);
                payload
            };
            Ok((0..rows.num_rows()).map(object).collect())
        }
        SinkFormat::Csv => {
            let line = |row| {
                let mut payload = Vec::new();
                write_csv(&rows.slice(row, 1), &mut payload)?;
                payload.pop();
                Ok(payload)
            };
            (0..rows.num_rows()).map(line).collect()
        }
    }
}

/// The connection of a sink, on a thread of its own; ends with the last open sink.
struct Publisher {
    outbox: Arc<Outbox<Publication>>,
    thread: Option<JoinHandle<()>>,
    /// That messages may be lost.
    has_told: AtomicBool,
}

impl Publisher {
    fn start(name: &str, options: &SinkOptions, teller: Option<Teller>) -> Result<Self> {
        let failed = |error: std::io::Error| Error::connector("mqtt sink", name, error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let outbox = Arc::new(Outbox::default());
        let task = Task {
            name: name.to_owned(),
            options: options.clone(),
            teller,
            outbox: Arc::clone(&outbox),
            reconnect: Reconnect::new(&options.client),
            unacknowledged: VecDeque::new(),
            answered_at: Instant::now(),
            clock: Clock::system(),
        };
        let thread = thread::Builder::new()
            .name(format!("mqtt-{name}"))
            .spawn(move || runtime.block_on(task.run()))
            .map_err(failed)?;
        Ok(Self { outbox, thread: Some(thread), has_told: AtomicBool::new(false) })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.outbox.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the connection of an mqtt sink panicked");
        }
    }
}

struct Task {
    name: String,
    options: SinkOptions,
    teller: Option<Teller>,
    outbox: Arc<Outbox<Publication>>,
    reconnect: Reconnect,
    /// Sent, with their packet ids, in the order in which they were sent. Our own copies: the client library forgets
    /// its own after a reconnect.
    unacknowledged: VecDeque<(u16, Publication)>,
    /// When the broker has acknowledged something, or had nothing to acknowledge.
    answered_at: Instant,
    clock: Clock,
}

fn is_over(publication: &Publication, now: EventTime) -> bool {
    let is_over = |command: &Command| command.expires_at <= now || command.until <= Instant::now();
    publication.command.as_ref().is_some_and(is_over)
}

impl Task {
    /// Connects and publishes, again and again, until the outbox is closed.
    async fn run(mut self) {
        let outbox = Arc::clone(&self.outbox);
        loop {
            let opened = tokio::select! {
                opened = Connection::open(&self.options.client) => opened,
                () = outbox.closed() => return,
            };
            let wait = match opened {
                Ok((mut connection, _)) => {
                    tracing::info!("sink {:?} is connected to {}", self.name, self.options.client.url);
                    self.reconnect.connected();
                    match self.publish(&mut connection).await {
                        Ok(()) => return connection.close().await,
                        Err(lost) => {
                            self.give_up_unknown();
                            self.reconnect.lost(&lost)
                        }
                    }
                }
                Err(lost) => self.reconnect.failed(&lost),
            };
            tokio::select! {
                () = wait => {}
                _ = self.expire() => {}
                () = outbox.closed() => return,
            }
        }
    }

    /// While there is no connection.
    async fn expire(&mut self) -> Infallible {
        loop {
            let now = self.clock.now();
            let mut expired = Vec::new();
            while let Some((_, one)) = self.unacknowledged.pop_front_if(|(_, one)| is_over(one, now)) {
                expired.push(one);
            }
            self.outbox.done(expired.len());
            self.expired(&expired);
            self.give_up_expired();
            sleep(LOOKS_EVERY).await;
        }
    }

    /// Commands that wait and whose time has passed.
    fn give_up_expired(&self) {
        let now = self.clock.now();
        self.expired(&self.outbox.take_out(|one| is_over(one, now)));
    }

    /// A broker that is alive and acknowledges nothing: in a new connection it may.
    fn check_answers(&self) -> Result<(), Lost> {
        let (waits, most) = (self.answered_at.elapsed(), self.options.client.keep_alive);
        if self.unacknowledged.is_empty() || waits <= most {
            return Ok(());
        }
        Err(Lost::Protocol(format!("the broker has acknowledged nothing for {} s", waits.as_secs())))
    }

    /// Tells of commands that are not sent any more.
    fn expired(&self, commands: &[Publication]) {
        commands.iter().for_each(|one| self.tell(Outcome::Expired, one));
        let Some(first) = commands.first() else { return };
        let (name, topic) = (&self.name, &first.publish.topic);
        match commands.len() - 1 {
            0 => tracing::warn!("sink {name:?}: expired, not sent: a command for {topic}"),
            more => tracing::warn!("sink {name:?}: expired, not sent: a command for {topic} and {more} more"),
        }
    }

    /// Publishes until the outbox is closed and empty.
    async fn publish(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        self.send_again(connection).await?;
        let outbox = Arc::clone(&self.outbox);
        let good = tokio::time::sleep(GOOD_AFTER);
        tokio::pin!(good);
        let mut is_good = false;
        let mut look = tokio::time::interval(LOOKS_EVERY);
        loop {
            let room = connection.room().min(MAX_AT_ONCE);
            tokio::select! {
                biased;
                packet = connection.next() => self.acknowledged(&packet?),
                _ = look.tick() => {
                    self.give_up_expired();
                    self.check_answers()?;
                }
                taken = outbox.take(room), if room > 0 => match taken {
                    Some(publications) => self.send(connection, publications).await?,
                    None => return Ok(()),
                },
                () = outbox.closed(), if room == 0 => return Ok(()),
                () = &mut good, if !is_good => {
                    is_good = true;
                    self.reconnect.held();
                }
            }
        }
    }

    /// Of what the lost connection left unacknowledged, gives up the commands: whether they have arrived is not known, so they
    /// are not sent again.
    fn give_up_unknown(&mut self) {
        let left = std::mem::take(&mut self.unacknowledged);
        let is_unknown = |(id, one): &(u16, Publication)| *id != NOT_SENT && one.command.is_some();
        let (unknown, again): (Vec<_>, Vec<_>) = left.into_iter().partition(is_unknown);
        for (_, one) in &unknown {
            tracing::warn!("sink {:?}: outcome unknown, not sent again: {}", self.name, one.publish.topic);
            self.tell(Outcome::Unknown, one);
        }
        self.unacknowledged = again.into();
        self.outbox.done(unknown.len());
    }

    /// What the last connection left.
    async fn send_again(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let again = std::mem::take(&mut self.unacknowledged);
        self.send(connection, again.into_iter().map(|(_, publication)| publication).collect()).await
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        publications: Vec<Publication>,
    ) -> Result<(), Lost> {
        let mut publications = publications.into_iter();
        let mut done = 0;
        let (mut unanswered, mut expired) = (Vec::new(), Vec::new());
        let mut result = Ok(());
        if self.unacknowledged.is_empty() {
            self.answered_at = Instant::now();
        }
        for publication in publications.by_ref() {
            if is_over(&publication, self.clock.now()) {
                done += 1;
                expired.push(publication);
                continue;
            }
            let sent = connection.publish(publication.publish.clone()).await;
            if publication.publish.qos == QoS::AtMostOnce {
                done += 1;
                unanswered.push(publication);
            } else {
                self.unacknowledged.push_back((sent.as_ref().copied().unwrap_or(PERHAPS_SENT), publication));
            }
            if let Err(lost) = sent {
                result = Err(lost);
                break;
            }
        }
        // Those that the lost connection did not come to.
        self.unacknowledged.extend(publications.map(|publication| (NOT_SENT, publication)));
        if result.is_ok() {
            result = connection.flush().await;
        }
        let outcome = if result.is_ok() { Outcome::Arrived } else { Outcome::Unknown };
        unanswered.iter().for_each(|publication| self.tell(outcome, publication));
        self.expired(&expired);
        self.outbox.done(done);
        result
    }

    fn tell(&self, outcome: Outcome, publication: &Publication) {
        tell(&self.teller, outcome, publication.command.as_ref());
    }

    fn acknowledged(&mut self, packet: &Packet) {
        let Packet::PubAck(ack) = packet else { return };
        self.answered_at = Instant::now();
        // Brokers acknowledge in order, so this is nearly always the first.
        if let Some(index) = self.unacknowledged.iter().position(|(id, _)| *id == ack.pkid) {
            if let Some((_, publication)) = self.unacknowledged.remove(index) {
                self.tell(Outcome::Arrived, &publication);
            }
            self.outbox.done(1);
        }
    }
}
