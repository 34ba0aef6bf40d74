//! Tests of pauses and limits that operators set while a worker runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Batch, FaultKind, LimitChange, Queue, RouteChange, RouteScope};
use tokio::time::{Instant, sleep};

use crate::isolation::redeliver;
use crate::script::Act;
use crate::world::{Running, World, envelope, id, neighbour, on, route, within};

/// The time within which a change of an operator must take effect.
const PROMISED: Duration = Duration::from_secs(2);

pub fn one() -> RouteScope {
    RouteScope::One(route())
}

pub fn pause(world: &World, scope: &RouteScope) {
    let why = "the bank is down".to_owned();
    world.operate(scope, &RouteChange::Pause { why });
}

pub fn resume(world: &World, scope: &RouteScope) {
    world.operate(scope, &RouteChange::Resume { why: None });
}

fn waiting(world: &World) -> usize {
    world.queues.waiting(&Queue::Route(route())).len()
}

/// Pauses the route, and waits until the worker reports the pause and has no event of the route in
/// flight.
async fn paused(world: &World, running: &Running) {
    pause(world, &one());
    let is_shown = || running.route().operator_pause().is_some();
    within("the counters must show the pause", is_shown).await;
    within("the route must be drained", || {
        world.queues.unsettled() == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_route_takes_nothing_and_its_neighbour_runs() {
    let mut world = World::new();
    world.has_neighbour = true;
    let running = world.started().await;
    paused(&world, &running).await;
    world.put_each(1..=3);
    let bytes = Batch::of(&[envelope(4)]).unwrap().bytes;
    let queue = Queue::Route(neighbour());
    world.queues.put(queue, bytes, false);
    let key = (neighbour(), envelope(4).receipt);
    let is_done = || world.tables.state().rows.receipts.contains_key(&key);
    within("the event of the other route must be done", is_done).await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!((waiting(&world), world.queues.unsettled()), (3, 0));
    assert_eq!(world.script.runs().len(), 1);
    assert!(!running.route().paused.load(Ordering::Relaxed));
    assert!(!running.route().unsubscribed.load(Ordering::Relaxed));
    let resumed = Instant::now();
    resume(&world, &one());
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    assert!(resumed.elapsed() <= PROMISED, "{:?}", resumed.elapsed());
    assert_eq!(running.route().operator_pause(), None);
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_the_process() {
    let world = World::new();
    pause(&world, &RouteScope::All);
    world.put_each(1..=3);
    for _ in 0..2 {
        let running = world.start();
        sleep(Duration::from_secs(60)).await;
        running.process.die();
    }
    let running = world.start();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.script.runs().len(), 0);
    assert_eq!((waiting(&world), world.queues.unsettled()), (3, 0));
    running.drain().await;
    resume(&world, &RouteScope::All);
    let _running = world.start();
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    assert_eq!(world.tables.state().rows.failures, []);
}

#[tokio::test(start_paused = true)]
async fn a_pause_lets_what_runs_end_and_returns_the_rest() {
    let mut world = World::new();
    world.concurrency = 1;
    let take = Act::Take(Duration::from_secs(5));
    world.script.next(id(1), [take]);
    world.put_each([1]);
    let running = world.started().await;
    within("the handler of event 1 must run", || {
        world.script.is_running(id(1))
    })
    .await;
    world.put_each(2..=4);
    paused(&world, &running).await;
    assert!(world.is_done(1));
    assert_eq!(world.journal.only(&["commit", "ack"]), ["commit 1", "ack"]);
    assert_eq!(waiting(&world), 3);
    resume(&world, &one());
    within("events 1 to 4 must be done", || world.are_done(1..=4)).await;
    assert_eq!(world.script.runs().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_pause_starts_no_part_of_a_batch_that_failed() {
    let world = World::new();
    world.script.next(id(2), [Act::Hang]);
    world.put(&[1, 2, 3].map(envelope));
    let running = world.started().await;
    within("the handler must run on the batch", || {
        world.script.is_running(id(2))
    })
    .await;
    paused(&world, &running).await;
    assert_eq!(waiting(&world), 1);
    assert_eq!(world.tables.state().rows.failures, []);
    resume(&world, &one());
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    assert_eq!(world.tables.state().rows.failures, []);
    assert_eq!(world.effects(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_due_waits_for_the_end_of_the_pause() {
    let world = World::new();
    world
        .script
        .next(id(1), [Act::FailFor(Duration::from_secs(10))]);
    world.put_each([1]);
    let running = world.started().await;
    let waits = || world.tables.state().rows.retries.contains_key(&on(id(1)));
    within("event 1 must wait for its retry", waits).await;
    paused(&world, &running).await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.queues.state().published, 0);
    assert_eq!(world.script.runs().len(), 1);
    let resumed = Instant::now();
    resume(&world, &one());
    within("event 1 must be done", || world.is_done(1)).await;
    assert!(resumed.elapsed() <= PROMISED, "{:?}", resumed.elapsed());
    assert_eq!(world.script.runs_of(id(1))[1].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_the_end_of_the_pause() {
    let world = World::new();
    world.script.next(id(1), [Act::Reject]);
    world.put_each([1]);
    let running = world.started().await;
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    paused(&world, &running).await;
    world.tables.state().rows.replay(&on(id(1)));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.script.runs().len(), 1);
    resume(&world, &one());
    within("event 1 must be done", || world.is_done(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_once_while_the_route_is_paused() {
    let world = World::new();
    let running = world.started().await;
    paused(&world, &running).await;
    world.put_each([1]);
    let began = Instant::now();
    running.drain().await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_changes_no_pause() {
    let world = World::new();
    let running = world.started().await;
    paused(&world, &running).await;
    world.put_each([1]);
    world.tables.state().is_unavailable = true;
    sleep(Duration::from_secs(600)).await;
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    world.tables.state().is_unavailable = false;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    resume(&world, &one());
    within("event 1 must be done", || world.is_done(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_route_that_runs_is_not_stopped_by_reads_that_fail() {
    let world = World::new();
    let running = world.started().await;
    let faults = [FaultKind::Unavailable; 100];
    world.tables.fail("route_controls", faults);
    sleep(Duration::from_secs(30)).await;
    world.put_each([1]);
    within("event 1 must be done", || world.is_done(1)).await;
    assert!(!running.route().paused.load(Ordering::Relaxed));
}

/// A route may have been paused before the worker started. So the worker takes no message until it
/// has read the pauses once.
#[tokio::test(start_paused = true)]
async fn nothing_is_taken_before_the_pauses_were_read_once() {
    let world = World::new();
    pause(&world, &one());
    world.put_each([1]);
    world.tables.state().is_unavailable = true;
    let running = world.start();
    let is_paused = || running.route().paused.load(Ordering::Relaxed);
    within("the route must wait for the store", is_paused).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    world.tables.state().is_unavailable = false;
    within("the worker must read the pause of the operator", || {
        !is_paused()
    })
    .await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    resume(&world, &one());
    within("event 1 must be done", || world.is_done(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_the_wait_for_a_store_that_is_unavailable() {
    let world = World::new();
    let running = world.started().await;
    world
        .tables
        .fail("begin for a handler", [FaultKind::Unavailable; 1000]);
    world.put_each([1]);
    let waits = || running.route().paused.load(Ordering::Relaxed);
    within("the route must wait for the store", waits).await;
    paused(&world, &running).await;
    within("the route must wait for no dependency", || !waits()).await;
    assert_eq!(world.journal.only(&["release", "ack"]), ["release"]);
    world.tables.fail("begin for a handler", []);
    resume(&world, &one());
    within("event 1 must be done", || world.is_done(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_starts_no_isolated_run() {
    let world = World::new();
    let take = Act::Take(Duration::from_secs(5));
    world.script.next(id(1), [take]);
    redeliver(&world, 1, 1, 0);
    redeliver(&world, 2, 1, 0);
    let running = world.started().await;
    within("the handler of event 1 must run", || {
        world.script.is_running(id(1))
    })
    .await;
    paused(&world, &running).await;
    assert_eq!(world.script.runs_of(id(2)).len(), 0);
    resume(&world, &one());
    within("event 2 must be done", || world.is_done(2)).await;
    assert_eq!(world.script.runs_of(id(1)).len(), 1);
}

pub fn limit(rate: Option<&str>, concurrency: Option<u32>) -> RouteChange {
    RouteChange::Limit {
        why: None,
        rate: rate.map_or(LimitChange::Clear, |it| {
            LimitChange::Set(it.parse().unwrap())
        }),
        concurrency: concurrency.map_or(LimitChange::Clear, |it| {
            LimitChange::Set(it.try_into().unwrap())
        }),
    }
}

/// Returns the highest number of handlers that ran at the same time.
fn most_at_once(world: &World) -> usize {
    let runs = world.script.runs();
    let at_once = runs.iter().map(|run| run.beside.len() + 1);
    at_once.max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_lowered_and_never_above_the_config() {
    for (set, expected) in [(Some(1), 1), (Some(3), 3), (Some(9), 4), (None, 4)] {
        let world = World::new();
        world.operate(&one(), &limit(None, set));
        for number in 1..=40 {
            let take = Act::Take(Duration::from_secs(1));
            world.script.next(id(number), [take]);
        }
        // The messages are published one after another, so a free slot takes each of them alone.
        let _running = world.started().await;
        for first in [1, 11, 21, 31] {
            let numbers = first..first + 10;
            let envelopes: Vec<_> = numbers.map(envelope).collect();
            world.put(&envelopes);
            sleep(Duration::from_millis(100)).await;
        }
        within("events 1 to 40 must be done", || world.are_done(1..=40)).await;
        assert_eq!(
            most_at_once(&world),
            expected,
            "the limit {set:?} must let {expected} handlers run at once"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_ends_with_its_limit() {
    let world = World::new();
    world.operate(&one(), &limit(Some("0.5/s"), None));
    world.put_each(1..=10);
    let _running = world.started().await;
    let began = Instant::now();
    within("events 1 to 5 must be done", || world.are_done(1..=5)).await;
    let took = began.elapsed().as_secs();
    assert!(
        (8..=9).contains(&took),
        "five events must take 8 s to 9 s, and took {took} s"
    );
    world.operate(&one(), &limit(None, None));
    let began = Instant::now();
    within("events 1 to 10 must be done", || world.are_done(1..=10)).await;
    assert!(began.elapsed() <= PROMISED, "{:?}", began.elapsed());
    assert_eq!(world.script.runs().len(), 10);
}

/// A route that is drained while the store fails cannot clear its start markers at once. They are
/// cleared later, so that their events are not suspected of having ended a process.
#[tokio::test(start_paused = true)]
async fn a_pause_leaves_no_start_marker() {
    let world = World::new();
    let unavailable = [FaultKind::Unavailable; 1000];
    world.tables.fail("begin for a handler", unavailable);
    world.tables.fail("survived", [FaultKind::Unavailable; 3]);
    redeliver(&world, 1, 0, 0);
    let running = world.started().await;
    let waits = || running.route().paused.load(Ordering::Relaxed);
    within("the route must wait for the store", waits).await;
    paused(&world, &running).await;
    let are_left = || !world.tables.state().rows.starts.is_empty();
    within("no start marker must be left", || !are_left()).await;
    assert_eq!(world.tables.calls("survived"), 4);
    within("the route must wait for no dependency", || !waits()).await;
    world.tables.fail("begin for a handler", []);
    resume(&world, &one());
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(running.route().suspects.load(Ordering::Relaxed), 0);
}
