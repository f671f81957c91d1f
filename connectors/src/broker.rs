//! An MQTT broker inside the process, for the demo and for tests. It keeps everything in memory and is no more than
//! that: a plant runs a broker of its own.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lineshaft_engine::{Error, Result};
use rumqttd::protocol::v4::V4;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use tokio::sync::oneshot;

/// Largest payload that the broker takes, bytes.
const MAX_PAYLOAD: usize = 16 << 20;
/// Messages that may wait for the acknowledgement of one client.
const MAX_IN_FLIGHT: usize = 1_000;
/// How long the broker may take to listen: 500 looks at the port, 10 ms apart.
const LOOKS: u32 = 500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A running broker on 127.0.0.1; it speaks MQTT 3.1.1. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker on `port`, or on a free port, and returns when it takes connections.
    ///
    /// # Errors
    /// If the port is in use.
    pub fn start(port: Option<u16>) -> Result<Self> {
        let port = claim(port)?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let thread = thread::Builder::new()
            .name("mqtt-broker".into())
            .spawn(move || runtime.block_on(serve(port, stopped)))
            .map_err(failed)?;
        let broker = Self { port, stop: Some(stop), thread: Some(thread) };
        broker.wait_until_it_listens()?;
        Ok(broker)
    }

    /// Where clients connect, such as `mqtt://127.0.0.1:1883`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait_until_it_listens(&self) -> Result<()> {
        for _ in 0..LOOKS {
            if TcpStream::connect(address(self.port)).is_ok() {
                return Ok(());
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Err(failed(format!("it does not listen on port {}", self.port)))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A broker that has ended by itself has nobody to tell.
            stop.send(()).unwrap_or_default();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the embedded broker panicked");
        }
    }
}

/// Serves until told to stop. The runtime ends with this function and takes all connections with it.
async fn serve(port: u16, stopped: oneshot::Receiver<()>) {
    let router = Router::new(0, router_config()).spawn();
    let mut server = Server::new(settings(port), router, V4);
    tokio::select! {
        ended = server.start(LinkType::Remote) => {
            if let Err(error) = ended {
                tracing::error!("the embedded broker has ended: {error}");
            }
        }
        // Told to stop, or the Broker is gone: both mean the same.
        _ = stopped => {}
    }
}

fn claim(port: Option<u16>) -> Result<u16> {
    let listener = TcpListener::bind(address(port.unwrap_or(0))).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn router_config() -> RouterConfig {
    RouterConfig {
        max_connections: 1_000,
        max_outgoing_packet_count: 1_000,
        // Per topic filter, in memory: the oldest segment goes when there are more.
        max_segment_size: 16 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    }
}

fn settings(port: u16) -> ServerSettings {
    ServerSettings {
        name: "mqtt-broker".into(),
        listen: address(port),
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 10_000,
            max_payload_size: MAX_PAYLOAD,
            max_inflight_count: MAX_IN_FLIGHT,
            auth: None::<HashMap<String, String>>,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

fn failed(reason: impl std::fmt::Display) -> Error {
    Error::connector("mqtt broker", "embedded", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_takes_connections_until_it_is_dropped() {
        let broker = Broker::start(None).unwrap();
        let port = broker.port();
        assert_eq!(broker.url(), format!("mqtt://127.0.0.1:{port}"));
        assert!(TcpStream::connect(address(port)).is_ok());
        drop(broker);
        assert!(TcpStream::connect(address(port)).is_err());
        let again = Broker::start(Some(port)).unwrap();
        assert_eq!(again.port(), port);
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let broker = Broker::start(None).unwrap();
        let error = Broker::start(Some(broker.port())).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
