//! An administrator sets a policy on hookbox's queues, or deletes or replaces one of them. Hookbox
//! must report this within five seconds, accept no event meanwhile, and repair nothing without a
//! command of the operator.

use std::time::{Duration, Instant};

use hookbox_testkit::eventually::{promised, within};
use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::servers::process::wait_until;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::shown::Shown;
use crate::signed::Signed;

/// The time within which hookbox promises to report that a queue was changed, replaced or deleted.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

/// The longest time until a worker consumes again from a queue that was declared again.
const RESUBSCRIBED_WITHIN: Duration = Duration::from_secs(5);

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The policies that are harmful on a queue of hookbox: messages expire, the queue expires, or
/// messages are dropped.
const HARMFUL: [(&str, &str); 3] = [
    ("message-ttl", "{\"message-ttl\":3600000}"),
    ("expires", "{\"expires\":3600000}"),
    (
        "max-length",
        "{\"max-length\":10,\"overflow\":\"drop-head\"}",
    ),
];

/// Sets a policy on every queue of hookbox.
fn lay(rabbitmq: &RabbitmqServer, definition: &str) {
    let words = [
        "set_policy",
        "theirs",
        "^hookbox\\.",
        definition,
        "--apply-to",
        "queues",
    ];
    rabbitmq.ctl(&words).unwrap();
}

/// Checks that ingest becomes not ready within the promised time. On a busy machine this test is
/// delayed as much as ingest, so the time is extended by the delay that the test measures of
/// itself.
#[track_caller]
fn is_named(deployment: &Deployment) {
    let lateness = Lateness::measure();
    let took = until(deployment, false);
    let bound = NAMED_WITHIN + lateness.allowance();
    assert!(took < bound, "{took:?}");
}

/// Waits until the readiness of ingest is as in `ready`, and returns how long that took.
fn until(deployment: &Deployment, ready: bool) -> Duration {
    let url = format!("http://127.0.0.1:{}/readyz", deployment.port);
    let began = Instant::now();
    let is_wanted = wait_until(PATIENCE, || {
        let mut asked = deployment.command(&["healthcheck", "--url", &url]);
        asked.output().unwrap().status.success() == ready
    });
    let took = began.elapsed();
    assert!(
        is_wanted,
        "the readiness of ingest must become {ready}; {}",
        deployment.log()
    );
    took
}

/// Returns the name of the queue of this route, if RabbitMQ has one.
pub fn queue_of(rabbitmq: &RabbitmqServer, route: &str) -> Option<String> {
    let words = ["list_queues", "--quiet", "--no-table-headers", "name"];
    let listed = rabbitmq.ctl(&words).unwrap();
    let ending = format!(".route.{route}");
    let mut names = listed.lines().filter(|name| name.ends_with(&ending));
    names.next().map(str::to_owned)
}

/// Starts private servers with the management API, and a deployment that checks policies.
fn watched() -> (RabbitmqServer, PostgresServer, Deployment) {
    let (rabbitmq, management) = RabbitmqServer::start_managed().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let managed = format!("[broker]\nmanagement = \"{management}\"\n");
    // A second route gets the same score events as route `scores`. Each score event is therefore
    // published to two queues.
    let second = "[[route]]\nname = \"second\"\ntopics = [\"begini.*_score.complete\"]\n";
    let config = config.replace("[broker]\n", &managed) + second;
    deployment.write("hookbox.toml", &config);
    let migrated = deployment.json(&["migrate"]);
    let new = queue_of(&rabbitmq, "second");
    assert_eq!(migrated["declared"], serde_json::json!([new]));
    (rabbitmq, postgres, deployment)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_and_a_deletion_are_named_and_nothing_is_accepted() {
    let (rabbitmq, _postgres, deployment) = watched();
    let ingest = deployment.start_ingest();
    let fine = deployment.json(&["queues"]);
    assert_eq!(fine["problems"].as_array().map(Vec::len), Some(0), "{fine}");
    let signed = Signed::catch(&deployment, &[]);

    for (key, definition) in HARMFUL {
        lay(&rabbitmq, definition);
        is_named(&deployment);
        deployment.logged(&format!("sets {key} on the queue"));
        let answer = signed.send(deployment.port);
        assert_eq!(
            answer.status, 503,
            "no event may be accepted while a policy sets {key}"
        );
        // While the policy is set, no process may start, and the command that checks the queues
        // must not change anything.
        let started = deployment.command(&["worker"]).output().unwrap();
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        let refused = !started.status.success() && said.contains("theirs");
        assert!(refused, "{key}: {said}");
        rabbitmq.ctl(&["clear_policy", "theirs"]).unwrap();
        until(&deployment, true);
    }

    let victim = queue_of(&rabbitmq, "scores").unwrap();
    rabbitmq.ctl(&["delete_queue", &victim]).unwrap();
    // Ingest may not have noticed yet that the queue is deleted. RabbitMQ then returns the message
    // for this queue as unroutable. The event must then be refused, although its copy is in the
    // queue of the second route.
    assert_eq!(signed.send(deployment.port).status, 503);
    is_named(&deployment);
    assert_eq!(signed.send(deployment.port).status, 503);
    let looked = deployment.json(&["queues"]).to_string();
    assert!(looked.contains(&victim), "{looked}");
    let after = queue_of(&rabbitmq, "scores");
    assert_eq!(
        after, None,
        "`hookbox queues` must not declare the missing queue"
    );
    let code = deployment.command(&["queues"]).output().unwrap().status;
    assert_eq!(code.code(), Some(78));
    let declared = deployment.json(&["queues", "declare", "--yes"]);
    assert_eq!(declared["declared"], serde_json::json!([victim]));
    until(&deployment, true);
    assert_eq!(signed.send(deployment.port).status, 200);
    ingest.stop();
    let worker = deployment.start(&["worker"]);
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_queue_is_not_touched_and_a_restored_one_is_consumed() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let ingest = deployment.start_ingest();
    let mut worker = deployment.start(&["worker"]);
    deployment.run(&["send"]);
    let done = "select count(*) from claims where state = 'done'";
    within(PATIENCE, "the worker must process an event", async || {
        deployment.count(done).await == 1
    })
    .await;

    // RabbitMQ cancels the consumer of the deleted queue. The same worker must continue, and
    // consume again when the queue exists.
    let victim = queue_of(&rabbitmq, "scores").unwrap();
    rabbitmq.ctl(&["delete_queue", &victim]).unwrap();
    until(&deployment, false);
    within(
        PATIENCE,
        "the cancelled consumer must be logged",
        async || deployment.log().contains("the broker ended the consumer"),
    )
    .await;
    let declared = deployment.json(&["queues", "declare", "--yes"]);
    assert_eq!(declared["declared"], serde_json::json!([victim]));
    until(&deployment, true);
    deployment.run(&["send"]);
    let took = promised(
        RESUBSCRIBED_WITHIN,
        "the worker must process an event from the queue that was declared again",
        async || deployment.count(done).await == 2,
    )
    .await;
    eprintln!("the event was processed {took:?} after it was sent");
    assert!(!worker.has_ended(), "{}", deployment.log());
    worker.stop();

    // Now a classic queue with a message in it takes the place of the deleted queue. It has the
    // same name, and hookbox did not declare it.
    rabbitmq.ctl(&["delete_queue", &victim]).unwrap();
    classic(&rabbitmq, &victim).await;
    is_named(&deployment);
    deployment.logged("PRECONDITION_FAILED");
    let refused = deployment.command(&["send"]).output().unwrap();
    assert!(
        !refused.status.success(),
        "no event may be accepted into a classic queue"
    );
    let declaring = deployment.command(&["queues", "declare", "--yes"]);
    let said = { declaring }.output().unwrap();
    assert!(
        !said.status.success(),
        "`queues declare` must refuse to use a queue that hookbox did not declare"
    );
    let words = ["list_queues", "--quiet", "name", "type", "messages"];
    let listed = rabbitmq.ctl(&words).unwrap();
    let line = listed.lines().find(|line| line.starts_with(&victim));
    let line: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert!(line[1].contains("classic"), "{line:?}");
    assert_eq!(line[2], "1", "the foreign queue must keep its message");
    ingest.stop();
    deployment.finish().await;
}

/// Checks a queue that was deleted with accepted events in it. A process that starts must not
/// declare the queue again, because an empty queue would hide the loss. The same holds for
/// `migrate`, because it runs at each deployment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_missed_by_every_start_until_a_person_declares_it() {
    const LOST: u64 = 5;
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    deployment.shorten_time_limit();
    let ingest = deployment.start_ingest();
    // This worker records accept reports, too, and leaves the score events in their queue.
    let collector = deployment.start(&["worker", "--route", "applications"]);
    for _ in 0..LOST {
        deployment.run(&["send"]);
    }
    within(PATIENCE, "ingest must report every event", async || {
        deployment.json(&["reconcile"])["accept_reports"]["open"] == LOST
    })
    .await;
    collector.stop();
    ingest.stop();
    let victim = queue_of(&rabbitmq, "scores").unwrap();
    rabbitmq.ctl(&["delete_queue", &victim]).unwrap();

    let shown = Shown::new();
    let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    within(PATIENCE, "readiness must name the lost queue", async || {
        shown
            .trouble("broker")
            .is_some_and(|why| why.contains(&victim))
    })
    .await;
    let why = shown.trouble("broker").unwrap();
    for part in [
        "is missing",
        "`hookbox queues declare`",
        "`hookbox reconcile`",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(!shown.is_ready());
    within(PATIENCE, "the missing queue must be logged", async || {
        let log = deployment.log();
        { log }
            .lines()
            .any(|line| line.contains("ERROR") && line.contains(&why))
    })
    .await;
    let migrated = deployment.command(&["migrate"]).output().unwrap();
    let said = String::from_utf8(migrated.stderr).unwrap();
    assert_eq!(migrated.status.code(), Some(78), "{said}");
    assert!(
        said.contains(&victim) && said.contains("queues declare"),
        "{said}"
    );
    let asked = deployment.command(&["queues", "declare"]).output().unwrap();
    assert!(!asked.status.success(), "declaring must need --yes");
    assert_eq!(queue_of(&rabbitmq, "scores"), None, "no queue may be made");
    assert!(!shown.is_ready());

    let declared = deployment.json(&["queues", "declare", "--yes", "--by", "ada"]);
    assert_eq!(declared["declared"], serde_json::json!([victim]));
    assert_eq!(declared["missing"][0]["open"], LOST, "{declared}");
    let audited = "select count(*) from audit where action = 'queues.declare' and actor = 'ada'";
    assert_eq!(deployment.count(audited).await, 1);
    within(PATIENCE, "worker must be ready", async || shown.is_ready()).await;
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "imbalanced", "{books:#}");
    let named = books["accept_reports"]["receipts"].as_array().map(Vec::len);
    assert_eq!(named, Some(5), "{books:#}");
    worker.stop();
    deployment.finish().await;
}

/// Declares a classic queue with a message in it.
pub async fn classic(rabbitmq: &RabbitmqServer, name: &str) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(rabbitmq.url(), properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(name.into(), durable, FieldTable::default())
        .await
        .unwrap();
    let confirming = ConfirmSelectOptions::default();
    channel.confirm_select(confirming).await.unwrap();
    let publishing = BasicPublishOptions::default();
    let durably = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish("".into(), name.into(), publishing, b"theirs", durably)
        .await
        .unwrap()
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}
