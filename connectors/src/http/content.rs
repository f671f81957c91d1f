//! `Content-Type`: how a client says in which format a body is.

use crate::format::Encoding;

/// The format that a `Content-Type` names; its parameters say nothing, for all text is UTF-8.
pub(super) fn of_content_type(text: &str) -> Option<Encoding> {
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some(match essence.as_str() {
        "application/json" | "text/json" => Encoding::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json-lines" => {
            Encoding::Json
        }
        "application/senml+json" => Encoding::SenMl,
        "text/csv" | "application/csv" => Encoding::Csv,
        // As the clients of InfluxDB send it.
        "text/plain" | "application/vnd.influx.line" => Encoding::Influx,
        _ => return None,
    })
}

/// The `Content-Type` of a format.
pub(super) fn type_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "application/json or application/x-ndjson",
        Encoding::SenMl => "application/senml+json",
        Encoding::Csv => "text/csv",
        Encoding::Influx => "text/plain (Influx line protocol)",
    }
}
