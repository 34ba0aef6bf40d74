//! The promises of a store for deferrals. A deferred event waits, and no attempt is counted.

use std::time::Duration;

use hookbox_driver::{
    ClaimState, Claimed, DeadFilter, DeferReason, Deferral, Deferred, EventDetail, Ledger,
    Recorded, Store,
};
use hookbox_event::{Envelope, Redo};

use super::race::{poll_so_often, requeued, work};
use super::{DEAD, LATER, NOW, done, fail, fail_expired, probe};
use crate::harness::{StoreHarness, one};
use crate::{another_body, envelope, with_receipt};

/// A wait longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

/// The parameters of one deferral of an event.
struct PutOff {
    attempt: u32,
    reason: DeferReason,
    wait: Duration,
    age_max: Option<Duration>,
}

impl PutOff {
    const fn by_a_lock(attempt: u32, wait: Duration) -> Self {
        Self {
            attempt,
            reason: DeferReason::ForeignLock,
            wait,
            age_max: None,
        }
    }

    async fn on<S: Store>(&self, store: &S, envelope: &Envelope) -> Deferred {
        let deferral = Deferral {
            route: &one(),
            envelope,
            attempt: self.attempt,
            attempts_before: 0,
            other_digest: None,
            reason: self.reason,
            least: self.wait,
            most: self.wait,
            age_max: self.age_max,
        };
        store.defer(&deferral).await.expect("answered")
    }
}

const SOON: PutOff = PutOff::by_a_lock(1, Duration::ZERO);
const MUCH_LATER: PutOff = PutOff::by_a_lock(1, HOUR);

fn redo(attempt: u32) -> Envelope {
    Envelope {
        redo: Some(Redo { attempt }),
        ..envelope("a")
    }
}

async fn shown<S: Ledger>(store: &S, envelope: &Envelope) -> EventDetail {
    let id = envelope.event.to_string();
    let event = store.event(&id).await.expect("read");
    event.expect("the event must exist")
}

/// Checks that a deferral costs no attempt. The receipt gets the outcome `retrying`. After the
/// wait, the next claim is granted the same attempt number that was deferred.
pub async fn a_deferred_event_waits_for_the_same_attempt<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(SOON.on(&*store, &envelope("a")).await, Deferred::Recorded);
    let event = shown(&*store, &envelope("a")).await;
    let claim = &event.claims[0];
    assert_eq!((claim.state, claim.attempts), (ClaimState::Retrying, 0));
    assert!(event.attempts.is_empty(), "{:?}", event.attempts);
    assert_eq!(event.receipts[0].outcome, "retrying");
    assert_eq!((event.retries.len(), event.retries[0].attempt), (1, 1));
    let reason = event.retries[0].deferred.map(|it| it.reason);
    assert_eq!(reason, Some(DeferReason::ForeignLock));
    // The same receipt is claimed again, as after a redelivery, and then another receipt of the
    // event.
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Redelivered);
    let other = with_receipt("a", 2);
    assert_eq!(probe(&*store, &other).await, Claimed::Duplicate);
    let backlog = store.backlog().await.expect("read");
    let counts = (backlog[0].retrying, backlog[0].deferred, backlog[0].dead);
    assert_eq!(counts, (1, 1, 0));
    assert_eq!(requeued(&*store).await, [redo(1)]);
    let granted = Claimed::Granted {
        attempt: 1,
        attempts_before: 0,
    };
    let worked = work::<H>(&store, &redo(1), "a").await.expect("worked");
    assert_eq!(worked, granted);
    let event = shown(&*store, &envelope("a")).await;
    let claim = &event.claims[0];
    assert_eq!((claim.state, claim.attempts), (ClaimState::Done, 1));
    assert_eq!(event.receipts[0].outcome, "done");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that an event keeps the time of its first deferral if it is deferred again for the same
/// reason. A deferral for another reason sets a new time.
pub async fn a_deferral_keeps_its_beginning<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    SOON.on(&*store, &envelope("a")).await;
    let first = shown(&*store, &envelope("a")).await.retries[0].deferred;
    assert_eq!(SOON.on(&*store, &redo(1)).await, Deferred::Recorded);
    let again = shown(&*store, &envelope("a")).await.retries[0].deferred;
    assert!(first.is_some());
    assert_eq!(again, first);
    let denied = PutOff {
        reason: DeferReason::MissingRight,
        ..SOON
    };
    assert_eq!(denied.on(&*store, &redo(1)).await, Deferred::Recorded);
    let other = shown(&*store, &envelope("a")).await.retries[0].deferred;
    let other = other.expect("the event must be deferred");
    assert_eq!(other.reason, DeferReason::MissingRight);
    let backlog = store.backlog().await.expect("read");
    let counts = (backlog[0].missing_right, backlog[0].target_fault);
    assert_eq!(
        counts,
        (1, 0),
        "the backlog must show the missing right for which the event waits"
    );
    assert!(Some(other.since) > first.map(|it| it.since));
    Store::close(&*store).await;
}

/// Checks an event that is deferred and then fails. The failure counts as the deferred attempt, so
/// the next attempt has the next number.
pub async fn a_deferral_ends_with_the_next_attempt<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    SOON.on(&*store, &envelope("a")).await;
    assert_eq!(fail(&*store, &redo(1), 1, NOW).await, Recorded::Recorded);
    let event = shown(&*store, &envelope("a")).await;
    assert_eq!((event.attempts.len(), event.claims[0].attempts), (1, 1));
    assert_eq!(event.retries[0].attempt, 2);
    assert_eq!(event.retries[0].deferred, None);
    assert_eq!(store.backlog().await.expect("read")[0].deferred, 0);
    let second = PutOff { attempt: 2, ..SOON };
    assert_eq!(second.on(&*store, &redo(2)).await, Deferred::Recorded);
    let event = shown(&*store, &envelope("a")).await;
    assert_eq!((event.attempts.len(), event.claims[0].attempts), (1, 1));
    assert_eq!(event.retries[0].attempt, 2);
    assert_eq!(fail(&*store, &redo(2), 2, DEAD).await, Recorded::Recorded);
    let filter = DeadFilter::default();
    let dead = store.dead_list(&filter, 0, 10).await.expect("read");
    assert_eq!((dead.len(), dead[0].attempts), (1, 2));
    let replayed = store.dead_replay(&filter, 10, "tester").await;
    assert_eq!(replayed.expect("replayed"), 1);
    let retry = shown(&*store, &envelope("a")).await.retries[0].clone();
    assert_eq!((retry.attempt, retry.deferred), (3, None));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks an event that has been deferred for longer than the limit. Another deferral must change
/// nothing, so that the worker can record a failure instead.
pub async fn a_deferral_ends_at_its_greatest_age<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let ageless = PutOff {
        age_max: Some(Duration::ZERO),
        ..SOON
    };
    let first = ageless.on(&*store, &envelope("a")).await;
    assert_eq!(
        first,
        Deferred::Recorded,
        "the first deferral has no age yet, so no limit may reject it"
    );
    let before = shown(&*store, &envelope("a")).await;
    assert_eq!(ageless.on(&*store, &redo(1)).await, Deferred::Expired);
    let after = shown(&*store, &envelope("a")).await;
    let not_before = |event: &EventDetail| event.retries[0].not_before;
    assert_eq!(not_before(&after), not_before(&before));
    assert_eq!(fail(&*store, &redo(1), 1, LATER).await, Recorded::Recorded);
    Store::close(&*store).await;
}

/// Checks the attempts after one that counts because its deferral has reached its greatest age. If
/// the next attempt is to be deferred for the same reason, its deferral has reached that age as
/// well. Another failure or a replay ends this.
pub async fn an_expired_deferral_does_not_start_anew<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let ageless = |attempt| PutOff {
        age_max: Some(Duration::ZERO),
        ..PutOff::by_a_lock(attempt, Duration::ZERO)
    };
    let first = ageless(1).on(&*store, &envelope("a")).await;
    assert_eq!(first, Deferred::Recorded);
    let first = shown(&*store, &envelope("a")).await.retries[0].deferred;
    for attempt in 1..4 {
        let again = ageless(attempt).on(&*store, &redo(attempt)).await;
        assert_eq!(again, Deferred::Expired, "attempt {attempt}");
        let recorded = fail_expired(&*store, &redo(attempt), attempt, NOW).await;
        assert_eq!(recorded, Recorded::Recorded);
        let retry = shown(&*store, &envelope("a")).await.retries[0].clone();
        assert_eq!((retry.attempt, retry.deferred), (attempt + 1, None));
        assert_eq!(store.backlog().await.expect("read")[0].deferred, 0);
    }
    // A deferral that is allowed to be older continues from the same start.
    let unlimited = PutOff::by_a_lock(4, Duration::ZERO);
    assert_eq!(unlimited.on(&*store, &redo(4)).await, Deferred::Recorded);
    let again = shown(&*store, &envelope("a")).await.retries[0].deferred;
    assert_eq!(again, first);
    assert_eq!(fail(&*store, &redo(4), 4, NOW).await, Recorded::Recorded);
    let after_failure = ageless(5).on(&*store, &redo(5)).await;
    assert_eq!(after_failure, Deferred::Recorded);
    assert_eq!(ageless(5).on(&*store, &redo(5)).await, Deferred::Expired);
    let recorded = fail_expired(&*store, &redo(5), 5, DEAD).await;
    assert_eq!(recorded, Recorded::Recorded);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    let filter = DeadFilter::default();
    let replayed = store.dead_replay(&filter, 10, "tester").await;
    assert_eq!(replayed.expect("replayed"), 1);
    let after_replay = ageless(6).on(&*store, &redo(6)).await;
    assert_eq!(after_replay, Deferred::Recorded);
    Store::close(&*store).await;
}

/// Checks an event that is deferred in turn because its target is not reached, because the target
/// is busy, and because a call for another event of its key is in flight. All this is one deferral.
pub async fn deferrals_by_a_target_share_their_beginning<H: StoreHarness>(world: &H) {
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
        let put_off = PutOff { reason, ..SOON };
        assert_eq!(put_off.on(&*store, &event).await, Deferred::Recorded);
        let deferred = shown(&*store, &event).await.retries[0].deferred;
        let deferred = deferred.expect("the event must be deferred");
        assert_eq!(deferred.reason, kept, "after {reason:?}");
        let first = *since.get_or_insert(deferred.since);
        assert_eq!(deferred.since, first, "after {reason:?}");
        event = redo(1);
    }
    let ageless = PutOff {
        reason: TargetBusy,
        age_max: Some(Duration::ZERO),
        ..SOON
    };
    assert_eq!(ageless.on(&*store, &event).await, Deferred::Expired);
    Store::close(&*store).await;
}

/// The retry of a deferred event has the same attempt number as the message that was deferred.
/// Checks that an old copy of this message is not granted the attempt before the retry is due. The
/// store knows when that is, and the message of the retry is not published earlier.
pub async fn a_copy_of_a_deferred_event_is_not_granted_early<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    MUCH_LATER.on(&*store, &envelope("a")).await;
    assert_eq!(probe(&*store, &redo(1)).await, Claimed::Redelivered);
    assert_eq!(requeued(&*store).await, []);
    // An old copy of the message was claimed before the deferral above. Its worker now defers the
    // event again, for a shorter time.
    assert_eq!(SOON.on(&*store, &redo(1)).await, Deferred::Recorded);
    assert_eq!(requeued(&*store).await, [redo(1)]);
    let granted = Claimed::Granted {
        attempt: 1,
        attempts_before: 0,
    };
    assert_eq!(probe(&*store, &redo(1)).await, granted);
    Store::close(&*store).await;
}

/// Checks that many copies of one deferred event have one effect, also when two copies run at the
/// same moment.
pub async fn copies_of_a_deferred_event_have_one_effect<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    for number in 0..20_u8 {
        let key = format!("copy-{number}");
        let first = envelope(&key);
        let copy = Envelope {
            redo: Some(Redo { attempt: 1 }),
            ..first.clone()
        };
        SOON.on(&*store, &first).await;
        let (left, right) = tokio::join!(
            work::<H>(&store, &copy, &key),
            work::<H>(&elsewhere, &copy, &key)
        );
        let mut both = [left.expect("worked"), right.expect("worked")];
        both.sort_by_key(|claimed| *claimed == Claimed::Redelivered);
        let granted = Claimed::Granted {
            attempt: 1,
            attempts_before: 0,
        };
        assert_eq!(both, [granted, Claimed::Redelivered]);
        // One more copy was claimed before the two runs, and defers the event only after them.
        let late = PutOff { ..SOON };
        assert_eq!(late.on(&*elsewhere, &copy).await, Deferred::Superseded);
        for late in [first, copy] {
            let late = work::<H>(&store, &late, &key).await.expect("worked");
            assert_eq!(late, Claimed::Redelivered);
        }
        assert_eq!(world.effects(&key).await, 1);
    }
    assert_eq!(requeued(&*store).await, []);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that a late deferral changes nothing: the event is already done, failed, dead, deferred
/// or a conflict. The next claim returns which of these it is.
pub async fn a_deferral_of_what_has_moved_on_changes_nothing<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("done")).await;
    fail(&*store, &envelope("failed"), 1, LATER).await;
    fail(&*store, &envelope("dead"), 1, DEAD).await;
    MUCH_LATER.on(&*store, &envelope("deferred")).await;
    for key in ["done", "failed", "dead", "deferred"] {
        let before = shown(&*store, &envelope(key)).await;
        let late = SOON.on(&*store, &envelope(key)).await;
        assert_eq!(late, Deferred::Superseded, "{key}");
        let after = shown(&*store, &envelope(key)).await;
        assert_eq!(after.claims[0].state, before.claims[0].state, "{key}");
        assert_eq!(after.claims[0].attempts, before.claims[0].attempts);
        assert_eq!(after.retries.len(), before.retries.len(), "{key}");
        assert_eq!(after.receipts.len(), 1, "{key}");
    }
    let other = another_body("done", 2);
    assert_eq!(SOON.on(&*store, &other).await, Deferred::Superseded);
    assert_eq!(probe(&*store, &other).await, Claimed::Conflict);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a deferral whose future is dropped at any point is recorded completely or not at
/// all.
pub async fn a_deferral_cut_anywhere_is_whole_or_nothing<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let mut cut = 0;
    for polls in 0..60 {
        let event = envelope(&format!("cut-{polls}"));
        let deferred = poll_so_often(MUCH_LATER.on(&*store, &event), polls).await;
        cut += u32::from(deferred.is_none());
        // The dropped deferral may still run in the store and hold the lock of the event. The next
        // call waits until that deferral has ended.
        let again = MUCH_LATER.on(&*elsewhere, &event).await;
        if deferred.is_some() {
            assert_eq!(again, Deferred::Superseded, "after {polls} polls");
        }
        let event = shown(&*elsewhere, &event).await;
        assert_eq!((event.attempts.len(), event.claims[0].attempts), (0, 0));
        assert_eq!((event.retries.len(), event.receipts.len()), (1, 1));
    }
    assert!(cut > 0, "at least one deferral must have been cancelled");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}
