//! Tests of what operators read and change in the store.

use std::time::Duration;

use hookbox_driver::{
    AuditFilter, ClaimState, DeadFilter, DeadReason, DeadState, EventFilter, Ledger, Outcome,
    Refusal, RefusalFilter, RetryFilter, Then,
};
use hookbox_event::{ReceiptId, Timestamp};
use hookbox_testkit::eventually::eventually;
use sqlx::{Connection, Executor};

use crate::world::{World, again, envelope, route};

fn dead(reason: DeadReason, detail: &str) -> Outcome {
    Outcome::Dead {
        reason,
        detail: detail.to_owned(),
    }
}

#[tokio::test]
async fn events_are_listed_newest_first_and_filtered() {
    let world = World::new().await;
    world.process(&envelope(1, 1, "{}"), "e").await;
    world.fail(&envelope(2, 2, "{}"), 1, again()).await;
    world
        .conclude(&envelope(3, 3, "{}"), dead(DeadReason::Malformed, "no"))
        .await;
    let list = async |filter: EventFilter, limit| {
        let events = world.store.events(&filter, None, limit).await.unwrap();
        events
            .iter()
            .map(|row| row.event.as_bytes()[0])
            .collect::<Vec<_>>()
    };
    let all = EventFilter::default();
    assert_eq!(list(all.clone(), 10).await, [3, 2, 1]);
    assert_eq!(list(all.clone(), 2).await, [3, 2]);
    for (state, event) in [
        (ClaimState::Done, 1),
        (ClaimState::Retrying, 2),
        (ClaimState::Dead, 3),
    ] {
        let only = EventFilter {
            state: Some(state),
            ..all.clone()
        };
        assert_eq!(list(only, 10).await, [event]);
    }
    let other = EventFilter {
        route: Some(route("other")),
        ..all.clone()
    };
    assert_eq!(list(other, 10).await, Vec::<u8>::new());
    let topic = EventFilter {
        topic: Some("begini.unknown".parse().unwrap()),
        ..all
    };
    assert_eq!(list(topic, 10).await, Vec::<u8>::new());
}

#[tokio::test]
async fn an_event_is_found_by_an_unambiguous_prefix() {
    let world = World::new().await;
    world.process(&envelope(0xa1, 1, "{\"a\":1}"), "e").await;
    world.process(&envelope(0xa2, 2, "{}"), "e").await;
    let find = async |prefix: &str| {
        let found = world.store.event(prefix).await.unwrap();
        found.map(|event| event.event.as_bytes()[0])
    };
    for prefix in ["a1", "a1a", "A1a1", &"a1".repeat(16), &"a1".repeat(32)] {
        assert_eq!(find(prefix).await, Some(0xa1), "{prefix}");
    }
    for prefix in ["a", "b", "", "a1 ", "' or true --", &"a1".repeat(33)] {
        assert_eq!(find(prefix).await, None, "{prefix}");
    }
    let event = world.store.event("a1").await.unwrap().unwrap();
    let sent = envelope(0xa1, 1, "{\"a\":1}");
    assert_eq!(
        (event.body, event.body_bytes, event.digest),
        (sent.body, 7, sent.digest)
    );
    assert_eq!(event.received_at, sent.received_at);
    let receipt = &event.receipts[0];
    assert_eq!(
        (receipt.receipt, receipt.instance),
        (sent.receipt, sent.instance)
    );
    assert_eq!((receipt.number, receipt.key_id.as_str()), (1, "2026-11"));
}

#[tokio::test]
async fn dead_letters_are_grouped_filtered_and_paged() {
    let world = World::new().await;
    for (event, detail) in [
        (1, "/uid: missing\nline 2"),
        (2, "/uid: missing\nother"),
        (3, "x"),
    ] {
        let outcome = dead(DeadReason::SchemaBroken, detail);
        world.conclude(&envelope(event, event, "{}"), outcome).await;
    }
    let rejected = Then::Dead {
        reason: DeadReason::Rejected,
    };
    world.fail(&envelope(4, 4, "{}"), 1, rejected).await;

    let all = DeadFilter::default();
    let groups = world.store.dead_groups(&all).await.unwrap();
    assert_eq!(groups.len(), 3);
    assert_eq!(
        (groups[0].count, groups[0].detail.as_str()),
        (2, "/uid: missing\nother")
    );
    assert!(groups[0].first_at <= groups[0].last_at);

    let rows = world.store.dead_list(&all, 0, 2).await.unwrap();
    let rest = world.store.dead_list(&all, rows[1].id, 10).await.unwrap();
    assert_eq!((rows.len(), rest.len()), (2, 2));
    filters_narrow(&world, rows[0].id).await;
    let shown = world.store.dead_show(rest[1].id).await.unwrap().unwrap();
    assert_eq!(
        (shown.row.reason, shown.row.attempts),
        (DeadReason::Rejected, 1)
    );
    assert_eq!(shown.history.attempts.len(), 1);
    assert!(world.store.dead_show(-1).await.unwrap().is_none());
}

async fn filters_narrow(world: &World, id: i64) {
    let all = DeadFilter::default;
    let by_id = DeadFilter {
        ids: vec![id, -1],
        ..all()
    };
    let by_reason = DeadFilter {
        reason: Some(DeadReason::Rejected),
        ..all()
    };
    let by_state = DeadFilter {
        state: Some(DeadState::Discarded),
        ..all()
    };
    let by_route = DeadFilter {
        route: Some(route("scores")),
        ..all()
    };
    let by_topic = DeadFilter {
        topic: Some("begini.x".parse().unwrap()),
        ..all()
    };
    for (filter, expect) in [
        (by_id, 1),
        (by_reason, 1),
        (by_state, 0),
        (by_route, 4),
        (by_topic, 0),
    ] {
        let count = world.store.dead_count(&filter).await.unwrap();
        assert_eq!(count, expect, "{filter:?}");
    }
}

#[tokio::test]
async fn discard_and_restore_are_audited_and_bounded() {
    let world = World::new().await;
    for event in 1..=3 {
        world
            .conclude(
                &envelope(event, event, "{}"),
                dead(DeadReason::Malformed, "no"),
            )
            .await;
    }
    let all = DeadFilter::default();
    assert_eq!(world.store.dead_discard(&all, 2, "ada").await.unwrap(), 2);
    assert_eq!(
        world.store.dead_replay(&all, 10, "bob").await.unwrap(),
        1,
        "a discarded dead letter must not be replayed"
    );
    assert_eq!(world.store.dead_restore(&all, 10, "ada").await.unwrap(), 2);
    world
        .store
        .audit("eve", "event.reveal", "event 01")
        .await
        .unwrap();
    world.assert_balanced().await;

    let audits = world
        .store
        .audits(&AuditFilter::default(), None, 10)
        .await
        .unwrap();
    let newest_first: Vec<_> = audits
        .iter()
        .map(|row| (row.actor.as_str(), row.action.as_str()))
        .collect();
    assert_eq!(
        newest_first,
        [
            ("eve", "event.reveal"),
            ("ada", "dead.restore"),
            ("ada", "dead.restore"),
            ("bob", "dead.replay"),
            ("ada", "dead.discard"),
            ("ada", "dead.discard"),
        ]
    );
    assert!(audits[1].subject.starts_with("dead letter "));
    assert_eq!(
        world
            .store
            .audits(&AuditFilter::default(), None, 1)
            .await
            .unwrap()
            .len(),
        1
    );
}

/// An older hookbox that knows no groups writes only the columns that it knows, and leaves the
/// columns for groups empty. Such dead letters must be grouped later, and only once.
#[tokio::test]
async fn what_an_older_hookbox_wrote_is_grouped_once() {
    let world = World::new().await;
    for event in 1..=5 {
        let outcome = dead(DeadReason::Malformed, "no");
        world.conclude(&envelope(event, event, "{}"), outcome).await;
    }
    let all = DeadFilter::default();
    let before = world.store.dead_groups(&all).await.unwrap();
    let first = world.number("select min(id) from dead_letters").await;
    world
        .execute(&format!(
            "update dead_letters set group_id = null, grouped_at = null where id > {first};
             update dead_letters set died_at = clock_timestamp(), detail = 'else'
             where id = {first}"
        ))
        .await;
    // Each call of `dead_regroup` is one transaction, so what a killed call has not grouped is left
    // to the next call.
    assert_eq!(world.store.dead_regroup(2).await.unwrap(), 2);
    let (one, two) = tokio::join!(world.store.dead_regroup(9), world.store.dead_regroup(9));
    assert!(one.unwrap() + two.unwrap() >= 3);
    assert_eq!(world.store.dead_regroup(9).await.unwrap(), 0);
    let after = world.store.dead_groups(&all).await.unwrap();
    let counts: Vec<u64> = after.iter().map(|group| group.count).collect();
    assert_eq!((counts, after[0].id), (vec![4, 1], before[0].id));
    for group in after {
        let filter = DeadFilter {
            group: Some(group.id),
            ..DeadFilter::default()
        };
        assert_eq!(world.store.dead_count(&filter).await.unwrap(), group.count);
    }
}

#[tokio::test]
async fn the_newest_ten_thousand_refusals_are_kept() {
    let world = World::new().await;
    let refusal = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Refusal {
            request: ReceiptId::from_bytes(id),
            source: "begini".to_owned(),
            reason: "signature\0".to_owned(),
            body_digest: (n > 9_000).then(|| "ab".repeat(32)),
            body_bytes: u64::from(n),
            peer: "127.0.0.1".to_owned(),
            at: Timestamp::from_unix_micros(i64::from(n)),
        }
    };
    world.store.keep_refusals(&[]).await.unwrap();
    let first: Vec<Refusal> = (0..6_000).map(refusal).collect();
    let second: Vec<Refusal> = (5_000..10_007).map(refusal).collect();
    let (one, two) = tokio::join!(
        world.store.keep_refusals(&first),
        world.store.keep_refusals(&second)
    );
    one.unwrap();
    two.unwrap();
    world.store.keep_refusals(&second[..1]).await.unwrap();
    assert_eq!(world.number("select count(*) from refusals").await, 10_000);
    assert_eq!(
        world.number("select min(body_bytes) from refusals").await,
        7
    );
    let newest = world
        .store
        .refusals(&RefusalFilter::default(), None, 2)
        .await
        .unwrap();
    let expect = Refusal {
        reason: "signature\\u{0}".to_owned(),
        ..refusal(10_006)
    };
    assert_eq!(newest[0], expect);
    assert_eq!(newest[1].body_bytes, 10_005);
}

#[tokio::test]
async fn reads_do_not_wait_for_a_transaction_that_is_open() {
    use hookbox_driver::Store;
    let world = World::new().await;
    world
        .conclude(&envelope(1, 1, "{}"), dead(DeadReason::Malformed, "no"))
        .await;
    let mut tx = world.store.begin().await.unwrap();
    world
        .claim(&mut tx, &[&envelope(2, 2, "{}")])
        .await
        .unwrap();
    sqlx::query("select * from dead_letters for update")
        .execute(world.store.connection(&mut tx))
        .await
        .unwrap();
    let all = DeadFilter::default();
    assert_eq!(world.store.dead_count(&all).await.unwrap(), 1);
    assert_eq!(
        world
            .store
            .events(&EventFilter::default(), None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    world.assert_balanced().await;
    world.store.rollback(tx).await;
}

/// A worker locks retries in the order of the events' numbers. If an operator locked them in the
/// order in which they are due, the two could be in a deadlock.
#[tokio::test]
async fn retries_are_hurried_in_the_order_in_which_workers_lock_them() {
    let world = World::new().await;
    // The event with the lower number is due later.
    for (event, hours) in [(1, 2), (2, 1)] {
        let after = Duration::from_secs(hours * 3600);
        let failed = envelope(event, event, "{}");
        world.fail(&failed, 1, Then::Retry { after }).await;
    }
    let mut connection = world.connect().await;
    let mut worker = connection.begin().await.unwrap();
    let first = "select from retries
                 where event = (select min(event) from retries) for update";
    worker.execute(first).await.unwrap();
    let work = async {
        eventually("the operator must wait for the worker", || async {
            let query = "select count(*) from pg_stat_activity
                         where datname = current_database() and wait_event_type = 'Lock'";
            match world.number(query).await {
                1 => Ok(()),
                other => Err(format!("{other} sessions wait")),
            }
        })
        .await;
        let second = "select from retries
                      where event = (select max(event) from retries) for update nowait";
        let locked = worker.execute(second).await;
        locked.expect("the operator must not have locked a later row than the one it waits for");
        worker.rollback().await.unwrap();
    };
    let filter = RetryFilter::default();
    let (hurried, ()) = tokio::join!(world.store.hurry(&filter, 10, "ann"), work);
    assert_eq!(hurried.unwrap(), 2);
    let due = "select count(*) from retries where not_before <= now()";
    assert_eq!(world.number(due).await, 2);
}
