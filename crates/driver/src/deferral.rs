//! Deferral: an event waits, and no attempt is counted. This file contains the rule for how long it
//! waits.

use std::time::Duration;

use hookbox_event::{ContentDigest, Envelope, RouteName, Timestamp};
use serde::{Deserialize, Serialize};

/// Why an event waits without a failed attempt. In each case the event itself is not the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeferReason {
    /// The handler waited too long for a lock that another session held.
    ForeignLock,
    /// The database denied the handler a right, or lacks a table, column or function that the
    /// handler needs.
    MissingRight,
    /// An external call for the event is in flight, or the process that made the call has died; see
    /// [`crate::LeaseTerms`]. On a route that applies only the newest event of each key, the call
    /// may also be for another event of the same key.
    Leased,
    /// The target of the event's external call was not reached.
    TargetFault,
    /// The target of the event's external call asked for a pause, or permits no call now.
    TargetBusy,
}

impl DeferReason {
    /// Every reason, for parsers.
    pub const ALL: [DeferReason; 5] = [
        DeferReason::ForeignLock,
        DeferReason::MissingRight,
        DeferReason::Leased,
        DeferReason::TargetFault,
        DeferReason::TargetBusy,
    ];

    /// Returns the name of this reason in tables, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DeferReason::ForeignLock => "foreign_lock",
            DeferReason::MissingRight => "missing_right",
            DeferReason::Leased => "leased",
            DeferReason::TargetFault => "target_fault",
            DeferReason::TargetBusy => "target_busy",
        }
    }

    /// Returns the reason with this name; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// The arguments with which a worker makes the store defer an event.
#[derive(Debug, Clone)]
pub struct Deferral<'a> {
    /// The route on which the event is to be deferred.
    pub route: &'a RouteName,
    /// The receipt with which the event arrived.
    pub envelope: &'a Envelope,
    /// The number of the attempt for which the event was claimed, and which is not made because the
    /// event is deferred.
    pub attempt: u32,
    /// The number of attempts made before the last replay of the event, as the claim returned it; 0
    /// without a replay. The retry policy counts only the attempts after those.
    pub attempts_before: u32,
    /// The digest of this receipt's body, if the event is stored with another body and its source
    /// has `on_conflict = "duplicate"`; otherwise `None`.
    pub other_digest: Option<ContentDigest>,
    /// The reason for the deferral.
    pub reason: DeferReason,
    /// The shortest time that the event waits.
    pub least: Duration,
    /// The longest time that the event waits.
    pub most: Duration,
    /// The greatest age of a deferral, counted from the event's first deferral for the same reason.
    /// An event that has reached this age is not deferred again; `None` for no limit.
    pub age_max: Option<Duration>,
}

/// What the store did when it was called to defer an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferred {
    /// The event is deferred.
    Recorded,
    /// Nothing was changed, because the state of the event has changed since it was claimed.
    Superseded,
    /// Nothing was changed, because the event has been deferred for this reason for longer than
    /// [`Deferral::age_max`].
    Expired,
}

/// The reason and the start of a deferral, as the store holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeferredSince {
    /// The reason for the deferral.
    pub reason: DeferReason,
    /// When the event was first deferred for this reason since its last attempt. For a leased
    /// event, when its last lease began.
    pub since: Timestamp,
}

impl Deferral<'_> {
    /// Returns how long an event waits if it has already been deferred for `age`: as long as `age`,
    /// but at least `least` and at most `most`. So each wait doubles the age: the event is tried
    /// often at first, and rarely when it has been deferred for long. Returns `None` when `age` has
    /// reached `age_max`.
    pub fn wait(&self, age: Option<Duration>) -> Option<Duration> {
        if self.age_max.is_some_and(|most| age >= Some(most)) {
            return None;
        }
        let age = age.unwrap_or_default();
        Some(age.clamp(self.least, self.most.max(self.least)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use hookbox_event::{Digester, EventId, InstanceId, ReceiptId};

    use super::*;

    fn wait(age: Option<u64>, age_max: Option<u64>) -> Option<u64> {
        let body = Bytes::from_static(b"{}");
        let envelope = Envelope {
            receipt: ReceiptId::from_bytes([1; 16]),
            source: "begini".parse().unwrap(),
            topic: "begini.score".parse().unwrap(),
            event: EventId::from_bytes([1; 16]),
            id_tail: None,
            digest: ContentDigest::of_raw_body(&Digester::Plain, &body),
            received_at: Timestamp::from_unix_micros(0),
            key_id: "one".to_owned(),
            instance: InstanceId::from_bytes([1; 16]),
            number: 1,
            seal: None,
            traceparent: None,
            redo: None,
            body,
        };
        let deferral = Deferral {
            route: &"scores".parse().unwrap(),
            envelope: &envelope,
            attempt: 1,
            attempts_before: 0,
            other_digest: None,
            reason: DeferReason::ForeignLock,
            least: Duration::from_secs(1),
            most: Duration::from_secs(60),
            age_max: age_max.map(Duration::from_secs),
        };
        let wait = deferral.wait(age.map(Duration::from_secs));
        wait.map(|wait| wait.as_secs())
    }

    #[test]
    fn the_wait_doubles_the_age_within_its_bounds() {
        let ages = [None, Some(0), Some(1), Some(7), Some(60), Some(3600)];
        let waits = ages.map(|age| wait(age, None).unwrap());
        assert_eq!(waits, [1, 1, 1, 7, 60, 60]);
    }

    #[test]
    fn a_deferral_expires_at_its_greatest_age() {
        assert_eq!(wait(None, Some(100)), Some(1));
        assert_eq!(wait(Some(99), Some(100)), Some(60));
        assert_eq!(wait(Some(100), Some(100)), None);
    }

    #[test]
    fn every_reason_is_parsed_from_its_name() {
        for reason in DeferReason::ALL {
            assert_eq!(DeferReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(DeferReason::parse("other"), None);
    }
}
