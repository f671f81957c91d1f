//! A broker with one topic and one client: it sends until a message is acknowledged, and again when the connection was lost.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use lineshaft::engine::source::{Chunk, ChunkSender, Message, Packet, Payload, Stopped};

use crate::support::seeded::Seeded;

/// Messages on the way.
const WINDOW: usize = 6;
/// Few, so that they are soon used again.
const IDS: u16 = 9;

type Delivery = Pin<Box<dyn Future<Output = Result<(), Stopped>>>>;

struct Sent {
    number: usize,
    id: u16,
    /// It was sent before this connection, or twice in it.
    again: bool,
    /// The acknowledgements before the last message that said so have been read.
    settles: bool,
    delivery: Option<Delivery>,
}

/// The messages that are published, and how far they have come.
pub(super) struct Broker {
    published: Vec<Vec<u8>>,
    next: usize,
    last_id: u16,
    /// The number of the last message that settles what was before the one before it.
    mark: usize,
    /// The session: what is not acknowledged.
    sent: VecDeque<Sent>,
    /// The session was lost, and the client does not know yet.
    gap: Option<Delivery>,
    has_gap: bool,
    /// Messages that were on the way when a session was lost: they may have come, or not.
    doubtful: BTreeSet<usize>,
}

impl Broker {
    pub(super) fn new(published: Vec<Vec<u8>>) -> Self {
        Self {
            published,
            next: 0,
            last_id: 0,
            mark: 0,
            sent: VecDeque::new(),
            gap: None,
            has_gap: false,
            doubtful: BTreeSet::new(),
        }
    }

    /// All is acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.published.len() && self.sent.is_empty() && self.gap.is_none() && !self.has_gap
    }

    pub(super) fn doubtful(&self) -> &BTreeSet<usize> {
        &self.doubtful
    }

    /// The connection is lost: acknowledgements on their way, too. What was handed over may have come.
    pub(super) fn disconnect(&mut self) {
        for sent in &mut self.sent {
            sent.again |= sent.delivery.take().is_some();
        }
        self.has_gap |= self.gap.take().is_some();
    }

    /// The broker has forgotten the session, and says so when the client connects again.
    pub(super) fn lose_session(&mut self) {
        self.disconnect();
        self.doubtful.extend(self.sent.drain(..).map(|sent| sent.number));
        self.has_gap = true;
    }

    /// Sends a message, or takes acknowledgements.
    pub(super) fn step(&mut self, chunks: &ChunkSender, random: &mut Seeded) {
        if self.has_gap {
            let chunk = Chunk::new(Payload::Gap("the broker does not know us".into()));
            (self.gap, self.has_gap) = (Some(deliver(chunks, chunk)), false);
        }
        match poll(&mut self.gap) {
            Polled::Kept => self.gap = None,
            Polled::Waits => return,
            Polled::Refused => {
                (self.gap, self.has_gap) = (None, true);
                return;
            }
            Polled::Nothing => {}
        }
        // In the order in which they were sent the first time.
        let unsent = self.sent.iter().position(|sent| sent.delivery.is_none());
        match unsent {
            Some(place) => {
                let sent = &mut self.sent[place];
                sent.delivery = Some(deliver(chunks, message(&self.published[sent.number], sent)));
            }
            None if self.sent.len() < WINDOW && self.next < self.published.len() && random.chance(70) => {
                while self.sent.iter().any(|sent| sent.id == self.last_id) || self.last_id == 0 {
                    self.last_id = self.last_id % IDS + 1;
                }
                let settles = random.chance(20) && self.sent.iter().all(|sent| sent.number >= self.mark);
                if settles {
                    self.mark = self.next;
                }
                let mut sent =
                    Sent { number: self.next, id: self.last_id, again: false, settles, delivery: None };
                sent.delivery = Some(deliver(chunks, message(&self.published[self.next], &sent)));
                self.sent.push_back(sent);
                self.next += 1;
                self.last_id = self.last_id % IDS + 1;
            }
            None => {}
        }
        // Each is polled, so that they come in order.
        self.sent.retain_mut(|sent| match poll(&mut sent.delivery) {
            Polled::Kept => false,
            Polled::Refused => {
                (sent.delivery, sent.again) = (None, true);
                true
            }
            Polled::Waits | Polled::Nothing => true,
        });
    }
}

fn deliver(chunks: &ChunkSender, chunk: Chunk) -> Delivery {
    let chunks = chunks.clone();
    Box::pin(async move { chunks.deliver(chunk).await })
}

/// What has become of a delivery.
enum Polled {
    /// It is kept: acknowledged.
    Kept,
    Waits,
    /// The program stops.
    Refused,
    /// There is none.
    Nothing,
}

fn poll(delivery: &mut Option<Delivery>) -> Polled {
    let Some(delivery) = delivery else { return Polled::Nothing };
    match delivery.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Polled::Kept,
        Poll::Ready(Err(Stopped)) => Polled::Refused,
        Poll::Pending => Polled::Waits,
    }
}

fn message(payload: &[u8], sent: &Sent) -> Chunk {
    Chunk::new(Payload::Messages(vec![Message {
        topic: "plant".into(),
        payload: payload.to_vec(),
        received_at: 0,
        qos: 1,
        retain: false,
        packet: Some(Packet { id: sent.id, again: sent.again, settles: sent.settles && !sent.again }),
        request: None,
    }]))
}
