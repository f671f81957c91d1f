//! Tells messages that a broker sends again from new ones.

use std::collections::{BTreeMap, VecDeque};

use crate::checkpoint::{column, damaged, number, numbers};
use crate::error::Result;
use crate::hash::stable_hash;
use crate::operator::Snapshot;
use crate::source::{MAX_UNSETTLED, Message};

/// The id of a delivery, and a hash of what came.
type Delivery = (u16, u64);

/// The messages of a source that its broker may send again.
///
/// A message repeats one if the broker says that it sends it again **and** it is the same as one that was kept under its id, whose
/// acknowledgement the broker may not have read. Less is not enough: messages that never came are marked as sent again, too, ids
/// are used again, and a counter may send the same all day. A broker sends again in the order in which it sent, so what it
/// may send again are always the last that were kept.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    /// The oldest first.
    kept: VecDeque<Delivery>,
    /// The number of the oldest.
    first: u64,
    /// The number of the last of each.
    places: BTreeMap<Delivery, u64>,
    /// What is before this number is settled once the next message says so.
    mark: u64,
}

impl Packets {
    /// Takes note of a message that is kept from now on; false if it is kept already.
    pub(crate) fn admit(&mut self, message: &Message) -> bool {
        let is_again = message.packet.is_some_and(|packet| packet.again);
        let is_kept = is_again && delivery(message).is_some_and(|it| self.places.contains_key(&it));
        if !is_kept {
            self.remember(message);
        }
        !is_kept
    }

    /// Takes note of a message that is kept.
    pub(crate) fn remember(&mut self, message: &Message) {
        let Some(delivery) = delivery(message) else { return };
        if message.packet.is_some_and(|packet| packet.settles) {
            while self.first < self.mark && !self.kept.is_empty() {
                self.forget_oldest();
            }
            self.mark = self.next();
        }
        if self.kept.len() == MAX_UNSETTLED {
            self.forget_oldest();
        }
        self.places.insert(delivery, self.next());
        self.kept.push_back(delivery);
    }

    /// The last `count` messages could not be kept after all.
    pub(crate) fn take_back(&mut self, count: usize) {
        for _ in 0..count {
            let Some(delivery) = self.kept.pop_back() else { return };
            self.places.remove(&delivery);
        }
        self.mark = self.mark.min(self.next());
    }

    /// The ids begin anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.kept.pop_front() else { return };
        // The same may have come again, later.
        if self.places.get(&oldest) == Some(&self.first) {
            self.places.remove(&oldest);
        }
        self.first += 1;
    }

    pub(crate) fn snapshot(&self, snapshot: &mut Snapshot) -> Result<()> {
        let ids = self.kept.iter().map(|(id, _)| i64::from(*id)).collect();
        let hashes = self.kept.iter().map(|(_, hash)| hash.cast_signed()).collect();
        snapshot.put("packets", numbers([("id", ids), ("hash", hashes)])?);
        let before = self.mark.saturating_sub(self.first);
        snapshot.put("settled", numbers([("before", vec![before.cast_signed()])])?);
        Ok(())
    }

    pub(crate) fn restore(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        let packets = snapshot.take("packets").ok_or_else(damaged)?;
        let pairs = column(&packets, "id")?.iter().zip(column(&packets, "hash")?);
        for (id, hash) in pairs {
            let delivery = (u16::try_from(*id).map_err(|_| damaged())?, hash.cast_unsigned());
            self.places.insert(delivery, self.next());
            self.kept.push_back(delivery);
        }
        // Checkpoints of before have none: nothing is settled then.
        if let Some(settled) = snapshot.take("settled") {
            self.mark = self.first + number(&settled, "before")?.cast_unsigned();
        }
        Ok(())
    }
}

fn delivery(message: &Message) -> Option<Delivery> {
    let hash = || stable_hash(&[message.topic.as_bytes(), &message.payload]);
    message.packet.map(|packet| (packet.id, hash()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Packet;

    fn message(id: u16, payload: &str, again: bool) -> Message {
        let packet = Some(Packet { id, again, settles: false });
        Message { payload: payload.into(), packet, ..Message::default() }
    }

    fn settles(id: u16, payload: &str) -> Message {
        let packet = Some(Packet { id, again: false, settles: true });
        Message { packet, ..message(id, payload, false) }
    }

    /// What a program has that was started again from its checkpoint.
    fn restarted(packets: &Packets) -> Packets {
        let mut snapshot = Snapshot::default();
        packets.snapshot(&mut snapshot).unwrap();
        let mut later = Packets::default();
        later.restore(&mut snapshot).unwrap();
        later
    }

    #[test]
    fn only_the_same_message_sent_again_is_known() {
        let mut packets = Packets::default();
        assert!(packets.admit(&message(1, "x", true)), "sent before, but not to us");
        assert!(!packets.admit(&message(1, "x", true)));
        assert!(packets.admit(&message(1, "x", false)), "the same value again is news");
        assert!(packets.admit(&message(1, "y", true)), "the id is used again");
        assert!(!packets.admit(&message(1, "x", true)), "sent again after the id was used again");
        assert!(packets.admit(&message(2, "y", true)));
        let mut later = restarted(&packets);
        assert!(!later.admit(&message(2, "y", true)), "it is remembered");
        later.take_back(1);
        assert!(later.admit(&message(2, "y", true)), "it was not kept");
        later.forget();
        assert!(later.admit(&message(2, "y", true)), "the ids of another session");
    }

    #[test]
    fn what_is_settled_is_forgotten_and_no_more() {
        let mut packets = Packets::default();
        packets.remember(&message(1, "x", false));
        packets.remember(&settles(2, "x"));
        packets.remember(&message(3, "x", false));
        assert!(!packets.admit(&message(1, "x", true)), "the first mark settles what is before the start");
        let mut packets = restarted(&packets);
        packets.remember(&settles(4, "x"));
        assert!(!packets.admit(&message(2, "x", true)), "the message of the last mark may come again");
        assert!(!packets.admit(&message(3, "x", true)));
        assert!(packets.admit(&message(1, "x", true)), "a counter sends the same: this one never came");
    }

    #[test]
    fn a_broker_that_settles_nothing_is_remembered_up_to_the_limit() {
        let mut packets = Packets::default();
        let id = |n: usize| u16::try_from(n % 65_535).unwrap();
        for n in 0..=MAX_UNSETTLED {
            packets.remember(&message(id(n), &n.to_string(), false));
        }
        assert_eq!((packets.kept.len(), packets.places.len()), (MAX_UNSETTLED, MAX_UNSETTLED));
        assert!(!packets.admit(&message(id(1), "1", true)));
        assert!(packets.admit(&message(id(0), "0", true)));
    }
}
