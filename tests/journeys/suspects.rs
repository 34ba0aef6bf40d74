//! Case `handler-kills-the-process` of docs/FAULTS.md, second part. An event that was in flight
//! when a process died is suspected as the cause. The suspicion alone does not quarantine the
//! event, and the event delays no other event. The test holds up the handlers in their statements.

use std::time::Duration;

use hookbox_crash::CRASH_AT;
use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};
use crate::gate;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time limit of an orderly shutdown (a drain): longer than the time in which a running handler
/// may finish, and shorter than the handlers' time limit (30 s).
const DRAIN: Duration = Duration::from_secs(8);

/// A part of the log line about a suspected event whose handler runs alone in the process.
const ALONE: &str = "its handler runs alone now";

/// The additional time that the process of a debug build may take to end after its drain.
const A_MOMENT: Duration = Duration::from_secs(1);

const STARTS: &str = "select count(*) from starts";

const EFFECTS: &str = "select count(*) from begini_applications";

const APPLIED: &str = "select count(*) from claims where route = 'applications' and state = 'done'";

/// Makes a waiting event suspected of ending its process: two workers die in its handler. Only the
/// second handler start is counted, because hookbox counts starts only for redelivered events.
async fn suspect(deployment: &Deployment, crash: &str) {
    for counted in 0..2 {
        let mut command = deployment.command(&["worker"]);
        command.env(CRASH_AT, crash);
        let mut worker = deployment.spawn(command);
        within(PATIENCE, "the worker must crash", async || {
            worker.has_ended()
        })
        .await;
        assert_eq!(deployment.count(STARTS).await, counted);
    }
}

/// Waits until the gate of the test (see `gate.rs`) holds up a handler in its statement.
async fn is_held_up(deployment: &Deployment) {
    within(PATIENCE, "the gate must hold up a handler", async || {
        deployment.count(gate::HELD_UP).await > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_in_the_middle_of_a_handler_is_no_death() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let drain = format!("drain = \"{} s\"\n{config}", DRAIN.as_secs());
    deployment.write("hookbox.toml", &drain);
    let ingest = deployment.start_ingest();
    gate::prepare(&deployment).await;
    gate::hold_applications(&deployment).await;
    deployment.run(&["send", "--type", "application.complete"]);
    // The first worker is killed, because handler starts are counted only for redelivered events.
    let worker = deployment.start(&["worker"]);
    is_held_up(&deployment).await;
    worker.kill();
    let worker = deployment.start(&["worker"]);
    within(
        PATIENCE,
        "a start marker must count the handler start of the redelivered event",
        async || deployment.count(STARTS).await == 1,
    )
    .await;
    is_held_up(&deployment).await;
    worker.signal("TERM");
    let code = worker.ends_within(DRAIN + A_MOMENT);
    assert_eq!(code, Some(0), "{}", deployment.log());
    let log = deployment.log();
    assert!(log.contains("cancelling handlers that still run"), "{log}");
    assert_eq!(deployment.count(STARTS).await, 0, "{log}");
    gate::free_applications(&deployment).await;
    let worker = deployment.start(&["worker"]);
    within(PATIENCE, "the event must be done", async || {
        deployment.count(EFFECTS).await == 1
    })
    .await;
    worker.stop();
    ingest.stop();
    let log = deployment.log();
    assert!(!log.contains(ALONE), "{log}");
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_that_is_held_up_stops_no_other_route() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let ingest = deployment.start_ingest();
    deployment.run(&["send", "--type", "application.complete"]);
    suspect(
        &deployment,
        "worker.mid_handler=begini.application.complete:*",
    )
    .await;
    gate::prepare(&deployment).await;
    gate::hold_applications(&deployment).await;
    let worker = deployment.start(&["worker"]);
    within(
        PATIENCE,
        "the suspected event must run in isolation",
        async || deployment.log().contains(ALONE),
    )
    .await;
    is_held_up(&deployment).await;
    for _ in 0..3 {
        deployment.run(&["send", "--type", "psychometric_score.complete"]);
    }
    let scores = "select count(*) from begini_scores";
    within(
        PATIENCE,
        "the events of the other route must be done",
        async || deployment.count(scores).await == 3,
    )
    .await;
    // An event of the same route waits only while the suspected event runs alone, which takes at
    // most the time limit of a handler. It need not wait until the suspected event has its outcome.
    assert_eq!(deployment.count(APPLIED).await, 0, "{}", deployment.log());
    gate::free_applications(&deployment).await;
    within(
        PATIENCE,
        "the event must be done and its start marker cleared",
        async || deployment.count(EFFECTS).await == 1 && deployment.count(STARTS).await == 0,
    )
    .await;
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

/// Checks a suspected event that must run alone, but cannot yet, because the handler of another
/// event still runs (the test holds it up). All other events must be processed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_that_waits_for_a_delayed_handler_stops_no_other_event() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let ingest = deployment.start_ingest();
    deployment.run(&["send", "--type", "psychometric_score.complete"]);
    suspect(
        &deployment,
        "worker.mid_handler=begini.psychometric_score.complete:*",
    )
    .await;
    deployment.run(&["send", "--type", "application.complete"]);
    gate::prepare(&deployment).await;
    gate::hold_applications(&deployment).await;
    gate::hold_scores(&deployment).await;
    let worker = deployment.start(&["worker"]);
    within(
        PATIENCE,
        "the suspected event must run in isolation",
        async || deployment.log().contains(ALONE),
    )
    .await;
    // The suspected event may have run already, and the gate may have held up its handler. While
    // the suspected event waits for its next run, the handler of the other event starts.
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event = 'PgSleep'
                       and query ilike '%begini_applications%'";
    within(
        PATIENCE,
        "the gate must hold up the handler of the other event",
        async || deployment.count(waiting).await > 0,
    )
    .await;
    gate::free_scores(&deployment).await;
    for _ in 0..3 {
        deployment.run(&["send", "--type", "psychometric_score.complete"]);
    }
    let scores = "select count(*) from begini_scores";
    within(
        PATIENCE,
        "other events on the route of the suspected event must be done",
        async || deployment.count(scores).await >= 3,
    )
    .await;
    assert_eq!(deployment.count(APPLIED).await, 0, "{}", deployment.log());
    gate::free_applications(&deployment).await;
    within(
        PATIENCE,
        "all events must be done and their start markers cleared",
        async || {
            deployment.count(scores).await == 4
                && deployment.count(EFFECTS).await == 1
                && deployment.count(STARTS).await == 0
        },
    )
    .await;
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}
