//! Tests that due retries are published to their queue, and stay due until the broker has confirmed
//! them.

use std::sync::atomic::Ordering;

use hookbox_driver::{Batch, FaultKind, PublishErrorKind, Queue};
use hookbox_event::RouteName;
use tokio::time::Instant;

use crate::script::Act;
use crate::world::{World, envelope, id, neighbour, on, route, within};

fn waits(world: &World, number: u8) -> bool {
    let state = world.tables.state();
    state.rows.retries.contains_key(&on(id(number)))
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_not_confirmed_stays_due() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.queues.state().refuses = Some(PublishErrorKind::Rejected);
    world.put_each([1]);
    let running = world.start();
    within("event 1 must wait for its retry", || waits(&world, 1)).await;
    let since = Instant::now();
    within("the scheduler must run for half a minute", || {
        since.elapsed().as_secs() >= 30
    })
    .await;
    assert_eq!(world.script.runs().len(), 1);
    world.queues.state().refuses = None;
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.queues.state().published, 1);
    assert_eq!(running.counters.requeued.load(Ordering::Relaxed), 1);
    assert_eq!(world.script.runs_of(id(1))[1].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_store_delays_retries_and_loses_none() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.tables.fail("requeue", [FaultKind::Unavailable; 5]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.effects(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_outlives_the_process_that_recorded_it() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.put_each([1]);
    let running = world.start();
    within("event 1 must wait for its retry", || waits(&world, 1)).await;
    running.drain().await;
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.script.runs_of(id(1))[1].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn retries_that_are_due_together_share_a_message() {
    let world = World::new();
    // No retry is published until all events wait for one.
    world
        .tables
        .fail("requeue", [FaultKind::Unavailable; 1_000]);
    let running = world.start();
    for number in 1..=10 {
        world.script.next(id(number), [Act::Fail]);
        world.put_each([number]);
        within("the event must wait for its retry", || {
            waits(&world, number)
        })
        .await;
    }
    let since = Instant::now();
    within("all retries must be due", || since.elapsed().as_secs() >= 2).await;
    world.tables.fail("requeue", []);
    within("all events must be done", || {
        (1..=10).all(|number| world.is_done(number))
    })
    .await;
    assert_eq!(world.queues.state().published, 1);
    assert_eq!(running.counters.requeued.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn only_the_retries_of_a_confirmed_batch_are_marked() {
    let mut world = World::new();
    world.has_neighbour = true;
    world
        .tables
        .fail("requeue", [FaultKind::Unavailable; 1_000]);
    world.queues.state().refused_route = Some(route());
    let running = world.start();
    let is_queued = |of: RouteName, number: u8| {
        let state = world.tables.state();
        state
            .rows
            .retries
            .get(&(of, id(number)))
            .map(|it| it.is_queued)
    };
    // The retries of the two routes alternate in the order in which they are due.
    for number in 1..=6 {
        let of = if number % 2 == 0 {
            route()
        } else {
            neighbour()
        };
        world.script.next(id(number), [Act::Fail]);
        let bytes = Batch::of(&[envelope(number)]).unwrap().bytes;
        world.queues.put(Queue::Route(of.clone()), bytes, false);
        within("the event must wait for its retry", || {
            is_queued(of.clone(), number).is_some()
        })
        .await;
    }
    world.tables.fail("requeue", []);
    within("the retries of the neighbour must be marked", || {
        [1, 3, 5]
            .into_iter()
            .all(|it| is_queued(neighbour(), it) != Some(false))
    })
    .await;
    for number in [2, 4, 6] {
        assert_eq!(is_queued(route(), number), Some(false), "event {number}");
    }
    assert_eq!(running.counters.requeued.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_accepts_nothing_does_not_keep_back_the_retries_of_others() {
    let mut world = World::new();
    world.has_neighbour = true;
    // The store takes the retries of the neighbour first.
    world.tables.state().taken_at_once = Some(2);
    world.queues.state().refused_route = Some(neighbour());
    let _running = world.start();
    for number in 1..=3 {
        let bytes = Batch::of(&[envelope(number)]).unwrap().bytes;
        world.script.next(id(number), [Act::Fail]);
        world.queues.put(Queue::Route(neighbour()), bytes, false);
        within("the event must wait for its retry", || {
            let waits = (neighbour(), id(number));
            world.tables.state().rows.retries.contains_key(&waits)
        })
        .await;
    }
    let since = Instant::now();
    within("all of these retries must be due", || {
        since.elapsed().as_secs() >= 60
    })
    .await;
    world.script.next(id(4), [Act::Fail]);
    world.put_each([4]);
    within("the event of the other route must be done", || {
        world.is_done(4)
    })
    .await;
    assert_eq!(world.script.runs_of(id(1)).len(), 1);
}
