//! Tests events of topics that other routes select, too.

use hookbox_driver::FaultKind;

use crate::script::Act;
use crate::world::{World, envelope, id, within};

const OF_INTEREST: &[&str] = &["store", "begin", "commit"];

#[tokio::test(start_paused = true)]
async fn an_event_of_several_routes_is_stored_before_its_handler_runs() {
    for (pattern, stored) in [("begini.#", true), ("another.#", false)] {
        let mut world = World::new();
        world.shared_topics = vec![pattern.parse().unwrap()];
        world.put(&[1, 2, 3].map(envelope));
        let _running = world.start();
        within("the events must be done", || world.are_done(1..=3)).await;
        let handled = ["begin for a handler", "commit 3"];
        let first: &[&str] = if stored { &["store 3 events"] } else { &[] };
        let steps = world.journal.only(OF_INTEREST);
        assert_eq!(steps, [first, &handled].concat(), "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_not_stored_again() {
    let mut world = World::new();
    world.shared_topics = vec!["#".parse().unwrap()];
    world.script.next(id(1), [Act::Fail]);
    world.put(&[envelope(1)]);
    let _running = world.start();
    within("the event must be done", || world.is_done(1)).await;
    assert_eq!(world.script.runs_of(id(1)).len(), 2);
    assert_eq!(world.tables.calls("store_events"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_while_events_are_stored_costs_no_attempt() {
    let mut world = World::new();
    world.shared_topics = vec!["#".parse().unwrap()];
    let faults = [FaultKind::Unavailable, FaultKind::Contention];
    world.tables.fail("store_events", faults);
    world.put(&[1, 2].map(envelope));
    let _running = world.start();
    within("the events must be done", || world.are_done(1..=2)).await;
    assert_eq!(world.tables.calls("store_events"), 3);
    assert_eq!(world.script.runs().len(), 2);
    assert_eq!(world.tables.state().rows.failures, []);
}
