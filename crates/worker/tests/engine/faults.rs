//! Tests faults of the store and of the deployment: they cost no event an attempt.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Batch, DeadReason, DeferReason, FailureClass, FaultKind, Queue};
use hookbox_event::Envelope;
use tokio::time::Instant;

use crate::script::Act;
use crate::world::{Running, World, envelope, id, neighbour, on, within};

const CONTENTION: FaultKind = FaultKind::Contention;
const UNAVAILABLE: FaultKind = FaultKind::Unavailable;
const MISSING_RIGHT: FaultKind = FaultKind::MissingRight;

const MINUTE: Duration = Duration::from_secs(60);

fn assert_no_attempt(world: &World, number: u8) {
    assert!(world.tables.state().rows.failures.is_empty());
    let runs = world.script.runs_of(id(number));
    assert!(runs.iter().all(|run| run.attempt == 1), "{runs:?}");
}

fn deferred(world: &World, number: u8) -> Option<DeferReason> {
    let state = world.tables.state();
    let retry = state.rows.retries.get(&on(id(number)))?;
    retry.deferred.map(|deferred| deferred.0)
}

fn deferrals(running: &Running) -> u64 {
    running.route().deferred.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_waited_out() {
    let world = World::new();
    world.tables.fail("commit", [UNAVAILABLE; 3]);
    world.put(&[envelope(1), envelope(2)]);
    let running = world.start();
    within("events 1 and 2 must be done", || world.are_done(1..=2)).await;
    assert_no_attempt(&world, 1);
    assert_eq!(world.script.runs_of(id(1)).len(), 4);
    assert_eq!(running.route().faults.load(Ordering::Relaxed), 3);
    assert!(!running.route().paused.load(Ordering::Relaxed));
    let steps = world.journal.only(&["commit", "release"]);
    assert_eq!(
        steps,
        ["commit 2"],
        "the message must not be released during the outage"
    );
}

/// One statement of a batch may have more parameters than the protocol allows, or a handler may
/// leave its connection idle for longer than the server allows. The driver takes both for an
/// unavailable store.
#[tokio::test(start_paused = true)]
async fn an_event_that_always_meets_a_fault_does_not_keep_its_batch_from_its_outcome() {
    for fault in [UNAVAILABLE, FaultKind::Internal] {
        let world = World::new();
        world.script.always(id(2), Act::Store(fault));
        world.put(&[envelope(1), envelope(2), envelope(3)]);
        let _running = world.start();
        within("events 1 and 3 must be done", || world.are_done([1, 3])).await;
        assert_no_attempt(&world, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_is_shown_as_paused_while_the_store_is_unavailable() {
    let world = World::new();
    let running = world.started().await;
    world.tables.state().is_unavailable = true;
    world.put_each([1]);
    let is_paused = || running.route().paused.load(Ordering::Relaxed);
    within("the route must be paused", is_paused).await;
    assert_eq!(running.route().in_flight.load(Ordering::Relaxed), 1);
    world.tables.state().is_unavailable = false;
    within("event 1 must be done", || world.is_done(1)).await;
    assert!(!is_paused());
    assert_no_attempt(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn contention_that_lasts_takes_a_batch_apart() {
    let world = World::new();
    // The batch is tried six times and meets contention each time. Then each event runs in its own
    // transaction, and the first event meets the seventh contention there.
    world.tables.fail("claim", [CONTENTION; 7]);
    world.put(&[envelope(1), envelope(2), envelope(3)]);
    let _running = world.start();
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    assert_eq!(world.journal.only(&["commit"]), ["commit 1"; 3]);
    let order: Vec<_> = world.script.runs().iter().map(|run| run.event).collect();
    assert_eq!(
        order,
        [id(2), id(3), id(1)],
        "the event that met contention must run after the other two"
    );
    assert_no_attempt(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn the_diagnosis_of_the_store_outranks_the_class_of_the_handler() {
    let world = World::new();
    // The handler classifies two errors of the store as permanent: that it is unavailable, and an
    // internal one. Both are faults, so they must not make the event a dead letter.
    world.script.next(
        id(1),
        [Act::Store(UNAVAILABLE), Act::Store(FaultKind::Internal)],
    );
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_no_attempt(&world, 1);
    assert_eq!(world.script.runs().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_that_passes_in_an_outage_costs_no_attempt() {
    let world = World::new();
    world.script.next(id(1), [Act::HangInOutage]);
    world.put_each([1]);
    let running = world.start();
    within("the handler must be stopped at its time limit", || {
        running.route().faults.load(Ordering::Relaxed) > 0
    })
    .await;
    world.tables.state().is_unavailable = false;
    within("event 1 must be done", || world.is_done(1)).await;
    assert_no_attempt(&world, 1);
    assert_eq!(world.script.runs().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_that_passes_while_the_process_is_stopped_costs_no_attempt() {
    let world = World::new();
    world.script.next(id(1), [Act::Freeze(MINUTE)]);
    world.put_each([1]);
    let _running = world.started().await;
    within("event 1 must be done", || world.is_done(1)).await;
    assert_no_attempt(&world, 1);
    assert_eq!(world.script.runs().len(), 2);
}

/// A handler may block all threads of the process, which looks as if the process was stopped.
#[tokio::test(start_paused = true)]
async fn a_handler_that_always_seems_to_stop_the_process_is_charged() {
    let world = World::new();
    world.script.always(id(2), Act::Freeze(MINUTE));
    world.put_each([2]);
    let _running = world.started().await;
    is_charged(&world).await;
    assert_eq!(world.script.runs_of(id(2)).len(), 6);
}

/// Starts a worker with two routes. The handler hangs on event 2. Event 1 is of the other route.
fn with_a_hanging_handler(world: &mut World) -> Running {
    world.has_neighbour = true;
    world.script.always(id(2), Act::Hang);
    world.put_each([2]);
    let bytes = Batch::of(&[envelope(1)]).unwrap().bytes;
    world.queues.put(Queue::Route(neighbour()), bytes, false);
    world.start()
}

/// Waits until three runs that exceeded their time limit have made event 2 a dead letter.
async fn is_charged(world: &World) {
    within("event 2 must be a dead letter", || {
        world.dead(id(2)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(2)).unwrap().0, DeadReason::Exhausted);
    let expect = [1, 2, 3].map(|attempt| (id(2), attempt, FailureClass::TimedOut));
    assert_eq!(world.tables.state().rows.failures, expect);
}

/// PostgreSQL reports `XX000` for `elog(ERROR)` in a function, so the statement of one event may
/// always fail as if the store were unavailable.
#[tokio::test(start_paused = true)]
async fn a_statement_of_one_event_does_not_excuse_time_limits_of_others() {
    let mut world = World::new();
    world.script.always(id(1), Act::Store(UNAVAILABLE));
    let _running = with_a_hanging_handler(&mut world);
    is_charged(&world).await;
}

/// The server may end the session of a handler that leaves it idle for too long. Then the commit is
/// the statement that fails.
#[tokio::test(start_paused = true)]
async fn a_session_that_a_handler_lost_does_not_excuse_time_limits_of_others() {
    let mut world = World::new();
    world.tables.fail("commit", [UNAVAILABLE; 1_000]);
    let _running = with_a_hanging_handler(&mut world);
    is_charged(&world).await;
}

#[tokio::test(start_paused = true)]
async fn connections_in_use_do_not_excuse_time_limits() {
    let mut world = World::new();
    let _running = with_a_hanging_handler(&mut world);
    within("the handler must hang", || world.script.is_running(id(2))).await;
    let in_use = ["begin for a handler", "route_controls", "requeue"];
    world.tables.state().in_use.extend(in_use);
    within("the attempt must be recorded", || {
        !world.tables.state().rows.failures.is_empty()
    })
    .await;
    let failures = world.tables.state().rows.failures.clone();
    assert_eq!(failures, [(id(2), 1, FailureClass::TimedOut)]);
    world.tables.state().in_use.clear();
    is_charged(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_foreign_lock_defers_an_event_and_not_its_route() {
    let world = World::new();
    world.script.always(id(1), Act::Store(CONTENTION));
    world.put_each([1]);
    let running = world.start();
    within("event 1 must be deferred twice", || {
        deferrals(&running) >= 2
    })
    .await;
    assert_eq!(deferred(&world, 1), Some(DeferReason::ForeignLock));
    world.put_each([2]);
    within("event 2 must be done while event 1 is deferred", || {
        world.is_done(2)
    })
    .await;
    world.script.always(id(1), Act::Succeed);
    within("event 1 must be done", || world.is_done(1)).await;
    assert_no_attempt(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_one_event_lacks_defers_that_one_alone() {
    let world = World::new();
    world.script.always(id(2), Act::Store(MISSING_RIGHT));
    world.put(&[envelope(1), envelope(2), envelope(3)]);
    let running = world.start();
    within("event 2 must be deferred", || deferrals(&running) == 1).await;
    within(
        "events 1 and 3 must be done while event 2 is deferred",
        || world.is_done(1) && world.is_done(3),
    )
    .await;
    assert_eq!(deferred(&world, 2), Some(DeferReason::MissingRight));
    assert_eq!(running.route().missing_right(), None);
    world.script.always(id(2), Act::Succeed);
    within("event 2 must be done", || world.is_done(2)).await;
    assert_no_attempt(&world, 2);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_every_event_lacks_pauses_the_route() {
    let world = World::new();
    for number in 1..=4 {
        world.script.always(id(number), Act::Store(MISSING_RIGHT));
    }
    world.put_each(1..=4);
    let running = world.start();
    within("the route must be paused", || {
        running.route().missing_right().is_some()
    })
    .await;
    assert_eq!(running.route().missing_right().as_deref(), Some("GRANT it"));
    for number in 1..=4 {
        world.script.always(id(number), Act::Succeed);
    }
    within("events 1 to 4 must be done", || world.are_done(1..=4)).await;
    assert_eq!(running.route().missing_right(), None);
    assert_no_attempt(&world, 1);
}

/// RabbitMQ closes the channel of a message that is not acknowledged within 30 min.
#[tokio::test(start_paused = true)]
async fn a_message_is_settled_soon_while_every_event_lacks_a_right() {
    let world = World::new();
    // Deferred events stay in the store.
    world.tables.fail("requeue", [UNAVAILABLE; 10_000]);
    for number in 1..=64 {
        world.script.always(id(number), Act::Store(MISSING_RIGHT));
    }
    let batch: Vec<Envelope> = (1..=64).map(envelope).collect();
    world.put(&batch);
    let running = world.started().await;
    let since = Instant::now();
    within("every event must be deferred", || {
        deferrals(&running) == 64 && world.is_settled()
    })
    .await;
    assert!(since.elapsed() < MINUTE, "{:?}", since.elapsed());
    for number in 1..=64 {
        assert_eq!(deferred(&world, number), Some(DeferReason::MissingRight));
    }
    assert_no_attempt(&world, 1);
    // The messages are redelivered, as after a lost connection. Their events wait in the store, so
    // no handler runs, and none of them waits for the right.
    for _ in 0..4 {
        world.put(&batch);
    }
    world.put_each([65]);
    let since = Instant::now();
    within("event 65 must be done", || world.is_done(65)).await;
    assert!(since.elapsed() < MINUTE, "{:?}", since.elapsed());
    assert_eq!(running.route().missing_right(), None);
}

#[tokio::test(start_paused = true)]
async fn a_deferral_that_outlasts_its_bound_becomes_attempts() {
    let world = World::new();
    world.put_each([1]);
    let _running = world.start();
    within(
        "event 1 must be done, which shows that the route works",
        || world.is_done(1),
    )
    .await;
    world.script.always(id(2), Act::Store(MISSING_RIGHT));
    world.put_each([2]);
    within("event 2 must be a dead letter", || {
        world.dead(id(2)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(2)).unwrap().0, DeadReason::Exhausted);
    assert_eq!(world.tables.state().rows.failures.len(), 3);
    let runs = world.script.runs_of(id(2));
    let lasted = runs[runs.len() - 1].at - runs[0].at;
    let hour = Duration::from_secs(60 * 60);
    assert!(
        (hour..2 * hour).contains(&lasted),
        "only the first attempt may be deferred, for an hour: {lasted:?}"
    );
}
