//! Tests what is recorded of the end of an external call.

use super::*;
use ClaimState::{Dead, Done, Retrying, Running, Stale};

const SECOND: Duration = Duration::from_secs(1);

fn deferral() -> CallDeferral {
    CallDeferral {
        reason: DeferReason::TargetFault,
        least: SECOND,
        most: 60 * SECOND,
        age_max: 120 * SECOND,
        expired: CallFailure::sample(),
    }
}

/// Returns the end of a call for attempt 3. The round began after attempt 1.
fn end(epoch: u32, result: CallResult) -> CallEnd {
    CallEnd {
        event: EventId::from_bytes([1; 16]),
        number: EventNumber::from_i64(1),
        attempt: 3,
        attempts_before: 1,
        epoch,
        took: SECOND,
        result,
        answer: TargetAnswer::Answered,
        target_error: None,
        version: None,
    }
}

fn state(claim: Option<ClaimState>, waiting: Option<(u32, u32)>, epoch: u32) -> CallState {
    CallState {
        claim,
        waiting: waiting.map(|(attempt, attempts_before)| WaitingAttempt {
            attempt,
            attempts_before,
            is_put_off: true,
        }),
        leases: Leases {
            epoch,
            without_outcome: 1,
            last_done: 0,
        },
    }
}

#[test]
fn a_success_ends_the_event_once_in_its_round() {
    use CallEffect::Nothing;
    let done = |attempt| CallEffect::Done { attempt };
    for (epoch, stored, expect) in [
        (5, state(Some(Retrying), Some((3, 1)), 5), done(3)),
        // A late success of an older call, while a newer one runs.
        (4, state(Some(Retrying), Some((3, 1)), 5), done(3)),
        // The newer call has failed, and the event waits for the next attempt.
        (4, state(Some(Retrying), Some((4, 1)), 5), done(4)),
        // The event was replayed after this call.
        (4, state(Some(Retrying), Some((4, 3)), 5), Nothing),
        (5, state(Some(Done), None, 5), Nothing),
        (5, state(Some(Dead), None, 5), Nothing),
        (5, state(Some(Stale), None, 5), Nothing),
        (5, state(Some(Running), None, 5), Nothing),
        (5, state(None, None, 0), Nothing),
    ] {
        let effect = end(epoch, CallResult::Done).effect_on(stored);
        assert_eq!(effect, expect, "epoch {epoch} on {stored:?}");
    }
}

#[test]
fn only_the_newest_call_records_its_failure() {
    use CallEffect::{Nothing, Recorded};
    use CallResult::{Deferred, Failed};
    for (epoch, stored, expect) in [
        (5, state(Some(Retrying), Some((3, 1)), 5), Recorded),
        (4, state(Some(Retrying), Some((3, 1)), 5), Nothing),
        // The failure was recorded before, or the event was replayed after this call.
        (5, state(Some(Retrying), Some((4, 1)), 5), Nothing),
        (5, state(Some(Retrying), Some((3, 2)), 5), Nothing),
        (5, state(Some(Done), None, 5), Nothing),
        (5, state(Some(Dead), None, 5), Nothing),
        (5, state(None, None, 0), Nothing),
    ] {
        for result in [Failed(CallFailure::sample()), Deferred(deferral())] {
            let effect = end(epoch, result).effect_on(stored);
            assert_eq!(effect, expect, "epoch {epoch} on {stored:?}");
        }
    }
}

#[test]
fn the_last_error_of_the_target_is_kept() {
    let mut ends = [(); 3].map(|()| end(5, CallResult::Done));
    ends[0].target_error = Some("refused".to_owned());
    ends[1].target_error = Some("no name".to_owned());
    assert_eq!(CallEnd::last_target_error(&ends), Some("no name"));
    assert_eq!(CallEnd::last_target_error(&ends[2..]), None);
}

#[test]
fn an_older_call_is_not_the_newest() {
    let stored = state(Some(Retrying), Some((3, 1)), 5);
    assert!(end(5, CallResult::Done).is_of_newest_call(stored));
    assert!(!end(4, CallResult::Done).is_of_newest_call(stored));
}

#[test]
fn a_deferral_is_recorded_once() {
    let mut stored = state(Some(Retrying), Some((3, 1)), 5);
    stored.leases.without_outcome = 0;
    let effect = end(5, CallResult::Deferred(deferral())).effect_on(stored);
    assert_eq!(effect, CallEffect::Nothing);
}

#[test]
fn a_deferral_ends_at_its_greatest_age_only_while_other_events_are_answered() {
    let fault = DeferReason::TargetFault;
    let wait = |age: Option<u32>, is_closed| {
        let before = age.map(|age| (fault, age * SECOND));
        let written = deferral().written_after(before, is_closed);
        written.map(|written| written.after)
    };
    assert_eq!(wait(None, true), Some(SECOND));
    assert_eq!(wait(Some(7), true), Some(7 * SECOND));
    assert_eq!(wait(Some(119), true), Some(60 * SECOND));
    assert_eq!(wait(Some(120), true), None);
    assert_eq!(wait(Some(120), false), Some(60 * SECOND));
}

#[test]
fn an_expired_deferral_is_recorded_as_its_failure() {
    let end = end(5, CallResult::Deferred(deferral()));
    let stored = state(Some(Retrying), Some((3, 1)), 5);
    let written = |reason, age: u32, is_closed| {
        let deferred = Some((reason, age * SECOND));
        end.written_on(stored, deferred, is_closed).recorded()
    };
    let failed = CallRecorded::Failed(CallFailure::sample().then);
    let fault = DeferReason::TargetFault;
    assert_eq!(written(fault, 119, true), CallRecorded::Deferred);
    assert_eq!(written(fault, 120, true), failed);
    assert_eq!(written(fault, 120, false), CallRecorded::Deferred);
    // The deferral of a busy target shares its start.
    assert_eq!(written(DeferReason::TargetBusy, 120, true), failed);
    // The age of a deferral for another reason does not count.
    let leased = DeferReason::Leased;
    assert_eq!(written(leased, 120, true), CallRecorded::Deferred);
}
