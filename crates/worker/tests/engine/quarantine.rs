//! Tests events whose handler ends the process. After several such process deaths, the event must
//! become a dead letter, and other events must not be harmed.

use hookbox_driver::{DeadReason, FaultKind};

use crate::isolation::redeliver;
use crate::script::Act;
use crate::world::{World, id, within};

#[tokio::test(start_paused = true)]
async fn three_deaths_alone_in_processes_that_work_are_proof() {
    let world = World::new();
    world.script.always(id(99), Act::Kill);
    world.put_each([99]);
    let mut processes = 0_u8;
    while world.dead(id(99)).is_none() {
        processes += 1;
        assert!(
            processes < 20,
            "event 99 must be quarantined before 20 processes have died"
        );
        world.put_each([processes]);
        let running = world.start();
        let is_over = || running.process.is_dead() || world.dead(id(99)).is_some();
        within(
            "the process must die, or the event must be quarantined",
            is_over,
        )
        .await;
        if !running.process.is_dead() {
            within("every message must be acknowledged", || world.is_settled()).await;
        }
    }
    // The handler of event 99 has run five times: at the first delivery, whose start is not
    // counted; once beside other events; and three times in isolation.
    assert_eq!(world.script.runs_of(id(99)).len(), 5);
    assert_eq!(processes, 6);
    let (reason, detail) = world.dead(id(99)).unwrap();
    assert_eq!(reason, DeadReason::Quarantined);
    assert!(detail.contains("ran alone, three times"), "{detail}");
    for number in 1..=processes {
        assert_eq!(
            world.effects(number),
            1,
            "event {number} must have its effect once"
        );
    }
    assert_eq!(world.effects(99), 0);
    assert!(world.tables.state().rows.starts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_the_only_one_has_ten_tries() {
    let world = World::new();
    world.script.always(id(9), Act::Kill);
    world.put_each([9]);
    let is_dead = || world.dead(id(9)).is_some();
    let _running = world
        .restart_until("event 9 must be quarantined", is_dead)
        .await;
    assert_eq!(world.script.runs_of(id(9)).len(), 12);
    let (reason, detail) = world.dead(id(9)).unwrap();
    assert_eq!(reason, DeadReason::Quarantined);
    assert!(detail.contains("ran alone, ten times"), "{detail}");
    within("every message must be acknowledged", || world.is_settled()).await;
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_event_does_not_run_and_its_neighbours_do() {
    let world = World::new();
    world.tables.fail("starts", [FaultKind::Unavailable; 2]);
    redeliver(&world, 9, 5, 3);
    redeliver(&world, 8, 1, 0);
    world.put_each([1]);
    let _running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    assert!(world.are_done([1, 8]));
    assert_eq!(world.dead(id(9)).unwrap().0, DeadReason::Quarantined);
    assert!(world.script.runs_of(id(9)).is_empty());
    assert!(world.tables.state().rows.starts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_its_outcome_is_not_quarantined() {
    let world = World::new();
    world.put_each([9]);
    let _running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    redeliver(&world, 9, 5, 3);
    let has_no_markers = || world.tables.state().rows.starts.is_empty();
    within(
        "the second copy of the message must be acknowledged",
        || has_no_markers() && world.is_settled(),
    )
    .await;
    assert!(world.is_done(9));
    assert_eq!(world.dead(id(9)), None);
    assert_eq!(world.effects(9), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_is_written_through_an_outage() {
    let world = World::new();
    world.tables.fail("claim", [FaultKind::Unavailable; 3]);
    world.tables.fail("commit", [FaultKind::Unavailable; 3]);
    redeliver(&world, 9, 5, 3);
    let _running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.dead(id(9)).unwrap().0, DeadReason::Quarantined);
    assert!(world.script.runs().is_empty());
}
