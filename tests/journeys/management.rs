//! RabbitMQ's management API is unavailable when an ingest starts. Hookbox can read the policies of
//! its queues only from this API. So the ingest must accept no event while the API is unavailable,
//! and its readiness must name the cause.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::ReservedPort;

use crate::deployment::{Deployment, Pair};
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_its_management_api_and_logs_that() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let unused = ReservedPort::choose().unwrap();
    let address = format!("127.0.0.1:{}", unused.number());
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let managed = format!("[broker]\nmanagement = \"http://{address}\"\n");
    deployment.write("hookbox.toml", &config.replace("[broker]\n", &managed));
    let shown = Shown::new();
    let ingest = deployment.start(&["ingest", "--metrics", &shown.address()]);
    within(
        PATIENCE,
        "readiness must name the unavailable management API",
        async || {
            let why = shown.trouble("broker");
            why.is_some_and(|why| why.contains("management API"))
        },
    )
    .await;
    assert!(!shown.is_ready());
    deployment.logged("waiting for the broker");
    ingest.stop();
    // Now the config names no management API. Without the API hookbox checks no policies, so an
    // ingest must start without waiting for the API.
    deployment.write("hookbox.toml", &config);
    deployment.start_ingest().stop();
    deployment.finish().await;
}
