//! The retry policy of a route: exponential backoff with jitter, with a limit on the attempts and
//! on the delay.

use std::time::Duration;

use crate::defaults;

/// The highest number of attempts that a policy may have. With the longest delay, a week, that many
/// attempts take two years. If the events of a route need more attempts than that, its queue never
/// empties, and no retry policy helps.
const ATTEMPTS_MAX: u32 = 100;

/// The longest delay that a policy may have: a week. A problem that lasts longer needs a person.
const DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A retry policy. A value of this type is always valid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    attempts: u32,
    first: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
}

/// Why a retry policy is invalid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidRetry {
    /// The number of attempts is zero or too large.
    #[error("attempts must be from 1 to {ATTEMPTS_MAX}, so that every event reaches an outcome")]
    Attempts,
    /// The first delay is shorter than a millisecond.
    #[error("first must be at least 1 ms, or a failing event would be retried without a pause")]
    First,
    /// The factor is less than 1, so that delays would shrink, or it is too large.
    #[error("factor must be from 1 to 100")]
    Factor,
    /// The longest delay is shorter than the first delay, or longer than a week.
    #[error("max must be at least first, and at most 7 days")]
    Max,
    /// The jitter is not between 0 and 1.
    #[error("jitter must be from 0 to 1")]
    Jitter,
}

impl Default for Retry {
    /// Returns the policy of a route for which the config chooses none.
    fn default() -> Self {
        Self {
            attempts: defaults::ATTEMPTS,
            first: defaults::FIRST_DELAY,
            factor: defaults::DELAY_FACTOR,
            max: defaults::LONGEST_DELAY,
            jitter: defaults::JITTER,
        }
    }
}

impl Retry {
    /// Creates a policy with at most `attempts` runs. The delay is `first` after the first failure
    /// and `factor` times longer after each further one, but never longer than `max`. `jitter` is
    /// the share of a delay by which it is varied at random, up or down.
    pub fn new(
        attempts: u32,
        first: Duration,
        factor: f64,
        max: Duration,
        jitter: f64,
    ) -> Result<Self, InvalidRetry> {
        if !(1..=ATTEMPTS_MAX).contains(&attempts) {
            return Err(InvalidRetry::Attempts);
        }
        if first < Duration::from_millis(1) {
            return Err(InvalidRetry::First);
        }
        if !(1.0..=100.0).contains(&factor) {
            return Err(InvalidRetry::Factor);
        }
        if max < first || max > DELAY_MAX {
            return Err(InvalidRetry::Max);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(InvalidRetry::Jitter);
        }
        Ok(Self {
            attempts,
            first,
            factor,
            max,
            jitter,
        })
    }

    /// Returns the number of attempts in one round.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the delay after the `attempt`th attempt of a round failed. `chance` is a random
    /// number from 0 to 1, for the jitter.
    pub(crate) fn delay(&self, attempt: u32, chance: f64) -> Duration {
        let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds =
            (self.first.as_secs_f64() * self.factor.powi(steps)).min(self.max.as_secs_f64());
        let varied = seconds * (1.0 + self.jitter * (2.0 * chance - 1.0));
        Duration::from_secs_f64(varied).min(self.max)
    }

    /// Returns the delay that a handler requested, limited to the policy's longest delay, and
    /// raised to the policy's first delay or to one second, whichever is shorter.
    pub(crate) fn clamp(&self, wish: Duration) -> Duration {
        wish.clamp(self.first.min(Duration::from_secs(1)), self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_grow_to_the_longest_and_stay() {
        let retry =
            Retry::new(12, 5 * SECOND, 3.0, 3600 * SECOND, 0.2).expect("the policy must be valid");
        let middle: Vec<u64> = [1, 2, 3, 4, 8, u32::MAX]
            .map(|n| retry.delay(n, 0.5).as_secs())
            .into();
        assert_eq!(middle, [5, 15, 45, 135, 3600, 3600]);
        assert_eq!(retry.delay(1, 0.0), 4 * SECOND);
        assert_eq!(retry.delay(1, 1.0), 6 * SECOND);
        assert_eq!(
            retry.delay(20, 1.0),
            3600 * SECOND,
            "the delay with its jitter must stay within the longest delay"
        );
        assert_eq!(retry.clamp(100_000 * SECOND), 3600 * SECOND);
    }

    #[test]
    fn the_default_policy_is_valid() {
        let usual = Retry::default();
        let Retry {
            attempts,
            first,
            factor,
            max,
            jitter,
        } = usual;
        assert_eq!(Retry::new(attempts, first, factor, max, jitter), Ok(usual));
    }

    #[test]
    fn an_invalid_policy_cannot_be_built() {
        let new = Retry::new;
        assert_eq!(
            new(0, SECOND, 2.0, SECOND, 0.0),
            Err(InvalidRetry::Attempts)
        );
        assert_eq!(
            new(101, SECOND, 2.0, SECOND, 0.0),
            Err(InvalidRetry::Attempts)
        );
        assert_eq!(
            new(3, Duration::ZERO, 2.0, SECOND, 0.0),
            Err(InvalidRetry::First)
        );
        assert_eq!(new(3, SECOND, 0.5, SECOND, 0.0), Err(InvalidRetry::Factor));
        assert_eq!(
            new(3, SECOND, f64::NAN, SECOND, 0.0),
            Err(InvalidRetry::Factor)
        );
        assert_eq!(new(3, 2 * SECOND, 2.0, SECOND, 0.0), Err(InvalidRetry::Max));
        assert_eq!(
            new(3, SECOND, 2.0, 700_000 * SECOND, 0.0),
            Err(InvalidRetry::Max)
        );
        assert_eq!(new(3, SECOND, 2.0, SECOND, 1.5), Err(InvalidRetry::Jitter));
    }
}
