//! A rate of events: how many events a second a worker may take from a route.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The lowest rate: 100 events in 1,000 seconds, which is 0.1 events a second. At this rate, a
/// message with 64 events takes 11 minutes, and the next message waits at the worker for so long
/// without being acknowledged. This must stay well below 30 minutes, because then RabbitMQ closes
/// the channel (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>).
const PER_1000_S_MIN: u64 = 100;

/// The highest rate in events in 1,000 seconds: a million events a second. No worker is as fast.
const PER_1000_S_MAX: u64 = 1_000_000_000;

/// A rate of events. It is exact to a thousandth of an event a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventRate(u64);

/// The error for a text that is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a rate: write a number of events a second from 0.1 to 1000000 with at most \
     three decimals, such as 5/s or 0.5/s"
)]
pub struct InvalidRate {
    text: String,
}

impl EventRate {
    /// Returns the rate of this many events in 1,000 seconds; `None` when it is below 0.1 or above
    /// 1,000,000 events a second.
    pub fn from_per_1000_s(events: u64) -> Option<Self> {
        let is_valid = (PER_1000_S_MIN..=PER_1000_S_MAX).contains(&events);
        is_valid.then_some(Self(events))
    }

    /// Returns how many events the rate allows in 1,000 seconds.
    pub fn per_1000_s(self) -> u64 {
        self.0
    }

    /// Returns the time in which this rate allows this many events.
    pub fn time_for(self, events: u64) -> Duration {
        let nanos = u128::from(events) * 1_000_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns how many whole events the rate allows in this time.
    pub fn events_in(self, time: Duration) -> u64 {
        let events = time.as_millis() * u128::from(self.0) / 1_000_000;
        u64::try_from(events).unwrap_or(u64::MAX)
    }
}

impl FromStr for EventRate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let invalid = || InvalidRate {
            text: text.chars().take(40).collect(),
        };
        let number = text.trim();
        let number = number.strip_suffix("/s").unwrap_or(number);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || decimals.len() > 3 {
            return Err(invalid());
        }
        let digits = format!("{whole}{decimals:0<3}");
        let events = digits.parse().map_err(|_| invalid())?;
        Self::from_per_1000_s(events).ok_or_else(invalid)
    }
}

impl fmt::Display for EventRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 1_000, self.0 % 1_000);
        if decimals == 0 {
            return write!(f, "{whole}/s");
        }
        let decimals = format!("{decimals:03}");
        write!(f, "{whole}.{}/s", decimals.trim_end_matches('0'))
    }
}

impl Serialize for EventRate {
    /// Writes the number of events a second, with at most three decimals.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = u32::try_from(self.0).unwrap_or(u32::MAX);
        serializer.serialize_f64(f64::from(whole) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_rate_is_parsed_and_shown() {
        for (text, events, shown) in [
            ("5/s", 5_000, "5/s"),
            ("5", 5_000, "5/s"),
            (" 0.1/s ", 100, "0.1/s"),
            ("0.125/s", 125, "0.125/s"),
            ("2.50/s", 2_500, "2.5/s"),
            ("1000000/s", 1_000_000_000, "1000000/s"),
        ] {
            let rate: EventRate = text.parse().unwrap();
            assert_eq!(rate.per_1000_s(), events, "{text}");
            assert_eq!(rate.to_string(), shown, "{text}");
        }
        let invalid = [
            "",
            "0",
            "0.099",
            "0.0001",
            "-1",
            "1e3",
            "5/m",
            "1.",
            ".5",
            "1000001",
            "NaN",
            "5 /s",
            "99999999999999999999999",
            "1.2.3",
            "+1",
        ];
        for text in invalid {
            assert!(text.parse::<EventRate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rate_says_how_long_events_take() {
        let rate = |text: &str| text.parse::<EventRate>().unwrap();
        assert_eq!(rate("5/s").time_for(64), Duration::from_millis(12_800));
        assert_eq!(rate("0.1/s").time_for(64), Duration::from_secs(640));
        assert_eq!(rate("3/s").time_for(3), Duration::from_secs(1));
        assert_eq!(rate("5/s").events_in(Duration::from_secs(60)), 300);
        assert_eq!(rate("0.1/s").events_in(Duration::from_secs(5)), 0);
    }
}
