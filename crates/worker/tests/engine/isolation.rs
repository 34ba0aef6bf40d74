//! Tests events that were in flight when a process died: each of them runs in isolation, and other
//! events are not blocked by that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Batch, CountedStart, FaultKind, Queue, Start, StartCounts, StartKind};
use hookbox_event::{Envelope, EventId, InstanceId};

use crate::script::Act;
use crate::world::{Running, World, envelope, id, route, within};

fn suspects(running: &Running) -> u64 {
    running.route().suspects.load(Ordering::Relaxed)
}

fn has_no_markers(world: &World) -> bool {
    world.tables.state().rows.starts.is_empty()
}

/// Returns how often the store has counted a start of an event's handler in isolation.
fn deaths_alone(world: &World, number: u8) -> u32 {
    let state = world.tables.state();
    let start = Start::of(&envelope(number));
    state.rows.counts(&route(), &start).isolated
}

/// Redelivers an event that was in flight when processes died. `all` is the number of these
/// processes, and `isolated` is how many of them died while the event ran alone.
pub fn redeliver(world: &World, number: u8, all: u32, isolated: u32) {
    redeliver_envelope(world, &envelope(number), all, isolated);
}

/// Redelivers an event with this envelope, as [`redeliver`] does.
pub fn redeliver_envelope(world: &World, envelope: &Envelope, all: u32, isolated: u32) {
    let counts = StartCounts {
        all,
        isolated,
        unproven: 0,
    };
    let start = (route(), Start::of(envelope));
    let mut state = world.tables.state();
    state.rows.starts.insert(start, (counts, None));
    drop(state);
    let bytes = Batch::of(std::slice::from_ref(envelope)).unwrap().bytes;
    world.queues.put(Queue::Route(route()), bytes, true);
}

/// Records in the store what remains of another process that died during its isolated run of the
/// event: one more start in isolation.
fn die_elsewhere(world: &World, number: u8) {
    let start = Start::of(&envelope(number));
    let by = InstanceId::from_bytes([number; 16]);
    let mut state = world.tables.state();
    state
        .rows
        .start(&route(), by, StartKind::Isolated, &[start]);
}

fn order(world: &World) -> Vec<EventId> {
    world.script.runs().iter().map(|run| run.event).collect()
}

#[tokio::test(start_paused = true)]
async fn one_death_isolates_nothing() {
    let world = World::new();
    world.script.next(id(1), [Act::Kill]);
    world.put_each(1..=3);
    let running = world
        .restart_until("events 1 to 3 must be done", || world.are_done(1..=3))
        .await;
    assert_eq!(suspects(&running), 0);
    assert_eq!(
        world.journal.only(&["commit"]),
        ["commit 3"],
        "the redelivered events must share one transaction"
    );
    within(
        "the start markers of events that are done must be cleared",
        || has_no_markers(&world),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_in_flight_at_a_counted_death_runs_alone() {
    let world = World::new();
    world.script.next(id(1), [Act::Kill, Act::Kill]);
    world.put_each(1..=3);
    let running = world
        .restart_until("events 1 to 3 must be done", || world.are_done(1..=3))
        .await;
    assert_eq!(suspects(&running), 3);
    for number in 1..=3 {
        assert!(
            world.script.was_isolated(id(number)),
            "event {number} must run in isolation"
        );
        assert_eq!(
            world.effects(number),
            1,
            "event {number} must have its effect once"
        );
    }
    within("every message must be acknowledged", || world.is_settled()).await;
    assert!(has_no_markers(&world));
    assert!(world.tables.state().rows.failures.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waits_until_running_handlers_have_ended() {
    let world = World::new();
    world
        .script
        .next(id(1), [Act::Take(Duration::from_secs(3))]);
    world.put_each([1]);
    let _running = world.start();
    within("the handler of event 1 must run", || {
        world.script.is_running(id(1))
    })
    .await;
    redeliver(&world, 9, 1, 0);
    within("both events must be done", || {
        world.is_done(1) && world.is_done(9)
    })
    .await;
    assert!(world.script.was_isolated(id(9)));
    assert_eq!(order(&world), [id(1), id(9)]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_waits_for_its_turn_takes_no_place_of_its_route() {
    let mut world = World::new();
    world.concurrency = 1;
    redeliver(&world, 9, 2, 1);
    let running = world.start();
    within("event 9 must wait for its isolated run", || {
        suspects(&running) == 1
    })
    .await;
    assert!(!world.script.is_running(id(9)));
    world.put_each(1..=3);
    within("events 1 to 3 and event 9 must be done", || {
        world.are_done(1..=3) && world.is_done(9)
    })
    .await;
    assert_eq!(order(&world).last(), Some(&id(9)));
}

#[tokio::test(start_paused = true)]
async fn suspects_run_after_the_others_and_in_the_order_of_their_deaths() {
    let world = World::new();
    redeliver(&world, 7, 2, 2);
    redeliver(&world, 8, 2, 1);
    redeliver(&world, 9, 1, 0);
    world.put_each([1]);
    let _running = world.start();
    within("all four events must be done", || {
        world.are_done([1, 7, 8, 9])
    })
    .await;
    assert_eq!(order(&world), [id(1), id(9), id(8), id(7)]);
    within(
        "the start markers of events that are done must be cleared",
        || has_no_markers(&world),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_suspect_without_an_outcome_leaves_the_others_their_time() {
    let world = World::new();
    world
        .script
        .always(id(9), Act::Store(FaultKind::Unavailable));
    redeliver(&world, 9, 1, 0);
    let _running = world.start();
    let runs = || world.script.runs_of(id(9)).len();
    within(
        "the suspected event must run twice without an outcome",
        || runs() >= 2,
    )
    .await;
    world.put_each(1..=3);
    within("the events that are not suspected must be done", || {
        world.are_done(1..=3)
    })
    .await;
    world.script.always(id(9), Act::Succeed);
    within("event 9 must be done", || world.is_done(9)).await;
    let runs = world.script.runs();
    assert!(runs.iter().all(|run| run.beside.is_empty()), "{runs:?}");
    assert!(world.tables.state().rows.failures.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_has_its_outcome_is_acknowledged_without_a_run() {
    let world = World::new();
    world.put_each([1]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    redeliver(&world, 1, 2, 1);
    let redelivered = || running.route().redelivered.load(Ordering::Relaxed) == 1;
    within(
        "the second copy of the message must be acknowledged",
        || redelivered() && world.is_settled(),
    )
    .await;
    assert_eq!(world.script.runs().len(), 1);
    assert_eq!(suspects(&running), 0);
    assert!(has_no_markers(&world));
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_fails_is_an_attempt_like_any_other() {
    let world = World::new();
    world.script.next(id(9), [Act::Fail]);
    redeliver(&world, 9, 1, 0);
    let _running = world.start();
    within("event 9 must be done", || world.is_done(9)).await;
    let attempts: Vec<u32> = world.script.runs().iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert!(has_no_markers(&world));
}

#[tokio::test(start_paused = true)]
async fn a_worker_takes_its_own_start_for_no_death() {
    let world = World::new();
    world
        .script
        .always(id(9), Act::Store(FaultKind::Unavailable));
    world
        .tables
        .fail("retract_start", [FaultKind::Unavailable; 100]);
    world.put_each([1]);
    redeliver(&world, 9, 2, 1);
    let running = world.start();
    let runs = || world.script.runs_of(id(9)).len();
    within("the handler of event 9 must run", || runs() >= 1).await;
    assert_eq!(
        deaths_alone(&world, 9),
        2,
        "the store must count the one process death and the start by this worker"
    );

    // The worker loses its connection to the broker. Another process receives the message and dies
    // during its isolated run; then the message is redelivered to this worker.
    die_elsewhere(&world, 9);
    world.queues.lose_connections();
    let until = runs() + 4;
    within(
        "the handler must run for both copies of the message",
        || suspects(&running) == 2 && runs() >= until,
    )
    .await;
    assert_eq!(
        world.dead(id(9)),
        None,
        "two process deaths in isolation must not quarantine the event"
    );
    assert_eq!(
        deaths_alone(&world, 9),
        3,
        "the store must count three starts, because a worker counts its own only once"
    );
    world.script.always(id(9), Act::Succeed);
    within("event 9 must be done, without start markers", || {
        world.is_done(9) && has_no_markers(&world)
    })
    .await;
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.effects(9), 1);
}

/// While an event waits for its next run, its handler cannot end a process. So the start of its
/// last run is not counted during that wait. A second worker that gets the same message must not
/// take that start for a process death.
#[tokio::test(start_paused = true)]
async fn a_start_is_taken_back_until_the_next_try() {
    let world = World::new();
    world
        .script
        .always(id(9), Act::Store(FaultKind::Unavailable));
    world.put_each([1]);
    redeliver(&world, 9, 3, 2);
    let first = world.start();
    let runs = || world.script.runs_of(id(9)).len();
    within("the handler of event 9 must run", || runs() >= 1).await;
    assert_eq!(
        deaths_alone(&world, 9),
        2,
        "the store must count the two starts of earlier processes, and no start of this process"
    );

    // The first worker loses its connection while the event waits there for its next run. So the
    // message is redelivered, to another worker.
    world.queues.lose_connections();
    let second = world.start();
    let runs_at_both = || suspects(&first) + suspects(&second) >= 2 && runs() >= 4;
    within("both workers must run the event", runs_at_both).await;
    assert_eq!(
        world.dead(id(9)),
        None,
        "two process deaths in isolation must not quarantine the event"
    );
    world.script.always(id(9), Act::Succeed);
    within("event 9 must be done, without start markers", || {
        world.is_done(9) && has_no_markers(&world)
    })
    .await;
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.effects(9), 1);
}

/// A quarantine is final. So the worker reads the start counts a second time before a quarantine,
/// and does not quarantine the event if a count has been removed in between.
#[tokio::test(start_paused = true)]
async fn a_death_that_is_taken_back_quarantines_nothing() {
    let world = World::new();
    let counted_alone = StartKind::Isolated;
    let (by, start) = (InstanceId::from_bytes([7; 16]), Start::of(&envelope(9)));
    redeliver(&world, 9, 3, 2);
    world.put_each([1]);
    {
        let mut state = world.tables.state();
        state.rows.start(&route(), by, counted_alone, &[start]);
    }
    let _running = world.start();
    within(
        "the worker must read the start counts before the quarantine",
        || world.tables.calls("starts") >= 1,
    )
    .await;
    {
        let mut state = world.tables.state();
        let counted = CountedStart {
            kind: counted_alone,
            is_certain: true,
        };
        state.rows.retract_start(&route(), by, counted, start);
    }
    within("event 9 must be done", || world.is_done(9)).await;
    assert_eq!(world.dead(id(9)), None);
    within("every message must be acknowledged", || world.is_settled()).await;
}

/// The worker does not know whether its start was counted, because the answer of the store was
/// lost. Then it must count this start again only with the same kind (`Isolated` or `Unproven`),
/// and must not remove a start of another kind.
#[tokio::test(start_paused = true)]
async fn a_start_whose_count_is_uncertain_keeps_its_kind() {
    let world = World::new();
    world
        .script
        .always(id(9), Act::Store(FaultKind::Unavailable));
    world.tables.fail("start", [FaultKind::Unavailable]);
    world
        .tables
        .fail("retract_start", [FaultKind::Unavailable; 100]);
    redeliver(&world, 9, 1, 0);
    let _running = world.start();
    within("the worker must ask the store to count a start", || {
        world.tables.calls("start") >= 1
    })
    .await;
    world.put_each([1]);
    within("event 1 must be done while event 9 is suspected", || {
        world.is_done(1)
    })
    .await;
    let runs = || world.script.runs_of(id(9)).len();
    within("the handler of event 9 must run", || runs() >= 1).await;
    let counts = {
        let state = world.tables.state();
        state.rows.counts(&route(), &Start::of(&envelope(9)))
    };
    assert_eq!((counts.isolated, counts.unproven), (0, 1));
    world.script.always(id(9), Act::Succeed);
    within("event 9 must be done, without start markers", || {
        world.is_done(9) && has_no_markers(&world)
    })
    .await;
}
