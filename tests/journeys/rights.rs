//! RabbitMQ denies hookbox's user a right. The error must name the right and the command that
//! grants it. A process that needs the right at its start must end with exit code 78, and a running
//! process must not be ready as long as the right is missing.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::shown::{Shown, get};

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code for an error that an operator must fix.
const REFUSED: i32 = 78;

const PERMIT: [&str; 4] = ["set_permissions", "-p", "/", "hookbox"];

/// Checks an ingest that lacks the right to publish, and so answers every event 503. It must report
/// that it is not ready, also at its public address, and each log line must give the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_publish_an_ingest_is_not_ready_in_public() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let shown = Shown::new();
    let ingest = deployment.start(&["ingest", "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    rabbitmq
        .ctl(&[&PERMIT[..], &[".*", "^hookbox", ".*"]].concat())
        .unwrap();
    let before = deployment.log().len();
    rabbitmq
        .ctl(&["close_all_connections", "hookbox's rights have changed"])
        .unwrap();
    within(
        PATIENCE,
        "readiness must report the missing right",
        async || {
            let why = shown.trouble("broker");
            why.is_some_and(|why| why.contains("rabbitmqctl set_permissions"))
        },
    )
    .await;
    for _ in 0..5 {
        let sent = deployment.command(&["send"]).output().unwrap();
        assert!(!sent.status.success(), "the event must not be accepted");
        let (status, _) = get(deployment.port, "/readyz").unwrap();
        assert_eq!(
            status, 503,
            "ingest must not be ready while it accepts nothing"
        );
    }
    let log = deployment
        .logged("nothing can be published")
        .split_off(before);
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(errors[0].contains("nothing can be published"), "{log}");
    assert!(errors[0].contains("rabbitmqctl set_permissions"), "{log}");
    // A worker publishes messages too, so it must not start without this right.
    let started = deployment.command(&["worker"]).output().unwrap();
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(REFUSED), "{said}");
    assert!(said.contains("rabbitmqctl set_permissions"), "{said}");
    rabbitmq
        .ctl(&[&PERMIT[..], &[".*", ".*", ".*"]].concat())
        .unwrap();
    within(PATIENCE, "hookbox must be ready again", async || {
        shown.is_ready()
    })
    .await;
    deployment.run(&["send"]);
    ingest.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_missing_right_are_no_outage() {
    let (rabbitmq, management) = RabbitmqServer::start_managed().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let refused = |words: &[&str], part: &str| refused(&deployment, words, part);
    let all = [
        &["worker"][..],
        &["ingest"],
        &["migrate"],
        &["queues"],
        &["reconcile"],
    ];

    let url = rabbitmq.url();
    let (account, place) = url.rsplit_once('@').unwrap();
    let (user, _) = account.rsplit_once(':').unwrap();
    deployment.write("broker", &format!("{user}:another@{place}"));
    for words in all {
        refused(words, "rabbitmqctl change_password 'hookbox'");
    }
    deployment.write("broker", &url.replacen("/%2f", "/orders", 1));
    for words in all {
        refused(words, "rabbitmqctl add_vhost 'orders'");
    }
    deployment.write("broker", url);
    rabbitmq
        .ctl(&[&PERMIT[..], &["^$", ".*", ".*"]].concat())
        .unwrap();
    for words in all {
        refused(words, "rabbitmqctl set_permissions -p '/' 'hookbox'");
    }
    rabbitmq
        .ctl(&[&PERMIT[..], &[".*", ".*", ".*"]].concat())
        .unwrap();

    // RabbitMQ now limits the number of queues to five, and the queue of one more route exceeds
    // this limit.
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let more = "[[route]]\nname = \"more\"\ntopics = [\"begini.more.*\"]\n";
    deployment.write("hookbox.toml", &format!("{config}{more}"));
    let limits = ["set_vhost_limits", "-p", "/", r#"{"max-queues":5}"#];
    rabbitmq.ctl(&limits).unwrap();
    for words in [&["migrate"][..], &["queues", "declare", "--yes"]] {
        refused(words, "queue limit in vhost '/' (5) is reached");
    }
    deployment.write("hookbox.toml", &config);
    // With the old config no queue is missing. So `migrate` and a start succeed in spite of the
    // limit on queues.
    let migrated = deployment.command(&["migrate"]).output().unwrap();
    let said = String::from_utf8_lossy(&migrated.stderr).into_owned();
    assert!(migrated.status.success(), "{said}");
    assert!(said.contains("warning: if the broker is killed"), "{said}");
    deployment.start_ingest().stop();

    api_refuses(&deployment, &config, &management);
    deployment.finish().await;
}

/// Checks a config whose account for the management API has a wrong password: no process starts.
fn api_refuses(deployment: &Deployment, config: &str, management: &str) {
    let (scheme, api) = management.split_once("://").unwrap();
    let api = api.rsplit_once('@').map_or(api, |(_, api)| api);
    let managed = "[broker]\nmanagement = { file = \"api\" }\n";
    deployment.write("api", &format!("{scheme}://hookbox:another@{api}"));
    deployment.write("hookbox.toml", &config.replace("[broker]\n", managed));
    for words in [&["worker"][..], &["ingest"], &["migrate"]] {
        refused(
            deployment,
            words,
            "the broker's management API cannot be used: the API refuses the account that \
             the config names",
        );
    }
}

/// Runs a command that must fail with an error that contains `part`.
fn refused(deployment: &Deployment, words: &[&str], part: &str) {
    let run = deployment.command(words).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(REFUSED), "{words:?}: {said}");
    assert!(said.contains(part), "{words:?}: {part}: {said}");
    assert!(!said.contains("check its URL"), "{words:?}: {said}");
}
