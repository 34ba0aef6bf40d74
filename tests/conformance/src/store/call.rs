//! The promises of a store for recording how external calls ended, and what this shows about their
//! target.

use std::time::Duration;

use hookbox_driver::{
    BreakerState, CallDeferral, CallEnd, CallFailure, CallRecorded, CallResult, ClaimState,
    Claimed, DeadFilter, DeadReason, DeferReason, FAULTS_TO_OPEN, FailureClass, Leased, Ledger,
    NoPermit, Store, TargetAnswer, Then,
};

use super::external::{
    Call, ENDED, LONG, lease, lease_one, named, redo, shown, target, terms, try_lease,
};
use super::race::{COMPLETIONS, poll_so_often, requeued};
use super::{DEAD, LATER, NOW, probe};
use crate::envelope;
use crate::harness::{StoreHarness, one};

pub(super) fn failed(then: Then) -> CallResult {
    CallResult::Failed(failure(then))
}

fn failure(then: Then) -> CallFailure {
    CallFailure {
        class: FailureClass::Transient,
        error: "the target answered\0 500".into(),
        then,
    }
}

/// Returns the result of a deferred call, whose event is due again at once.
pub(super) fn deferred(age_max: Duration) -> CallResult {
    CallResult::Deferred(CallDeferral {
        reason: DeferReason::TargetFault,
        least: Duration::ZERO,
        most: Duration::ZERO,
        age_max,
        expired: failure(DEAD),
    })
}

pub(super) async fn end<S: Store>(store: &S, end: CallEnd) -> CallRecorded {
    let recorded = store.end_calls(&one(), &target(), &[end], 0.5).await;
    let recorded = recorded.expect("recorded");
    assert_eq!(recorded.len(), 1);
    recorded[0]
}

/// Checks that a call that succeeded makes its event done, with one attempt, and that recording the
/// same end again changes nothing.
pub async fn a_call_that_is_done_ends_its_event_once<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let call = lease_one(&*store, &envelope("a"), LONG).await;
    let recorded = end(&*store, call.end(CallResult::Done)).await;
    assert_eq!(recorded, CallRecorded::Done { attempt: 1 });
    for _ in 0..2 {
        let seen = shown(&*store, &envelope("a")).await;
        let claim = &seen.claims[0];
        assert_eq!((claim.state, claim.attempts), (ClaimState::Done, 1));
        assert_eq!(
            (seen.receipts.len(), &*seen.receipts[0].outcome),
            (1, "done")
        );
        assert!(seen.retries.is_empty(), "{:?}", seen.retries);
        let [attempt] = &seen.attempts[..] else {
            panic!("{:?}", seen.attempts)
        };
        assert_eq!((attempt.attempt, &*attempt.outcome), (1, "done"));
        assert_eq!(attempt.took_ms, 7);
        let recorded = end(&*store, call.end(CallResult::Done)).await;
        assert_eq!(recorded, CallRecorded::Superseded);
    }
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Redelivered);
    assert_eq!(probe(&*store, &redo("a", 1)).await, Claimed::Redelivered);
    assert_eq!(requeued(&*store).await, []);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that the success of an older call ends its event if nothing else has ended it: while a
/// newer call is in flight, and after a newer call has failed.
pub async fn a_late_success_ends_an_event_without_an_end<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for fails in [false, true] {
        let key = format!("fails-{fails}");
        let older = lease_one(&*store, &envelope(&key), ENDED).await;
        let newer = lease_one(&*store, &redo(&key, 1), LONG).await;
        let mut attempt = 1;
        if fails {
            let recorded = end(&*store, newer.end(failed(LATER))).await;
            assert_eq!(recorded, CallRecorded::Failed(LATER));
            attempt = 2;
        }
        let recorded = end(&*store, older.end(CallResult::Done)).await;
        assert_eq!(recorded, CallRecorded::Done { attempt });
        let recorded = end(&*store, newer.end(failed(DEAD))).await;
        assert_eq!(recorded, CallRecorded::Superseded);
        let seen = shown(&*store, &envelope(&key)).await;
        let claim = &seen.claims[0];
        assert_eq!((claim.state, claim.attempts), (ClaimState::Done, attempt));
        assert_eq!((seen.receipts.len(), seen.retries.len()), (1, 0));
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that the failure or the deferral of an older call changes nothing while a newer call for
/// the event is in flight.
pub async fn a_late_failure_of_an_older_call_changes_nothing<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let older = lease_one(&*store, &envelope("a"), ENDED).await;
    lease_one(&*store, &redo("a", 1), LONG).await;
    for result in [failed(NOW), failed(DEAD), deferred(LONG)] {
        let recorded = end(&*store, older.end(result)).await;
        assert_eq!(recorded, CallRecorded::Superseded);
        let seen = shown(&*store, &envelope("a")).await;
        assert_eq!((seen.claims[0].attempts, seen.attempts.len()), (0, 0));
        let deferred = seen.retries[0].deferred.map(|it| it.reason);
        assert_eq!(deferred, Some(DeferReason::Leased));
        assert_eq!(requeued(&*store).await, []);
    }
    Store::close(&*store).await;
}

/// Checks that the success of a call of an earlier round does not end an event that was replayed.
/// Only a call of its new round ends the event.
pub async fn an_older_round_ends_nothing<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let older = lease_one(&*store, &envelope("a"), LONG).await;
    let recorded = end(&*store, older.end(failed(DEAD))).await;
    assert_eq!(recorded, CallRecorded::Failed(DEAD));
    // The event is a dead letter, so it has ended already.
    let recorded = end(&*store, older.end(CallResult::Done)).await;
    assert_eq!(recorded, CallRecorded::Superseded);
    let replayed = store.dead_replay(&DeadFilter::default(), 10, "ada").await;
    assert_eq!(replayed.expect("replayed"), 1);
    for _ in 0..2 {
        let recorded = end(&*store, older.end(CallResult::Done)).await;
        assert_eq!(recorded, CallRecorded::Superseded);
    }
    let newer = lease_one(&*store, &redo("a", 2), LONG).await;
    let recorded = end(&*store, older.end(CallResult::Done)).await;
    assert_eq!(recorded, CallRecorded::Superseded);
    let recorded = end(&*store, newer.end(CallResult::Done)).await;
    assert_eq!(recorded, CallRecorded::Done { attempt: 2 });
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a failed call counts as an attempt, and that its event waits for the next attempt.
pub async fn a_failed_call_and_its_retry_appear_together<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let call = lease_one(&*store, &envelope("a"), LONG).await;
    let recorded = end(&*store, call.end(failed(NOW))).await;
    assert_eq!(recorded, CallRecorded::Failed(NOW));
    let seen = shown(&*store, &envelope("a")).await;
    let claim = &seen.claims[0];
    assert_eq!((claim.state, claim.attempts), (ClaimState::Retrying, 1));
    assert_eq!((seen.attempts.len(), seen.attempts[0].attempt), (1, 1));
    let error = seen.attempts[0].error.as_deref();
    assert_eq!(error, Some("the target answered\\u{0} 500"));
    assert_eq!((seen.retries.len(), seen.retries[0].attempt), (1, 2));
    assert_eq!(seen.retries[0].deferred, None);
    assert_eq!(seen.retries[0].target, None);
    assert_eq!(seen.receipts[0].outcome, "retrying");
    let recorded = end(&*store, call.end(failed(NOW))).await;
    assert_eq!(recorded, CallRecorded::Superseded);
    assert_eq!(requeued(&*store).await, [redo("a", 2)]);
    let call = lease_one(&*store, &redo("a", 2), LONG).await;
    assert_eq!(
        call.leased,
        Leased::Granted {
            epoch: 2,
            effect: 1
        }
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a failed call makes its event a dead letter if the route gives up after the failure.
pub async fn a_failed_call_and_its_dead_letter_appear_together<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let call = lease_one(&*store, &envelope("a"), LONG).await;
    let recorded = end(&*store, call.end(failed(DEAD))).await;
    assert_eq!(recorded, CallRecorded::Failed(DEAD));
    let filter = DeadFilter::default();
    let dead = store.dead_list(&filter, 0, 10).await.expect("read");
    assert_eq!((dead.len(), dead[0].attempts), (1, 1));
    assert_eq!(dead[0].reason, DeadReason::Exhausted);
    assert_eq!(dead[0].detail, "the target answered\\u{0} 500");
    let seen = shown(&*store, &envelope("a")).await;
    assert_eq!(seen.claims[0].state, ClaimState::Dead);
    assert_eq!(
        (seen.retries.len(), &*seen.receipts[0].outcome),
        (0, "dead")
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Ends as many calls with a fault of the target as are needed to open its breaker. Returns these
/// calls.
pub(super) async fn open_breaker<S: Store>(store: &S) -> Vec<Call> {
    let target = target();
    let events: Vec<_> = (0..FAULTS_TO_OPEN)
        .map(|number| envelope(&format!("fault-{number}")))
        .collect();
    let events: Vec<_> = events.iter().collect();
    let calls = lease(store, &events, terms(&target, LONG)).await;
    let end = |call: &Call| call.answered(deferred(LONG), TargetAnswer::Fault);
    let ends: Vec<CallEnd> = calls.iter().map(end).collect();
    let recorded = store.end_calls(&one(), &target, &ends, 0.5).await;
    let recorded = recorded.expect("recorded");
    assert!(recorded.iter().all(|it| *it == CallRecorded::Deferred));
    calls
}

/// Checks that all workers share what the calls of one worker show about a target: an open breaker,
/// and a wait that the target has asked for.
pub async fn a_breaker_is_shared_by_workers<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let target = target();
    assert_eq!(elsewhere.blocked(&target).await.expect("read"), None);
    let early = lease_one(&*store, &envelope("early"), LONG).await;
    open_breaker(&*store).await;
    let blocked = elsewhere.blocked(&target).await.expect("read");
    assert!(matches!(blocked, Some(NoPermit::Open(_))), "{blocked:?}");
    let late = lease(&*elsewhere, &[&envelope("late")], terms(&target, LONG)).await;
    let refused = matches!(late[0].leased, Leased::Refused(NoPermit::Open(_)));
    assert!(refused, "{late:?}");
    // An answer to a call that began before the breaker opened closes the breaker.
    let recorded = end(&*elsewhere, early.end(CallResult::Done)).await;
    assert_eq!(recorded, CallRecorded::Done { attempt: 1 });
    assert_eq!(store.blocked(&target).await.expect("read"), None);
    let late = lease_one(&*store, &envelope("late"), LONG).await;
    let wait = TargetAnswer::Wait(Duration::from_secs(600));
    end(&*store, late.answered(deferred(LONG), wait)).await;
    let blocked = elsewhere.blocked(&target).await.expect("read");
    assert!(matches!(blocked, Some(NoPermit::Wait(_))), "{blocked:?}");
    let other = named("https://other.example:443");
    assert_eq!(elsewhere.blocked(&other).await.expect("read"), None);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks what the list of targets shows operators: calls in flight, faults, the state of the
/// breaker, and until when calls are blocked.
pub async fn targets_are_listed<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(store.targets().await.expect("read"), []);
    let (other, target) = (named("https://other.example:443"), target());
    open_breaker(&*store).await;
    let two = [&envelope("a"), &envelope("b")];
    lease(&*store, &two, terms(&other, LONG)).await;
    lease(&*store, &[&envelope("c")], terms(&other, ENDED)).await;
    let rows = store.targets().await.expect("read");
    let [first, second] = &rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!((&first.target, &second.target), (&other, &target));
    assert_eq!((first.in_flight, second.in_flight), (2, 0));
    assert_eq!((first.faults, second.faults), (0, FAULTS_TO_OPEN));
    let breakers = (first.breaker, second.breaker);
    assert_eq!(breakers, (BreakerState::Closed, BreakerState::Open));
    let until = (first.blocked_until, second.blocked_until);
    assert!(until.0.is_none() && until.1.is_some(), "{until:?}");
    Store::close(&*store).await;
}

/// Cancels the recording of a call's end at every point. Checks that the store then has the whole
/// record or nothing of it, and that recording the end again completes it.
pub async fn the_end_of_a_call_cut_anywhere_is_whole_or_nothing<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let target = target();
    let mut cut = 0;
    for (kind, result) in [
        CallResult::Done,
        failed(LATER),
        failed(DEAD),
        deferred(LONG),
    ]
    .into_iter()
    .enumerate()
    {
        let mut completed = 0;
        for polls in 0..50 {
            let event = envelope(&format!("cut-{kind}-{polls}"));
            let calls = try_lease(&*elsewhere, &[&event], terms(&target, LONG)).await;
            let ends = [calls.expect("leased")[0].end(result.clone())];
            let route = one();
            let ending = store.end_calls(&route, &target, &ends, 0.5);
            let ended = poll_so_often(ending, polls).await;
            cut += u32::from(ended.is_none());
            // The dropped transaction may still run in the store and hold the lock of the event.
            // The next call waits until that transaction has ended.
            let again = elsewhere.end_calls(&route, &target, &ends, 0.5).await;
            let again = again.expect("recorded")[0];
            if let Some(ended) = ended {
                let ended = ended.expect("recorded")[0];
                assert_ne!(ended, CallRecorded::Superseded, "after {polls} polls");
                completed += 1;
            }
            let seen = shown(&*elsewhere, &event).await;
            let state = (seen.claims[0].state, seen.claims[0].attempts);
            let rows = (seen.attempts.len(), seen.retries.len(), seen.receipts.len());
            let expect = match kind {
                0 => ((ClaimState::Done, 1), (1, 0, 1)),
                1 => ((ClaimState::Retrying, 1), (1, 1, 1)),
                2 => ((ClaimState::Dead, 1), (1, 0, 1)),
                _ => ((ClaimState::Retrying, 0), (0, 1, 1)),
            };
            assert_eq!((state, rows), expect, "after {polls} polls: {again:?}");
            if completed == COMPLETIONS {
                break;
            }
        }
    }
    assert!(cut > 0, "at least one recording must have been cancelled");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}
