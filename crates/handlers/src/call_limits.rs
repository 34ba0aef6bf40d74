//! The limits of an effect's calls, as the config sets them. All workers together keep the limits
//! of a target.

use std::num::NonZeroU32;
use std::time::Duration;

use hookbox_driver::{Rate, TargetLimits};
use hookbox_forward::RateSettings;

/// The default for how many calls are made to a target at once. If a service cannot take so many
/// calls, it can answer that it is busy, or the config can set a lower limit.
const CONCURRENCY: u32 = 64;

/// The highest number of calls to a target at once. It is limited because each call holds a body
/// and a socket, and leaves a lease that has to end by itself if the process dies.
const CONCURRENCY_MAX: u32 = 256;

/// The highest value of `rate.calls`, the number of calls that may begin in the time `rate.per`. A
/// worker makes fewer calls than this in one second, the shortest `rate.per`. So a higher value
/// would limit nothing.
const RATE_CALLS_MAX: u32 = 10_000;

/// The shortest and the longest `rate.per`, the time in which `rate.calls` calls may begin. All of
/// them may begin at once. So a longer time would allow a burst after which nothing is sent for
/// hours.
const RATE_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60 * 60));

/// Why the limits of an effect cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimits {
    /// `concurrency`, the number of calls at once, is out of bounds.
    #[error("concurrency: must be 1 to {CONCURRENCY_MAX}")]
    Concurrency,
    /// `rate.calls` is out of bounds.
    #[error("rate.calls: must be 1 to {RATE_CALLS_MAX}")]
    RateCalls,
    /// `rate.per` is out of bounds.
    #[error("rate.per: must be 1 s to 1 h")]
    RateTime,
}

/// Returns the limits for a target, with defaults for what the config does not set.
pub(crate) fn read(
    concurrency: Option<u32>,
    rate: Option<RateSettings>,
) -> Result<TargetLimits, InvalidLimits> {
    let concurrency = concurrency.unwrap_or(CONCURRENCY);
    Ok(TargetLimits {
        concurrency: bounded(concurrency, CONCURRENCY_MAX).ok_or(InvalidLimits::Concurrency)?,
        rate: rate.map(read_rate).transpose()?,
    })
}

fn read_rate(rate: RateSettings) -> Result<Rate, InvalidLimits> {
    let calls = bounded(rate.calls, RATE_CALLS_MAX).ok_or(InvalidLimits::RateCalls)?;
    let (shortest, longest) = RATE_TIME;
    let per = rate.per.0;
    if (shortest..=longest).contains(&per) {
        Ok(Rate { calls, per })
    } else {
        Err(InvalidLimits::RateTime)
    }
}

fn bounded(number: u32, max: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number).filter(|number| number.get() <= max)
}

#[cfg(test)]
mod tests {
    use hookbox_forward::Span;

    use super::*;

    fn rate(calls: u32, seconds: u64) -> Option<RateSettings> {
        let per = Span(Duration::from_secs(seconds));
        Some(RateSettings { calls, per })
    }

    #[test]
    fn limits_have_defaults_and_bounds() {
        let standard = read(None, None).expect("the defaults must be valid");
        assert_eq!((standard.concurrency.get(), standard.rate), (64, None));
        let own = read(Some(256), rate(10_000, 3600)).expect("the highest limits must be valid");
        let of = own.rate.map(|rate| (rate.calls.get(), rate.per.as_secs()));
        assert_eq!((own.concurrency.get(), of), (256, Some((10_000, 3600))));
        for (concurrency, rate, expect) in [
            (Some(0), None, InvalidLimits::Concurrency),
            (Some(257), None, InvalidLimits::Concurrency),
            (None, rate(0, 1), InvalidLimits::RateCalls),
            (None, rate(10_001, 1), InvalidLimits::RateCalls),
            (None, rate(1, 0), InvalidLimits::RateTime),
            (None, rate(1, 3601), InvalidLimits::RateTime),
        ] {
            assert_eq!(read(concurrency, rate), Err(expect));
        }
    }
}
