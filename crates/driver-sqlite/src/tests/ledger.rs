//! Tests of what operators can read and change through the `Ledger`.

use super::*;
use hookbox_driver::{
    AuditFilter, ClaimState, DeadFilter, DeadReason, DeadState, EventFilter, Ledger, Refusal,
    RefusalFilter,
};

const DEAD: Then = Then::Dead {
    reason: DeadReason::Rejected,
};

async fn all_dead(store: &Sqlite) -> Vec<hookbox_driver::DeadRow> {
    store
        .dead_list(&DeadFilter::default(), 0, 100)
        .await
        .unwrap()
}

/// Returns the actor and the action of each row of the audit log, newest first.
async fn audited(store: &Sqlite) -> Vec<(&'static str, &'static str)> {
    let audits = store
        .audits(&AuditFilter::default(), None, 100)
        .await
        .unwrap();
    let known =
        |word: &str, words: &[&'static str]| *words.iter().find(|known| **known == word).unwrap();
    audits
        .iter()
        .map(|row| {
            assert!(row.subject.starts_with("dead letter "), "{}", row.subject);
            let actions = ["dead.replay", "dead.discard", "dead.restore"];
            (
                known(&row.actor, &["ann", "bob"]),
                known(&row.action, &actions),
            )
        })
        .collect()
}

#[tokio::test]
async fn events_are_listed_newest_first_and_found_by_prefix() {
    let world = World::new();
    let store = world.open().await;
    let envelopes: Vec<Envelope> = (1..=5).map(envelope).collect();
    process(&store, "a", &envelopes.iter().collect::<Vec<_>>()).await;
    process(&store, "b", &[&envelopes[0]]).await;
    fail(&store, &envelope(6), 1, DEAD).await;
    let rows = store
        .events(&EventFilter::default(), None, 3)
        .await
        .unwrap();
    let listed: Vec<EventId> = rows.iter().map(|row| row.event).collect();
    assert_eq!(
        listed,
        [envelope(6).event, envelope(5).event, envelope(4).event]
    );
    let of = |route_name: Option<&str>, topic: Option<&str>, state| EventFilter {
        route: route_name.map(route),
        topic: topic.map(|topic| topic.parse().unwrap()),
        state,
        ..EventFilter::default()
    };
    for (filter, count) in [
        (of(None, None, None), 7),
        (of(Some("b"), None, None), 1),
        (of(None, Some("begini.score.complete"), None), 7),
        (of(None, Some("begini.other"), None), 0),
        (of(None, None, Some(ClaimState::Dead)), 1),
        (of(Some("b"), None, Some(ClaimState::Dead)), 0),
    ] {
        assert_eq!(
            store.events(&filter, None, 100).await.unwrap().len(),
            count,
            "{filter:?}"
        );
    }
    let id = envelope(3).event.to_string();
    for prefix in [&id[..], &id[..16], &id[..15], &id[..16].to_uppercase()] {
        let event = store.event(prefix).await.unwrap().unwrap();
        assert_eq!(event.event, envelope(3).event, "{prefix}");
    }
    let longer = format!("{id}{id}0");
    for nothing in ["", "zz", "%", longer.as_str(), "ffffffffffff"] {
        assert!(store.event(nothing).await.unwrap().is_none(), "{nothing}");
    }
    let first = store
        .event(&envelope(1).event.to_string())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.claims.len(), 2);
    assert_eq!(first.receipts.len(), 2);
    assert_eq!(first.receipts[0].number, 1);
    assert_eq!(first.body_bytes, first.body.len() as u64);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_prefix_of_several_events_matches_none() {
    let world = World::new();
    let store = world.open().await;
    let envelopes: Vec<Envelope> = (0..40).map(envelope).collect();
    process(&store, "a", &envelopes.iter().collect::<Vec<_>>()).await;
    // Forty ids have only sixteen possible first hex digits, so several ids begin with the same
    // digit.
    let first = |envelope: &Envelope| envelope.event.to_string()[..1].to_owned();
    let several = envelopes
        .iter()
        .map(first)
        .find(|digit| envelopes.iter().filter(|one| first(one) == *digit).count() > 1)
        .unwrap();
    assert!(store.event(&several).await.unwrap().is_none());
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn dead_letters_are_grouped_paged_and_changed() {
    let world = World::new();
    let store = world.open().await;
    for n in 0..6 {
        fail(&store, &envelope(n), 1, DEAD).await;
    }
    let groups = store.dead_groups(&DeadFilter::default()).await.unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].count, 6);
    assert_eq!((groups[0].topics, groups[0].newest), (1, 6));
    assert!(groups[0].detail.starts_with("attempt 1 went wrong"));
    let page = store.dead_list(&DeadFilter::default(), 0, 4).await.unwrap();
    let rest = store
        .dead_list(&DeadFilter::default(), page[3].id, 4)
        .await
        .unwrap();
    assert_eq!((page.len(), rest.len()), (4, 2));
    let these = DeadFilter {
        ids: vec![page[0].id, page[1].id, 9_999],
        ..DeadFilter::default()
    };
    assert_eq!(store.dead_count(&these).await.unwrap(), 2);
    assert_eq!(store.dead_discard(&these, 10, "ann").await.unwrap(), 2);
    assert_eq!(store.dead_discard(&these, 10, "ann").await.unwrap(), 0);
    assert_eq!(
        store.dead_replay(&these, 10, "bob").await.unwrap(),
        0,
        "a discarded dead letter must not be replayed"
    );
    assert_eq!(
        store
            .dead_restore(&DeadFilter::default(), 1, "ann")
            .await
            .unwrap(),
        1
    );
    let states: Vec<DeadState> = all_dead(&store).await.iter().map(|row| row.state).collect();
    assert_eq!(
        states[..3],
        [DeadState::Dead, DeadState::Discarded, DeadState::Dead]
    );
    assert_eq!(
        store
            .dead_replay(&DeadFilter::default(), 3, "bob")
            .await
            .unwrap(),
        3
    );
    let replayed = DeadFilter {
        state: Some(DeadState::Replayed),
        route: Some(route("a")),
        reason: Some(DeadReason::Rejected),
        topic: Some("begini.score.complete".parse().unwrap()),
        ..DeadFilter::default()
    };
    assert_eq!(store.dead_count(&replayed).await.unwrap(), 3);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    let replays = [("bob", "dead.replay"); 3];
    let others = [
        ("ann", "dead.restore"),
        ("ann", "dead.discard"),
        ("ann", "dead.discard"),
    ];
    assert_eq!(audited(&store).await, [&replays[..], &others[..]].concat());
    close(store).await;
    world.end().await;
}

/// A version of hookbox that knows no groups writes dead letters without one. `dead_regroup` must
/// add the group to each of them exactly once.
#[tokio::test]
async fn what_an_older_hookbox_wrote_is_grouped_once() {
    let world = World::new();
    let store = world.open().await;
    for n in 0..5 {
        fail(&store, &envelope(n), 1, DEAD).await;
    }
    let all = DeadFilter::default();
    let before = store.dead_groups(&all).await.unwrap();
    world
        .execute("update dead_letters set group_id = null, grouped_at = null where id > 1")
        .await;
    world
        .execute("update dead_letters set died_at = died_at + 1, detail = 'else' where id = 1")
        .await;
    // Each call is one transaction, so after a killed call the next call does the rest.
    assert_eq!(store.dead_regroup(2).await.unwrap(), 2);
    assert_eq!(store.dead_regroup(9).await.unwrap(), 3);
    assert_eq!(store.dead_regroup(9).await.unwrap(), 0);
    let after = store.dead_groups(&all).await.unwrap();
    let counts: Vec<u64> = after.iter().map(|group| group.count).collect();
    assert_eq!((counts, after[0].id), (vec![4, 1], before[0].id));
    for group in after {
        let filter = DeadFilter {
            group: Some(group.id),
            ..DeadFilter::default()
        };
        assert_eq!(store.dead_count(&filter).await.unwrap(), group.count);
    }
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn refusals_are_kept_up_to_a_number() {
    let world = World::new();
    let store = world.open().await;
    let refusal = |n: u64| Refusal {
        request: envelope(n).receipt,
        source: "begini".to_owned(),
        reason: "bad_signature".to_owned(),
        body_digest: n.is_multiple_of(2).then(|| "00".repeat(32)),
        body_bytes: n,
        peer: "192.0.2.1".to_owned(),
        at: Timestamp::from_unix_micros(n as i64),
    };
    store.keep_refusals(&[]).await.unwrap();
    for start in (0..10_200_u64).step_by(400) {
        let some: Vec<Refusal> = (start..(start + 400).min(10_200)).map(refusal).collect();
        store.keep_refusals(&some).await.unwrap();
    }
    store.keep_refusals(&[refusal(10_199)]).await.unwrap();
    assert_eq!(world.number("select count(*) from refusals").await, 10_000);
    assert_eq!(
        world.number("select min(body_bytes) from refusals").await,
        200
    );
    let newest = store
        .refusals(&RefusalFilter::default(), None, 2)
        .await
        .unwrap();
    assert_eq!(newest, [refusal(10_199), refusal(10_198)]);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn every_kind_of_imbalance_is_found() {
    let no_outcome = "a claim that was committed without an outcome";
    for (meddling, what) in [
        ("update claims set state = 'running'", no_outcome),
        (
            "update claims set state = 'retrying'",
            "a retrying claim without a retry",
        ),
        (
            "insert into retries (route, event, attempt, attempts_before, not_before)
             select route, event, 2, 0, 0 from claims",
            "a retry of a claim that is done",
        ),
        (
            "update claims set state = 'dead'",
            "a dead claim without a dead letter",
        ),
        (
            "insert into dead_letters (route, event, state, reason, detail, attempts, died_at)
             select route, event, 'dead', 'rejected', '', 1, 0 from claims",
            "the dead letter is dead though the claim is done",
        ),
        (
            "update receipts set outcome = 'retrying'",
            "a retrying receipt of a done claim",
        ),
        ("update receipts set outcome = 'duplicate'", no_outcome),
        (
            "update claims set state = 'retrying'; update receipts set outcome = 'duplicate'",
            "a retrying claim without a receipt other than duplicates",
        ),
        (
            "update claims set event = event + 17",
            "of event number 18, which is not stored",
        ),
        ("delete from bodies", "an event without its body"),
        ("delete from receipts", no_outcome),
        (
            "update claims set state = 'dead'; delete from receipts",
            "a dead claim without a receipt other than duplicates",
        ),
    ] {
        let world = World::new();
        let store = world.open().await;
        process(&store, "a", &[&envelope(1)]).await;
        assert_eq!(store.imbalances(10).await.unwrap(), []);
        world.execute(meddling).await;
        let found = store.imbalances(10).await.unwrap();
        assert!(
            found.iter().any(|one| one.what.contains(what)),
            "{meddling}: {found:?}"
        );
        assert_eq!(store.imbalances(1).await.unwrap().len(), 1);
        close(store).await;
        world.end().await;
    }
}
