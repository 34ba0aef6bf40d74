//! Case 43: an event whose handler kills its process, every time. The process is restarted each
//! time, as a service manager does it, and the event ends as one dead letter; the other events in
//! flight each time it died have their effects, once, and are not suspected.

use std::time::{Duration, Instant};

use hookbox_crash::CRASH_AT;

use crate::deployment::{Deployment, Pair, Process};

/// How many events of each other kind are in flight beside it.
const NEIGHBOURS: u64 = 12;

/// The first delivery is not counted, and the second, beside other events, is no death in
/// isolation. The first death in isolation comes after the other events are done. Then the event is
/// the only one left, and ten deaths in isolation are needed.
const DEATHS: u32 = 12;

/// Longest wait for an end of it. A worker starts in a second, also where others build.
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
    // Before any worker runs, so that they come together: on the route of the poison, before it
    // and after it, and on the other one.
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
    assert_eq!(dead_letters[0]["attempts"], 0, "no attempt had an end");
    let detail = dead_letters[0]["detail"].as_str().unwrap();
    let known = "the process ended while this handler ran alone, ten times";
    assert!(detail.starts_with(known), "{detail}");
    for nothing in [
        "select count(*) from attempts",
        "select count(*) from starts",
    ] {
        assert_eq!(deployment.count(nothing).await, 0, "{nothing}");
    }
    // The cause is fixed.
    let worker = deployment.start(&["worker"]);
    deployment.run(&["dead", "replay", "--all", "--yes"]);
    wait(&deployment, "the replay", async || {
        effects(&deployment).await == (NEIGHBOURS + 1, NEIGHBOURS)
    })
    .await;
    worker.stop();
    ingest.stop();
    let books = deployment.json(&["reconcile"]);
    assert_eq!(books["imbalances"].as_array().map(Vec::len), Some(0));
    deployment.finish().await;
}

/// Starts a worker each time that one has died, until there is a dead letter.
async fn until_it_is_dead(deployment: &Deployment, pair: Pair) -> (Process, u32) {
    let dies = || {
        let mut command = deployment.command(&["worker"]);
        command.env(CRASH_AT, "worker.mid_handler=begini.application.complete:*");
        deployment.spawn(command)
    };
    let mut deaths = 0;
    let mut worker = dies();
    wait(deployment, "the dead letter", async || {
        if worker.has_ended() {
            deaths += 1;
            if pair == Pair::SqliteAlone {
                // Messages in flight at the dead process are leased to it for a while, which passes
                // here.
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
    assert!(!worker.has_ended(), "it died of what it had given up");
    (worker, deaths)
}

async fn neighbours_are_done(deployment: &Deployment) {
    wait(deployment, "the neighbours", async || {
        effects(deployment).await == (NEIGHBOURS, NEIGHBOURS)
    })
    .await;
}

/// Rows of the two handlers.
async fn effects(deployment: &Deployment) -> (u64, u64) {
    let applications = "select count(*) from begini_applications";
    let scores = "select count(*) from begini_scores";
    (
        deployment.count(applications).await,
        deployment.count(scores).await,
    )
}

async fn wait(deployment: &Deployment, what: &str, mut there: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !there().await {
        assert!(
            began.elapsed() < PATIENCE,
            "{what} did not come:\n{}",
            deployment.log()
        );
        tokio::task::yield_now().await;
    }
}
