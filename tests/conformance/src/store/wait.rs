//! The promises of a store for waiting retries. Operators list them and make them due earlier.

use hookbox_driver::{
    Claimed, DeferReason, Deferral, Deferred, EventCursor, Failure, Ledger, RetryFilter, Store,
};
use hookbox_event::{EventId, Redo, Timestamp};
use std::time::Duration;

use super::retry::requeue;
use super::{LATER, NOW, done, fail, failure, probe};
use crate::harness::{StoreHarness, one};
use crate::{envelope, of_number};

/// Checks that retries are listed in the order of their times, page by page. Each shows the error
/// of its last attempt, or the reason of its deferral when no attempt has failed.
pub async fn retries_are_listed_with_their_errors<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let route = one();
    let first = envelope("first");
    fail(&*store, &first, 1, NOW).await;
    let mut again = first.clone();
    again.redo = Some(Redo { attempt: 2 });
    let failure = Failure {
        error: "the second error".into(),
        ..failure(&route, &again, 2, LATER)
    };
    store.fail(&failure).await.expect("recorded");
    fail(&*store, &envelope("due"), 1, NOW).await;
    let put_off = envelope("put off");
    let deferral = Deferral {
        route: &route,
        envelope: &put_off,
        attempt: 1,
        attempts_before: 0,
        other_digest: None,
        reason: DeferReason::ForeignLock,
        least: Duration::from_secs(60),
        most: Duration::from_secs(60),
        age_max: None,
    };
    assert_eq!(
        store.defer(&deferral).await.expect("deferred"),
        Deferred::Recorded
    );
    let all = RetryFilter::default();
    let rows = store.retries(&all, None, 10).await.expect("read");
    let listed: Vec<_> = rows
        .iter()
        .map(|row| (row.event, row.attempt, row.error.as_deref()))
        .collect();
    let expect = [
        (envelope("due").event, 2, Some("it did not work")),
        (put_off.event, 1, None),
        (first.event, 3, Some("the second error")),
    ];
    assert_eq!(listed, expect);
    assert!(rows.is_sorted_by_key(|row| row.not_before));
    assert_eq!(
        rows[1].deferred.map(|it| it.reason),
        Some(DeferReason::ForeignLock)
    );
    let after = EventCursor {
        at: rows[0].not_before,
        event: rows[0].event,
        route: rows[0].route.clone(),
    };
    let rest = store.retries(&all, Some(&after), 10).await.expect("read");
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[0].event, put_off.event);
    narrowed(&*store, first.event, rows[1].not_before).await;
    Store::close(&*store).await;
}

/// Checks how many of three retries each filter finds: by event, route, source and time. `second`
/// is the time at which the second retry is due.
async fn narrowed(store: &impl Ledger, event: EventId, second: Timestamp) {
    let all = RetryFilter::default();
    for (filter, count) in [
        (
            RetryFilter {
                route: Some(one()),
                ..all.clone()
            },
            3,
        ),
        (
            RetryFilter {
                source: Some("other".parse().expect("a valid name")),
                ..all.clone()
            },
            0,
        ),
        (
            RetryFilter {
                events: vec![event],
                ..all.clone()
            },
            1,
        ),
        (
            RetryFilter {
                since: Some(second),
                ..all.clone()
            },
            2,
        ),
        (
            RetryFilter {
                until: Some(second),
                ..all.clone()
            },
            1,
        ),
    ] {
        let rows = store.retries(&filter, None, 10).await.expect("read");
        assert_eq!(rows.len(), count, "{filter:?}");
    }
}

/// Checks that a retry becomes due at once when an operator hurries it. Its attempt number does not
/// change, and each hurried retry leaves an audit row. A retry that is due already is not changed.
pub async fn a_hurried_retry_is_due_at_once<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for number in 0..3 {
        fail(&*store, &of_number(number), 1, LATER).await;
    }
    fail(&*store, &envelope("due"), 1, NOW).await;
    let all = RetryFilter::default();
    assert_eq!(store.retries_early(&all).await.expect("read"), 3);
    let one = RetryFilter {
        events: vec![of_number(1).event],
        ..all.clone()
    };
    assert_eq!(store.retries_early(&one).await.expect("read"), 1);
    assert_eq!(store.hurry(&one, 10, "ann").await.expect("hurried"), 1);
    assert_eq!(store.hurry(&one, 10, "ann").await.expect("hurried"), 0);
    let (requeued, taken) = requeue(&*store, true).await;
    assert_eq!(requeued.confirmed, 2);
    let mut redo = of_number(1);
    redo.redo = Some(Redo { attempt: 2 });
    assert!(taken.contains(&redo), "{taken:?}");
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 0,
    };
    assert_eq!(probe(&*store, &redo).await, granted);
    done(&*store, &redo).await;
    // The operator asked for one retry, so only the retry with the earliest time is made due.
    assert_eq!(store.hurry(&all, 1, "bob").await.expect("hurried"), 1);
    assert_eq!(store.hurry(&all, 10, "bob").await.expect("hurried"), 1);
    assert_eq!(store.hurry(&all, 10, "bob").await.expect("hurried"), 0);
    let audit = hookbox_driver::AuditFilter::default();
    let rows = store.audits(&audit, None, 10).await.expect("read");
    let actors: Vec<&str> = rows.iter().map(|row| &*row.actor).collect();
    assert_eq!(actors, ["bob", "bob", "ann"]);
    let subject = format!("event {} on route one", of_number(1).event);
    assert_eq!(
        (&*rows[2].action, &*rows[2].subject),
        ("retries.hurry", &*subject)
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}
