//! H14: whoever declared the queues may have died before it declared the anchor behind them. The
//! next start makes it good, though it finds every queue in its place.

use std::time::Duration;

use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::{Deployment, Own};
use crate::shown::within;

/// Longest wait for what must come on a busy machine.
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
async fn a_start_that_finds_all_queues_leaves_an_anchor_behind_them() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(Own {
        store: postgres.url().to_owned(),
        broker: rabbitmq.url().to_owned(),
        direct: postgres.url().to_owned(),
        settings: String::new(),
    });
    deployment.start_ingest().stop();
    // As if it had died before: by hand, since the broker takes ten seconds for it.
    for anchor in anchors(&rabbitmq) {
        rabbitmq.ctl(&["delete_queue", &anchor]).unwrap();
    }
    let declared = queues(&rabbitmq);
    assert!(declared.len() >= 5, "{declared:?}");
    let ingest = deployment.start_ingest();
    assert_eq!(anchors(&rabbitmq).len(), 1, "{}", deployment.log());
    // It goes by itself, and nothing else does.
    within(PATIENCE, "it is gone", async || {
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
