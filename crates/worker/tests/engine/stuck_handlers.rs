//! Tests a run of a handler that exceeds its time limit and cannot be stopped: operators can pause,
//! resume and limit its route all the same.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::pauses::{limit, one, pause, resume};
use crate::world::{Running, TIME_LIMIT, World, id, within};

/// How long the run takes.
const STUCK: Duration = Duration::from_secs(3600);

/// How long a route may need to continue after a change: the time limit, a margin, and the time
/// until the worker reads the change.
const CONTINUES_WITHIN: Duration = TIME_LIMIT.saturating_add(Duration::from_secs(20));

/// Starts a worker, and lets it run the handler on event 1. The run does not end at its time limit,
/// because the time limit does not apply to the check of the transaction that follows the handler.
async fn stuck(world: &World) -> Running {
    world.tables.state().slow.insert("prove", [STUCK].into());
    world.put_each([1]);
    let running = world.started().await;
    let is_stuck = || world.tables.state().slow["prove"].is_empty();
    within("the run on event 1 must be stuck", is_stuck).await;
    running
}

/// Publishes events after the route has stopped taking messages, and checks that they are done soon
/// after the route was changed. Event 1 is redelivered before them, as RabbitMQ does when a
/// subscription is closed.
async fn continues(world: &World, changed: Instant) {
    sleep(Duration::from_secs(5)).await;
    world.queues.lose_connections();
    world.put_each(2..=9);
    within("events 2 to 9 must be done", || world.are_done(2..=9)).await;
    let took = changed.elapsed();
    assert!(took <= CONTINUES_WITHIN, "{took:?}");
    assert!(!world.is_done(1));
}

/// Checks that event 1 is done once its run has ended.
async fn ends(world: &World) {
    within("event 1 must be done", || world.is_done(1)).await;
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.effects(1), 1);
    assert_eq!(world.script.runs_of(id(1)).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_takes_effect_although_a_run_cannot_be_stopped() {
    let world = World::new();
    let _running = stuck(&world).await;
    let changed = Instant::now();
    world.operate(&one(), &limit(None, Some(3)));
    continues(&world, changed).await;
    ends(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_route_is_resumed_although_a_run_cannot_be_stopped() {
    let world = World::new();
    let running = stuck(&world).await;
    let changed = Instant::now();
    pause(&world, &one());
    let is_shown = || running.route().operator_pause().is_some();
    within("the counters must show the pause", is_shown).await;
    resume(&world, &one());
    continues(&world, changed).await;
    ends(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_worker_waits_for_a_run_that_cannot_be_stopped_until_the_cut() {
    let world = World::new();
    let running = stuck(&world).await;
    let changed = Instant::now();
    world.operate(&one(), &limit(None, Some(3)));
    continues(&world, changed).await;
    let cut = running.worker.cut();
    let began = Instant::now();
    let grace = Duration::from_secs(30);
    let cuts = async {
        sleep(grace).await;
        cut.cancel();
    };
    tokio::join!(running.drain(), cuts);
    assert!(began.elapsed() >= grace, "{:?}", began.elapsed());
    assert!(!world.is_done(1));
}
