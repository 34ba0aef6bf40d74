//! Tests handlers that handle all events of a batch in one call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{DeadReason, FailureClass, FaultKind};

use crate::script::Act;
use crate::world::{World, envelope, id, receipt, within};

pub fn at_once() -> World {
    let mut world = World::new();
    world.is_at_once = true;
    world
}

/// Returns two worlds: in one the handler names the event that it could not handle, and in the
/// other it does not. The flag of each world says whether its handler names no event.
pub fn named_and_nameless() -> [(bool, World); 2] {
    [false, true].map(|is_nameless| {
        let world = at_once();
        let script = &world.script;
        script.is_nameless.store(is_nameless, Ordering::Relaxed);
        (is_nameless, world)
    })
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_handled_at_once_and_a_single_event_by_itself() {
    let world = at_once();
    world.put(&[envelope(1), receipt(1, 2), envelope(2), envelope(3)]);
    let _running = world.start();
    within("the events of the batch must be done", || {
        world.are_done(1..=3)
    })
    .await;
    assert_eq!(world.script.batches(), [[id(1), id(2), id(3)]]);
    assert_eq!(world.outcome(&receipt(1, 2)), Some("duplicate"));
    assert_eq!(
        world.tables.calls("prove"),
        1,
        "the store must prove the transaction of the batch once"
    );
    world.put(&[envelope(4)]);
    within(
        "event 4, which has a message of its own, must be done",
        || world.is_done(4),
    )
    .await;
    assert_eq!(world.script.batches().len(), 1);
    for number in 1..=4 {
        assert_eq!(
            world.effects(number),
            1,
            "event {number} must have its effect once"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_one_event_costs_the_others_no_attempt() {
    let untrusted = named_and_nameless().map(|world| (false, world));
    let trusted = named_and_nameless().map(|world| (true, world));
    for (is_trusted, (is_nameless, mut world)) in untrusted.into_iter().chain(trusted) {
        world.is_trusted = is_trusted;
        world.script.always(id(3), Act::Fail);
        world.script.always(id(7), Act::Reject);
        world.put(&(1..=9).map(envelope).collect::<Vec<_>>());
        let _running = world.start();
        let innocents = [1, 2, 4, 5, 6, 8, 9];
        within("the events that do not fail must be done", || {
            world.are_done(innocents)
        })
        .await;
        within("both failing events must be dead letters", || {
            world.dead(id(3)).is_some() && world.dead(id(7)).is_some()
        })
        .await;
        let what = format!("trusted: {is_trusted}, nameless: {is_nameless}");
        let mut failures = world.tables.state().rows.failures.clone();
        failures.sort_by_key(|it| (it.0, it.1));
        let transient = |attempt| (id(3), attempt, FailureClass::Transient);
        let permanent = (id(7), 1, FailureClass::Permanent);
        let expected = [transient(1), transient(2), transient(3), permanent];
        assert_eq!(failures, expected, "{what}");
        for number in innocents {
            assert_eq!(
                world.effects(number),
                1,
                "event {number} must have its effect once ({what})"
            );
        }
        for number in [3, 7] {
            assert_eq!(
                world.effects(number),
                0,
                "event {number} must have no effect ({what})"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_of_a_batch_is_that_of_its_events_and_at_most_three_minutes() {
    for (count, seconds, is_in_time) in [
        (3, 29, true),
        (3, 31, false),
        (64, 179, true),
        (64, 181, false),
    ] {
        let world = at_once();
        let take = Act::Take(Duration::from_secs(seconds));
        world.script.next(id(1), [take]);
        world.put(&(1..=count).map(envelope).collect::<Vec<_>>());
        let _running = world.start();
        within("every event of the batch must be done", || {
            world.are_done(1..=count)
        })
        .await;
        let runs = world.script.runs_of(id(1)).len();
        assert_eq!(
            runs == 1,
            is_in_time,
            "one run on {count} events, one of which takes {seconds} s, succeeds: {is_in_time}"
        );
        assert_eq!(world.tables.state().rows.failures, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_hang_in_a_batch_are_failures_of_their_events_alone() {
    for act in [
        Act::Panic,
        Act::PanicAtCall,
        Act::FailWithoutText,
        Act::Hang,
        Act::BreakTransaction,
    ] {
        let world = at_once();
        world.script.next(id(2), [act; 9]);
        world.put(&(1..=5).map(envelope).collect::<Vec<_>>());
        let _running = world.start();
        within("the events that do not fail must be done", || {
            world.are_done([1, 3, 4, 5])
        })
        .await;
        within("event 2, which always fails, must be a dead letter", || {
            world.dead(id(2)).is_some()
        })
        .await;
        let failures = world.tables.state().rows.failures.clone();
        assert_eq!(
            failures.len(),
            3,
            "{act:?}: event 2 must fail three times: {failures:?}"
        );
        assert!(
            failures.iter().all(|it| it.0 == id(2)),
            "{act:?}: only event 2 must fail: {failures:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_whenever_it_gets_a_batch_handles_the_events_alone() {
    let world = at_once();
    world.script.panics_at_call.store(true, Ordering::Relaxed);
    world.put(&(1..=3).map(envelope).collect::<Vec<_>>());
    let _running = world.start();
    within("the events must be done", || world.are_done([1, 2, 3])).await;
    assert_eq!(world.tables.state().rows.failures, []);
    let batches = [vec![id(1), id(2), id(3)], vec![id(2), id(3)]];
    assert_eq!(
        world.script.batches(),
        batches,
        "the batch must run by halves"
    );
    assert_eq!([1, 2, 3].map(|number| world.effects(number)), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_handler_ended_the_transaction_never_runs_again() {
    for act in [Act::EndTransaction, Act::RollBack] {
        let world = at_once();
        world.script.next(id(2), [act]);
        world.put(&[envelope(1), envelope(2), envelope(3)]);
        let _running = world.start();
        within("the message of the batch must be acknowledged", || {
            world.is_settled()
        })
        .await;
        for number in 1..=3 {
            let what = format!("event {number}, {act:?}");
            let (reason, _) = world.dead(id(number)).unwrap();
            assert_eq!(reason, DeadReason::Orphaned, "{what}");
            assert_eq!(world.script.runs_of(id(number)).len(), 1, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_store_in_a_batch_costs_no_attempt() {
    for kind in [
        FaultKind::Unavailable,
        FaultKind::Contention,
        FaultKind::MissingRight,
    ] {
        for (is_nameless, world) in named_and_nameless() {
            world.script.next(id(2), [Act::Store(kind); 2]);
            world.put(&[envelope(1), envelope(2), envelope(3)]);
            let _running = world.start();
            within("all three events must be done after the fault", || {
                world.are_done(1..=3)
            })
            .await;
            assert_eq!(
                world.tables.state().rows.failures,
                [],
                "a fault ({kind:?}) must cost no attempt (names no event: {is_nameless})"
            );
        }
    }
}

/// Publishes a full batch, and returns how many events each call of `handle_all` got.
async fn sizes_of_calls(world: &World) -> Vec<usize> {
    world.put(&(1..=64).map(envelope).collect::<Vec<_>>());
    let running = world.start();
    within("the message of the batch must be acknowledged", || {
        world.is_settled()
    })
    .await;
    running.drain().await;
    world.script.batches().iter().map(Vec::len).collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_handler_names_leaves_the_transaction_of_the_others() {
    let world = at_once();
    world.script.next(id(40), [Act::Fail, Act::Reject]);
    assert_eq!(
        sizes_of_calls(&world).await,
        [64, 39, 24],
        "the events before and after the failing one must run again"
    );
    assert_eq!(
        world.script.runs_of(id(40)).len(),
        2,
        "the failing event must run once in the batch and once alone"
    );
    let failures = world.tables.state().rows.failures.clone();
    assert_eq!(
        failures,
        [(id(40), 1, FailureClass::Permanent)],
        "only the run of the event alone must count as an attempt"
    );
    let steps = ["begin", "undo", "withdraw", "commit", "rollback"];
    assert_eq!(
        world.journal.only(&steps),
        [
            "begin for a handler",
            "undo",
            "withdraw 1",
            "commit 63",
            "begin for a handler",
            "rollback failed"
        ],
        "the other events must be committed in the transaction that began first"
    );
    for number in (1..=64).filter(|it| *it != 40) {
        assert_eq!(
            world.effects(number),
            1,
            "event {number} must have its effect once"
        );
    }
    assert_eq!(world.effects(40), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_named_is_found_by_halves() {
    let world = at_once();
    world.script.is_nameless.store(true, Ordering::Relaxed);
    world.script.always(id(40), Act::Reject);
    // Where the first half of a part succeeds, the second half is known to fail: it is halved
    // without a run. Event 40 is the second of two, of which the first one has succeeded alone.
    let sizes = [64, 32, 16, 8, 4, 2, 8, 16];
    assert_eq!(sizes_of_calls(&world).await, sizes);
    assert_eq!(
        world.script.runs_of(id(40)).len(),
        4,
        "event 40 must fail among 64, 16 and 8 events, and alone in its own transaction"
    );
    assert_eq!(
        world.tables.calls("savepoint"),
        6,
        "the savepoint must be set at the start, and after each successful run but the last"
    );
    let failures = world.tables.state().rows.failures.clone();
    assert_eq!(failures, [(id(40), 1, FailureClass::Permanent)]);
    for number in (1..=64).filter(|it| *it != 40) {
        assert_eq!(
            world.effects(number),
            1,
            "event {number} must have its effect once"
        );
    }
    assert_eq!(world.journal.only(&["commit"]), ["commit 63"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_only_beside_others_has_no_failed_attempt() {
    for (is_nameless, world) in named_and_nameless() {
        // If the handler names no event, the batch is halved: event 40 fails among 64, 16 and 8
        // events before it runs alone.
        let beside = if is_nameless { 3 } else { 1 };
        world.script.next(id(40), vec![Act::Fail; beside]);
        sizes_of_calls(&world).await;
        assert_eq!(world.tables.state().rows.failures, []);
        assert!(world.are_done(1..=64));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_which_every_event_fails_runs_a_bounded_number_of_times() {
    for (is_nameless, world) in named_and_nameless() {
        for number in 1..=64 {
            world.script.always(id(number), Act::Reject);
        }
        let what = format!("nameless: {is_nameless}");
        // Sixteen runs fail. Where no event is named, six of them are runs on a single event.
        let calls = if is_nameless { 10 } else { 16 };
        assert_eq!(sizes_of_calls(&world).await.len(), calls, "{what}");
        assert_eq!(world.tables.state().rows.failures.len(), 64, "{what}");
    }
}
