//! Which failed publish is logged: the first of its kind, and the next a minute later with the
//! number of all between. A disk that is full, or a broker that is unavailable, fails every one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookbox_driver::PublishErrorKind;

/// How often the same kind of failure is logged: a log that rotates must still hold it.
const AGAIN: Duration = Duration::from_secs(60);

/// What was logged last, by the name of the kind.
#[derive(Default)]
pub(super) struct FailureLog(Mutex<BTreeMap<&'static str, Logged>>);

struct Logged {
    at: Instant,
    /// Requests that failed since, without a line.
    requests: u64,
}

impl FailureLog {
    /// Notes so many failed requests. Where it is time for a line: how many failed before these
    /// without one.
    pub fn note(&self, kind: PublishErrorKind, requests: u64, now: Instant) -> Option<u64> {
        // Numbers have no state that a panic could leave half-changed.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Logged {
            at: now,
            requests: 0,
        };
        match all.get_mut(kind.as_str()) {
            None => {
                all.insert(kind.as_str(), fresh);
                Some(0)
            }
            Some(logged) if now.duration_since(logged.at) >= AGAIN => {
                Some(std::mem::replace(logged, fresh).requests)
            }
            Some(logged) => {
                logged.requests += requests;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_once_a_minute_with_what_was_not_logged() {
        let log = FailureLog::default();
        let began = Instant::now();
        let blocked = |after| log.note(PublishErrorKind::Blocked, 64, began + after);
        assert_eq!(blocked(Duration::ZERO), Some(0));
        assert_eq!(blocked(AGAIN / 3), None);
        assert_eq!(blocked(AGAIN / 2), None);
        // Another kind is another line.
        let late = log.note(PublishErrorKind::TimedOut, 1, began + AGAIN / 2);
        assert_eq!(late, Some(0));
        assert_eq!(blocked(AGAIN), Some(128));
        assert_eq!(blocked(AGAIN + AGAIN / 2), None);
        assert_eq!(blocked(AGAIN * 2), Some(64));
    }
}
