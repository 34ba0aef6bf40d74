//! Tests events that leave the transaction of a batch, for example because the handler failed on
//! them, while the others stay in it.

use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{DeadReason, FailureClass, FaultKind};
use hookbox_event::Envelope;

use crate::at_once::{at_once, named_and_nameless};
use crate::script::Act;
use crate::world::{World, envelope, id, within};

#[tokio::test(start_paused = true)]
async fn an_event_whose_payload_cannot_be_made_costs_the_others_no_run() {
    for (is_nameless, world) in named_and_nameless() {
        let mut envelopes: Vec<_> = (1..=64).map(envelope).collect();
        for number in [5, 40] {
            envelopes[number - 1].body = Bytes::from_static(b"0");
        }
        world.put(&envelopes);
        let running = world.start();
        within("the message of the batch must be acknowledged", || {
            world.is_settled()
        })
        .await;
        running.drain().await;
        let what = format!("nameless: {is_nameless}");
        let sizes: Vec<usize> = world.script.batches().iter().map(Vec::len).collect();
        assert_eq!(sizes, [62], "{what}");
        let failures = world.tables.state().rows.failures.clone();
        let permanent = |number| (id(number), 1, FailureClass::Permanent);
        assert_eq!(failures, [permanent(5), permanent(40)], "{what}");
        for number in [5, 40] {
            assert_eq!(world.dead(id(number)).unwrap().0, DeadReason::Rejected);
        }
        assert_eq!(world.tables.calls("begin for a handler"), 1, "{what}");
        assert_eq!(world.journal.only(&["commit"]), ["commit 62"], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_which_no_payload_can_be_made_is_recorded_without_a_run() {
    let world = at_once();
    let bad = |number| Envelope {
        body: Bytes::from_static(b"0"),
        ..envelope(number)
    };
    world.put(&(1..=3).map(bad).collect::<Vec<_>>());
    let _running = world.start();
    within("the message of the batch must be acknowledged", || {
        world.is_settled()
    })
    .await;
    assert_eq!(world.script.runs().len(), 0);
    assert_eq!(world.tables.state().rows.failures.len(), 3);
    assert_eq!(world.journal.only(&["commit"]), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_store_while_it_undoes_or_withdraws_costs_no_attempt() {
    for operation in ["savepoint", "undo", "withdraw"] {
        for kind in [FaultKind::Unavailable, FaultKind::Contention] {
            let world = at_once();
            world.script.next(id(2), [Act::Fail; 2]);
            world.tables.fail(operation, [kind]);
            world.put(&[envelope(1), envelope(2), envelope(3)]);
            let _running = world.start();
            let what = format!("{operation} {kind:?}");
            within("all three events must be done after the fault", || {
                world.are_done(1..=3)
            })
            .await;
            assert!(world.tables.calls(operation) > 1, "{what}");
            for number in 1..=3 {
                assert_eq!(
                    world.effects(number),
                    1,
                    "event {number} must have its effect once ({what})"
                );
            }
            let failures = world.tables.state().rows.failures.clone();
            assert!(failures.iter().all(|it| it.0 == id(2)), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_trusted_handler_that_ended_its_transaction_and_failed_is_orphaned() {
    let mut world = at_once();
    world.is_trusted = true;
    world.script.next(id(2), [Act::EndAndFail]);
    world.put(&[envelope(1), envelope(2), envelope(3)]);
    let _running = world.start();
    within("the message of the batch must be acknowledged", || {
        world.is_settled()
    })
    .await;
    for (number, runs) in [(1, 1), (2, 1), (3, 0)] {
        let (reason, _) = world.dead(id(number)).unwrap();
        assert_eq!(
            reason,
            DeadReason::Orphaned,
            "event {number} must be orphaned"
        );
        assert_eq!(world.script.runs_of(id(number)).len(), runs);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_took_long_is_rolled_back_when_an_event_fails_in_it() {
    for (seconds, undone) in [(4, 1), (6, 0)] {
        let world = at_once();
        let take = Act::Take(Duration::from_secs(seconds));
        world.script.next(id(1), [take]);
        world.script.next(id(2), [Act::Fail]);
        world.put(&[envelope(1), envelope(2), envelope(3)]);
        let _running = world.start();
        within("all three events must be done", || world.are_done(1..=3)).await;
        let what = format!("{seconds} s");
        assert_eq!(world.tables.calls("undo"), undone, "{what}");
        assert_eq!(world.tables.state().rows.failures, [], "{what}");
        for number in 1..=3 {
            assert_eq!(
                world.effects(number),
                1,
                "event {number} must have its effect once ({what})"
            );
        }
        let commits = world.journal.only(&["commit"]);
        assert_eq!(commits, ["commit 2", "commit 1"], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_events_share_a_transaction_for_three_minutes_at_most() {
    let world = World::new();
    let take = Act::Take(Duration::from_secs(9));
    let envelopes: Vec<_> = (1..=30).map(envelope).collect();
    for envelope in &envelopes {
        world.script.next(envelope.event, [take]);
    }
    world.put(&envelopes);
    let _running = world.start();
    within("all events must be done", || world.are_done(1..=30)).await;
    // The transaction is 180 seconds old after 20 events, and older after the next one.
    let commits = world.journal.only(&["commit"]);
    let alone = vec!["commit 1"; 9];
    assert_eq!(commits, [vec!["commit 21"], alone].concat());
    assert_eq!(world.script.runs().len(), 30, "no event must run twice");
    assert_eq!(world.tables.state().rows.failures, []);
}

#[tokio::test(start_paused = true)]
async fn no_part_of_a_failed_batch_starts_while_the_worker_drains() {
    for (is_nameless, world) in named_and_nameless() {
        let second = Duration::from_secs(1);
        world.script.next(id(1), [Act::Take(second)]);
        world.script.next(id(2), [Act::Fail]);
        world.put(&[envelope(1), envelope(2), envelope(3)]);
        let running = world.start();
        within("the handler must run on the batch", || {
            world.script.is_running(id(1))
        })
        .await;
        running.drain().await;
        let what = format!("nameless: {is_nameless}");
        assert_eq!(world.script.batches().len(), 1, "{what}");
        assert_eq!(world.tables.calls("undo"), 0, "{what}");
        assert_eq!(world.tables.state().rows.failures, [], "{what}");
        let _second = world.start();
        within("all three events must be done by the next process", || {
            world.are_done(1..=3)
        })
        .await;
    }
}
