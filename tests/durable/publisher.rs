//! Clients by hand. One publishes: each message at QoS 1, once, and it knows which the broker has. The other subscribes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Messages that may be without an answer.
const IN_FLIGHT: usize = 100;

/// A connection that publishes.
pub(super) struct Publisher {
    stream: TcpStream,
    last_id: u16,
}

impl Publisher {
    pub(super) fn connect(port: u16) -> Self {
        Self { stream: connect(port, 2, b"publishes"), last_id: 0 }
    }

    /// Publishes, and waits until the broker has all of them.
    pub(super) fn publish(&mut self, topic: &str, payloads: impl IntoIterator<Item = Vec<u8>>) {
        let mut waiting = 0;
        for payload in payloads {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
            body.extend(topic.as_bytes());
            body.extend(self.last_id.to_be_bytes());
            body.extend(payload);
            send(&mut self.stream, 0x32, &body);
            waiting += 1;
            if waiting == IN_FLIGHT {
                self.answered(&mut waiting);
            }
        }
        while waiting > 0 {
            self.answered(&mut waiting);
        }
    }

    fn answered(&mut self, waiting: &mut usize) {
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..2], [0x40, 2], "PUBACK");
        *waiting -= 1;
    }
}

/// A connection that gets what is published, with a session that the broker keeps.
pub(super) struct Subscriber {
    stream: TcpStream,
}

impl Subscriber {
    pub(super) fn connect(port: u16, topic: &str) -> Self {
        let mut stream = connect(port, 0, b"subscribes");
        let mut body = vec![0, 1];
        body.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        body.extend(topic.as_bytes());
        body.push(1);
        send(&mut stream, 0x82, &body);
        let mut subscriber = Self { stream };
        // Messages of the session may come first; they come again, for they are not acknowledged.
        while subscriber.read().0 != 0x90 {}
        drop(subscriber);
        Self { stream: connect(port, 0, b"subscribes") }
    }

    /// The payload of the next message.
    pub(super) fn next(&mut self) -> String {
        loop {
            let (first, body) = self.read();
            if first & 0xf0 != 0x30 {
                continue;
            }
            let (topic, rest) = body[2..].split_at(usize::from(u16::from_be_bytes([body[0], body[1]])));
            assert!(!topic.is_empty());
            send(&mut self.stream, 0x40, &rest[..2]);
            return String::from_utf8(rest[2..].to_vec()).unwrap();
        }
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut byte = || {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            byte[0]
        };
        let first = byte();
        let (mut length, mut shift) = (0, 0);
        loop {
            let next = byte();
            length |= usize::from(next & 0x7f) << shift;
            shift += 7;
            if next & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (first, body)
    }
}

/// A connection that is let in; `flags` of CONNECT, 2 for a session of its own.
fn connect(port: u16, flags: u8, id: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.extend([flags, 0, 0, 0, u8::try_from(id.len()).unwrap()]);
    body.extend(id);
    send(&mut stream, 0x10, &body);
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[..2].to_vec(), answer[3]), (vec![0x20, 2], 0), "CONNACK");
    stream
}

fn send(stream: &mut TcpStream, first: u8, body: &[u8]) {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let byte = u8::try_from(rest % 128).unwrap();
        rest /= 128;
        packet.push(if rest > 0 { byte | 0x80 } else { byte });
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    stream.write_all(&packet).unwrap();
}
