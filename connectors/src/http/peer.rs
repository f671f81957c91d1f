//! The server that a sink posts to: one request at a time over one connection, which is kept open between them.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::options::SinkOptions;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Bytes of an answer that are read; the connection of a longer one is given up.
const MAX_ANSWER: usize = 64 << 10;
/// Characters of an answer that are told.
const SHOWN: usize = 200;
/// A peer may ask for a longer pause, and does not get it.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The peer has it.
    Taken,
    /// The peer will never take it.
    Refused(String),
    /// Another try may help, after the pause that the peer asks for.
    Again { reason: String, pause: Duration },
}

impl Outcome {
    fn again(reason: impl Into<String>) -> Self {
        Self::Again { reason: reason.into(), pause: Duration::ZERO }
    }
}

/// The server of a sink.
#[derive(Debug)]
pub(super) struct Peer {
    options: SinkOptions,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Peer {
    pub(super) fn new(options: SinkOptions) -> Self {
        Self { options, connection: None }
    }

    /// Posts a body. If it is cancelled, the connection is given up.
    pub(super) async fn post(&mut self, body: Bytes, key: &HeaderValue) -> Outcome {
        let patience = self.options.timeout;
        match timeout(patience, self.exchange(body, key)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(reason)) => Outcome::again(reason),
            Err(_) => Outcome::again(format!("no answer within {patience:?}")),
        }
    }

    async fn exchange(&mut self, body: Bytes, key: &HeaderValue) -> Result<Outcome, String> {
        let kept = self.connection.take().filter(|connection| !connection.is_closed());
        if let Some(mut connection) = kept {
            // A peer may close a silent connection at any time; whether it read the request, the key tells it.
            if let Ok(answer) = self.send(&mut connection, body.clone(), key).await {
                return self.read(connection, answer).await;
            }
        }
        let mut connection = self.connect().await?;
        let answer = self.send(&mut connection, body, key).await?;
        self.read(connection, answer).await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let target = &self.options.target;
        let stream =
            TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|error| shown(&error))?;
        stream.set_nodelay(true).map_err(|error| shown(&error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| shown(&error))?;
        // It ends with its sender; what is wrong with it the sender tells as well.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    async fn send(
        &self,
        connection: &mut SendRequest<Full<Bytes>>,
        body: Bytes,
        key: &HeaderValue,
    ) -> Result<Response<Incoming>, String> {
        let target = &self.options.target;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.path.clone();
        request.headers_mut().clone_from(&self.options.headers);
        let host = HeaderValue::try_from(&target.authority).map_err(|error| shown(&error))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(IDEMPOTENCY_KEY, key.clone());
        connection.ready().await.map_err(|error| shown(&error))?;
        connection.send_request(request).await.map_err(|error| shown(&error))
    }

    /// Reads an answer to its end, so that the connection can be used again.
    async fn read(
        &mut self,
        connection: SendRequest<Full<Bytes>>,
        answer: Response<Incoming>,
    ) -> Result<Outcome, String> {
        let (head, body) = answer.into_parts();
        let text = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => {
                self.connection = Some(connection);
                body.to_bytes()
            }
            // The status tells enough.
            Err(_) => Bytes::new(),
        };
        if head.status.is_success() {
            return Ok(Outcome::Taken);
        }
        let text = String::from_utf8_lossy(&text);
        let told: String = text.trim().chars().take(SHOWN).collect();
        let reason = format!("it answered {}: {told:?}", head.status);
        let asked = head.headers.get(RETRY_AFTER);
        if !may_help(head.status, asked.is_some()) {
            return Ok(Outcome::Refused(reason));
        }
        let seconds = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let pause = seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_PAUSE);
        Ok(Outcome::Again { reason, pause })
    }
}

/// True if the same request may be taken later: the peer is busy or broken, or, where it asks for a pause, is still at
/// the same request.
fn may_help(status: StatusCode, asks_for_pause: bool) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::CONFLICT => asks_for_pause,
        other => other.is_server_error(),
    }
}

/// An error with its causes.
fn shown(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
