//! What is between a client and its broker: it brings bytes, and does harm when it is asked to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// How often a connection at rest looks whether there is harm to do.
const LOOK: Duration = Duration::from_millis(5);

/// What is done to the connection that is there; the next one is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// The client gets half of what has come, so it ends inside of a packet.
    CutInside,
    /// What the client says is not read any more; then the connection is reset, and the broker has not seen it.
    ResetUnread,
    /// Nothing is brought any more, in either direction, and nobody is told.
    HalfOpen,
    /// The client gets a byte a second.
    Trickle,
}

/// A way to a broker.
pub(super) struct Proxy {
    pub(super) port: u16,
    harm: Arc<Mutex<Option<Harm>>>,
}

impl Proxy {
    /// Listens, and brings bytes to and from `broker` as long as the test runs.
    pub(super) fn start(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let harm = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&harm);
        spawn(move || {
            for client in listener.incoming() {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let asked = Arc::clone(&asked);
                spawn(move || Link::new(client.unwrap(), broker, asked).bring());
            }
        });
        Self { port, harm }
    }

    /// Does harm to the connection that is there.
    pub(super) fn harm(&self, harm: Harm) {
        *self.harm.lock().unwrap() = Some(harm);
    }
}

/// One connection.
struct Link {
    client: TcpStream,
    broker: TcpStream,
    asked: Arc<Mutex<Option<Harm>>>,
}

impl Link {
    fn new(client: TcpStream, broker: TcpStream, asked: Arc<Mutex<Option<Harm>>>) -> Self {
        for stream in [&client, &broker] {
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
        }
        Self { client, broker, asked }
    }

    /// Brings bytes until one side hangs up, or harm is done.
    fn bring(mut self) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            // The harm is for the connection that has bytes to lose.
            let from_broker = read(&mut self.broker, &mut buffer);
            let harm = match from_broker {
                Some(1..) => self.asked.lock().unwrap().take(),
                _ => None,
            };
            match (from_broker, harm) {
                (Some(0), _) => break,
                (Some(count), None) => write(&mut self.client, &buffer[..count]),
                (Some(count), Some(harm)) => return self.do_harm(harm, &buffer[..count]),
                (None, _) => {}
            }
            let from_client = read(&mut self.client, &mut buffer);
            match from_client {
                Some(0) => break,
                Some(count) => write(&mut self.broker, &buffer[..count]),
                None if from_broker.is_none() => sleep(LOOK),
                None => {}
            }
        }
        self.broker.shutdown(Shutdown::Both).ok();
        self.client.shutdown(Shutdown::Both).ok();
    }

    fn do_harm(mut self, harm: Harm, bytes: &[u8]) {
        match harm {
            Harm::CutInside => write(&mut self.client, &bytes[..bytes.len() / 2]),
            Harm::ResetUnread => {
                write(&mut self.client, bytes);
                // Wait for an acknowledgement and leave it unread: dropping the socket is a reset then.
                self.client.set_nonblocking(false).unwrap();
                self.client.peek(&mut [0]).ok();
            }
            Harm::HalfOpen => self.until_the_client_leaves(|_| {}),
            Harm::Trickle => {
                let mut rest = bytes.iter();
                self.until_the_client_leaves(|client| {
                    if let Some(byte) = rest.next() {
                        write(client, &[*byte]);
                    }
                });
            }
        }
    }

    /// Once a second, as long as the client has not hung up. What it says is lost.
    fn until_the_client_leaves(&mut self, mut each_second: impl FnMut(&mut TcpStream)) {
        self.client.set_nonblocking(false).unwrap();
        self.client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        loop {
            match self.client.read(&mut [0; 4096]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    each_second(&mut self.client);
                }
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

/// How many bytes came: 0 at the end, `None` if there are none now.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    match stream.read(buffer) {
        Ok(count) => Some(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(_) => Some(0),
    }
}

/// Writes all, or as much as is taken before the other side hangs up.
fn write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_nonblocking(false).ok();
    stream.write_all(bytes).ok();
    stream.set_nonblocking(true).ok();
}
