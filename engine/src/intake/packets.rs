//! Tells messages that a broker sends again from new ones.

use std::collections::BTreeMap;

use crate::checkpoint::{column, damaged, numbers};
use crate::error::Result;
use crate::hash::stable_hash;
use crate::operator::Snapshot;
use crate::source::Message;

/// How many uses of an id are remembered: a million messages. Brokers lose acknowledgements of a client that dies before they have
/// read them, and may have more messages on the way to one that was away than there are ids.
const REMEMBERED: usize = 16;

/// The last messages of each packet id of a source, 65,535 ids at most.
///
/// A message repeats one if the broker says that it sends it again **and** it is the same as one of the last kept under its id.
/// Either alone is not enough: messages that never came are marked as sent again, too, and ids are used again.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    /// By id: hashes, the newest last.
    last: BTreeMap<u16, Vec<u64>>,
}

impl Packets {
    /// Takes note of a message that is kept from now on; false if it is kept already.
    pub(crate) fn admit(&mut self, message: &Message) -> bool {
        let Some(packet) = message.packet else { return true };
        let hash = stable_hash(&[message.topic.as_bytes(), &message.payload]);
        let last = self.last.entry(packet.id).or_default();
        if packet.again && last.contains(&hash) {
            return false;
        }
        if last.len() == REMEMBERED {
            last.remove(0);
        }
        last.push(hash);
        true
    }

    /// Messages with these ids could not be kept after all.
    pub(crate) fn take_back(&mut self, ids: &[u16]) {
        for id in ids {
            self.last.get_mut(id).and_then(Vec::pop);
        }
    }

    /// The ids begin anew.
    pub(crate) fn forget(&mut self) {
        self.last.clear();
    }

    pub(crate) fn snapshot(&self, snapshot: &mut Snapshot) -> Result<()> {
        let pairs = || self.last.iter().flat_map(|(id, hashes)| hashes.iter().map(move |hash| (id, hash)));
        let ids = pairs().map(|(id, _)| i64::from(*id)).collect();
        let hashes = pairs().map(|(_, hash)| hash.cast_signed()).collect();
        snapshot.put("packets", numbers([("id", ids), ("hash", hashes)])?);
        Ok(())
    }

    pub(crate) fn restore(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        let packets = snapshot.take("packets").ok_or_else(damaged)?;
        let pairs = column(&packets, "id")?.iter().zip(column(&packets, "hash")?);
        for (id, hash) in pairs {
            let id = u16::try_from(*id).map_err(|_| damaged())?;
            self.last.entry(id).or_default().push(hash.cast_unsigned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Packet;

    fn message(id: u16, payload: &str, again: bool) -> Message {
        Message { payload: payload.into(), packet: Some(Packet { id, again }), ..Message::default() }
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
        let mut snapshot = Snapshot::default();
        packets.snapshot(&mut snapshot).unwrap();
        let mut later = Packets::default();
        later.restore(&mut snapshot).unwrap();
        assert!(!later.admit(&message(2, "y", true)), "it is remembered");
        later.take_back(&[2]);
        assert!(later.admit(&message(2, "y", true)), "it was not kept");
        later.forget();
        assert!(later.admit(&message(2, "y", true)), "the ids of another session");
    }
}
