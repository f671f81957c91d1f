//! A message on its way out, and how it goes on after a restart.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use lineshaft_engine::Result;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::EventTime;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;

/// A message on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) publish: Publish,
    /// Of a command, which leaves at most once.
    pub(crate) command: Option<Command>,
}

/// What makes a message a command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// After that it must not leave.
    pub(crate) expires_at: EventTime,
    /// The same, whatever becomes of the wall clock.
    pub(crate) until: Instant,
    /// Its row, by which its outcome is told.
    pub(crate) row: RecordBatch,
}

const LEFT: &str = "left";

/// Publications in a checkpoint. Commands are not: they leave at most once.
pub(crate) fn snapshot(left: &[Publication]) -> Result<Snapshot> {
    let left = || left.iter().filter(|publication| publication.command.is_none()).map(|p| &p.publish);
    let columns: [(&str, ArrayRef); 3] = [
        ("topic", Arc::new(StringArray::from_iter_values(left().map(|publish| &publish.topic)))),
        ("payload", Arc::new(BinaryArray::from_iter_values(left().map(|publish| &publish.payload)))),
        ("retain", Arc::new(BooleanArray::from_iter(left().map(|publish| Some(publish.retain))))),
    ];
    let mut snapshot = Snapshot::default();
    snapshot.put(LEFT, RecordBatch::try_from_iter(columns)?);
    Ok(snapshot)
}

/// The publications of a checkpoint; `None` if it has none.
pub(crate) fn restored(mut snapshot: Snapshot, qos: QoS) -> Option<Vec<Publication>> {
    let left = snapshot.take(LEFT)?;
    let topics = left.column_by_name("topic")?.as_string_opt::<i32>()?;
    let payloads = left.column_by_name("payload")?.as_binary_opt::<i32>()?;
    let retain = left.column_by_name("retain")?.as_boolean_opt()?;
    let publication = |row| {
        let mut publish = Publish::new(topics.value(row), qos, payloads.value(row));
        publish.retain = retain.value(row);
        Publication { publish, command: None }
    };
    Some((0..left.num_rows()).map(publication).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outbox::Outbox;

    #[test]
    fn what_is_not_done_is_part_of_a_checkpoint() {
        let outbox = Outbox::default();
        let numbered = |n: usize| {
            let mut publish = Publish::new(format!("t/{n}"), QoS::AtLeastOnce, n.to_string());
            publish.retain = n == 2;
            let row = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
            Publication {
                publish,
                command: (n == 3).then(|| Command { expires_at: 0, until: Instant::now(), row }),
            }
        };
        outbox.put((0..5).map(numbered).collect(), Duration::ZERO, || false).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(outbox.take(3)).unwrap();
        outbox.done(1);
        let left = restored(snapshot(&outbox.left()).unwrap(), QoS::AtLeastOnce).unwrap();
        let shown: Vec<_> = left.iter().map(|p| (p.publish.topic.as_str(), p.publish.retain)).collect();
        assert_eq!(shown, [("t/1", false), ("t/2", true), ("t/4", false)], "a command leaves at most once");
    }
}
