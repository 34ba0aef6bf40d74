//! Logs connections that are refused, or closed to make room.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::places::{Entry, Place};

/// How often each of the messages is logged: connections are not authenticated, and could fill the
/// log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The messages, each with the time of its last line.
#[derive(Default)]
pub(crate) struct ConnectionLog {
    not_accepted: Occasion,
    made_room: Occasion,
    address_full: Occasion,
}

impl ConnectionLog {
    /// The operating system allows no more connections.
    pub fn not_accepted(&mut self, error: &std::io::Error) {
        if self.not_accepted.is_due().is_some() {
            tracing::warn!(error = %error, "a connection could not be accepted");
        }
    }

    /// Logs the result and returns the place of a connection that has one.
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
                         their share were refused, {count} since this was last logged"
                    );
                }
                None
            }
        }
    }
}

/// Something that may happen often and is logged from time to time, with its count.
#[derive(Default)]
struct Occasion {
    next: Option<Instant>,
    count: u64,
}

impl Occasion {
    /// Counts one more. Where it is due to be logged, returns how many there were since the last
    /// time.
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
