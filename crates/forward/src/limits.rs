//! The time limits of a call.

use std::time::Duration;

use hookbox_event::parse_duration;
use serde::Deserialize;

use crate::invalid::InvalidSettings;

/// The shortest limit. With a shorter one, calls to a healthy service in another city would fail.
const SHORTEST: Duration = Duration::from_millis(100);

/// The default limit for opening a connection: resolving the name, TCP and TLS. TCP repeats its
/// first packet after one and three seconds, so two lost packets do not fail a call.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest limit for opening a connection. A service that takes longer is as good as
/// unavailable.
const CONNECT_LONGEST: Duration = Duration::from_secs(30);

/// The default limit for the head of the answer. Standard Webhooks recommends to wait for 15 to 30
/// seconds.
const FIRST_BYTE: Duration = Duration::from_secs(15);

/// The default limit for the whole call. It is longer than the default limits for the connection
/// and for the head of the answer together.
const TOTAL: Duration = Duration::from_secs(30);

/// The longest limit for the whole call. A longer call would hold its permit for calls to the
/// target too long. And if the process dies during a call, the event waits until its lease ends,
/// and the lease is longer than the limit of the call.
const TOTAL_LONGEST: Duration = Duration::from_secs(300);

/// The time limits of a call, as they are written in the config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, such as { total = \"10 s\" }"
)]
pub struct LimitSettings {
    /// The longest time to resolve the name and open a connection, with TLS: from 100 ms to 30 s,
    /// by default 5 s.
    pub connect: Option<Span>,
    /// The longest time from the first byte of the request to the head of the answer: from 100 ms
    /// to 5 min, by default 15 s.
    pub first_byte: Option<Span>,
    /// The longest time of the whole call: from 100 ms to 5 min, by default 30 s.
    pub total: Option<Span>,
}

/// A duration in the config, such as "5 s".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self)
    }
}

/// The effective time limits of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The limit for resolving the name and opening a connection, with TLS.
    pub connect: Duration,
    /// The limit from the first byte of the request to the head of the answer.
    pub first_byte: Duration,
    /// The limit for the whole call.
    pub total: Duration,
}

impl Limits {
    pub(crate) fn read(settings: &LimitSettings) -> Result<Self, InvalidSettings> {
        let total = bounded("total", settings.total, TOTAL, TOTAL_LONGEST)?;
        let part = |key, set, default: Duration, longest| {
            let limit = bounded(key, set, default.min(total), longest)?;
            if limit > total {
                return Err(InvalidSettings::LimitOverTotal { key, limit, total });
            }
            Ok(limit)
        };
        Ok(Self {
            connect: part("connect", settings.connect, CONNECT, CONNECT_LONGEST)?,
            first_byte: part("first_byte", settings.first_byte, FIRST_BYTE, TOTAL_LONGEST)?,
            total,
        })
    }
}

fn bounded(
    key: &'static str,
    set: Option<Span>,
    default: Duration,
    longest: Duration,
) -> Result<Duration, InvalidSettings> {
    let limit = set.map_or(default, |Span(limit)| limit);
    if (SHORTEST..=longest).contains(&limit) {
        Ok(limit)
    } else {
        Err(InvalidSettings::Limit {
            key,
            shortest: SHORTEST,
            longest,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(connect: &str, first_byte: &str, total: &str) -> Result<Limits, String> {
        let span = |text: &str| (!text.is_empty()).then(|| text.to_owned().try_into().unwrap());
        let settings = LimitSettings {
            connect: span(connect),
            first_byte: span(first_byte),
            total: span(total),
        };
        Limits::read(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_have_defaults_and_bounds() {
        let standard = read("", "", "").unwrap();
        let expect = (CONNECT, FIRST_BYTE, TOTAL);
        assert_eq!(
            (standard.connect, standard.first_byte, standard.total),
            expect
        );
        let longest = read("30 s", "5 min", "5 min").unwrap();
        assert_eq!(longest.total, TOTAL_LONGEST);
        assert!(read("100 ms", "100 ms", "100 ms").is_ok());
        let short = read("", "", "2 s").unwrap();
        assert_eq!(
            (short.connect, short.first_byte),
            (short.total, short.total)
        );
        for (limits, why) in [
            (("31 s", "", ""), "limits.connect: must be 100ms to 30s"),
            (("99 ms", "", ""), "limits.connect: must be 100ms to 30s"),
            (("", "0 s", ""), "limits.first_byte: must be 100ms to 300s"),
            (("", "", "301 s"), "limits.total: must be 100ms to 300s"),
            (
                ("", "15 s", "10 s"),
                "limits.first_byte: 15s is longer than limits.total, which is 10s",
            ),
            (
                ("10 s", "1 s", "5 s"),
                "limits.connect: 10s is longer than limits.total, which is 5s",
            ),
        ] {
            assert_eq!(read(limits.0, limits.1, limits.2), Err(why.to_owned()));
        }
    }
}
