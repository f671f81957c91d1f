//! The requests of one source: from their head to their answer.
//!
//! What costs nothing is checked first: token, method, whether the engine has room, what the head says of the body. Then
//! the body is read, unpacked and handed over, and the answer is given when the engine keeps it. A client that goes away
//! meanwhile changes nothing: handing over is a task of its own.

use std::io::Read;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use lineshaft_engine::clock::Clock;
use lineshaft_engine::hash::stable_hash;
use lineshaft_engine::source::{self, Chunk, ChunkSender, KeptKey, MAX_KEYS, Message, Payload, Stopped};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::answer::Refusal;
use super::content::{of_content_type, type_of};
use super::idempotency::{Keys, Seen};
use super::options::SourceOptions;
use super::server::Limits;
use crate::format::{Encoding, MessageDecoder};

/// The header of a key.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longer keys are refused.
const MAX_KEY: usize = 255;

/// Where the requests of a source go.
#[derive(Debug)]
pub(super) struct Endpoint {
    options: SourceOptions,
    limits: Limits,
    decoder: Arc<MessageDecoder>,
    chunks: ChunkSender,
    /// A place for each body that waits for the engine.
    places: Arc<Semaphore>,
    keys: Mutex<Keys>,
}

/// What the head of a request says of its body.
struct Head {
    encoding: Encoding,
    is_packed: bool,
    key: Option<String>,
    remote: IpAddr,
}

impl Endpoint {
    pub(super) fn new(
        options: &SourceOptions,
        limits: Limits,
        decoder: Arc<MessageDecoder>,
        chunks: ChunkSender,
        kept: Vec<KeptKey>,
    ) -> Self {
        let mut keys = Keys::new(options.idempotency_window, MAX_KEYS);
        keys.restore(kept, Clock::system().now());
        Self {
            keys: Mutex::new(keys),
            places: Arc::new(Semaphore::new(limits.waiting)),
            options: options.clone(),
            limits,
            decoder,
            chunks,
        }
    }

    /// Takes a request; returns when the engine keeps its body, or why it does not.
    pub(super) async fn receive(
        self: Arc<Self>,
        remote: IpAddr,
        request: Request<Incoming>,
    ) -> Result<(), Refusal> {
        let (parts, body) = request.into_parts();
        self.check_sender(&parts)?;
        let head = self.read_head(&parts.headers, remote)?;
        let body = self.read_body(body).await?;
        let body = if head.is_packed { self.unpack(&body)? } else { body };
        if let Err(wrong) = self.decoder.check_whole(head.encoding, &body) {
            let help = format!("the format is {}", head.encoding.name());
            return Err(Refusal::new(StatusCode::BAD_REQUEST, wrong, help));
        }
        self.hand_over(head, body).await
    }

    /// Waits until no body waits for the engine, for `patience`.
    pub(super) async fn finished(&self, patience: Duration) {
        let all = u32::try_from(self.limits.waiting).unwrap_or(u32::MAX);
        // Who still waits then is told that the program stops.
        timeout(patience, self.places.acquire_many(all)).await.ok();
    }

    fn check_sender(&self, parts: &Parts) -> Result<(), Refusal> {
        if let Some(expected) = &self.options.token {
            let given = parts.headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
            // How long it takes tells nothing of where they differ.
            if !bool::from(given.ct_eq(expected.as_bytes())) {
                let help = "send the header 'Authorization: Bearer <token>' with the token of the source";
                return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong", help));
            }
        }
        if parts.method != Method::POST {
            let error = format!("{} is not taken here", parts.method);
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error, "POST the rows"));
        }
        if self.chunks.is_stopped() {
            return Err(Refusal::stopping());
        }
        if self.is_full() { Err(Refusal::busy()) } else { Ok(()) }
    }

    fn is_full(&self) -> bool {
        self.chunks.is_full() || self.places.available_permits() == 0
    }

    fn read_head(&self, headers: &HeaderMap, remote: IpAddr) -> Result<Head, Refusal> {
        let encoding = self.encoding(header(headers, CONTENT_TYPE.as_str())?)?;
        let is_packed = match header(headers, CONTENT_ENCODING.as_str())?.unwrap_or("identity") {
            "identity" => false,
            "gzip" | "x-gzip" => true,
            other => {
                let error = format!("the Content-Encoding {other:?} is not known");
                return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, "send gzip or plain"));
            }
        };
        let length = header(headers, CONTENT_LENGTH.as_str())?.and_then(|text| text.parse::<usize>().ok());
        if length.is_some_and(|length| length > self.options.max_payload) {
            return Err(self.too_large());
        }
        let key = header(headers, IDEMPOTENCY_KEY)?;
        if key.is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
            let error = format!("the Idempotency-Key is empty or longer than {MAX_KEY} bytes");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, error, "send another key, such as a UUID"));
        }
        Ok(Head { encoding, is_packed, key: key.map(str::to_owned), remote })
    }

    /// The format of the body. A source of one format takes any type but that of another format: `curl -d` says
    /// `application/x-www-form-urlencoded` of everything.
    fn encoding(&self, content_type: Option<&str>) -> Result<Encoding, Refusal> {
        let named = content_type.and_then(of_content_type);
        let mut known = self.decoder.encodings();
        let first = known.next();
        let is_one = known.next().is_none();
        let taken = match named {
            Some(named) => self.decoder.encodings().find(|encoding| *encoding == named),
            None => first.filter(|_| is_one),
        };
        taken.ok_or_else(|| {
            let error = match content_type {
                Some(text) => format!("the Content-Type {text:?} is not taken here"),
                None => "the Content-Type is missing".to_owned(),
            };
            let names: Vec<&str> = self.decoder.encodings().map(type_of).collect();
            let help = format!("send {}", names.join(", "));
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, help)
        })
    }

    async fn read_body(&self, body: Incoming) -> Result<Vec<u8>, Refusal> {
        tokio::select! {
            read = timeout(self.limits.body, self.read_frames(body)) => match read {
                Ok(read) => read,
                Err(_) => Err(too_slow()),
            },
            () = self.chunks.stopped() => Err(Refusal::stopping()),
        }
    }

    async fn read_frames(&self, mut body: Incoming) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        while let Some(frame) = timeout(self.limits.idle, body.frame()).await.map_err(|_| too_slow())? {
            let broken = |_| Refusal::new(StatusCode::BAD_REQUEST, "the body broke off", "send it again");
            // What is no data are trailers, which say nothing to us.
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes.len() + data.len() > self.options.max_payload {
                return Err(self.too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>, Refusal> {
        let most = self.options.max_payload as u64 + 1;
        let mut plain = Vec::new();
        let read = MultiGzDecoder::new(packed).take(most).read_to_end(&mut plain);
        if plain.len() > self.options.max_payload {
            return Err(self.too_large());
        }
        read.map(|_| plain).map_err(|error| {
            let error = format!("the body is not gzip: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, error, "leave out the Content-Encoding of a plain body")
        })
    }

    fn too_large(&self) -> Refusal {
        let error = format!("the body is longer than {} bytes", self.options.max_payload);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send fewer rows, or raise max_payload")
    }

    async fn hand_over(self: Arc<Self>, head: Head, body: Vec<u8>) -> Result<(), Refusal> {
        let now = Clock::system().now();
        let seen = match &head.key {
            Some(key) => self.keys().begin(key, stable_hash(&[&body]), now),
            None => Seen::New,
        };
        match seen {
            Seen::New => {}
            Seen::Kept => return Ok(()),
            Seen::Running => {
                let help = "wait for its answer, or send this one again after a second";
                return Err(Refusal::new(
                    StatusCode::CONFLICT,
                    "a request with this key is not done yet",
                    help,
                ));
            }
            Seen::Other => {
                let error = "the Idempotency-Key was used for another body";
                return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error, "send another key"));
            }
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok().filter(|_| !self.chunks.is_full());
        let Some(place) = place else {
            self.settle(head.key.as_deref(), false);
            return Err(Refusal::busy());
        };
        let request = source::Request {
            remote: head.remote.to_string(),
            format: head.encoding.name().to_owned(),
            key: head.key.clone(),
        };
        let message = Message {
            topic: self.options.path.clone(),
            payload: body,
            received_at: now,
            request: Some(Box::new(request)),
            ..Message::default()
        };
        let delivery = tokio::spawn(self.deliver(message, head.key, place));
        match delivery.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Stopped)) | Err(_) => Err(Refusal::stopping()),
        }
    }

    async fn deliver(
        self: Arc<Self>,
        message: Message,
        key: Option<String>,
        _place: OwnedSemaphorePermit,
    ) -> Result<(), Stopped> {
        let kept = self.chunks.deliver(Chunk::new(Payload::Messages(vec![message]))).await;
        self.settle(key.as_deref(), kept.is_ok());
        kept
    }

    /// What was begun with a key has ended.
    fn settle(&self, key: Option<&str>, is_kept: bool) {
        match key {
            Some(key) if is_kept => self.keys().keep(key),
            Some(key) => self.keys().take_back(key),
            None => {}
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        // Every change of the keys is whole, so a panic elsewhere leaves them usable.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_slow() -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly", "send fewer rows at once")
}

/// The text of a header, if it is there.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let text = headers.get(name).map(|value| value.to_str().map(str::trim)).transpose();
    text.map_err(|_| {
        let error = format!("the header {name} is not ASCII");
        Refusal::new(StatusCode::BAD_REQUEST, error, "send letters, digits and punctuation only")
    })
}
