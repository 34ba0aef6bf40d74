//! The promises of a store for a target that calls do not reach. The store keeps the last error of
//! the target. While the breaker of the target is half-open, one call at a time probes the target.

use hookbox_driver::{
    BreakerState, CallEnd, CallRecorded, CallResult, Leased, Ledger, NoPermit, Store, TargetAnswer,
    TargetRow,
};
use hookbox_event::Envelope;
use hookbox_testkit::eventually::eventually;

use super::call::{deferred, open_breaker};
use super::external::{Call, LONG, lease, lease_one, target, terms, try_lease};
use crate::harness::{StoreHarness, one};
use crate::{envelope, of_number};

/// Checks that only one of two workers may make a call while the breaker is half-open, if both try
/// at the same moment. When the target has answered this call, both workers may make calls again.
/// The test waits while the breaker is open, which takes 5 seconds.
pub async fn one_call_probes_a_target_that_was_down<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let (target, granted) = (
        target(),
        Leased::Granted {
            epoch: 1,
            effect: 1,
        },
    );
    open_breaker(&*store).await;
    eventually("the breaker must be half open", async || {
        store.blocked(&target).await.expect("read").is_none()
    })
    .await;
    let rows = elsewhere.targets().await.expect("read");
    let breakers: Vec<BreakerState> = rows.iter().map(|row| row.breaker).collect();
    assert_eq!(breakers, [BreakerState::HalfOpen]);
    let events: Vec<Envelope> = (0..4).map(of_number).collect();
    let events: Vec<&Envelope> = events.iter().collect();
    let (left, right) = tokio::join!(
        try_lease(&*store, &events[..2], terms(&target, LONG)),
        try_lease(&*elsewhere, &events[2..], terms(&target, LONG))
    );
    let mut calls = left.expect("committed");
    calls.extend(right.expect("committed"));
    let (probes, refused): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| call.leased == granted);
    assert_eq!(probes.len(), 1, "{probes:?}");
    let busy = Leased::Refused(NoPermit::Busy);
    assert!(refused.iter().all(|it| it.leased == busy), "{refused:?}");
    let ends = [probes[0].end(CallResult::Done)];
    let ended = elsewhere.end_calls(&one(), &target, &ends, 0.5).await;
    ended.expect("recorded");
    let refused: Vec<&Envelope> = refused.iter().map(|call| &call.envelope).collect();
    let calls = lease(&*store, &refused, terms(&target, LONG)).await;
    assert!(calls.iter().all(|it| it.leased == granted), "{calls:?}");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that the faults of calls count once when their ends are recorded twice. A worker does
/// that when the reply to the first commit was lost. The second record also leaves the last error
/// of the target as it is.
pub async fn a_fault_recorded_twice_counts_once<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let target = target();
    let events: Vec<Envelope> = (0..3).map(of_number).collect();
    let events: Vec<&Envelope> = events.iter().collect();
    let calls = lease(&*store, &events, terms(&target, LONG)).await;
    let fault = |call: &Call| CallEnd {
        target_error: Some("connection refused".to_owned()),
        ..call.answered(deferred(LONG), TargetAnswer::Fault)
    };
    let ends: Vec<CallEnd> = calls.iter().map(fault).collect();
    let mut first = None;
    for expect in [CallRecorded::Deferred, CallRecorded::Superseded] {
        let recorded = store.end_calls(&one(), &target, &ends, 0.5).await;
        assert_eq!(recorded.expect("recorded"), [expect; 3]);
        let rows = store.targets().await.expect("read");
        assert_eq!((rows.len(), rows[0].faults), (1, 3), "{expect:?}");
        assert_eq!(rows[0].breaker, BreakerState::Closed, "{expect:?}");
        let first = first.get_or_insert_with(|| rows[0].last_error.clone());
        assert_eq!(rows[0].last_error, *first, "{expect:?}");
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that all workers see the error of the last call that did not reach a target, and that the
/// store keeps this error when the target answers again.
pub async fn the_last_error_of_a_target_is_kept<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let target = target();
    let row = async || -> TargetRow {
        let mut rows = elsewhere.targets().await.expect("read");
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    };
    let call = lease_one(&*store, &envelope("a"), LONG).await;
    assert_eq!(row().await.last_error, None);
    let mut end = call.answered(deferred(LONG), TargetAnswer::Fault);
    end.target_error = Some("connection\0 refused".to_owned());
    let ended = store.end_calls(&one(), &target, &[end], 0.5).await;
    ended.expect("recorded");
    let first = row().await;
    assert!(first.is_in_trouble(), "{first:?}");
    let first = first.last_error.expect("the target must have a last error");
    assert_eq!(first.error, "connection\\u{0} refused");
    let calls = lease(
        &*store,
        &[&envelope("b"), &envelope("c")],
        terms(&target, LONG),
    )
    .await;
    let mut ends = [
        calls[0].answered(deferred(LONG), TargetAnswer::Fault),
        calls[1].end(CallResult::Done),
    ];
    ends[0].target_error = Some("no such host".to_owned());
    let ended = store.end_calls(&one(), &target, &ends, 0.5).await;
    ended.expect("recorded");
    let last = row().await;
    assert!(!last.is_in_trouble(), "{last:?}");
    let last = last
        .last_error
        .expect("the store must keep the last error of the target");
    assert_eq!(last.error, "no such host");
    assert!(last.at >= first.at, "{last:?} after {first:?}");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}
