//! HTTP/1.1: bodies of requests as rows, and rows as bodies of requests.
//!
//! ```text
//! client --POST /readings--> Server: one an address --path--> Endpoint: checks, reads, unpacks --Message--> engine
//!        <--204, 4xx, 429-------------------------------------------------- once it is kept ---------------'
//! rows --> Outbox --> task: batches --POST--> Peer; 2xx: done, 408, 425, 429, 5xx: again, other: refused and told
//! ```
//!
//! | | source | sink |
//! |---|---|---|
//! | guarantee | at least once: 204 is answered when the engine has the body; exactly once with an `Idempotency-Key` | at least once while the program runs, in order; a batch that is sent again has the same `Idempotency-Key` |
//! | position | - | - |
//! | event time | a column of the record; `received_at` is ours | - |
//! | the peer goes away | it sends again what was not answered with 204 | tries for ever, with a back-off; when the outbox is full, `write` waits |
//! | the engine is full | 429 with `Retry-After` | - |
//! | the program stops | 503; what was handed over is still answered, for 3 s | waits 10 s for what is in the outbox |
//! | limits | `max_payload`, packed and unpacked: 413; 256 connections an address; head within 10 s and 16 KiB, a body without a pause of 10 s and within 2 min | 10,000 rows in the outbox |
//!
//! A record that does not fit goes to `<source>.quarantine`, as with other connectors, and the answer is 204. A body in
//! which no record could be right (not JSON at all, a damaged gzip, a CSV header without a column of the source) is
//! answered 400.
//!
//! `Idempotency-Key` is that of draft-ietf-httpapi-idempotency-key-header; the engine keeps it with the body, so it is known after a
//! restart, too.

mod answer;
mod content;
mod endpoint;
mod idempotency;
mod options;
mod peer;
mod row;
mod server;
mod sink;
mod source;
mod target;
#[cfg(test)]
mod tests;

pub use options::{SINK_OPTIONS, SOURCE_OPTIONS};
pub use server::Servers;
pub(crate) use sink::check_sink;
pub use sink::sink;
pub(crate) use source::check_source;
pub use source::{METADATA, source};
