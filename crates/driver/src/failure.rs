//! One failed attempt, as a store records it.

use std::time::Duration;

use hookbox_event::{ContentDigest, Envelope, RouteName};
use serde::{Deserialize, Serialize};

use crate::DeadReason;

/// The class of a failed attempt. The author of the handler or hookbox assigns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The handler failed, and a later attempt may succeed.
    Transient,
    /// The handler reported that it can never process this event.
    Permanent,
    /// The handler panicked.
    Panicked,
    /// The handler took longer than its time limit.
    TimedOut,
    /// The handler ignored a database error, changed its session or ended the transaction.
    BrokeTransaction,
}

impl FailureClass {
    /// Returns the name of this class in tables, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureClass::Transient => "transient",
            FailureClass::Permanent => "permanent",
            FailureClass::Panicked => "panicked",
            FailureClass::TimedOut => "timed_out",
            FailureClass::BrokeTransaction => "broke_transaction",
        }
    }
}

/// One failed attempt, as the store must record it.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// The route of the attempt.
    pub route: &'a RouteName,
    /// The receipt with the event on which the handler failed.
    pub envelope: &'a Envelope,
    /// The number of the failed attempt, counted from 1.
    pub attempt: u32,
    /// The number of attempts made before the last replay, as the claim returned it; 0 if the event
    /// was never replayed.
    pub attempts_before: u32,
    /// The digest of this receipt's body, if the event is stored with another body and its source
    /// has `on_conflict = "duplicate"`; otherwise `None`.
    pub other_digest: Option<ContentDigest>,
    /// The class of the failure.
    pub class: FailureClass,
    /// The error and its causes. They are stored beside the bodies, and are never written to a log.
    pub error: String,
    /// The duration of the attempt.
    pub took: Duration,
    /// What follows the failed attempt: a retry or a dead letter.
    pub then: Then,
    /// Whether the attempt counts as failed only because its deferral has reached its greatest age.
    /// If so, the store keeps the reason and the start of the deferral beside the retry, so that
    /// the next attempt is not deferred anew for the same reason: it counts as failed at once.
    pub is_expired_deferral: bool,
}

/// What follows a failed attempt: a retry or a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Another attempt follows. It does not begin before the time `after` has passed by the store's
    /// clock.
    Retry {
        /// The shortest time until the next attempt, counted from the record of this failure.
        after: Duration,
    },
    /// The event becomes a dead letter.
    Dead {
        /// The reason of the dead letter.
        reason: DeadReason,
    },
}

/// The result of recording a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The failure is recorded.
    Recorded,
    /// Nothing was changed: the failure was recorded before, or the event's state has changed.
    Superseded,
}
