//! The servers of a program: one an address, whose paths belong to sources.
//!
//! A source reserves its path when it is made, so that what is wrong (a port in use, a path used twice) is told before
//! anything starts; the path is open while the source runs. Connections are taken from the first source that runs to
//! the last.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lineshaft_engine::declaration::OptionError;
use lineshaft_engine::hash::stable_hash;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::answer::{Refusal, response};
use super::endpoint::Endpoint;
use crate::retry::Retry;

/// Connections of one address; more wait until one ends.
const CONNECTIONS: u32 = 256;
/// Bytes and lines of a head.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How long a source that stops waits for bodies that are handed over, and a server for its last answers.
const KEPT_WITHIN: Duration = Duration::from_secs(3);

/// What no client may exceed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long a head may take, and a connection be silent between requests.
    pub(super) head: Duration,
    /// How long a body may pause.
    pub(super) idle: Duration,
    /// How long a body may take in all.
    pub(super) body: Duration,
    /// Bodies of a source that may wait for the engine.
    pub(super) waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let (head, idle) = (Duration::from_secs(10), Duration::from_secs(10));
        Self { head, idle, body: Duration::from_secs(120), waiting: 32 }
    }
}

/// The HTTP servers of a program, shared by its sources.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    servers: Arc<Mutex<HashMap<SocketAddr, Weak<Server>>>>,
}

impl Servers {
    /// Reserves a path of an address, on which a server listens from now on.
    pub(super) fn place(&self, listen: SocketAddr, path: &str) -> Result<Place, OptionError> {
        let mut servers = lock(&self.servers);
        let server = match servers.get(&listen).and_then(Weak::upgrade) {
            Some(server) => server,
            None => Arc::new(Server::bind(listen)?),
        };
        servers.insert(listen, Arc::downgrade(&server));
        let mut routes = lock(&server.routes);
        if routes.contains_key(path) {
            let message = format!("another source has the path {path:?} of {listen} already");
            return Err(OptionError::of("path", message).help("give each source a path of its own"));
        }
        routes.insert(path.to_owned(), None);
        drop(routes);
        Ok(Place { server, path: path.to_owned() })
    }
}

/// The sources by their paths; `None` while one does not run.
type Routes = Arc<Mutex<HashMap<String, Option<Arc<Endpoint>>>>>;

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    routes: Routes,
    /// Until the first source runs.
    listener: Mutex<Option<TcpListener>>,
    connections: Arc<Semaphore>,
    /// Said when the last source has stopped, or when it is dropped.
    closing: watch::Sender<bool>,
}

impl Server {
    fn bind(listen: SocketAddr) -> Result<Self, OptionError> {
        let bound = TcpListener::bind(listen).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        let (address, listener) = bound.map_err(|error| {
            let message = format!("cannot listen on {listen}: {error}");
            OptionError::of("listen", message).help("choose an address of this machine and a free port")
        })?;
        Ok(Self {
            address,
            routes: Routes::default(),
            listener: Mutex::new(Some(listener)),
            connections: Arc::new(Semaphore::new(CONNECTIONS as usize)),
            closing: watch::Sender::new(false),
        })
    }
}

/// A path of a server that belongs to one source, as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    server: Arc<Server>,
    path: String,
}

impl Place {
    /// Where the server listens: the port is the real one also where 0 was asked for.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// From now on requests go to `endpoint`. Within a runtime only.
    pub(super) fn open(&self, endpoint: Arc<Endpoint>, limits: Limits) -> std::io::Result<()> {
        lock(&self.server.routes).insert(self.path.clone(), Some(endpoint));
        let Some(listener) = lock(&self.server.listener).take() else { return Ok(()) };
        let acceptor = Acceptor {
            listener: tokio::net::TcpListener::from_std(listener)?,
            routes: Arc::clone(&self.server.routes),
            connections: Arc::clone(&self.server.connections),
            closing: self.server.closing.subscribe(),
            limits,
        };
        tokio::spawn(acceptor.run());
        Ok(())
    }

    /// From now on requests are told that the program stops. Waits until those before have their answers, within limits.
    pub(super) async fn close(self) {
        let (endpoint, is_last) = {
            let mut routes = lock(&self.server.routes);
            let endpoint = routes.get_mut(&self.path).and_then(Option::take);
            (endpoint, routes.values().all(Option::is_none))
        };
        if let Some(endpoint) = endpoint {
            endpoint.finished(KEPT_WITHIN).await;
        }
        if is_last {
            self.server.closing.send_replace(true);
            // A client that does not read its answer is left behind.
            timeout(KEPT_WITHIN, self.server.connections.acquire_many(CONNECTIONS)).await.ok();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.server.routes).remove(&self.path);
    }
}

/// Takes connections until the server closes.
struct Acceptor {
    listener: tokio::net::TcpListener,
    routes: Routes,
    connections: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
    limits: Limits,
}

impl Acceptor {
    async fn run(mut self) {
        let closing = closed(self.closing.clone());
        tokio::select! {
            () = self.accept() => {}
            () = closing => {}
        }
    }

    async fn accept(&mut self) {
        let address =
            self.listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
        let mut retry = Retry::new(stable_hash(&[address.as_bytes()]));
        while let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    retry.succeeded();
                    self.spawn(stream, remote, permit);
                }
                // Too many open files, for example: it may be better later.
                Err(error) => retry.wait(format!("cannot take connections on {address}"), error).await,
            }
        }
    }

    fn spawn(&self, stream: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit) {
        let routes = Arc::clone(&self.routes);
        let closing = closed(self.closing.clone());
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS);
        tokio::spawn(async move {
            let _permit = permit;
            // An answer is small: without this it may wait for an acknowledgement of TCP.
            stream.set_nodelay(true).ok();
            let service = service_fn(|request| answer(Arc::clone(&routes), remote, request));
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closing => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!("the connection of {remote} ended: {error}");
            }
        });
    }
}

/// Waits until the server closes, or is dropped.
async fn closed(mut closing: watch::Receiver<bool>) {
    closing.wait_for(|is_closing| *is_closing).await.ok();
}

async fn answer(
    routes: Routes,
    remote: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let route = lock(&routes).get(path).cloned();
    let outcome = match route {
        Some(Some(endpoint)) => endpoint.receive(remote.ip().to_canonical(), request).await,
        Some(None) => Err(Refusal::stopping()),
        None => {
            let error = format!("no source has the path {path:?}");
            Err(Refusal::new(StatusCode::NOT_FOUND, error, "send to the option path of a source"))
        }
    };
    Ok(response(outcome))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change of what is locked here is whole, so a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
