//! The promises of a store for the replay of events that are done, or that a route never had.

use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{
    AuditFilter, ClaimState, Claimed, DeadFilter, DeadReason, EndOutcome, Ledger, Recorded,
    ReplayCounts, ReplayFilter, ReplayPage, Store, UndecodableMessage,
};
use hookbox_event::{Digester, Envelope, Redo, RouteName, SourceName, Topic};

use super::end::{read_until, summary};
use super::retry::requeue;
use super::{DEAD, LATER, done, fail, failure, probe};
use crate::envelope;
use crate::harness::{StoreHarness, one, two};

pub(super) fn filter(route: RouteName) -> ReplayFilter {
    ReplayFilter {
        route,
        topics: vec!["provider.#".parse().expect("a valid topic pattern")],
        conditions: Vec::new(),
        again: true,
        events: Vec::new(),
        numbers: Vec::new(),
        source: None,
        topic: None,
        since: None,
        until: None,
    }
}

/// Claims one envelope for a route, rolls back, and returns the result of the claim.
async fn probe_on<S: Store>(store: &S, route: &RouteName, envelope: &Envelope) -> Claimed {
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, route, &[envelope]).await;
    store.rollback(tx).await;
    claimed.expect("claimed")[0]
}

pub(super) async fn replay<L: Ledger>(store: &L, filter: &ReplayFilter) -> ReplayPage {
    let planned = planned(store, filter).await;
    let done = store.replay(filter, None, 100, "ann", "a new column").await;
    let done = done.expect("replayed");
    assert_eq!(planned, done, "a replay must do what its plan says");
    done
}

async fn planned<L: Ledger>(store: &L, filter: &ReplayFilter) -> ReplayPage {
    let planned = store.replayable(filter, None, 100).await;
    planned.expect("counted").page
}

fn redo(event: &str, attempt: u32) -> Envelope {
    Envelope {
        redo: Some(Redo { attempt }),
        ..envelope(event)
    }
}

pub async fn a_done_event_is_replayed_in_a_new_round<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let page = replay(&*store, &filter(one())).await;
    assert_eq!((page.counts.again, page.counts.replayed()), (1, 1));
    // After the replay, the event waits for its next run and is not done any more. A second replay
    // counts it as waiting, and does not replay it.
    let books = store.books().await.expect("read");
    assert_eq!((books[0].done, books[0].retrying), (0, 1));
    let page = replay(&*store, &filter(one())).await;
    assert_eq!((page.counts.waiting, page.counts.replayed()), (1, 0));
    let (requeued, taken) = requeue(&*store, true).await;
    assert_eq!((requeued.confirmed, taken), (1, vec![redo("a", 2)]));
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 1,
    };
    assert_eq!(probe(&*store, &redo("a", 2)).await, granted);
    done(&*store, &redo("a", 2)).await;
    assert_eq!(probe(&*store, &redo("a", 2)).await, Claimed::Redelivered);
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Redelivered);
    let books = store.books().await.expect("read");
    assert_eq!((books[0].done, books[0].retrying), (1, 0));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks the round of the ends of an event that was done, was replayed, and became a dead letter
/// then. Its end as dead has the new round, and so have the ends that follow when the dead letter
/// is discarded and restored.
pub async fn a_replayed_event_that_dies_keeps_its_round<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (route, event) = (one(), envelope("a").event);
    done(&*store, &envelope("a")).await;
    assert_eq!(replay(&*store, &filter(one())).await.counts.again, 1);
    let again = redo("a", 2);
    let mut second = failure(&route, &again, 2, DEAD);
    second.attempts_before = 1;
    let recorded = store.fail(&second).await.expect("recorded");
    assert_eq!(recorded, Recorded::Recorded);
    let all = DeadFilter::default();
    let discarded = store.dead_discard(&all, 10, "ann").await;
    let restored = store.dead_restore(&all, 10, "ann").await;
    assert_eq!(
        (discarded.expect("discarded"), restored.expect("restored")),
        (1, 1)
    );
    let last = envelope("the last one");
    done(&*store, &last).await;
    let read = read_until(&*store, None, 100, &last.event).await;
    let expect = [
        (event, EndOutcome::Done, 1, 1),
        (event, EndOutcome::Dead, 2, 2),
        (event, EndOutcome::Discarded, 2, 2),
        (event, EndOutcome::Dead, 2, 2),
        (last.event, EndOutcome::Done, 1, 1),
    ];
    assert_eq!(summary(&read), expect);
    Store::close(&*store).await;
}

pub async fn a_route_is_fed_events_that_it_never_had<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let never = filter(two());
    let page = replay(&*store, &never).await;
    assert_eq!((page.counts.first, page.counts.replayed()), (1, 1));
    let (requeued, taken) = requeue(&*store, true).await;
    assert_eq!((requeued.confirmed, taken), (1, vec![redo("a", 1)]));
    let granted = Claimed::Granted {
        attempt: 1,
        attempts_before: 0,
    };
    assert_eq!(probe_on(&*store, &two(), &redo("a", 1)).await, granted);
    // The replay has changed nothing on the first route.
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Redelivered);
    let books = store.books().await.expect("read");
    let of = |route: &RouteName| books.iter().find(|books| books.route == *route);
    assert_eq!(
        of(&one()).map(|books| (books.done, books.retrying)),
        Some((1, 0))
    );
    assert_eq!(
        of(&two()).map(|books| (books.done, books.retrying)),
        Some((0, 1))
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn only_what_is_done_or_new_is_replayed<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("done")).await;
    assert_eq!(
        fail(&*store, &envelope("waits"), 1, LATER).await,
        Recorded::Recorded
    );
    assert_eq!(
        fail(&*store, &envelope("dead"), 1, DEAD).await,
        Recorded::Recorded
    );
    let other = ReplayFilter {
        topics: vec!["other.#".parse().expect("a valid topic pattern")],
        ..filter(one())
    };
    let counts = ReplayCounts {
        other_topic: 3,
        ..ReplayCounts::default()
    };
    assert_eq!(replay(&*store, &other).await.counts, counts);
    let once = ReplayFilter {
        again: false,
        ..filter(one())
    };
    let counts = ReplayCounts {
        done: 1,
        waiting: 1,
        dead: 1,
        ..ReplayCounts::default()
    };
    assert_eq!(replay(&*store, &once).await.counts, counts);
    let named = ReplayFilter {
        events: vec![envelope("done").event, envelope("dead").event],
        ..filter(one())
    };
    let counts = ReplayCounts {
        again: 1,
        dead: 1,
        ..ReplayCounts::default()
    };
    assert_eq!(replay(&*store, &named).await.counts, counts);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that an event is replayed only if it matches every field of the filter. The time of an
/// event is the time at which its first receipt arrived. Undecodable bytes have no receipt, and are
/// never replayed.
pub async fn a_replay_takes_what_its_filter_selects<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let early = envelope("early");
    let later = early.received_at.saturating_add(Duration::from_secs(60));
    let late = Envelope {
        received_at: later,
        ..envelope("late")
    };
    let source: SourceName = "another".parse().expect("a valid name");
    let other = Envelope {
        topic: Topic::of(&source, Some("thing.happened")),
        source: source.clone(),
        ..envelope("other")
    };
    for event in [&early, &late, &other] {
        done(&*store, event).await;
    }
    store_undecodable(&*store).await;
    let all = ReplayFilter {
        topics: Vec::new(),
        ..filter(one())
    };
    let page = planned(&*store, &all).await;
    let counts = (page.counts.again, page.counts.without_receipt);
    assert_eq!(counts, (3, 1));
    let (mut since, mut until, mut of_source) = (all.clone(), all.clone(), all.clone());
    since.since = Some(later);
    until.until = Some(later);
    of_source.source = Some(source);
    let mut of_topic = all.clone();
    of_topic.topic = Some(early.topic.clone());
    let both = ReplayFilter {
        since: since.since,
        ..of_source.clone()
    };
    let filters = [(&since, 1), (&until, 2), (&of_source, 1), (&of_topic, 2)];
    for (filter, expect) in filters.into_iter().chain([(&both, 0)]) {
        let page = planned(&*store, filter).await;
        assert_eq!(page.counts.again, expect, "{filter:?}");
    }
    assert_eq!(replay(&*store, &since).await.counts.again, 1);
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 1,
    };
    assert_eq!(probe(&*store, &redo("late", 2)).await, granted);
    assert_eq!(
        probe(&*store, &redo("early", 2)).await,
        Claimed::Redelivered
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a replay with the numbers that its plan has returned takes these events, page by
/// page, and no others. An event that is stored after the plan is left alone, even if it arrived
/// before all events of the plan.
pub async fn a_replay_takes_the_events_of_its_plan<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let at = |seconds, event| {
        let envelope = envelope(event);
        Envelope {
            received_at: envelope
                .received_at
                .saturating_add(Duration::from_secs(seconds)),
            ..envelope
        }
    };
    for event in [at(20, "b"), at(10, "a")] {
        done(&*store, &event).await;
    }
    let plan = store.replayable(&filter(one()), None, 100).await;
    let plan = plan.expect("planned");
    assert_eq!((plan.page.counts.again, plan.replayed.len()), (2, 2));
    done(&*store, &at(0, "older")).await;
    let (mut shown, mut after, mut pages) = (filter(one()), None, Vec::new());
    shown.numbers = plan.replayed;
    loop {
        let page = store.replay(&shown, after, 1, "ann", "a new column").await;
        let page = page.expect("replayed");
        let Some(last) = page.last else { break };
        pages.push((last.at, page.counts.again));
        after = Some(last);
    }
    let expect = [at(10, "a").received_at, at(20, "b").received_at];
    assert_eq!(pages, expect.map(|at| (at, 1_u64)));
    for (event, expect) in [
        ("a", ClaimState::Retrying),
        ("b", ClaimState::Retrying),
        ("older", ClaimState::Done),
    ] {
        let detail = store.event(&envelope(event).event.to_string()).await;
        let detail = detail.expect("read").expect("found");
        assert_eq!(detail.claims[0].state, expect, "{event}");
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

async fn store_undecodable<S: Store>(store: &S) {
    let bytes = Bytes::from_static(b"not an envelope");
    let route = one();
    let undecodable = UndecodableMessage::new(
        &Digester::Plain,
        &route,
        &bytes,
        DeadReason::Undecodable,
        "no",
    );
    store.store_undecodable(&undecodable).await.expect("stored");
}

/// Checks that each replayed event has an audit row with the operator and the reason, also when the
/// events are replayed page by page.
pub async fn a_replay_of_events_is_audited<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for event in ["a", "b", "c"] {
        done(&*store, &envelope(event)).await;
    }
    let (filter, mut after, mut pages) = (filter(one()), None, 0);
    loop {
        let page = store.replay(&filter, after, 2, "ann", "it's \"new\"").await;
        let page = page.expect("replayed");
        let Some(last) = page.last else { break };
        after = Some(last);
        pages += 1;
    }
    assert_eq!(pages, 2);
    let audits = store.audits(&AuditFilter::default(), None, 10).await;
    let audits = audits.expect("read");
    assert_eq!(audits.len(), 3);
    for event in ["a", "b", "c"] {
        let subject = format!(
            "event {} on route {}: it's \"new\"",
            envelope(event).event,
            one()
        );
        let row = audits.iter().find(|row| row.subject == subject);
        let row =
            row.unwrap_or_else(|| panic!("the audit must have a row for {subject}: {audits:?}"));
        assert_eq!((&*row.actor, &*row.action), ("ann", "event.replay"));
    }
    Store::close(&*store).await;
}
