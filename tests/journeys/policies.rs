//! An administrator sets policies on hookbox's queues. Hookbox does not notice them here, because
//! the config names no management API. What must hold nevertheless: an event whose message a full
//! queue rejects is answered 503. A message that a full queue drops becomes a dead letter. The
//! receipts in a queue that is deleted are listed by `hookbox reconcile`.

use std::collections::BTreeSet;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};
use serde_json::Value;

use crate::deployment::{Deployment, Process};
use crate::outages::own;
use crate::shown::get;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of events that are sent before the test checks whether one of them was refused (one
/// round). They are sent one after the other, so that each of them is in a message of its own.
const ROUND: u64 = 50;

/// The most rounds of events that are sent until an event is refused. More than one may be needed,
/// because RabbitMQ needs a moment until a policy is in effect.
const ROUNDS_MAX: u64 = 20;

const BOUND_REFUSING: &str = "{\"max-length\":10,\"overflow\":\"reject-publish\"}";
const BOUND_DROPPING: &str = "{\"max-length\":10,\"overflow\":\"drop-head\"}";

const EFFECTS: &str = "select (select count(*) from begini_scores)
                            + (select count(*) from begini_applications)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_queue_rejects_drops_or_takes_with_it_is_reported() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    deployment.shorten_time_limit();
    let ingest = deployment.start_ingest();

    lay(&rabbitmq, BOUND_REFUSING);
    let (accepted, refused) = until_refused(&deployment);
    eprintln!(
        "the full queue accepted {} events and refused {refused}",
        accepted.len()
    );
    assert!(
        accepted.len() >= 10,
        "the queue must accept some events before it is full"
    );
    rabbitmq.ctl(&["clear_policy", "theirs"]).unwrap();
    let worker = deployment.start(&["worker"]);
    balanced(&deployment).await;
    // RabbitMQ does not store a message that it rejects. So an event that was answered 503 must not
    // have an effect.
    assert_eq!(deployment.count(EFFECTS).await, accepted.len() as u64);
    assert_eq!(outcomes(&deployment).await, accepted.len() as u64);
    worker.stop();

    let first = accepted.len() as u64;
    dropped_is_dead(&rabbitmq, &deployment, first).await;
    expired_is_named(&rabbitmq, &deployment, ingest).await;
    deployment.finish().await;
}

/// Checks that a message which a full queue drops becomes a dead letter, like every message that
/// RabbitMQ gives up on, and that its event is done after a replay.
async fn dropped_is_dead(rabbitmq: &RabbitmqServer, deployment: &Deployment, before: u64) {
    let (waiting, refused) = send(deployment, "2");
    assert_eq!(
        refused,
        0,
        "no event may be refused any more: {}",
        deployment.log()
    );
    lay(rabbitmq, BOUND_DROPPING);
    let (more, refused) = send(deployment, "3");
    assert_eq!(
        refused, 0,
        "RabbitMQ must confirm a message although the full queue drops an older one"
    );
    let sent = (waiting.len() + more.len()) as u64;
    let worker = deployment.start(&["worker"]);
    balanced(deployment).await;
    let dead = "select count(*) from dead_letters where reason = 'delivery_limit'";
    let dropped = deployment.count(dead).await;
    eprintln!("the queue dropped {dropped} of {sent} events");
    assert!(dropped > 0, "the full queue must have dropped some events");
    let done = deployment.count(EFFECTS).await;
    assert_eq!(done + dropped, before + sent);
    rabbitmq.ctl(&["clear_policy", "theirs"]).unwrap();
    deployment.run(&["dead", "replay", "--all", "--yes"]);
    within(
        PATIENCE,
        "the dropped events must be done after the replay",
        async || deployment.count(EFFECTS).await == before + sent,
    )
    .await;
    worker.stop();
}

/// Checks queues that expire as unused and are deleted with all their messages. `reconcile` must
/// list every receipt that was in them.
async fn expired_is_named(rabbitmq: &RabbitmqServer, deployment: &Deployment, ingest: Process) {
    let (sent, refused) = send(deployment, "4");
    assert_eq!(refused, 0);
    lay(rabbitmq, "{\"expires\":1000}");
    // RabbitMQ deletes each queue at a slightly different time, so the test waits for the last one.
    within(PATIENCE, "the expired queues must be deleted", async || {
        let names = ["list_queues", "--quiet", "--no-table-headers", "name"];
        let listed = rabbitmq.ctl(&names).unwrap();
        !listed.lines().any(|name| name.contains(".route."))
    })
    .await;
    within(
        PATIENCE,
        "the missing queues must make ingest not ready",
        async || get(deployment.port, "/readyz").is_some_and(|(status, _)| status == 503),
    )
    .await;
    rabbitmq.ctl(&["clear_policy", "theirs"]).unwrap();
    deployment.run(&["queues", "declare", "--yes"]);
    let worker = deployment.start(&["worker"]);
    // The ingest publishes its last accept report when it stops. Until then `reconcile` may not
    // know the latest receipts.
    ingest.stop();
    let command = ["reconcile", "--wait", "60s"];
    let output = deployment.command(&command).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let books = deployment.json(&command);
    assert_eq!(books["verdict"], "imbalanced", "{books:#}");
    let named = books["accept_reports"]["receipts"].as_array().unwrap();
    let named: BTreeSet<String> = named.iter().map(|it| string(&it["receipt"])).collect();
    assert_eq!(named, sent, "{text}");
    for receipt in &named {
        assert!(text.contains(receipt.as_str()), "{receipt}: {text}");
    }
    worker.stop();
}

/// Sets a policy on the queue of each route. The queue of the accept reports gets no policy.
fn lay(rabbitmq: &RabbitmqServer, definition: &str) {
    let pattern = "^hookbox\\..*\\.route\\.";
    let words = [
        "set_policy",
        "theirs",
        pattern,
        definition,
        "--apply-to",
        "queues",
    ];
    rabbitmq.ctl(&words).unwrap();
}

/// Sends rounds of events until some events of a round are refused, because RabbitMQ needs a moment
/// until a new policy is in effect. Returns the accepted receipts of all rounds, and the number of
/// refused events.
fn until_refused(deployment: &Deployment) -> (BTreeSet<String>, u64) {
    let mut accepted = BTreeSet::new();
    for seed in 101..=100 + ROUNDS_MAX {
        let (taken, refused) = send(deployment, &seed.to_string());
        accepted.extend(taken);
        if refused > 0 {
            return (accepted, refused);
        }
    }
    panic!("a full queue must refuse some requests, but all were accepted");
}

/// Sends [`ROUND`] events. Returns the receipts of the requests that were answered 200, and the
/// number of requests that were answered 503. No other answer is allowed.
fn send(deployment: &Deployment, seed: &str) -> (BTreeSet<String>, u64) {
    let journal = format!("journal-{seed}");
    let count = ROUND.to_string();
    let words = ["generate", "--count", &count, "--seed", seed];
    let mut command = deployment.command(&words);
    command.args([
        "--concurrency",
        "1",
        "--retries",
        "0",
        "--journal",
        &journal,
    ]);
    // `generate` fails when a request is not accepted, which is expected here. So its exit code is
    // not checked.
    command.output().unwrap();
    let journal = std::fs::read_to_string(deployment.folder.join(journal)).unwrap();
    let (mut accepted, mut refused) = (BTreeSet::new(), 0);
    for line in journal.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        match entry["status"].as_u64() {
            Some(200) => assert!(accepted.insert(string(&entry["receipt"]))),
            Some(503) => refused += 1,
            other => panic!("a request must be answered 200 or 503, not {other:?}"),
        }
    }
    assert_eq!(accepted.len() as u64 + refused, ROUND);
    (accepted, refused)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn outcomes(deployment: &Deployment) -> u64 {
    deployment.count("select count(*) from receipts").await
}

/// Waits until every accepted receipt has an outcome. Ingest publishes its accept reports once a
/// second, so the store may know fewer receipts for a while.
async fn balanced(deployment: &Deployment) {
    within(
        PATIENCE,
        "every accepted receipt must have an outcome",
        async || {
            let books = deployment.json(&["reconcile", "--wait", "60s"]);
            books["verdict"] == "balanced" && books["accept_reports"]["open"] == 0
        },
    )
    .await;
}
