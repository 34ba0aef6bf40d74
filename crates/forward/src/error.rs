//! How a call failed, and what follows from the failure.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use crate::excerpt;

/// The failure of a call.
///
/// Neither `text` nor `excerpt` contains the body of the event, a key, a signature or a header of
/// the config, unless the service repeats it in its answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CallError {
    /// What follows from the failure.
    pub class: CallClass,
    /// What happened. It contains no text that the service wrote, so it may be logged.
    pub text: String,
    /// The beginning of the body of the answer, if there is one. It is for the record of the
    /// attempt and not for logs, since it may contain personal data.
    #[source]
    pub excerpt: Option<Excerpt>,
}

/// The beginning of the body of an answer, of at most 2 KiB, escaped for terminals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Excerpt(pub String);

/// What follows from the failure of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClass {
    /// The service has answered that it failed. The call may succeed later, and it is unknown
    /// whether the service has processed the event.
    Transient {
        /// The time for which the service asked not to be called; `None` if it did not ask.
        wish: Option<Duration>,
    },
    /// No readable answer arrived in time. The call may succeed later, and it is unknown whether
    /// the service has processed the event.
    Unanswered,
    /// The service refuses the event, and would refuse it again.
    Permanent,
    /// The service is overloaded: it answered 429, or 503 with `Retry-After`.
    Busy {
        /// The time for which the service asked not to be called; `None` if it did not ask.
        after: Option<Duration>,
    },
    /// The service is unavailable for every event: no connection could be opened, or a proxy in
    /// front of the service answered 502, 503 or 504.
    TargetFault,
}

impl CallError {
    pub(crate) fn new(class: CallClass, text: String) -> Self {
        Self {
            class,
            text,
            excerpt: None,
        }
    }
}

/// Returns the text of an error with the texts of its causes. The texts may quote what the service
/// sent, such as the names in its certificate, so they are escaped and cut.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        // Some libraries repeat the text of the cause in their own.
        if !text.ends_with(&own) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {own}");
        }
        cause = error.source();
    }
    excerpt::of(text.as_bytes(), CAUSES_BYTES_MAX, false)
}

/// The longest text of an error with its causes, in bytes. The longest known text comes from
/// rustls: it lists the names of a certificate.
const CAUSES_BYTES_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: String,
        source: Option<Box<Link>>,
    }

    fn link(text: &str, source: Option<Link>) -> Link {
        Link {
            text: text.to_owned(),
            source: source.map(Box::new),
        }
    }

    #[test]
    fn causes_are_named_once_and_escaped() {
        let inner = link("no\u{1b}[31m route", None);
        let middle = link("connect: no\u{1b}[31m route", Some(inner));
        let outer = link("the call failed", Some(middle));
        let expect = "the call failed: connect: no\\u{1b}[31m route";
        assert_eq!(with_causes(&outer), expect);
        let long = with_causes(&link(&"x".repeat(10_000), None));
        assert!(long.len() <= CAUSES_BYTES_MAX, "{}", long.len());
    }
}
