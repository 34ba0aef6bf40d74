//! Limits how many dead letters are changed in a second, evenly over time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::Operator;

/// The most transactions per second. At a higher rate of changes, each transaction changes several
/// dead letters.
const TRANSACTIONS: f64 = 10.0;

/// The longest time until an interrupt is noticed.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// The rate of a change, and when it started.
pub(super) struct Pace {
    rate: Option<f64>,
    began: Instant,
}

impl Pace {
    /// Creates the pace. Without a rate, changes are made as fast as possible.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            rate: rate.filter(|rate| *rate > 0.0),
            began: Instant::now(),
        }
    }

    /// Returns how many dead letters to change in one transaction, at most `most`.
    #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
    #[expect(clippy::cast_sign_loss, reason = "a rate is positive")]
    pub(super) fn chunk(&self, most: u32) -> u32 {
        match self.rate {
            Some(rate) => ((rate / TRANSACTIONS) as u32).clamp(1, most),
            None => most,
        }
    }

    /// Waits until the rate allows the next change after `changed` ones, or until the operator
    /// interrupts.
    pub(super) async fn wait(&self, changed: u64, operator: &dyn Operator) {
        let Some(rate) = self.rate else {
            return;
        };
        let seconds = changed as f64 / rate;
        // A duration that is too long to represent is treated as endless.
        let until = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        while self.began.elapsed() < until && !operator.interrupted() {
            let left = until.saturating_sub(self.began.elapsed());
            sleep_until(Instant::now() + left.min(NOTICED_WITHIN)).await;
        }
    }
}
