//! When a client connects again, and what it says meanwhile.
//!
//! Where nobody listens a try costs nothing, so it is made every two seconds: a broker that comes back is found at once. A
//! broker that hangs up soon after it has let us in is another matter. It may have a reason, such as another client with our id,
//! which loses its connection whenever we get ours: the waits get longer, up to half a minute.

use std::time::Duration;

use tokio::time::Sleep;

use super::connection::Lost;
use super::options::Client;
use crate::retry::Retry;

/// The longest wait for a broker that is not there.
const ABSENT: Duration = Duration::from_secs(2);
/// The longest wait for one that hangs up.
const HANGS_UP: Duration = Duration::from_secs(30);
/// A connection that held for so long was a good one.
pub(super) const GOOD_AFTER: Duration = Duration::from_secs(10);
/// After so many short connections in a row another client is suspected.
const SUSPICIOUS: u32 = 4;

/// The tries of one client.
#[derive(Debug)]
pub(super) struct Reconnect {
    url: String,
    id: String,
    absent: Retry,
    hangs_up: Retry,
    was_connected: bool,
    /// Connections that were lost soon, one after the other.
    short: u32,
}

impl Reconnect {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            url: client.url.clone(),
            id: client.id.clone(),
            absent: Retry::new(client.seed()).at_most(ABSENT),
            hangs_up: Retry::new(client.seed()).at_most(HANGS_UP),
            was_connected: false,
            short: 0,
        }
    }

    /// There is a connection.
    pub(super) fn connected(&mut self) {
        self.was_connected = true;
        self.absent.succeeded();
    }

    /// It has held for [`GOOD_AFTER`].
    pub(super) fn held(&mut self) {
        self.short = 0;
        self.hangs_up.succeeded();
    }

    /// The wait after a connection was lost.
    pub(super) fn lost(&mut self, lost: &Lost) -> Sleep {
        self.short += 1;
        let problem = format!("lost {}", self.url);
        if self.short < SUSPICIOUS {
            return self.hangs_up.wait(problem, lost);
        }
        let id = &self.id;
        let suspicion = format!("{lost}, again and again: has another client the client_id {id:?}?");
        self.hangs_up.wait(problem, suspicion)
    }

    /// The wait after none could be opened.
    pub(super) fn failed(&mut self, lost: &Lost) -> Sleep {
        let verb = if self.was_connected { "lost" } else { "cannot reach" };
        let problem = format!("{verb} {}", self.url);
        if lost.is_refusal() {
            return self.hangs_up.wait(problem, lost);
        }
        // It was not another client: the broker itself had gone.
        self.held();
        self.absent.wait(problem, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_that_is_away_is_tried_often_and_one_that_hangs_up_less_and_less() {
        let mut reconnect = Reconnect::new(&Client::new("mqtt://127.0.0.1", "me".into()).unwrap());
        let lost = Lost::Protocol("connection closed by the broker".into());
        let wait = |sleep: Sleep| sleep.deadline() - tokio::time::Instant::now();
        for _ in 0..20 {
            assert!(wait(reconnect.failed(&lost)) <= ABSENT);
        }
        reconnect.connected();
        assert!(wait(reconnect.lost(&lost)) < Duration::from_millis(100), "the first loss is none of many");
        for _ in 0..20 {
            reconnect.connected();
            assert!(wait(reconnect.lost(&lost)) <= HANGS_UP);
        }
        assert!(wait(reconnect.lost(&lost)) > ABSENT);
        drop(reconnect.failed(&lost));
        reconnect.connected();
        assert!(wait(reconnect.lost(&lost)) < Duration::from_millis(100), "the broker was restarted");
    }
}
