//! A management API that is unavailable when hookbox starts. The policies of the queues are then
//! unknown, so no event is accepted, and readiness names the cause.

use std::time::Duration;

use hookbox_testkit::servers::ReservedPort;

use crate::deployment::{Deployment, Pair};
use crate::shown::{Shown, within};

/// How long the test waits for a condition before it fails. It is long, for a busy machine.
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
    within(PATIENCE, "the API is reported as missing", async || {
        let why = shown.trouble("broker");
        why.is_some_and(|why| why.contains("management API"))
    })
    .await;
    assert!(!shown.is_ready());
    deployment.logged("waiting for the broker");
    ingest.stop();
    // When the config names no management API, policies are not checked, and the start does not
    // wait for it.
    deployment.write("hookbox.toml", &config);
    deployment.start_ingest().stop();
    deployment.finish().await;
}
