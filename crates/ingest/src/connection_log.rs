//! Logs that connections were refused, or closed to make room for new ones.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::places::{Entry, Place};

/// How often a message of one kind may be logged. Connections are not authenticated, so without
/// this limit they could fill the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The kinds of messages, each with the time from which its next log line is allowed.
#[derive(Default)]
pub(crate) struct ConnectionLog {
    not_accepted: Occasion,
    made_room: Occasion,
    address_full: Occasion,
}

impl ConnectionLog {
    /// Logs that the operating system could not accept a connection.
    pub fn not_accepted(&mut self, error: &std::io::Error) {
        if self.not_accepted.is_due().is_some() {
            tracing::warn!(error = %error, "a connection could not be accepted");
        }
    }

    /// Logs what was decided about a connection, and returns its place if it was admitted.
    pub fn place(&mut self, entry: Entry, peer: IpAddr) -> Option<Arc<Place>> {
        match entry {
            Entry::Taken(place) => Some(place),
            Entry::MadeRoom(place) => {
                if let Some(count) = self.made_room.is_due() {
                    tracing::warn!(
                        count,
                        peer = %peer,
                        "every place for connections is taken: connections without a verified \
                         request were closed to make room, {count} since this was last logged"
                    );
                }
                Some(place)
            }
            Entry::AddressFull => {
                if let Some(count) = self.address_full.is_due() {
                    tracing::warn!(
                        count,
                        peer = %peer,
                        "too many connections from {peer}: connections of addresses that have \
                         used up their share were refused, {count} since this was last logged"
                    );
                }
                None
            }
        }
    }
}

/// A message that may occur often: it is logged at most once per interval, with the number of
/// occurrences.
#[derive(Default)]
struct Occasion {
    next: Option<Instant>,
    count: u64,
}

impl Occasion {
    /// Counts one occurrence. If a log line is due, returns the number of occurrences since the
    /// last one.
    fn is_due(&mut self) -> Option<u64> {
        self.count += 1;
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + LOG_INTERVAL);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_logged_now_and_then_with_its_count() {
        let mut occasion = Occasion::default();
        assert_eq!(occasion.is_due(), Some(1));
        for _ in 0..1_000 {
            assert_eq!(occasion.is_due(), None);
        }
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!(occasion.is_due(), Some(1_001));
        assert_eq!(occasion.is_due(), None);
    }
}
