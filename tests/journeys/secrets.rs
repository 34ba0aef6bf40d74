//! Checks that no secret is logged at any level, by hookbox or by a library.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::proxy::Proxy;
use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::variable;
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;

use crate::deployment::{Deployment, Pair};
use crate::outages::own;
use crate::shown::get;
use crate::signed::Signed;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Texts that must never be logged: parts of the key, of the uid, and of the values of a body. The
/// signatures and the passwords of the servers are checked as well.
const CANARIES: [&str; 4] = [
    "a-key-for-tests",
    "CANARY-UID-4711",
    "canary-value-0815",
    "canary-broken-0816",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_is_logged_at_the_finest_level() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let expected = [
        "to source begini was not accepted",
        "is a dead letter of route",
        "the event will be tried again",
    ];
    look(deployment, &expected, &[], async |_| {}).await;

    let postgres = PostgresServer::start().unwrap();
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let proxies = [
        Proxy::before(postgres.url()).unwrap(),
        Proxy::before(&broker).unwrap(),
    ];
    let [store_url, broker_url] = [postgres.url(), &broker];
    let (store, amqp) = (proxies[0].url(store_url), proxies[1].url(broker_url));
    let deployment = Deployment::over(own(&store, &amqp, postgres.url()));
    let passwords = [password_of(store_url), password_of(broker_url)];
    let expected = [&expected[..], &[RETURNED, "the connection was lost"]].concat();
    look(deployment, &expected, &passwords, async |deployment| {
        a_message_is_returned(deployment, &broker).await;
        links_are_cut(deployment, &proxies).await;
    })
    .await;
}

/// The text that is logged when the broker returns a message because its queue was deleted.
const RETURNED: &str = "does not exist";

/// Makes the processes log at level `trace` while they handle everything that contains a secret
/// (bodies, signatures, passwords). Then searches the log for these secrets.
async fn look(
    deployment: Deployment,
    expected: &[&str],
    passwords: &[String],
    break_links: impl AsyncFnOnce(&Deployment),
) {
    let logging = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let logging = format!("{logging}[log]\nfilter = \"trace\"\n");
    deployment.write("hookbox.toml", &logging);
    let ingest = deployment.start_ingest();
    // The expected log lines come from a handler that fails, an event that violates its schema, and
    // a body that is not JSON.
    deployment.refuse_scores().await;
    let worker = deployment.start(&["worker"]);
    deployment.write(
        "score.json",
        &body("psychometric_score.complete", CANARIES[2]),
    );
    deployment.write("broken.json", &body("application.complete", CANARIES[3]));
    deployment.write("not.json", "canary-value-0815 is no JSON");
    for file in ["score.json", "broken.json", "not.json"] {
        deployment.run(&["send", "--file", file]);
    }
    let signed = Signed::catch(&deployment, &["--file", "score.json"]);
    let signature = signed.header("x-signature");
    assert!(
        signature.len() >= 64,
        "a real signature must have at least 64 characters: {signature}"
    );
    assert_eq!(signed.send(deployment.port).status, 200);
    forge(&deployment, &logging);
    wait_for_dead_letters(&deployment, 3).await;
    break_links(&deployment).await;
    worker.stop();
    ingest.stop();
    let log = deployment.log();
    for line in expected {
        assert!(log.contains(line), "the log must contain {line:?}");
    }
    let secrets = passwords.iter().chain([&signature]).map(String::as_str);
    for canary in CANARIES.into_iter().chain(["another-key"]).chain(secrets) {
        let line = log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary} is secret, and must not be in the log");
    }
    deployment.finish().await;
}

/// Sends a forged request, whose answer gives no reason.
fn forge(deployment: &Deployment, config: &str) {
    let url = format!("http://127.0.0.1:{}/hooks/begini", deployment.port);
    deployment.write(
        "other.toml",
        &config.replace("file = \"key\"", "file = \"forged\""),
    );
    deployment.write("forged", "another-key");
    let mut forged = deployment.command(&["send", "--config", "other.toml", "--url", &url]);
    let refused = forged.args(["--file", "score.json"]).output().unwrap();
    assert!(!refused.status.success());
}

/// Deletes the queue of a route and sends a genuine event, until the broker has returned the
/// message of an event. One try may not be enough: if ingest's check of its queues notices the
/// missing queue first, ingest publishes nothing that could be returned.
async fn a_message_is_returned(deployment: &Deployment, broker: &str) {
    let queues = deployment.json(&["queues"]);
    let name = queues["queues"][0]["broker"]["name"].as_str().unwrap();
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(broker, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    within(
        PATIENCE,
        "the broker must return a message as unroutable",
        async || {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(name.into(), options).await.unwrap();
            let mut send = deployment.command(&["send", "--file", "score.json"]);
            assert!(!send.output().unwrap().status.success());
            deployment.run(&["queues", "declare", "--yes"]);
            ready(deployment).await;
            deployment.log().contains(RETURNED)
        },
    )
    .await;
    connection.close(200, "done".into()).await.unwrap();
}

/// Cuts the connections to the broker and the store, and waits until ingest has reconnected.
async fn links_are_cut(deployment: &Deployment, proxies: &[Proxy]) {
    for proxy in proxies {
        proxy.cut();
    }
    within(
        PATIENCE,
        "the lost connection to the broker must be logged",
        async || deployment.log().contains("the connection was lost"),
    )
    .await;
    ready(deployment).await;
}

async fn ready(deployment: &Deployment) {
    within(PATIENCE, "hookbox must be ready again", async || {
        get(deployment.port, "/readyz").is_some_and(|(status, _)| status == 200)
    })
    .await;
}

fn password_of(url: &str) -> String {
    let (account, _) = url.rsplit_once('@').unwrap();
    account.rsplit_once(':').unwrap().1.to_owned()
}

fn body(kind: &str, value: &str) -> String {
    // In an event about a loan application, `application_started_at` is a text here, which the
    // schema does not allow. In any other event it is a number.
    let started = match kind {
        "application.complete" => format!("\"{value}\""),
        _ => "1".to_owned(),
    };
    let calculated = format!(r#"{{"score":1,"risk_band":"{value}","traits":[]}}"#);
    let details = format!(
        r#"{{"scored_at":1,"application_started_at":{started},"calculated":{calculated}}}"#
    );
    let event = format!(r#"{{"type":"{kind}","details":{details}}}"#);
    format!(r#"{{"uid":"CANARY-UID-4711","integration_id":"{value}","event":{event}}}"#)
}

async fn wait_for_dead_letters(deployment: &Deployment, count: usize) {
    within(PATIENCE, "the dead letters must be listed", async || {
        let dead: Value = deployment.json(&["dead", "list"]);
        let is_enough = dead["dead"].as_array().map_or(0, Vec::len) >= count;
        if is_enough { Ok(()) } else { Err(dead) }
    })
    .await;
}
