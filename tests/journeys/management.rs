//! A management API that is not there when hookbox starts: nobody knows what lies over the queues,
//! so nothing is accepted, and readiness says what it waits for.

use std::time::Duration;

use hookbox_testkit::servers::ReservedPort;

use crate::deployment::{Deployment, Pair};
use crate::shown::{Shown, within};

/// Longest wait for what must come on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_its_management_api_and_says_so() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let unused = ReservedPort::choose().unwrap();
    let address = format!("127.0.0.1:{}", unused.number());
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let managed = format!("[broker]\nmanagement = \"http://{address}\"\n");
    deployment.write("hookbox.toml", &config.replace("[broker]\n", &managed));
    let shown = Shown::new();
    let ingest = deployment.start(&["ingest", "--metrics", &shown.address()]);
    within(PATIENCE, "it says what it waits for", async || {
        let why = shown.trouble("broker");
        why.is_some_and(|why| why.contains("management API"))
    })
    .await;
    assert!(!shown.is_ready());
    deployment.logged("waiting for the broker");
    ingest.stop();
    // Without it, nobody watches, and nobody waits.
    deployment.write("hookbox.toml", &config);
    deployment.start_ingest().stop();
    deployment.finish().await;
}
