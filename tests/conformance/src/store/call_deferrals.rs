//! The promises of a store for deferred calls. The event of such a call waits, and no attempt is
//! counted.

use std::time::Duration;

use hookbox_driver::{
    CallDeferral, CallFailure, CallRecorded, CallResult, ClaimState, DeferReason, DeferredSince,
    FAULTS_TO_OPEN, FailureClass, LeaseTerms, Leased, Ledger, Store, TargetAnswer,
};

use super::call::{deferred, end, failed, open_breaker};
use super::external::{LONG, lease, lease_one, redo, shown, target, terms};
use super::race::requeued;
use super::{DEAD, NOW};
use crate::envelope;
use crate::harness::{StoreHarness, one};

/// Returns the result of a call that is deferred for this reason. From the age `age_max` on, it
/// counts as an attempt. In both cases, its event is due again at once.
fn deferred_for(reason: DeferReason, age_max: Duration) -> CallResult {
    CallResult::Deferred(CallDeferral {
        reason,
        least: Duration::ZERO,
        most: Duration::ZERO,
        age_max,
        expired: CallFailure {
            class: FailureClass::Transient,
            error: "it was deferred for too long".into(),
            then: NOW,
        },
    })
}

/// Returns the attempt for which event `a` waits, and its deferral.
async fn waiting<S: Ledger>(store: &S) -> (u32, Option<DeferredSince>) {
    let seen = shown(store, &envelope("a")).await;
    let retry = &seen.retries[0];
    (retry.attempt, retry.deferred)
}

/// Checks that a deferred call costs no attempt, and that its lease counts as one with an outcome.
/// If the event is leased and deferred again, it keeps the time of its first deferral.
pub async fn a_deferred_call_costs_no_attempt<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let target = target();
    let terms = LeaseTerms {
        lost_max: 1,
        ..terms(&target, LONG)
    };
    let mut event = envelope("a");
    let mut since = None;
    for epoch in 1..4 {
        let calls = lease(&*store, &[&event], terms).await;
        assert_eq!(calls[0].leased, Leased::Granted { epoch, effect: 1 });
        let recorded = end(&*store, calls[0].end(deferred(LONG))).await;
        assert_eq!(recorded, CallRecorded::Deferred);
        let recorded = end(&*store, calls[0].end(deferred(LONG))).await;
        assert_eq!(recorded, CallRecorded::Superseded);
        let seen = shown(&*store, &envelope("a")).await;
        let claim = &seen.claims[0];
        assert_eq!((claim.state, claim.attempts), (ClaimState::Retrying, 0));
        assert!(seen.attempts.is_empty(), "{:?}", seen.attempts);
        assert_eq!(
            (&*seen.receipts[0].outcome, seen.receipts.len()),
            ("retrying", 1)
        );
        assert_eq!((seen.retries.len(), seen.retries[0].attempt), (1, 1));
        assert_eq!(seen.retries[0].target, None);
        let found = seen.retries[0]
            .deferred
            .expect("the event must be deferred");
        assert_eq!(found.reason, DeferReason::TargetFault);
        assert_eq!(*since.get_or_insert(found.since), found.since);
        let backlog = store.backlog().await.expect("read");
        assert_eq!((backlog[0].deferred, backlog[0].target_fault), (1, 1));
        assert_eq!(requeued(&*store).await, [redo("a", 1)]);
        event = redo("a", 1);
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks an event whose calls have been deferred for the longest time that is allowed. While the
/// breaker of the target is closed, its next call fails. While the breaker is open, it is deferred
/// again.
pub async fn a_deferred_call_expires_while_others_are_answered<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let target = target();
    let mut calls = Vec::new();
    for key in ["a", "b"] {
        let call = lease_one(&*store, &envelope(key), LONG).await;
        let recorded = end(&*store, call.end(deferred(Duration::ZERO))).await;
        assert_eq!(
            recorded,
            CallRecorded::Deferred,
            "the first deferral of an event must not expire"
        );
        calls.push(lease_one(&*store, &redo(key, 1), LONG).await);
    }
    let recorded = end(&*store, calls[0].end(deferred(Duration::ZERO))).await;
    assert_eq!(recorded, CallRecorded::Failed(DEAD));
    assert_eq!(open_breaker(&*store).await.len(), FAULTS_TO_OPEN as usize);
    let ends = [calls[1].answered(deferred(Duration::ZERO), TargetAnswer::Fault)];
    let recorded = store.end_calls(&one(), &target, &ends, 0.5).await;
    assert_eq!(recorded.expect("recorded"), [CallRecorded::Deferred]);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks the attempts after one that counts because its deferral has reached its greatest age. If
/// the next call fails for the same reason, it counts at once. Another failure ends this.
pub async fn an_expired_deferral_of_a_call_does_not_start_anew<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (ageless, fault) = (Duration::ZERO, DeferReason::TargetFault);
    let call = lease_one(&*store, &envelope("a"), LONG).await;
    let recorded = end(&*store, call.end(deferred_for(fault, ageless))).await;
    assert_eq!(recorded, CallRecorded::Deferred);
    let (_, first) = waiting(&*store).await;
    for attempt in 1..4 {
        let call = lease_one(&*store, &redo("a", attempt), LONG).await;
        let recorded = end(&*store, call.end(deferred_for(fault, ageless))).await;
        assert_eq!(
            recorded,
            CallRecorded::Failed(NOW),
            "attempt {attempt} must not be deferred anew"
        );
        assert_eq!(waiting(&*store).await, (attempt + 1, None));
        assert_eq!(store.backlog().await.expect("read")[0].deferred, 0);
    }
    // A deferral that is allowed to be older continues from the same start.
    let call = lease_one(&*store, &redo("a", 4), LONG).await;
    let recorded = end(&*store, call.end(deferred_for(fault, LONG))).await;
    assert_eq!(recorded, CallRecorded::Deferred);
    assert_eq!(waiting(&*store).await, (4, first));
    let call = lease_one(&*store, &redo("a", 4), LONG).await;
    let recorded = end(&*store, call.end(failed(NOW))).await;
    assert_eq!(recorded, CallRecorded::Failed(NOW));
    let call = lease_one(&*store, &redo("a", 5), LONG).await;
    let recorded = end(&*store, call.end(deferred_for(fault, ageless))).await;
    assert_eq!(
        recorded,
        CallRecorded::Deferred,
        "another failure must have ended the deferral"
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks an event whose target in turn is not reached and asks for pauses. All its deferrals count
/// as one, also when a call for it is dropped in between.
pub async fn faults_and_pauses_of_a_target_share_a_deferral<H: StoreHarness>(world: &H) {
    use DeferReason::{Leased, TargetBusy, TargetFault};
    let store = world.open().await;
    let mut event = envelope("a");
    let mut since = None;
    for (reason, kept) in [
        (TargetFault, TargetFault),
        (TargetBusy, TargetBusy),
        (Leased, TargetBusy),
        (TargetFault, TargetFault),
    ] {
        let call = lease_one(&*store, &event, LONG).await;
        let recorded = end(&*store, call.end(deferred_for(reason, LONG))).await;
        assert_eq!(recorded, CallRecorded::Deferred);
        let (_, deferred) = waiting(&*store).await;
        let deferred = deferred.expect("the event must be deferred");
        assert_eq!(deferred.reason, kept, "after {reason:?}");
        let first = *since.get_or_insert(deferred.since);
        assert_eq!(deferred.since, first, "after {reason:?}");
        event = redo("a", 1);
    }
    let call = lease_one(&*store, &event, LONG).await;
    let ageless = deferred_for(TargetBusy, Duration::ZERO);
    let recorded = end(&*store, call.end(ageless)).await;
    assert_eq!(recorded, CallRecorded::Failed(NOW));
    Store::close(&*store).await;
}
