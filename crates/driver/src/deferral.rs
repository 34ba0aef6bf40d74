//! Deferral: an event waits, and no attempt is counted. This file contains the rules for how long
//! it waits, and for when its deferral keeps its start.

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
    /// The target answered the event's external call by asking for a pause.
    TargetBusy,
    /// No call is made to the target now, because its breaker is open, or because it asked for a
    /// pause.
    TargetClosed,
    /// The rate that the config sets for the target permits no call now.
    RateLimit,
}

impl DeferReason {
    /// Every reason, for parsers.
    pub const ALL: [DeferReason; 7] = [
        DeferReason::ForeignLock,
        DeferReason::MissingRight,
        DeferReason::Leased,
        DeferReason::TargetFault,
        DeferReason::TargetBusy,
        DeferReason::TargetClosed,
        DeferReason::RateLimit,
    ];

    /// Returns the name of this reason in tables, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DeferReason::ForeignLock => "foreign_lock",
            DeferReason::MissingRight => "missing_right",
            DeferReason::Leased => "leased",
            DeferReason::TargetFault => "target_fault",
            DeferReason::TargetBusy => "target_busy",
            DeferReason::TargetClosed => "target_closed",
            DeferReason::RateLimit => "rate_limit",
        }
    }

    /// Returns the reason with this name; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Returns the reason that is stored if a deferral for `before` continues when its event is
    /// deferred again, for this reason. A deferral that continues keeps its start. Returns `None`
    /// if another deferral starts.
    pub fn continuing(self, before: Self) -> Option<Self> {
        match self {
            DeferReason::ForeignLock | DeferReason::MissingRight => {
                (before == self).then_some(self)
            }
            // It is not known whether the call would meet the earlier reason again, so the earlier
            // deferral has not ended.
            DeferReason::Leased | DeferReason::TargetClosed | DeferReason::RateLimit => {
                match before {
                    DeferReason::Leased | DeferReason::TargetClosed | DeferReason::RateLimit => {
                        Some(self)
                    }
                    DeferReason::ForeignLock
                    | DeferReason::MissingRight
                    | DeferReason::TargetFault
                    | DeferReason::TargetBusy => Some(before),
                }
            }
            // A target whose nodes fail in different ways gives both reasons in turn. But the time
            // for which an event waited for its first call does not count.
            DeferReason::TargetFault | DeferReason::TargetBusy => match before {
                DeferReason::TargetFault | DeferReason::TargetBusy => Some(self),
                DeferReason::ForeignLock
                | DeferReason::MissingRight
                | DeferReason::Leased
                | DeferReason::TargetClosed
                | DeferReason::RateLimit => None,
            },
        }
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
    /// The greatest age of a deferral, counted from its start; see [`DeferReason::continuing`]. An
    /// event that has reached this age is not deferred again; `None` for no limit.
    pub age_max: Option<Duration>,
}

/// What a store writes when it defers an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeferralWrite {
    /// The reason of the deferral.
    pub reason: DeferReason,
    /// Whether the stored start of the deferral is kept. Otherwise the deferral starts now.
    pub is_continued: bool,
    /// How long the event waits from now on, by the store's clock.
    pub after: Duration,
}

/// What the store did when it was called to defer an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferred {
    /// The event is deferred.
    Recorded,
    /// Nothing was changed, because the state of the event has changed since it was claimed.
    Superseded,
    /// Nothing was changed, because the event has been deferred for longer than
    /// [`Deferral::age_max`].
    Expired,
}

/// The reason and the start of a deferral, as the store holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeferredSince {
    /// The reason for the deferral.
    pub reason: DeferReason,
    /// When the deferral started; see [`DeferReason::continuing`]. For a leased event, when its
    /// last lease began.
    pub since: Timestamp,
}

impl Deferral<'_> {
    /// Returns what a store writes to defer the event; `None` when the deferral has reached
    /// `age_max`. `before` is the reason and the age of the deferral that the store holds for the
    /// attempt, or for the attempt before if that one is counted because its deferral had expired.
    pub fn written_after(&self, before: Option<(DeferReason, Duration)>) -> Option<DeferralWrite> {
        DeferralWrite::after(before, self.reason, (self.least, self.most), self.age_max)
    }
}

impl DeferralWrite {
    /// An event waits for as long as it has already been deferred, but at least `least` and at most
    /// `most`. So each wait doubles the age: the event is tried often at first, and rarely when it
    /// has been deferred for long. Returns `None` when the age has reached `age_max`.
    pub(crate) fn after(
        before: Option<(DeferReason, Duration)>,
        reason: DeferReason,
        (least, most): (Duration, Duration),
        age_max: Option<Duration>,
    ) -> Option<Self> {
        let continued = before.and_then(|(of, age)| Some((reason.continuing(of)?, age)));
        let age = continued.map(|(_, age)| age);
        if age_max.is_some_and(|max| age >= Some(max)) {
            return None;
        }
        Some(Self {
            reason: continued.map_or(reason, |(reason, _)| reason),
            is_continued: continued.is_some(),
            after: age.unwrap_or_default().clamp(least, most.max(least)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use hookbox_event::{Digester, EventId, InstanceId, ReceiptId};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns what is written when a deferral for `reason` follows this earlier one.
    fn written(
        reason: DeferReason,
        before: Option<(DeferReason, Duration)>,
        age_max: Option<u64>,
    ) -> Option<DeferralWrite> {
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
            reason,
            least: SECOND,
            most: 60 * SECOND,
            age_max: age_max.map(Duration::from_secs),
        };
        deferral.written_after(before)
    }

    fn wait(age: Option<u64>, age_max: Option<u64>) -> Option<u64> {
        let lock = DeferReason::ForeignLock;
        let before = age.map(|age| (lock, Duration::from_secs(age)));
        written(lock, before, age_max).map(|written| written.after.as_secs())
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

    /// Returns, for each reason before, which reason is stored after each of [`DeferReason::ALL`].
    fn kept() -> [(DeferReason, [Option<DeferReason>; DeferReason::ALL.len()]); 7] {
        use DeferReason::{
            ForeignLock, Leased, MissingRight, RateLimit, TargetBusy, TargetClosed, TargetFault,
        };
        let of = |kept: &[(usize, DeferReason)]| {
            let mut of = [None; DeferReason::ALL.len()];
            for (place, reason) in kept {
                of[*place] = Some(*reason);
            }
            of
        };
        // The places are those of the reasons in `ALL`.
        let (lock, right, leased, fault, busy, closed, rate) = (0, 1, 2, 3, 4, 5, 6);
        [
            (
                ForeignLock,
                of(&[
                    (lock, ForeignLock),
                    (leased, ForeignLock),
                    (closed, ForeignLock),
                    (rate, ForeignLock),
                ]),
            ),
            (
                MissingRight,
                of(&[
                    (right, MissingRight),
                    (leased, MissingRight),
                    (closed, MissingRight),
                    (rate, MissingRight),
                ]),
            ),
            (
                Leased,
                of(&[(leased, Leased), (closed, TargetClosed), (rate, RateLimit)]),
            ),
            (
                TargetFault,
                of(&[
                    (leased, TargetFault),
                    (fault, TargetFault),
                    (busy, TargetBusy),
                    (closed, TargetFault),
                    (rate, TargetFault),
                ]),
            ),
            (
                TargetBusy,
                of(&[
                    (leased, TargetBusy),
                    (fault, TargetFault),
                    (busy, TargetBusy),
                    (closed, TargetBusy),
                    (rate, TargetBusy),
                ]),
            ),
            (
                TargetClosed,
                of(&[(leased, Leased), (closed, TargetClosed), (rate, RateLimit)]),
            ),
            (
                RateLimit,
                of(&[(leased, Leased), (closed, TargetClosed), (rate, RateLimit)]),
            ),
        ]
    }

    #[test]
    fn a_deferral_keeps_its_start_while_its_cause_may_last() {
        for (before, reasons) in kept() {
            for (reason, kept) in DeferReason::ALL.into_iter().zip(reasons) {
                let case = format!("{reason:?} after {before:?}");
                assert_eq!(reason.continuing(before), kept, "{case}");
                let expect = DeferralWrite {
                    reason: kept.unwrap_or(reason),
                    is_continued: kept.is_some(),
                    after: if kept.is_some() { 7 * SECOND } else { SECOND },
                };
                let after = Some((before, 7 * SECOND));
                assert_eq!(written(reason, after, None), Some(expect), "{case}");
                // The age of another deferral does not count.
                let is_expired = written(reason, after, Some(7)).is_none();
                assert_eq!(is_expired, kept.is_some(), "{case}");
            }
        }
    }

    #[test]
    fn every_reason_is_parsed_from_its_name() {
        for reason in DeferReason::ALL {
            assert_eq!(DeferReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(DeferReason::parse("other"), None);
    }
}
