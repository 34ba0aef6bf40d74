//! Each process reads only the secrets that it uses.

use std::time::Duration;

use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code for a config that cannot be used.
const UNUSABLE: i32 = 64;

/// Runs `run` while the files of these secrets have another name, so that no process can read them.
/// Then gives the files their names back.
async fn without<T>(deployment: &Deployment, files: &[&str], run: impl AsyncFnOnce() -> T) -> T {
    let at = |name: &str| deployment.folder.join(name);
    for file in files {
        std::fs::rename(at(file), at(&format!("{file}-elsewhere"))).unwrap();
    }
    let done = run().await;
    for file in files {
        std::fs::rename(at(&format!("{file}-elsewhere")), at(file)).unwrap();
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_has_no_database_url_and_an_operator_no_key_of_a_provider() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let ingest = without(&deployment, &["store"], async || deployment.start_ingest()).await;
    without(&deployment, &["store", "broker"], async || {
        deployment.run(&["send"]);
    })
    .await;
    without(&deployment, &["key"], async || {
        let worker = deployment.start(&["worker"]);
        within(PATIENCE, "the event must be processed", async || {
            deployment
                .count("select count(*) from claims where state = 'done'")
                .await
                == 1
        })
        .await;
        deployment.run(&["reconcile", "--wait", "60s"]);
        deployment.run(&["queues"]);
        worker.stop();
    })
    .await;
    without(&deployment, &["key", "broker"], async || {
        deployment.run(&["dead", "list"]);
        deployment.run(&["events", "list"]);
    })
    .await;
    // Only `check-config` needs all secrets.
    for file in ["store", "broker", "key"] {
        let checked = without(&deployment, &[file], async || {
            deployment.command(&["check-config"]).output().unwrap()
        })
        .await;
        assert_eq!(checked.status.code(), Some(UNUSABLE), "{file}");
    }
    deployment.run(&["check-config"]);
    ingest.stop();
    deployment.finish().await;
}
