//! Decides what the answer of a service means.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};

use hookbox_event::Timestamp;
use http::StatusCode;

use crate::error::{CallClass, CallError, Excerpt};
use crate::excerpt;

/// How much of the body of an answer is kept, in bytes. Operators read it to learn why the service
/// refuses an event.
pub(crate) const EXCERPT_BYTES_MAX: usize = 2048;

/// The longest time for which a service may ask not to be called. A longer time is probably a
/// mistake, such as a date in another century. The retry policy of the route may shorten the time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// An HTTP response of the service: the parts that decide about the event, or that operators read.
pub(crate) struct Answer {
    pub status: StatusCode,
    /// The value of the header `Retry-After`, if it is text.
    pub retry_after: Option<String>,
    /// The beginning of the body.
    pub body: Vec<u8>,
    /// Whether the service sent more than this beginning of the body.
    pub is_cut: bool,
}

impl Answer {
    /// Returns success if the service has taken the event. Otherwise returns an error, which says
    /// what follows from the answer. `now` is the time at which the answer arrived.
    pub fn result(&self, now: Timestamp, target: impl Display) -> Result<(), CallError> {
        let wish = self.retry_after.as_deref();
        let wish = wish.and_then(|text| retry_after(text, now));
        let Some(class) = class_of(self.status, wish) else {
            return Ok(());
        };
        let mut text = format!("the service answered {}", self.status.as_u16());
        // This is the reason phrase of the IANA registry, not the text that the service sent.
        if let Some(reason) = self.status.canonical_reason() {
            text.push(' ');
            text.push_str(reason);
        }
        // Writing to a string cannot fail.
        let _ = write!(text, " at {target}");
        text.push_str(remedy(self.status).unwrap_or_default());
        let excerpt = excerpt::of(&self.body, EXCERPT_BYTES_MAX, self.is_cut);
        Err(CallError {
            class,
            text,
            excerpt: (!excerpt.is_empty()).then_some(Excerpt(excerpt)),
        })
    }
}

/// Returns what to change in the config, for a status that a wrong config probably causes.
fn remedy(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        300..=399 => Some("; redirects are not followed: set url to where the service is"),
        401 | 403 => Some(" (does the service have a key that is in secrets?)"),
        404 | 405 => Some(" (does url have the right path?)"),
        _ => None,
    }
}

/// Returns what follows from a status; `None` if the service has taken the event. `wish` is the
/// time for which the service asked not to be called.
fn class_of(status: StatusCode, wish: Option<Duration>) -> Option<CallClass> {
    Some(match status.as_u16() {
        200..=299 => return None,
        429 => CallClass::Busy { after: wish },
        // A 503 with `Retry-After` comes from the service itself. Without it, the 503 may come from
        // a proxy because the service is not running.
        503 if wish.is_some() => CallClass::Busy { after: wish },
        502..=504 => CallClass::TargetFault,
        // The request took too long, or came too early: the same request may be accepted later.
        408 | 425 => CallClass::Transient { wish },
        400..=499 => CallClass::Permanent,
        _ => CallClass::Transient { wish },
    })
}

/// Parses `Retry-After`, a number of seconds or a date (RFC 9110, section 10.2.3). A text that is
/// neither is ignored. A date in the past results in zero.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wish = if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        // A number that does not fit into 64 bits is longer than every limit.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Timestamp::from_unix_micros(0)
            .saturating_add(since)
            .since(now)
    };
    Some(wish.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// 2025-11-24T16:00:00Z, a Monday.
    const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_000_000);

    const AT: &str = "http://127.0.0.1:8000";

    fn seconds(text: &str) -> Option<u64> {
        retry_after(text, NOW).map(|wish| wish.as_secs())
    }

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(str::to_owned),
            body: b"no\x1b".to_vec(),
            is_cut: false,
        }
    }

    fn class(status: u16, retry_after: Option<&str>) -> Option<CallClass> {
        let result = answer(status, retry_after).result(NOW, AT);
        result.err().map(|error| error.class)
    }

    #[test]
    fn retry_after_has_two_forms() {
        for (text, expect) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Mon, 24 Nov 2025 16:02:00 GMT", Some(120)),
            ("Monday, 24-Nov-25 16:02:00 GMT", Some(120)),
            ("Mon Nov 24 16:02:00 2025", Some(120)),
            ("Mon, 24 Nov 2025 15:59:59 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Mon, 24 Nov 2025 16:02:00 CET", None),
            ("2025-11-24T16:02:00Z", None),
        ] {
            assert_eq!(seconds(text), expect, "{text:?}");
        }
    }

    #[test]
    fn each_status_has_its_class() {
        let none = Some(CallClass::Transient { wish: None });
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(class(status, None), None, "{status}");
        }
        for status in [400, 401, 403, 404, 409, 410, 413, 422, 499] {
            assert_eq!(class(status, Some("5")), Some(CallClass::Permanent));
        }
        for status in [101, 301, 302, 307, 308, 408, 425, 500, 501, 505, 599, 600] {
            assert_eq!(class(status, None), none, "{status}");
        }
        for status in [502, 503, 504] {
            assert_eq!(class(status, None), Some(CallClass::TargetFault));
            assert_eq!(class(status, Some("soon")), Some(CallClass::TargetFault));
        }
        let five = Some(Duration::from_secs(5));
        let busy = |after| Some(CallClass::Busy { after });
        assert_eq!(class(429, None), busy(None));
        assert_eq!(class(429, Some("5")), busy(five));
        assert_eq!(class(503, Some("5")), busy(five));
        assert_eq!(class(502, Some("5")), Some(CallClass::TargetFault));
        let wish = Some(CallClass::Transient { wish: five });
        assert_eq!(class(500, Some("5")), wish);
        assert_eq!(class(408, Some("5")), wish);
    }

    #[test]
    fn a_failure_has_a_text_and_an_excerpt() {
        let error = answer(410, None).result(NOW, AT).unwrap_err();
        let expect = "the service answered 410 Gone at http://127.0.0.1:8000";
        assert_eq!(error.to_string(), expect);
        assert_eq!(error.excerpt, Some(Excerpt("no\\u{1b}".to_owned())));
        for (status, expect) in [
            (
                302,
                "302 Found at http://127.0.0.1:8000; redirects are not followed: set url to where \
                 the service is",
            ),
            (
                401,
                "401 Unauthorized at http://127.0.0.1:8000 (does the service have a key that is \
                 in secrets?)",
            ),
            (
                404,
                "404 Not Found at http://127.0.0.1:8000 (does url have the right path?)",
            ),
            (599, "599 at http://127.0.0.1:8000"),
        ] {
            let error = answer(status, None).result(NOW, AT).unwrap_err();
            assert_eq!(error.text, format!("the service answered {expect}"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_ignored(text: String, now: i64) {
            let wish = retry_after(&text, Timestamp::from_unix_micros(now));
            prop_assert!(wish.is_none_or(|wish| wish <= RETRY_AFTER_MAX));
        }
    }
}
