//! MQTT 3.1.1: messages of a broker as rows, and rows as messages.
//!
//! ```text
//! broker --PUBLISH--> Connection --> Reader: gathers --Chunk--> engine, then PUBACK
//! rows --> topic and payload --> Outbox --> task: Connection --PUBLISH--> broker; PUBACK: done
//! ```
//!
//! | | source | sink |
//! |---|---|---|
//! | guarantee | at least once (QoS 1, persistent session, acknowledged when the engine has it) | at least once while the program runs; commands at most once |
//! | position | kept by the broker, for the `client_id` | - |
//! | event time | a column of the message; `received_at` is ours | - |
//! | the broker goes away | tries every 2 s; one that hangs up, up to 30 s apart; says so | keeps the rows in its outbox; when that is full, `write` waits |
//! | a table | loaded when the retained messages have come, or after 5 s; then streams are read | - |
//! | the session is lost | a warning that begins with `GAP` | what was not acknowledged is sent again |
//! | limits | a payload above `max_payload` is quarantined, one above 16 MiB blocks the stream and is told | 10,000 messages in the outbox |
//!
//! A broker drops what it cannot queue: mosquitto needs `max_queued_messages 0`, and for a source that must outlive
//! the broker `persistence true`, `autosave_on_changes true` and `autosave_interval 1`.

mod command;
pub(crate) mod connection;
pub(crate) mod options;
mod publication;
mod reconnect;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod topic;

pub use options::{SINK_OPTIONS, SOURCE_OPTIONS};
pub(crate) use sink::check_sink;
pub use sink::sink;
pub(crate) use source::check_source;
pub use source::{METADATA, source};
