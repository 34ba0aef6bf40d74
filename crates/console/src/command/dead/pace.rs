//! Limits how fast dead letters are changed: at most so many a second, evenly.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::Operator;

/// Transactions a second, at most: at a higher rate, each takes several dead letters.
const TRANSACTIONS: f64 = 10.0;

/// How soon an interrupt is noticed.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// A rate, and when the change started.
pub(super) struct Pace {
    rate: Option<f64>,
    began: Instant,
}

impl Pace {
    /// As fast as possible without a rate.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            rate: rate.filter(|rate| *rate > 0.0),
            began: Instant::now(),
        }
    }

    /// How many to change in one transaction, at most `most`.
    #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
    #[expect(clippy::cast_sign_loss, reason = "a rate is positive")]
    pub(super) fn chunk(&self, most: u32) -> u32 {
        match self.rate {
            Some(rate) => ((rate / TRANSACTIONS) as u32).clamp(1, most),
            None => most,
        }
    }

    /// Waits until so many may have been changed, or the operator interrupts.
    pub(super) async fn wait(&self, changed: u64, operator: &dyn Operator) {
        let Some(rate) = self.rate else {
            return;
        };
        let seconds = changed as f64 / rate;
        // A wait that no clock can measure never ends.
        let until = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        while self.began.elapsed() < until && !operator.interrupted() {
            let left = until.saturating_sub(self.began.elapsed());
            sleep_until(Instant::now() + left.min(NOTICED_WITHIN)).await;
        }
    }
}
