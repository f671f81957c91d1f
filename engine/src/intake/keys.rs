//! The keys of requests that are kept, so that a connector knows them after a restart.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};

use crate::checkpoint::{column, damaged};
use crate::error::Result;
use crate::hash::stable_hash;
use crate::operator::Snapshot;
use crate::source::{KeptKey, MAX_KEYS, Message};

const KEYS: &str = "keys";

/// The last keys of a source, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(VecDeque<KeptKey>);

impl Keys {
    /// The keys of messages.
    pub(crate) fn of(messages: &[Message]) -> Vec<KeptKey> {
        let key = |message: &Message| {
            let key = message.request.as_ref()?.key.clone()?;
            Some(KeptKey { key, body: stable_hash(&[&message.payload]), at: message.received_at })
        };
        messages.iter().filter_map(key).collect()
    }

    pub(crate) fn remember(&mut self, keys: Vec<KeptKey>) {
        self.0.extend(keys);
        self.0.drain(..self.0.len().saturating_sub(MAX_KEYS));
    }

    pub(crate) fn into_vec(self) -> Vec<KeptKey> {
        self.0.into()
    }

    pub(crate) fn snapshot(&self, snapshot: &mut Snapshot) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("key", Arc::new(StringArray::from_iter_values(self.0.iter().map(|kept| &kept.key)))),
            ("body", Arc::new(Int64Array::from_iter_values(self.0.iter().map(|it| it.body.cast_signed())))),
            ("at", Arc::new(Int64Array::from_iter_values(self.0.iter().map(|kept| kept.at)))),
        ];
        snapshot.put(KEYS, RecordBatch::try_from_iter(columns)?);
        Ok(())
    }

    pub(crate) fn restore(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        let Some(table) = snapshot.take(KEYS) else { return Ok(()) };
        let keys = table.column_by_name("key").and_then(|keys| keys.as_string_opt::<i32>());
        let keys = keys.filter(|keys| keys.null_count() == 0).ok_or_else(damaged)?;
        let rest = column(&table, "body")?.iter().zip(column(&table, "at")?);
        let kept = keys.iter().flatten().zip(rest);
        self.0.extend(kept.map(|(key, (body, at))| KeptKey {
            key: key.to_owned(),
            body: body.cast_unsigned(),
            at: *at,
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Request;

    #[test]
    fn keys_are_remembered_over_a_restart_up_to_the_limit() {
        let message = |key: Option<&str>| {
            let request = Request { key: key.map(str::to_owned), ..Request::default() };
            Message { payload: b"body".to_vec(), request: Some(Box::new(request)), ..Message::default() }
        };
        let mut keys = Keys::default();
        keys.remember(Keys::of(&[message(Some("a")), message(None), Message::default(), message(Some("b"))]));
        let mut snapshot = Snapshot::default();
        keys.snapshot(&mut snapshot).unwrap();
        let mut later = Keys::default();
        later.restore(&mut snapshot).unwrap();
        let names = |keys: &Keys| keys.0.iter().map(|kept| kept.key.clone()).collect::<Vec<_>>();
        assert_eq!(names(&later), ["a", "b"]);
        assert_eq!(later.0[0].body, stable_hash(&[b"body"]));
        for n in 0..MAX_KEYS {
            later.remember(Keys::of(&[message(Some(&n.to_string()))]));
        }
        assert_eq!((later.0.len(), later.0[0].key.as_str()), (MAX_KEYS, "0"));
    }
}
