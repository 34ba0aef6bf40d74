//! The largest bodies. RabbitMQ must accept every body that hookbox accepts. RabbitMQ's limit for a
//! message is 16 MiB from version 4.0 on, and the headers that hookbox adds count towards this
//! limit. Hookbox must itself refuse a body that is larger than its own limit.

use hookbox_testkit::servers::{PostgresServer, RabbitmqServer, find};

use crate::deployment::{Deployment, Pair};
use crate::event::score_of;
use crate::outages::own;

/// The largest body limit that the config allows, in bytes.
const BODY_MAX: usize = 15 * 1024 * 1024;

/// The default limit of a message in RabbitMQ from version 4.0 on, in bytes.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// The error with which RabbitMQ closes the channel when a message is larger than its limit.
const REFUSED: &str = "PRECONDITION_FAILED";

/// The size of an ordinary body, in bytes.
const SMALL: usize = 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_body_goes_through_and_one_byte_more_is_answered_413() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let larger = config.replace("[ingest]\n", "[ingest]\nbody_max = \"15 MiB\"\n");
    assert_ne!(larger, config);
    deployment.write("hookbox.toml", &larger);
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    assert_eq!(send(&deployment, BODY_MAX), "200");
    assert_eq!(send(&deployment, BODY_MAX + 1), "413");
    assert_eq!(send(&deployment, MESSAGE_MAX + 1), "413");
    assert_eq!(send(&deployment, SMALL), "200");
    deployment.run(&["reconcile", "--wait", "60s"]);
    let kept = "select count(*) from bodies where octet_length(body) = 15 * 1024 * 1024";
    assert_eq!(deployment.count(kept).await, 1);
    let done = "select count(*) from claims where state = 'done'";
    assert_eq!(deployment.count(done).await, 2);
    worker.stop();
    ingest.stop();
    let log = deployment.log();
    assert!(
        !log.contains(REFUSED),
        "RabbitMQ must not refuse the largest message: {log}"
    );
    deployment.finish().await;
}

/// Checks a broker whose limit for a message is smaller than hookbox's limit for a body. An event
/// above the broker's limit must be answered 503, the reason must be logged, and a smaller event
/// after it must be accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_accepts_less_is_logged_and_accepts_the_rest() {
    let less = "max_message_size = 65536\n";
    let rabbitmq = RabbitmqServer::start_found(&find::rabbitmq().unwrap(), less).unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let ingest = deployment.start_ingest();
    assert_eq!(send(&deployment, 100_000), "503");
    deployment.logged(REFUSED);
    let mut answers = (0..100).map(|_| send(&deployment, SMALL));
    assert!(
        answers.any(|answer| answer == "200"),
        "{}",
        deployment.log()
    );
    ingest.stop();
    deployment.finish().await;
}

/// Sends one event whose body has this many bytes, and returns the status of the answer.
fn send(deployment: &Deployment, bytes: usize) -> String {
    // The length is a part of the uid, so that each body is a different event. Another body with
    // the same uid would be a conflict.
    deployment.write("body.json", &score_of(&format!("user-{bytes}"), bytes));
    let sent = deployment.command(&["send", "--json", "--file", "body.json"]);
    let output = { sent }.output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    answer["status"].to_string()
}
