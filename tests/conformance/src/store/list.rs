//! The promises of a store for lists that operators read: pages, filters, and names that may be
//! mistyped.

use std::time::Duration;

use hookbox_driver::{
    AuditFilter, DeadFilter, EventCursor, EventFilter, Failure, Ledger, Name, Refusal,
    RefusalCursor, RefusalFilter, RouteChange, RouteScope, Store,
};
use hookbox_event::{Envelope, ReceiptId, RouteName, Timestamp};

use super::{DEAD, LATER, done, fail, failure};
use crate::harness::{StoreHarness, one};
use crate::{envelope, of_number};

/// Builds the event with this number, received this many seconds after a fixed time.
fn came(number: usize, seconds: u64) -> Envelope {
    let mut envelope = of_number(number);
    envelope.received_at = moment(seconds);
    envelope
}

fn moment(seconds: u64) -> Timestamp {
    let first = envelope("first").received_at;
    first.saturating_add(Duration::from_secs(seconds))
}

/// Checks that each page of a list starts where the page before it ended. No event is listed twice
/// or left out, although many events have the same time and others are added meanwhile.
pub async fn a_list_is_read_page_by_page<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for number in 0..9 {
        // There are nine events, three with each of three different times.
        let envelope = came(number, number as u64 / 3);
        if number % 3 == 0 {
            fail(&*store, &envelope, 1, DEAD).await;
        } else {
            done(&*store, &envelope).await;
        }
    }
    let all = EventFilter::default();
    let whole = store.events(&all, None, 100).await.expect("read");
    assert_eq!(whole.len(), 9);
    let newest_first = |row: &hookbox_driver::EventRow| {
        (std::cmp::Reverse(row.received_at), *row.event.as_bytes())
    };
    assert!(whole.is_sorted_by_key(newest_first), "{whole:?}");
    let mut newer = 100;
    for limit in [1, 2, 4, 9] {
        let (mut after, mut listed) = (None, Vec::new());
        loop {
            let page = store.events(&all, after.as_ref(), limit).await;
            let page = page.expect("read");
            // The list starts with the newest event. An event that is added meanwhile is newer than
            // all others, so it does not change the next page.
            newer += 1;
            done(&*store, &came(newer, 1_000)).await;
            let Some(last) = page.last() else { break };
            after = Some(EventCursor {
                at: last.received_at,
                event: last.event,
                route: last.route.clone(),
            });
            listed.extend(page.into_iter().map(|row| row.event));
        }
        let old: Vec<_> = whole.iter().map(|row| row.event).collect();
        listed.retain(|event| old.contains(event));
        assert_eq!(listed, old, "{limit}");
    }
    let dead = DeadFilter::default();
    let first = store.dead_list(&dead, 0, 2).await.expect("read");
    let rest = store.dead_list(&dead, first[1].id, 2).await.expect("read");
    assert_eq!((first.len(), rest.len()), (2, 1));
    Store::close(&*store).await;
}

/// Checks that a list can be filtered by time, source and error. The error is plain text, not a
/// pattern.
pub async fn a_filter_narrows_by_time_source_and_error<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for (number, error) in [
        (0, "50% is too_much"),
        (1, "50x is too much"),
        (2, "no 'x'"),
    ] {
        let (route, envelope) = (one(), came(number, number as u64));
        let then = if number == 1 { LATER } else { DEAD };
        let failure = Failure {
            error: error.to_owned(),
            ..failure(&route, &envelope, 1, then)
        };
        store.fail(&failure).await.expect("recorded");
    }
    let count = async |filter: EventFilter| {
        let events = store.events(&filter, None, 10).await.expect("read");
        events.len()
    };
    let all = EventFilter::default;
    let error = |text: &str| EventFilter {
        error: Some(text.to_owned()),
        ..all()
    };
    for (text, found) in [
        ("50", 2),
        ("50%", 1),
        ("too_much", 1),
        ("%", 1),
        ("no 'x'", 1),
        ("NO", 0),
        (".*", 0),
    ] {
        assert_eq!(count(error(text)).await, found, "{text}");
        let filter = DeadFilter {
            error: Some(text.to_owned()),
            ..DeadFilter::default()
        };
        let dead = store.dead_count(&filter).await.expect("read");
        let waits = u64::from(text == "50");
        assert_eq!(dead + waits, found as u64, "{text}");
    }
    let since = |seconds| EventFilter {
        since: Some(moment(seconds)),
        ..all()
    };
    let until = |seconds| EventFilter {
        until: Some(moment(seconds)),
        ..all()
    };
    assert_eq!((count(since(1)).await, count(until(1)).await), (2, 1));
    assert_eq!((count(since(3)).await, count(until(0)).await), (0, 0));
    for (source, found) in [("provider", 3), ("other", 0)] {
        let filter = EventFilter {
            source: Some(source.parse().expect("a valid name")),
            ..all()
        };
        assert_eq!(count(filter).await, found, "{source}");
        let filter = DeadFilter {
            source: Some(source.parse().expect("a valid name")),
            ..DeadFilter::default()
        };
        let dead = store.dead_count(&filter).await.expect("read");
        assert_eq!(dead, found.min(2) as u64, "{source}");
    }
    died_since_and_until(&*store).await;
    Store::close(&*store).await;
}

/// Checks a filter by time. It uses the time at which an event became a dead letter, by the clock
/// of the store.
async fn died_since_and_until(store: &impl Ledger) {
    let all = DeadFilter::default();
    let dead = store.dead_list(&all, 0, 10).await.expect("read");
    let second = dead[1].died_at;
    let count = async |since, until| {
        let filter = DeadFilter {
            since,
            until,
            ..DeadFilter::default()
        };
        store.dead_count(&filter).await.expect("read")
    };
    assert_eq!(count(Some(second), None).await, 1);
    assert_eq!(count(None, Some(second)).await, 1);
    assert_eq!(count(Some(moment(0)), Some(moment(0))).await, 0);
}

/// Checks that the store recognises every name that it has stored in events, refusals and accept
/// reports, and the names of routes that operators have paused. A name that is in none of these is
/// probably mistyped. A pause of all routes has no name.
pub async fn names_are_known_that_were_seen<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    store
        .keep_refusals(&[refusal(1, "closed")])
        .await
        .expect("kept");
    let why = "not yet".to_owned();
    let paused = "paused".parse().expect("a valid name");
    for scope in [RouteScope::One(paused), RouteScope::All] {
        let pause = RouteChange::Pause { why: why.clone() };
        let changed = store.change_route(&scope, &pause, "ann").await;
        assert!(changed.expect("changed"), "{scope:?}");
    }
    let names = store.names().await.expect("read");
    let texts = |names: &std::collections::BTreeSet<String>| {
        names.iter().map(String::clone).collect::<Vec<_>>()
    };
    assert_eq!(texts(&names.sources), ["closed", "provider"]);
    assert_eq!(texts(&names.topics), ["provider.thing.happened"]);
    assert_eq!(texts(&names.routes), ["one", "paused"]);
    for (source, seen) in [("provider", true), ("closed", true), ("other", false)] {
        let source = source.parse().expect("a valid name");
        assert_eq!(
            has_seen(&*store, Name::Source(&source)).await,
            seen,
            "{source}"
        );
    }
    for (topic, seen) in [("provider.thing.happened", true), ("provider.thing", false)] {
        let topic = topic.parse().expect("a valid topic");
        assert_eq!(has_seen(&*store, Name::Topic(&topic)).await, seen);
    }
    for (route, seen) in [("one", true), ("paused", true), ("two", false)] {
        let route: RouteName = route.parse().expect("a valid name");
        assert_eq!(has_seen(&*store, Name::Route(&route)).await, seen);
    }
    Store::close(&*store).await;
}

async fn has_seen(store: &impl Ledger, name: Name<'_>) -> bool {
    store.has_seen(name).await.expect("read")
}

fn refusal(number: u8, source: &str) -> Refusal {
    Refusal {
        request: ReceiptId::from_bytes([number; 16]),
        source: source.to_owned(),
        reason: if number.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        }
        .to_owned(),
        body_digest: None,
        body_bytes: number.into(),
        peer: format!("192.0.2.{}", number % 3),
        at: moment(number as u64 / 2),
    }
}

/// Checks that refusals are listed newest first, page by page, and grouped by source and reason.
pub async fn refusals_are_listed_and_grouped<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let kept: Vec<Refusal> = (0..8)
        .map(|number| refusal(number, if number < 6 { "a" } else { "b" }))
        .collect();
    store.keep_refusals(&kept).await.expect("kept");
    let of_a = RefusalFilter {
        source: Some("a".to_owned()),
        ..RefusalFilter::default()
    };
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let page = store
            .refusals(&of_a, after.as_ref(), 4)
            .await
            .expect("read");
        let Some(last) = page.last() else { break };
        after = Some(RefusalCursor {
            at: last.at,
            request: last.request,
        });
        listed.extend(page.into_iter().map(|refusal| refusal.body_bytes));
    }
    assert_eq!(listed, [5, 4, 3, 2, 1, 0]);
    let narrow = RefusalFilter {
        reason: Some("odd".to_owned()),
        since: Some(moment(1)),
        until: Some(moment(3)),
        ..RefusalFilter::default()
    };
    let rows = store.refusals(&narrow, None, 10).await.expect("read");
    let rows: Vec<u64> = rows.iter().map(|refusal| refusal.body_bytes).collect();
    assert_eq!(rows, [5, 3]);
    let groups = store.refusal_groups(&RefusalFilter::default()).await;
    let groups = groups.expect("read");
    let counts: Vec<_> = groups
        .iter()
        .map(|group| (&*group.source, &*group.reason, group.count, group.peers))
        .collect();
    let expect = [
        ("a", "even", 3, 3),
        ("a", "odd", 3, 3),
        ("b", "even", 1, 1),
        ("b", "odd", 1, 1),
    ];
    assert_eq!(counts, expect);
    assert_eq!(
        (groups[0].first_at, groups[0].last_at),
        (moment(0), moment(2))
    );
    assert_eq!(store.refusal_groups(&narrow).await.expect("read").len(), 1);
    Store::close(&*store).await;
}

/// Checks that the audit is listed newest first, page by page, and can be filtered by actor, action
/// and time.
pub async fn the_audit_is_listed<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for number in 0..5 {
        let by = if number % 2 == 0 { "ann" } else { "bob" };
        let subject = number.to_string();
        store.audit(by, "test", &subject).await.expect("audited");
    }
    let all = AuditFilter::default();
    let first = store.audits(&all, None, 2).await.expect("read");
    let rest = store.audits(&all, Some(first[1].id), 10).await;
    let rest = rest.expect("read");
    let subjects: Vec<&str> = first.iter().chain(&rest).map(|row| &*row.subject).collect();
    assert_eq!(subjects, ["4", "3", "2", "1", "0"]);
    let third = rest[0].at;
    for (filter, count) in [
        (
            AuditFilter {
                actor: Some("ann".into()),
                ..all.clone()
            },
            3,
        ),
        (
            AuditFilter {
                action: Some("test".into()),
                ..all.clone()
            },
            5,
        ),
        (
            AuditFilter {
                action: Some("tes".into()),
                ..all.clone()
            },
            0,
        ),
        (
            AuditFilter {
                since: Some(third),
                ..all.clone()
            },
            3,
        ),
        (
            AuditFilter {
                until: Some(third),
                ..all.clone()
            },
            2,
        ),
    ] {
        let rows = store.audits(&filter, None, 10).await.expect("read");
        assert_eq!(rows.len(), count, "{filter:?}");
    }
    Store::close(&*store).await;
}
