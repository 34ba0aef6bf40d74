//! Case `handler-kills-the-process` of docs/FAULTS.md: an event whose handler kills its process
//! every time. The process is restarted each time, as a service manager does, and the event ends as
//! one dead letter. Other events were in flight when the process died. Each of them has its effect
//! once, and none is suspected as the cause.

use std::time::Duration;

use hookbox_crash::CRASH_AT;
use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair, Process};

/// The number of events of each of two other types that are in flight together with the event that
/// kills its process.
const NEIGHBOURS: u64 = 12;

/// How often the worker dies before the event is quarantined. The first death, at the first
/// delivery, is not counted at all. At the second death other events run in the process too, so
/// this death does not show which event is the cause. From then on the event runs alone (in
/// isolation), and ten further deaths are needed.
const DEATHS: u32 = 12;

/// How long the test waits for each condition, such as the quarantine of the event after [`DEATHS`]
/// starts of a worker. A worker starts within a second, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_event_that_ends_its_process_is_quarantined_on_rabbitmq_and_postgres() {
    quarantine(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_event_that_ends_its_process_is_quarantined_on_sqlite() {
    quarantine(Pair::SqliteAlone).await;
}

async fn quarantine(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let ingest = deployment.start_ingest();
    // The events are sent before any worker runs, so that they are delivered together. On the route
    // of the bad event, other events are sent before and after it. Events of the other route are
    // sent in between.
    let send = |kind| deployment.run(&["send", "--type", kind]);
    for number in 0..NEIGHBOURS {
        if number == NEIGHBOURS / 2 {
            send("application.complete");
        }
        send("application.expired");
        send("psychometric_score.complete");
    }
    let (worker, deaths) = until_it_is_dead(&deployment, pair).await;
    assert_eq!(deaths, DEATHS, "{}", deployment.log());
    neighbours_are_done(&deployment).await;
    worker.stop();
    let dead = deployment.json(&["dead", "list"]);
    let dead_letters = dead["dead"].as_array().unwrap();
    assert_eq!(dead_letters.len(), 1, "{dead:#}");
    assert_eq!(dead_letters[0]["reason"], "quarantined", "{dead:#}");
    assert_eq!(dead_letters[0]["topic"], "begini.application.complete");
    assert_eq!(
        dead_letters[0]["attempts"], 0,
        "an attempt during which the process died must not be counted"
    );
    let detail = dead_letters[0]["detail"].as_str().unwrap();
    let known = "the process ended while this handler ran alone, ten times";
    assert!(detail.starts_with(known), "{detail}");
    for nothing in [
        "select count(*) from attempts",
        "select count(*) from starts",
    ] {
        assert_eq!(deployment.count(nothing).await, 0, "{nothing}");
    }
    // From here on the worker has no crash point, so the handler no longer kills its process.
    let worker = deployment.start(&["worker"]);
    deployment.run(&["dead", "replay", "--all", "--yes"]);
    wait(&deployment, "the replayed event must be done", async || {
        effects(&deployment).await == (NEIGHBOURS + 1, NEIGHBOURS)
    })
    .await;
    worker.stop();
    ingest.stop();
    let books = deployment.json(&["reconcile"]);
    assert_eq!(books["imbalances"].as_array().map(Vec::len), Some(0));
    deployment.finish().await;
}

/// Starts a new worker whenever one has died, until the event is a dead letter. Returns the last
/// worker, and how many have died.
async fn until_it_is_dead(deployment: &Deployment, pair: Pair) -> (Process, u32) {
    let dies = || {
        let mut command = deployment.command(&["worker"]);
        command.env(CRASH_AT, "worker.mid_handler=begini.application.complete:*");
        deployment.spawn(command)
    };
    let mut deaths = 0;
    let mut worker = dies();
    wait(deployment, "a dead letter must be stored", async || {
        if worker.has_ended() {
            deaths += 1;
            if pair == Pair::SqliteAlone {
                // Messages that were in flight at the dead process stay leased to it for a while.
                // The test ends the leases at once, so that it need not wait.
                deployment
                    .execute("update messages set lease_until = 0")
                    .await;
            }
            worker = dies();
        }
        let dead = "select count(*) from dead_letters";
        deployment.count(dead).await == 1
    })
    .await;
    assert!(
        !worker.has_ended(),
        "the last worker must not die, because it stored the event as a dead letter"
    );
    (worker, deaths)
}

async fn neighbours_are_done(deployment: &Deployment) {
    wait(deployment, "the other events must be done", async || {
        effects(deployment).await == (NEIGHBOURS, NEIGHBOURS)
    })
    .await;
}

/// Returns how many rows the handlers of the two routes have written: applications and scores.
async fn effects(deployment: &Deployment) -> (u64, u64) {
    let applications = "select count(*) from begini_applications";
    let scores = "select count(*) from begini_scores";
    (
        deployment.count(applications).await,
        deployment.count(scores).await,
    )
}

async fn wait(deployment: &Deployment, what: &str, mut there: impl AsyncFnMut() -> bool) {
    within(PATIENCE, what, async || {
        if there().await {
            Ok(())
        } else {
            Err(deployment.log())
        }
    })
    .await;
}
