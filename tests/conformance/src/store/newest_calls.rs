//! The promises of a store for external calls of routes that apply only the newest event of each
//! key.

use std::time::Duration;

use hookbox_driver::VersionStanding::{self, Busy, Current, Stale};
use hookbox_driver::{
    CallFailure, CallRecorded, CallResult, Claimed, FailureClass, LeaseWish, Ledger, Store,
};
use hookbox_event::Envelope;

use super::external::{Call, ENDED, LONG, redo, target, terms};
use super::newest::versioned;
use super::{LATER, claim};
use crate::envelope;
use crate::harness::{StoreHarness, one};

/// Claims an event of a key, compares its version, and leases the event if it is current.
async fn lease<S: Store>(
    store: &S,
    of: &Envelope,
    (key, version): (u8, &str),
    length: Duration,
) -> Result<Call, VersionStanding> {
    let (route, mut tx) = (one(), store.begin().await.expect("begun"));
    let (attempt, attempts_before) = match claim(store, &mut tx, of).await {
        Claimed::Fresh => (1, 0),
        Claimed::Granted {
            attempt,
            attempts_before,
        } => (attempt, attempts_before),
        other => panic!("{other:?}"),
    };
    let version = versioned(of, key, version);
    let events = std::slice::from_ref(&version);
    let standings = store.compare_versions(&mut tx, &route, events).await;
    let standing = standings.expect("compared")[0];
    if standing != Current {
        store.rollback(tx).await;
        return Err(standing);
    }
    let number = store.number(&tx, &route, &of.event).expect("claimed");
    let wish = LeaseWish {
        envelope: of,
        attempt,
        attempts_before,
        other_digest: None,
    };
    let target = target();
    let leased = store
        .lease(&mut tx, &route, terms(&target, length), &[wish])
        .await;
    let leased = leased.expect("leased")[0];
    store.commit(tx).await.expect("committed");
    Ok(Call {
        envelope: of.clone(),
        number,
        attempt,
        attempts_before,
        leased,
        version: Some(version),
    })
}

async fn end<S: Store>(store: &S, call: &Call, result: CallResult) -> CallRecorded {
    let ends = [call.end(result)];
    let recorded = store.end_calls(&one(), &target(), &ends, 0.5).await;
    recorded.expect("recorded")[0]
}

fn failed() -> CallResult {
    CallResult::Failed(CallFailure {
        class: FailureClass::Transient,
        error: "500".into(),
        then: LATER,
    })
}

pub async fn one_call_per_key_is_in_flight<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let first = lease(&*store, &envelope("a"), (1, "1"), LONG).await;
    let first = first.expect("leased");
    for version in ["0", "1", "2"] {
        let other = lease(&*elsewhere, &envelope("b"), (1, version), LONG).await;
        assert_eq!(other.expect_err("busy"), Busy, "{version}");
    }
    let of_other_key = lease(&*elsewhere, &envelope("c"), (2, "1"), LONG).await;
    of_other_key.expect("leased");
    let recorded = end(&*store, &first, CallResult::Done).await;
    assert_eq!(recorded, CallRecorded::Done { attempt: 1 });
    // When the time of a lease is over, other events of its key need not wait any longer.
    for (event, version, length) in [("b", "2", ENDED), ("d", "3", LONG)] {
        let next = lease(&*elsewhere, &envelope(event), (1, version), length).await;
        next.expect("leased");
    }
    let again = lease(&*store, &redo("b", 1), (1, "2"), LONG).await;
    assert_eq!(again.expect_err("busy"), Busy);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

pub async fn a_call_that_is_done_raises_its_version<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let old = lease(&*store, &envelope("old"), (1, "1"), ENDED).await;
    let old = old.expect("leased");
    let new = lease(&*store, &envelope("new"), (1, "2"), LONG).await;
    let new = new.expect("leased");
    end(&*store, &new, CallResult::Done).await;
    let stale = lease(&*store, &envelope("a"), (1, "1.5"), LONG).await;
    assert_eq!(stale.expect_err("stale"), Stale);
    let again = lease(&*store, &redo("old", 1), (1, "1"), LONG).await;
    assert_eq!(again.expect_err("stale"), Stale);
    // An older call that succeeds late ends its event, and does not lower the version of the key.
    let late = end(&*store, &old, CallResult::Done).await;
    assert_eq!(late, CallRecorded::Done { attempt: 1 });
    let stale = lease(&*store, &envelope("b"), (1, "1.5"), LONG).await;
    assert_eq!(stale.expect_err("stale"), Stale);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks a late success of an older call, which ends its event. While a newer call for the event
/// is in flight, the key of the event must stay busy. It is free as soon as the newer call has
/// ended, although this changes nothing about the event.
pub async fn a_late_success_frees_no_key_of_a_newer_call<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let older = lease(&*store, &envelope("a"), (1, "1"), ENDED).await;
    let older = older.expect("leased");
    let newer = lease(&*store, &redo("a", 1), (1, "1"), LONG).await;
    let newer = newer.expect("leased");
    let late = end(&*store, &older, CallResult::Done).await;
    assert_eq!(late, CallRecorded::Done { attempt: 1 });
    for _ in 0..2 {
        let other = lease(&*store, &envelope("b"), (1, "2"), LONG).await;
        assert_eq!(other.expect_err("busy"), Busy);
        let again = end(&*store, &older, CallResult::Done).await;
        assert_eq!(again, CallRecorded::Superseded);
    }
    let last = end(&*store, &newer, CallResult::Done).await;
    assert_eq!(last, CallRecorded::Superseded);
    let other = lease(&*store, &envelope("b"), (1, "2"), LONG).await;
    other.expect("leased");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn a_call_that_failed_frees_its_key<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let first = lease(&*store, &envelope("a"), (1, "2"), LONG).await;
    let first = first.expect("leased");
    let recorded = end(&*store, &first, failed()).await;
    assert_eq!(recorded, CallRecorded::Failed(LATER));
    // No event of the key is done, so an event with an older version is not stale.
    let older = lease(&*store, &envelope("b"), (1, "1"), LONG).await;
    let older = older.expect("leased");
    // Now another call holds the key. Recording the end of the first call again does not free it.
    end(&*store, &first, failed()).await;
    let busy = lease(&*store, &envelope("c"), (1, "3"), LONG).await;
    assert_eq!(busy.expect_err("busy"), Busy);
    end(&*store, &older, CallResult::Done).await;
    let next = lease(&*store, &envelope("c"), (1, "3"), LONG).await;
    next.expect("leased");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}
