//! Limits how many rows are changed per second, and spreads the changes evenly over time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::Operator;

/// How many transactions are made per second at most. If more rows are to be changed per second,
/// each transaction changes several of them.
const TRANSACTIONS: f64 = 10.0;

/// While a command waits, an interrupt by the operator is noticed after this time at most.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// The limit on the number of changes per second, and the time when the changes started.
pub(super) struct Pace {
    rate: Option<f64>,
    began: Instant,
}

impl Pace {
    /// Starts to measure the time. `rate` is the highest number of changes per second; without it,
    /// changes are made as fast as possible.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            rate: rate.filter(|rate| *rate > 0.0),
            began: Instant::now(),
        }
    }

    /// Returns how many rows the next transaction should change: at least 1, and `most` at
    /// most.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates"
    )]
    #[expect(clippy::cast_sign_loss, reason = "the rate is positive")]
    pub(super) fn chunk(&self, most: u32) -> u32 {
        match self.rate {
            Some(rate) => ((rate / TRANSACTIONS) as u32).clamp(1, most),
            None => most,
        }
    }

    /// Waits until the rate allows another change, or until the operator interrupts. `changed` is
    /// the number of changes that were made since the start.
    pub(super) async fn wait(&self, changed: u64, operator: &dyn Operator) {
        let Some(rate) = self.rate else {
            return;
        };
        let seconds = changed as f64 / rate;
        // A time that is too long for a `Duration` is replaced by the longest `Duration`.
        let until = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        while self.began.elapsed() < until && !operator.interrupted() {
            let left = until.saturating_sub(self.began.elapsed());
            sleep_until(Instant::now() + left.min(NOTICED_WITHIN)).await;
        }
    }
}
