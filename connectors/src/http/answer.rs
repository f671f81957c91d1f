//! The answers of a source: 204 for what is kept, and else what is wrong and what to do, as JSON.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    error: String,
    help: String,
}

impl Refusal {
    /// `error` says what is wrong, `help` what to do.
    pub(super) fn new(status: StatusCode, error: impl Into<String>, help: impl Into<String>) -> Self {
        Self { status, error: error.into(), help: help.into() }
    }

    /// The engine is full.
    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "the engine is busy",
            "send the request again after a second",
        )
    }

    /// The program stops, or has not begun.
    pub(super) fn stopping() -> Self {
        let help = "send the request again when the program runs; whether this one was kept is not known";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the program does not run", help)
    }

    /// The header that belongs to the status.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self.status {
            StatusCode::METHOD_NOT_ALLOWED => (ALLOW, "POST"),
            StatusCode::UNAUTHORIZED => (WWW_AUTHENTICATE, "Bearer"),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT => {
                (RETRY_AFTER, "1")
            }
            _ => return None,
        };
        Some((name, HeaderValue::from_static(value)))
    }
}

/// The response to a request.
pub(super) fn response(outcome: Result<(), Refusal>) -> Response<Full<Bytes>> {
    let Err(refusal) = outcome else {
        let mut kept = Response::new(Full::default());
        *kept.status_mut() = StatusCode::NO_CONTENT;
        return kept;
    };
    let body = json!({ "error": refusal.error, "help": refusal.help });
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some((name, value)) = refusal.header() {
        response.headers_mut().insert(name, value);
    }
    response
}
