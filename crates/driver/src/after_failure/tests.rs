//! Tests what is recorded of a failed attempt, and whether an attempt may be deferred, for each
//! state of the event.

use std::time::Duration;

use hookbox_event::{
    ContentDigest, Envelope, EventId, InstanceId, ReceiptId, Redo, RouteName, Timestamp,
};

use super::*;
use crate::{DeferReason, FailureClass};
use ClaimState::{Dead, Done, Retrying, Running};

const RETRY: Then = Then::Retry {
    after: Duration::from_secs(5),
};

const ORPHANED: Then = Then::Dead {
    reason: DeadReason::Orphaned,
};

/// One case: the state of the event, the attempt that failed, and whether its message was a retry.
/// Then what is expected: the attempt to be recorded with what follows it (`None` when nothing is
/// recorded), and whether the attempt may be deferred instead.
type Row = (EventState, u32, bool, Option<(u32, Then)>, bool);

const TABLE: [Row; 14] = [
    (state(None, true, None), 1, false, Some((1, RETRY)), true),
    (state(None, false, None), 1, false, None, false),
    (state(None, true, None), 2, true, None, false),
    (
        state(Some((Running, 0)), true, None),
        1,
        false,
        Some((1, ORPHANED)),
        false,
    ),
    // In the second attempt, the handler committed its transaction by itself. The worker reports
    // the attempt as 1, but the store has already counted one attempt, so the attempt must be
    // recorded as 2.
    (
        state(Some((Running, 1)), true, Some(2)),
        1,
        true,
        Some((2, ORPHANED)),
        false,
    ),
    (
        state(Some((Running, 0)), false, None),
        1,
        false,
        None,
        false,
    ),
    (
        state(Some((Retrying, 1)), true, Some(2)),
        2,
        true,
        Some((2, RETRY)),
        true,
    ),
    (
        state(Some((Retrying, 1)), true, Some(2)),
        1,
        true,
        None,
        false,
    ),
    (
        state(Some((Retrying, 1)), true, Some(3)),
        2,
        true,
        None,
        false,
    ),
    (
        state(Some((Retrying, 1)), true, Some(2)),
        2,
        false,
        None,
        false,
    ),
    (state(Some((Retrying, 1)), true, None), 2, true, None, false),
    (
        state(Some((Retrying, 1)), true, Some(2)),
        1,
        false,
        None,
        false,
    ),
    (state(Some((Done, 1)), true, None), 1, false, None, false),
    (state(Some((Dead, 1)), true, None), 1, false, None, false),
];

const fn state(
    claim: Option<(ClaimState, u32)>,
    is_same_body: bool,
    waits_for: Option<u32>,
) -> EventState {
    EventState {
        claim,
        is_same_body,
        waits_for,
    }
}

fn envelope(attempt: u32, is_retry: bool) -> Envelope {
    Envelope {
        receipt: ReceiptId::from_bytes([1; 16]),
        source: "begini".parse().expect("the source must be valid"),
        topic: "begini.score".parse().expect("the topic must be valid"),
        event: EventId::from_bytes([2; 16]),
        id_tail: None,
        digest: ContentDigest::from_bytes([3; 32]),
        received_at: Timestamp::from_unix_micros(1),
        key_id: "key".to_owned(),
        instance: InstanceId::from_bytes([4; 16]),
        number: 1,
        seal: None,
        traceparent: None,
        redo: is_retry.then_some(Redo { attempt }),
        body: (&b"{}"[..]).into(),
    }
}

#[test]
fn a_failure_is_recorded_only_on_the_state_of_its_claim() {
    let route: RouteName = "scores".parse().expect("the route must be valid");
    for (stored, attempt, is_retry, expect, _) in TABLE {
        let failure = Failure {
            route: &route,
            envelope: &envelope(attempt, is_retry),
            attempt,
            attempts_before: 0,
            other_digest: None,
            class: FailureClass::Transient,
            error: String::new(),
            took: Duration::ZERO,
            then: RETRY,
            is_expired_deferral: false,
        };
        let expect = expect.map(|(attempt, then)| FailedAttempt { attempt, then });
        assert_eq!(
            failure.recorded_on(stored),
            expect,
            "{stored:?}, attempt {attempt}"
        );
    }
}

#[test]
fn an_event_is_deferred_only_in_the_state_of_its_claim() {
    let route: RouteName = "scores".parse().expect("the route must be valid");
    for (stored, attempt, is_retry, _, expect) in TABLE {
        let deferral = Deferral {
            route: &route,
            envelope: &envelope(attempt, is_retry),
            attempt,
            attempts_before: 0,
            other_digest: None,
            reason: DeferReason::ForeignLock,
            least: Duration::ZERO,
            most: Duration::ZERO,
            age_max: None,
        };
        assert_eq!(
            deferral.may_wait(stored),
            expect,
            "{stored:?}, attempt {attempt}"
        );
    }
}
