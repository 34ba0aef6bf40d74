//! The promises of a store for leases. A leased event is handed to an external call, and waits
//! until the call has ended.

use std::time::Duration;

use hookbox_driver::{
    CallEnd, CallResult, ClaimState, Claimed, CommitError, DeadFilter, DeadReason, DeferReason,
    Deferral, Deferred, LeaseTerms, LeaseWish, Leased, Ledger, NoPermit, Outcome, Rate,
    ReceiptOutcome, Recorded, RetryFilter, Store, TargetLimits,
};
use hookbox_event::Envelope;

use super::external::{
    ENDED, LONG, lease, lease_in, lease_one, redo, shown, some, target, terms, try_lease,
};
use super::race::{COMPLETIONS, poll_so_often, requeued};
use super::{DEAD, LATER, NOW, claim, done, fail, probe};
use crate::harness::{StoreHarness, one};
use crate::{envelope, of_number, with_receipt};

/// Checks that a lease and its claim are visible only after the commit, and what is stored then.
pub async fn a_lease_is_committed_with_its_claim<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let (event, target) = (envelope("a"), target());
    let mut tx = store.begin().await.expect("begun");
    let calls = lease_in(&*store, &mut tx, &[&event], terms(&target, LONG)).await;
    assert_eq!(
        calls.expect("leased")[0].leased,
        Leased::Granted {
            epoch: 1,
            effect: 1
        }
    );
    let number = store.number(&tx, &one(), &event.event);
    assert!(
        number.is_some(),
        "the transaction must know the number of a leased event"
    );
    let id = event.event.to_string();
    let seen = elsewhere.event(&id).await.expect("read");
    assert!(seen.is_none_or(|seen| seen.claims.is_empty()));
    store.rollback(tx).await;
    assert_eq!(probe(&*elsewhere, &event).await, Claimed::Fresh);

    let call = lease_one(&*store, &event, LONG).await;
    assert_eq!(
        call.leased,
        Leased::Granted {
            epoch: 1,
            effect: 1
        }
    );
    let seen = shown(&*elsewhere, &event).await;
    let claim = &seen.claims[0];
    assert_eq!((claim.state, claim.attempts), (ClaimState::Retrying, 0));
    assert_eq!(claim.epoch, Some(1));
    assert!(seen.attempts.is_empty(), "{:?}", seen.attempts);
    assert_eq!(
        (seen.receipts.len(), &*seen.receipts[0].outcome),
        (1, "retrying")
    );
    assert_eq!((seen.retries.len(), seen.retries[0].attempt), (1, 1));
    let deferred = seen.retries[0]
        .deferred
        .expect("a leased event must be deferred");
    assert_eq!(deferred.reason, DeferReason::Leased);
    assert_eq!(seen.retries[0].target.as_ref(), Some(&target));
    // The time before the lease was requested does not shorten it.
    let length = seen.retries[0].not_before.since(deferred.since);
    assert!((LONG..2 * LONG).contains(&length), "{length:?}");
    let backlog = store.backlog().await.expect("read");
    assert_eq!((backlog[0].retrying, backlog[0].deferred), (1, 0));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that no further message of a leased event starts another call while the lease lasts.
pub async fn a_leased_event_waits_and_its_copies_are_not_granted<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    lease_one(&*store, &envelope("a"), LONG).await;
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Redelivered);
    let other = with_receipt("a", 2);
    assert_eq!(probe(&*store, &other).await, Claimed::Duplicate);
    assert_eq!(probe(&*store, &redo("a", 1)).await, Claimed::Redelivered);
    assert_eq!(requeued(&*store).await, []);
    // A process that claimed the event earlier cannot end a lease that another process holds.
    let recorded = fail(&*store, &redo("a", 1), 1, DEAD).await;
    assert_eq!(recorded, Recorded::Superseded);
    let deferred = defer(&*store, &redo("a", 1), 1).await;
    assert_eq!(deferred, Deferred::Superseded);
    assert_eq!(probe(&*store, &redo("a", 1)).await, Claimed::Redelivered);
    assert_eq!(requeued(&*store).await, []);
    Store::close(&*store).await;
}

/// Defers an attempt because its target is busy. The event is due again at once.
async fn defer<S: Store>(store: &S, envelope: &Envelope, attempt: u32) -> Deferred {
    let deferral = Deferral {
        route: &one(),
        envelope,
        attempt,
        attempts_before: 0,
        other_digest: None,
        reason: DeferReason::TargetBusy,
        least: Duration::ZERO,
        most: Duration::ZERO,
        age_max: None,
    };
    store.defer(&deferral).await.expect("answered")
}

/// Checks that the same attempt of an event is due again when the time of its lease is over. The
/// next lease of the event has a higher epoch.
pub async fn a_lease_that_ended_is_granted_under_a_higher_epoch<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    lease_one(&*store, &envelope("a"), ENDED).await;
    for epoch in 2..4 {
        assert_eq!(requeued(&*store).await, [redo("a", 1)]);
        let call = lease_one(&*store, &redo("a", 1), ENDED).await;
        assert_eq!(call.leased, Leased::Granted { epoch, effect: 1 });
        assert_eq!((call.attempt, call.attempts_before), (1, 0));
    }
    let seen = shown(&*store, &envelope("a")).await;
    assert_eq!(
        (seen.claims[0].attempts, seen.claims[0].epoch),
        (0, Some(3))
    );
    assert_eq!((seen.receipts.len(), seen.retries.len()), (1, 1));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that operators see leased events among the retries, and cannot make them due early.
pub async fn a_lease_is_not_hurried<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    lease_one(&*store, &envelope("a"), LONG).await;
    fail(&*store, &envelope("b"), 1, LATER).await;
    let all = RetryFilter::default();
    assert_eq!(store.retries_early(&all).await.expect("read"), 1);
    assert_eq!(store.hurry(&all, 10, "ada").await.expect("hurried"), 1);
    assert_eq!(requeued(&*store).await, [redo("b", 2)]);
    let rows = store.retries(&all, None, 10).await.expect("read");
    let leased = rows.iter().find(|row| row.event == envelope("a").event);
    let deferred = leased.expect("listed").deferred.expect("leased");
    assert_eq!(deferred.reason, DeferReason::Leased);
    Store::close(&*store).await;
}

/// Checks that an attempt gets no further lease after several leases of it have ended without an
/// outcome. The failure of a call is an outcome of its lease. A deferral by the worker is not.
pub async fn an_attempt_without_outcomes_is_lost<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    lease_one(&*store, &envelope("a"), ENDED).await;
    fail(&*store, &redo("a", 1), 1, NOW).await;
    for epoch in 2..4 {
        let call = lease_one(&*store, &redo("a", 2), ENDED).await;
        assert_eq!(call.leased, Leased::Granted { epoch, effect: 1 });
    }
    let deferred = defer(&*store, &redo("a", 2), 2).await;
    assert_eq!(deferred, Deferred::Recorded);
    let call = lease_one(&*store, &redo("a", 2), ENDED).await;
    assert_eq!(
        call.leased,
        Leased::Granted {
            epoch: 4,
            effect: 1
        }
    );
    let call = lease_one(&*store, &redo("a", 2), ENDED).await;
    assert_eq!(call.leased, Leased::Lost { leases: 3 });
    let dead = DeadFilter::default();
    let rows = store.dead_list(&dead, 0, 10).await.expect("read");
    assert_eq!((rows.len(), rows[0].reason), (1, DeadReason::Lost));
    assert_eq!(rows[0].attempts, 1);
    let replayed = store.dead_replay(&dead, 10, "ada").await;
    assert_eq!(replayed.expect("replayed"), 1);
    let call = lease_one(&*store, &redo("a", 2), LONG).await;
    assert_eq!(
        call.leased,
        Leased::Granted {
            epoch: 5,
            effect: 1
        }
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that all workers together have no more calls in flight than the target allows. They take
/// leases one after the other, and also two workers at the same moment.
pub async fn calls_in_flight_are_limited_across_workers<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let target = target();
    let limited = |concurrency| LeaseTerms {
        limits: TargetLimits {
            concurrency: some(concurrency),
            rate: None,
        },
        ..terms(&target, LONG)
    };
    let events: Vec<Envelope> = (0..3).map(of_number).collect();
    let events: Vec<&Envelope> = events.iter().collect();
    let calls = lease(&*store, &events, limited(2)).await;
    let leased: Vec<Leased> = calls.iter().map(|call| call.leased).collect();
    let granted = Leased::Granted {
        epoch: 1,
        effect: 1,
    };
    let refused = Leased::Refused(NoPermit::Busy);
    assert_eq!(leased, [granted, granted, refused]);
    let third = lease(&*elsewhere, &events[2..], limited(2)).await;
    assert_eq!(third[0].leased, refused);
    let ends = [calls[0].end(CallResult::Done)];
    let ended = store.end_calls(&one(), &target, &ends, 0.5).await;
    ended.expect("recorded");
    let third = lease(&*elsewhere, &events[2..], limited(2)).await;
    assert_eq!(third[0].leased, granted);
    // A lease whose time is over is not counted.
    let ended = LeaseTerms {
        length: ENDED,
        ..limited(3)
    };
    let fourth = lease(&*store, &[&envelope("ended")], ended).await;
    assert_eq!(fourth[0].leased, granted);
    for round in 0..20 {
        let two = |side: &str| [1, 2].map(|n| envelope(&format!("{side}-{round}-{n}")));
        let (left, right) = (two("left"), two("right"));
        let (left, right) = (left.each_ref(), right.each_ref());
        // Two calls are in flight, and three more may be made.
        let (left, right) = tokio::join!(
            try_lease(&*store, &left, limited(5)),
            try_lease(&*elsewhere, &right, limited(5))
        );
        let mut calls = left.expect("committed");
        calls.extend(right.expect("committed"));
        calls.retain(|call| call.leased == granted);
        assert_eq!(calls.len(), 3, "round {round}");
        let ends: Vec<CallEnd> = calls.iter().map(|it| it.end(CallResult::Done)).collect();
        let ended = store.end_calls(&one(), &target, &ends, 0.5).await;
        ended.expect("recorded");
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that an event which is refused a lease keeps its claim. The claim can then be settled. It
/// can also be withdrawn, as if it had never been made.
pub async fn a_refused_lease_leaves_the_claim<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let target = target();
    let per = Duration::from_secs(600);
    let rated = LeaseTerms {
        limits: TargetLimits {
            concurrency: some(9),
            rate: Some(Rate {
                calls: some(1),
                per,
            }),
        },
        ..terms(&target, LONG)
    };
    fail(&*store, &envelope("b"), 1, NOW).await;
    let events = [&envelope("a"), &envelope("c"), &redo("b", 2)];
    let calls = lease(&*store, &events, rated).await;
    assert_eq!(
        calls[0].leased,
        Leased::Granted {
            epoch: 1,
            effect: 1
        }
    );
    for call in &calls[1..] {
        let Leased::Refused(NoPermit::Rate(wait)) = call.leased else {
            panic!("{call:?}");
        };
        assert!(wait <= per && wait > per / 2, "{wait:?}");
    }
    assert_eq!(probe(&*store, &envelope("c")).await, Claimed::Fresh);
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 0,
    };
    assert_eq!(probe(&*store, &redo("b", 2)).await, granted);
    done(&*store, &redo("b", 2)).await;

    let (route, event) = (one(), envelope("c"));
    let mut tx = store.begin().await.expect("begun");
    let calls = lease_in(&*store, &mut tx, &[&event], rated).await;
    let calls = calls.expect("answered");
    assert!(matches!(calls[0].leased, Leased::Refused(_)), "{calls:?}");
    let settled = [ReceiptOutcome {
        envelope: &event,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    }];
    let settling = store.settle(&mut tx, &route, &settled).await;
    settling.expect("settled");
    store.commit(tx).await.expect("committed");
    assert_eq!(probe(&*store, &event).await, Claimed::Redelivered);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that nothing is leased in a transaction that a handler has ended.
pub async fn an_ended_transaction_leases_nothing<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (event, target) = (envelope("a"), target());
    for commits in [false, true] {
        let mut tx = store.begin().await.expect("begun");
        assert_eq!(claim(&*store, &mut tx, &event).await, Claimed::Fresh);
        H::effect(store.connection(&mut tx), "a").await;
        if commits {
            H::commit_raw(store.connection(&mut tx)).await;
        } else {
            H::roll_back_raw(store.connection(&mut tx)).await;
        }
        let wish = LeaseWish {
            envelope: &event,
            attempt: 1,
            attempts_before: 0,
            other_digest: None,
        };
        let (route, wishes, terms) = (one(), [wish], terms(&target, LONG));
        let answer = store.lease(&mut tx, &route, terms, &wishes).await;
        let is_error = matches!(
            answer,
            Err(CommitError::BrokenByHandler { .. } | CommitError::EndedByHandler { .. })
        );
        assert!(is_error, "{answer:?}");
        store.rollback(tx).await;
        let expect = if commits {
            Claimed::Orphaned
        } else {
            Claimed::Fresh
        };
        assert_eq!(probe(&*store, &event).await, expect);
    }
    Store::close(&*store).await;
}

/// Cancels the taking of a lease at every point, also during the commit. Checks that the store then
/// has the whole lease or nothing of it.
pub async fn a_lease_cut_anywhere_is_whole_or_nothing<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let target = target();
    let (mut cut, mut whole, mut completed) = (0, 0, 0);
    for polls in 0..120 {
        let event = envelope(&format!("cut-{polls}"));
        let events = [&event];
        let leasing = try_lease(&*store, &events, terms(&target, LONG));
        let leased = poll_so_often(leasing, polls).await;
        cut += u32::from(leased.is_none());
        completed += u32::from(leased.is_some());
        // The dropped transaction may still run in the store and hold the lock of the event. The
        // claim waits until that transaction has ended.
        let mut tx = elsewhere.begin().await.expect("begun");
        let claimed = claim(&*elsewhere, &mut tx, &event).await;
        elsewhere.rollback(tx).await;
        let is_leased = match claimed {
            Claimed::Fresh => false,
            Claimed::Redelivered => true,
            other => panic!("after {polls} polls: {other:?}"),
        };
        assert!(is_leased || leased.is_none(), "after {polls} polls");
        whole += u32::from(is_leased);
        if is_leased {
            let seen = shown(&*elsewhere, &event).await;
            assert_eq!(
                (seen.claims[0].attempts, seen.claims[0].epoch),
                (0, Some(1))
            );
            assert_eq!((seen.retries.len(), seen.receipts.len()), (1, 1));
        }
        if completed == COMPLETIONS {
            break;
        }
    }
    assert!(
        cut > 0 && whole > 0,
        "some leases must be cancelled and some stored: {cut}, {whole}"
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}
