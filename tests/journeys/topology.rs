//! Queues under attack: a policy laid over them, one of them deleted. It is named within five
//! seconds, nothing is accepted meanwhile, and nothing is repaired behind anybody's back.

use std::time::{Duration, Instant};

use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::{Deployment, Own};

/// What is promised.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for what must come on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lays a harmful policy over every queue of hookbox.
fn lay(rabbitmq: &RabbitmqServer) {
    let definition = "{\"max-length\":10,\"overflow\":\"drop-head\"}";
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

/// Waits until ingest says what is wanted of it, and gives how long that took.
fn until(deployment: &Deployment, ready: bool) -> Duration {
    let url = format!("http://127.0.0.1:{}/readyz", deployment.port);
    let began = Instant::now();
    loop {
        let asked = deployment
            .command(&["healthcheck", "--url", &url])
            .output()
            .unwrap();
        if asked.status.success() == ready {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < PATIENCE,
            "never ready: {ready}; {}",
            deployment.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_and_a_deletion_are_named_and_nothing_is_accepted() {
    let (rabbitmq, management) = RabbitmqServer::start_managed().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(Own {
        store: postgres.url().to_owned(),
        broker: rabbitmq.url().to_owned(),
        direct: postgres.url().to_owned(),
        settings: String::new(),
    });
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let managed = format!("[broker]\nmanagement = \"{management}\"\n");
    deployment.write("hookbox.toml", &config.replace("[broker]\n", &managed));
    let ingest = deployment.start_ingest();
    let fine = deployment.json(&["queues"]);
    assert_eq!(fine["problems"].as_array().map(Vec::len), Some(0), "{fine}");

    lay(&rabbitmq);
    let took = until(&deployment, false);
    assert!(took < NAMED_WITHIN, "{took:?}");
    let log = deployment.log();
    assert!(log.contains("sets max-length over it"), "{log}");
    let url = format!("http://127.0.0.1:{}", deployment.port);
    let refused = deployment.json(&["send", "--url", &url]).to_string();
    assert!(
        refused.contains("503"),
        "accepted under a policy that drops it: {refused}"
    );
    // Nobody starts under it, either, and looking at it changes nothing.
    let started = deployment.command(&["worker"]).output().unwrap();
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(
        !started.status.success() && said.contains("theirs"),
        "{said}"
    );
    rabbitmq.ctl(&["clear_policy", "theirs"]).unwrap();
    until(&deployment, true);

    let listed = rabbitmq
        .ctl(&["list_queues", "--quiet", "--no-table-headers", "name"])
        .unwrap();
    let victim = listed
        .lines()
        .find(|name| name.ends_with(".route.scores"))
        .unwrap();
    rabbitmq.ctl(&["delete_queue", victim]).unwrap();
    let took = until(&deployment, false);
    assert!(took < NAMED_WITHIN, "{took:?}");
    let looked = deployment.json(&["queues"]).to_string();
    assert!(looked.contains(victim), "{looked}");
    let after = rabbitmq
        .ctl(&["list_queues", "--quiet", "--no-table-headers", "name"])
        .unwrap();
    assert!(
        !after.lines().any(|name| name == victim),
        "looking has declared it"
    );
    let declared = deployment.json(&["queues", "declare", "--yes"]);
    assert_eq!(declared["declared"], serde_json::json!([victim]));
    until(&deployment, true);
    ingest.stop();
    let books = deployment.json(&["reconcile"]);
    assert_eq!(books["imbalances"], serde_json::json!([]), "{books}");
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_revoked_is_told_and_comes_back() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(Own {
        store: postgres.url().to_owned(),
        broker: rabbitmq.url().to_owned(),
        direct: postgres.url().to_owned(),
        settings: String::new(),
    });
    let ingest = deployment.start_ingest();
    rabbitmq.ctl(&["clear_permissions", "hookbox"]).unwrap();
    until(&deployment, false);
    let log = deployment.log();
    assert!(log.contains("ACCESS_REFUSED"), "{log}");
    // Told when it begins, and not with every try: no busy loop.
    let told = log.matches("the broker cannot be used yet").count();
    assert!(told < 20, "told {told} times");
    rabbitmq
        .ctl(&["set_permissions", "hookbox", ".*", ".*", ".*"])
        .unwrap();
    until(&deployment, true);
    ingest.stop();
    deployment.finish().await;
}
