//! Tests the end of a worker and of its connections: running handlers finish, and everything else
//! is put back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Batch, Queue};
use tokio::time::sleep;

use crate::isolation::redeliver;
use crate::script::Act;
use crate::world::{World, envelope, id, route, within};

fn waiting(world: &World) -> usize {
    world.queues.waiting(&Queue::Route(route())).len()
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_runs_and_takes_nothing_more() {
    let mut world = World::new();
    world.concurrency = 1;
    world
        .script
        .next(id(1), [Act::Take(Duration::from_secs(5))]);
    world.put_each([1]);
    let running = world.start();
    within("the handler of event 1 must run", || {
        world.script.is_running(id(1))
    })
    .await;
    world.put_each(2..=4);
    running.drain().await;
    assert!(world.is_done(1));
    assert_eq!(world.journal.only(&["commit", "ack"]), ["commit 1", "ack"]);
    assert_eq!((waiting(&world), world.queues.unsettled()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_in_an_outage_puts_back_what_has_no_outcome() {
    let world = World::new();
    let running = world.started().await;
    world.tables.state().is_unavailable = true;
    world.put_each([1]);
    within("the route must be paused", || {
        running.route().paused.load(Ordering::Relaxed)
    })
    .await;
    running.drain().await;
    assert_eq!(world.journal.only(&["release", "ack"]), ["release"]);
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    world.tables.state().is_unavailable = false;
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.effects(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_starts_no_part_of_a_batch_that_failed() {
    for is_at_once in [false, true] {
        let mut world = World::new();
        world.is_at_once = is_at_once;
        world.script.next(id(2), [Act::Hang]);
        world.put(&[1, 2, 3].map(envelope));
        let running = world.start();
        within("the handler must run on the batch", || {
            world.script.is_running(id(2))
        })
        .await;
        running.drain().await;
        let ends = world.journal.only(&["commit", "ack", "release"]);
        assert_eq!(
            ends,
            ["release"],
            "the message must be released (handle_all: {is_at_once})"
        );
        assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
        let _running = world.start();
        within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
        assert_eq!(world.tables.state().rows.failures, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_start_the_next_event_that_runs_alone() {
    let world = World::new();
    let take = Act::Take(Duration::from_secs(5));
    world.script.next(id(1), [Act::Fail, take]);
    world.script.next(id(2), [Act::Fail]);
    world.put(&[1, 2].map(envelope));
    let running = world.start();
    let is_alone = || world.script.runs_of(id(1)).len() == 2;
    within(
        "event 1 must be the only event whose handler runs",
        is_alone,
    )
    .await;
    running.drain().await;
    assert_eq!(world.journal.only(&["commit"]), ["commit 1"]);
    assert!(world.is_done(1) && !world.is_done(2));
    assert_eq!(waiting(&world), 1);
    let _running = world.start();
    within("event 2 must be done", || world.is_done(2)).await;
    assert!(is_alone(), "event 1 must not run again, because it is done");
    assert_eq!(world.tables.state().rows.failures, []);
}

#[tokio::test(start_paused = true)]
async fn a_drain_starts_no_isolated_run() {
    let world = World::new();
    let take = Act::Take(Duration::from_secs(5));
    world.script.next(id(1), [take]);
    redeliver(&world, 1, 1, 0);
    redeliver(&world, 2, 1, 0);
    let running = world.start();
    within("the handler of event 1 must run", || {
        world.script.is_running(id(1))
    })
    .await;
    running.drain().await;
    assert!(world.is_done(1));
    assert_eq!(world.script.runs_of(id(2)).len(), 0);
    let _running = world.start();
    within("event 2 must be done", || world.is_done(2)).await;
    assert_eq!(world.script.runs_of(id(1)).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_a_batch_before_its_time_limit() {
    let mut world = World::new();
    world.is_at_once = true;
    world.script.next(id(1), [Act::Hang]);
    world.put(&(1..=64).map(envelope).collect::<Vec<_>>());
    let running = world.start();
    within("the handler must run on the batch", || {
        world.script.is_running(id(1))
    })
    .await;
    let cut = running.worker.cut();
    let grace = async {
        sleep(Duration::from_secs(30)).await;
        cut.cancel();
    };
    tokio::join!(running.drain(), grace);
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    assert_eq!(world.journal.only(&["commit"]), [""; 0]);
    let _running = world.start();
    within("events 1 to 64 must be done", || world.are_done(1..=64)).await;
    assert_eq!(world.tables.state().rows.failures, []);
}

#[tokio::test(start_paused = true)]
async fn a_cut_rolls_back_what_still_runs() {
    let world = World::new();
    world.script.next(id(1), [Act::Hang]);
    world.put_each([1]);
    let running = world.start();
    within("the handler of event 1 must run", || {
        world.script.is_running(id(1))
    })
    .await;
    running.worker.cut().cancel();
    running.drain().await;
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    assert_eq!(world.effects(1), 0);
    assert!(world.tables.state().rows.failures.is_empty());
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_in_order_clears_its_start_markers() {
    let world = World::new();
    world.script.next(id(1), [Act::Hang]);
    let bytes = Batch::of(&[envelope(1)]).unwrap().bytes;
    world.queues.put(Queue::Route(route()), bytes, true);
    let running = world.start();
    within("the handler of event 1 must run", || {
        world.script.is_running(id(1))
    })
    .await;
    let has_markers = || !world.tables.state().rows.starts.is_empty();
    assert!(
        has_markers(),
        "the redelivered event 1 must have a start marker while its handler runs"
    );
    let worker = Arc::clone(&running.worker);
    worker.cut().cancel();
    running.drain().await;
    assert!(has_markers());
    worker.clear_start_markers().await;
    assert!(!has_markers());
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_had_no_turn_before_the_end_stays_one() {
    let world = World::new();
    redeliver(&world, 9, 2, 1);
    let running = world.start();
    let suspects = || running.route().suspects.load(Ordering::Relaxed);
    within("the suspected event must wait for its isolated run", || {
        suspects() == 1
    })
    .await;
    let worker = Arc::clone(&running.worker);
    running.drain().await;
    worker.clear_start_markers().await;
    assert_eq!(waiting(&world), 1);
    assert_eq!(world.tables.state().rows.starts.len(), 1);
    assert!(world.script.runs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_broken_subscription_is_renewed() {
    let world = World::new();
    world.put_each([1]);
    let running = world.start();
    within(
        "event 1 must be done before the subscription breaks",
        || world.is_settled() && world.is_done(1),
    )
    .await;
    let before = world.queues.state().subscribed;
    world.queues.state().is_unavailable = true;
    world.queues.lose_connections();
    world.put_each([2]);
    let is_unsubscribed = || running.route().unsubscribed.load(Ordering::Relaxed);
    within(
        "the counters must show that the route has no subscription",
        is_unsubscribed,
    )
    .await;
    world.queues.state().is_unavailable = false;
    within("event 2 must be done over the renewed subscription", || {
        world.is_done(2)
    })
    .await;
    assert!(!is_unsubscribed());
    assert!(world.queues.state().subscribed > before);
}
