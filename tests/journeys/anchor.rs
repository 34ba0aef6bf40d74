//! H14: when RabbitMQ is killed, it may lose the queue that was declared last. Therefore hookbox
//! declares an unused queue, the anchor queue, after all others. A process may die after it has
//! declared the other queues and before it has declared the anchor queue. Then `queues declare` and
//! `migrate` must declare an anchor queue although no other queue is missing. A service, here an
//! ingest, must declare nothing.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::{Deployment, Own};

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

fn queues(rabbitmq: &RabbitmqServer) -> Vec<String> {
    let listed = rabbitmq.ctl(&["list_queues", "--quiet", "--no-table-headers", "name"]);
    listed.unwrap().lines().map(str::to_owned).collect()
}

fn anchors(rabbitmq: &RabbitmqServer) -> Vec<String> {
    let all = queues(rabbitmq).into_iter();
    all.filter(|name| name.contains(".anchor.")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declaring_leaves_an_anchor_behind_the_queues_and_a_role_declares_nothing() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(Own {
        store: postgres.url().to_owned(),
        broker: rabbitmq.url().to_owned(),
        direct: postgres.url().to_owned(),
        settings: String::new(),
    });
    // `Deployment::over` has run `migrate`, which has declared all queues and the anchor queue.
    let forget = || {
        for anchor in anchors(&rabbitmq) {
            // The test does not wait the ten seconds until the anchor queue expires. The command
            // fails if the queue has just expired, so its result is ignored.
            drop(rabbitmq.ctl(&["delete_queue", &anchor]));
        }
        assert_eq!(anchors(&rabbitmq), [""; 0]);
    };
    forget();
    let declared = queues(&rabbitmq);
    assert!(declared.len() >= 5, "{declared:?}");
    let ingest = deployment.start_ingest();
    assert_eq!(anchors(&rabbitmq), [""; 0], "{}", deployment.log());
    for again in [&["migrate"][..], &["queues", "declare"]] {
        deployment.run(again);
        assert_eq!(anchors(&rabbitmq).len(), 1, "{again:?}");
        forget();
    }
    deployment.run(&["migrate"]);
    // The anchor queue expires by itself. No other queue may expire.
    within(PATIENCE, "the anchor queue must expire", async || {
        anchors(&rabbitmq).is_empty()
    })
    .await;
    let mut left = queues(&rabbitmq);
    left.sort();
    let mut before = declared;
    before.sort();
    assert_eq!(left, before);
    ingest.stop();
    deployment.finish().await;
}
