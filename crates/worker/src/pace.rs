//! Keeps a route to the rate that an operator has set for each worker.

use std::time::Duration;

use hookbox_driver::EventRate;
use tokio::time::{Instant, sleep_until};

use crate::intake::SHARED_MAX;

/// The longest time that the waiting messages of this worker may need at the rate of their route.
/// They stay unacknowledged meanwhile, so other workers cannot take them.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Says when the next events of a route may be taken. A message is taken as a whole, however many
/// events it holds, and the time that its events need at this rate passes before the next message
/// is taken. So the rate is kept in the long run, and exceeded for a moment by at most one
/// transaction.
pub(crate) struct Pace {
    rate: Option<EventRate>,
    next: Instant,
}

impl Pace {
    pub fn new(rate: Option<EventRate>) -> Self {
        Self {
            rate,
            next: Instant::now(),
        }
    }

    /// Waits until the next events may be taken.
    pub async fn ready(&self) {
        if self.rate.is_some() {
            sleep_until(self.next).await;
        }
    }

    /// Records that this many events were taken.
    pub fn taken(&mut self, events: usize) {
        if let Some(rate) = self.rate {
            let events = u64::try_from(events).unwrap_or(u64::MAX);
            self.next = self.next.max(Instant::now()) + rate.time_for(events);
        }
    }
}

/// Returns how many messages of a route may be in flight: as many as the config says, but at a low
/// rate only as many as are processed within [`WAIT_MAX`], even if each holds a full batch.
pub(crate) fn prefetch(rate: Option<EventRate>, configured: u16) -> u16 {
    let Some(rate) = rate else {
        return configured;
    };
    let messages = rate.events_in(WAIT_MAX) / SHARED_MAX as u64;
    let messages = u16::try_from(messages).unwrap_or(u16::MAX);
    messages.clamp(1, configured.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rate(text: &str) -> Option<EventRate> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn few_messages_are_in_flight_at_a_low_rate() {
        for (rate, expected) in [
            (None, 16),
            (rate("1000/s"), 16),
            (rate("17/s"), 15),
            (rate("5/s"), 4),
            (rate("0.1/s"), 1),
        ] {
            assert_eq!(prefetch(rate, 16), expected, "{rate:?}");
        }
        assert_eq!(prefetch(rate("1000/s"), 3), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_in_the_long_run() {
        let began = Instant::now();
        let mut pace = Pace::new(rate("5/s"));
        for events in [64, 1, 10, 25] {
            pace.ready().await;
            pace.taken(events);
        }
        pace.ready().await;
        assert_eq!(began.elapsed(), Duration::from_secs(20));
        let mut free = Pace::new(None);
        free.taken(1_000_000);
        free.ready().await;
        assert_eq!(began.elapsed(), Duration::from_secs(20));
    }
}
