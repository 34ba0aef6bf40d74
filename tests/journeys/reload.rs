//! Which parts of the config a running service reads again, after SIGHUP and when a file has
//! changed. No request may be refused or lost meanwhile.

use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use rcgen::CertifiedKey;
use serde_json::Value;

use crate::certificate;
use crate::deployment::{Deployment, Pair, Process};
use crate::shown::{Shown, get};
use crate::signed::Signed;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The secrets in the config of a new deployment.
const SECRETS: &str = "secrets = [{ id = \"test\", file = \"key\" }]";

fn config(deployment: &Deployment) -> String {
    std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap()
}

/// Waits until the log contains a text.
async fn said(deployment: &Deployment, what: &str) {
    within(PATIENCE, what, async || deployment.log().contains(what)).await;
}

/// Sends an event that is signed with the key in the config `signer`, and returns whether it is
/// accepted.
fn accepts(deployment: &Deployment, signer: &str) -> bool {
    let mut send = deployment.command(&["send", "--config", signer]);
    send.output().unwrap().status.success()
}

async fn started(deployment: &Deployment, command: &str) -> (Process, Shown) {
    let shown = Shown::new();
    let running = deployment.start(&[command, "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    (running, shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_under_load_cost_no_request_on_rabbitmq_and_postgres() {
    signals_under_load(Deployment::new(Pair::RabbitmqPostgres).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_under_load_cost_no_request_on_sqlite() {
    signals_under_load(Deployment::new(Pair::SqliteAlone).await).await;
}

/// Sends signals to a service under load, and checks that every request is answered 200 when it is
/// first sent.
async fn signals_under_load(deployment: Deployment) {
    const EVENTS: u64 = 2_000;
    let (running, _) = started(&deployment, "run").await;
    let count = EVENTS.to_string();
    let mut load = deployment
        .command(&["generate", "--json", "--seed", "4", "--count", &count])
        .args(["--concurrency", "16", "--retries", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut sent = 0;
    let mut signals = ["HUP", "USR1", "HUP", "USR2", "HUP", "ALRM"].iter().cycle();
    within(
        PATIENCE,
        "the load must end while signals are sent",
        async || {
            running.signal(signals.next().unwrap());
            sent += 1;
            load.try_wait().unwrap().is_some()
        },
    )
    .await;
    assert!(
        sent >= 6,
        "at least six signals must be sent under load, not {sent}"
    );
    let output = load.wait_with_output().unwrap();
    let tally: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tally["answers"]["200"], EVENTS, "{tally:#}");
    assert_eq!(tally["answers"].as_object().unwrap().len(), 1, "{tally:#}");
    assert_eq!(tally["unknown_outcome"], 0, "{tally:#}");
    assert_eq!(tally["unreachable"], 0, "{tally:#}");
    said(&deployment, "SIGHUP: nothing has changed").await;
    for name in ["SIGUSR1", "SIGUSR2", "SIGALRM"] {
        said(&deployment, &format!("{name} is ignored")).await;
    }
    running.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_key_is_used_and_the_one_before_until_it_is_removed() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let original = config(&deployment);
    let with = |secrets: &str| original.replacen(SECRETS, &format!("secrets = [{secrets}]"), 1);
    let old = "{ id = \"test\", file = \"key\" }";
    let new = "{ id = \"new\", file = \"key2\" }";
    // `hookbox send` signs with the key in its own config, from a file that the service does not
    // read.
    let signer = |file: &str| with(&format!("{{ id = \"sender\", file = \"{file}\" }}"));
    for file in ["key2", "second"] {
        deployment.write(file, "another-key-for-tests");
    }
    deployment.write("third", "a-third-key-for-tests");
    deployment.write("old.toml", &original);
    deployment.write("new.toml", &signer("second"));
    deployment.write("third.toml", &signer("third"));
    let (mut running, _) = started(&deployment, "run").await;
    assert!(!accepts(&deployment, "new.toml"));

    deployment.write("hookbox.toml", &with(&format!("{old}, {new}")));
    running.signal("HUP");
    said(&deployment, "SIGHUP: source begini has the keys test, new").await;
    assert!(accepts(&deployment, "old.toml") && accepts(&deployment, "new.toml"));

    deployment.write("hookbox.toml", &with(new));
    running.signal("HUP");
    said(&deployment, "SIGHUP: source begini has the keys new").await;
    assert!(!accepts(&deployment, "old.toml") && accepts(&deployment, "new.toml"));

    // From here on a key file changes and no signal is sent: the service must notice the change by
    // itself.
    deployment.write("key2", "a-third-key-for-tests");
    said(
        &deployment,
        "a file has changed: source begini has the keys new",
    )
    .await;
    assert!(!accepts(&deployment, "new.toml") && accepts(&deployment, "third.toml"));

    deployment.write("key2", "");
    let stay = "the keys of source begini stay as they were, since ";
    said(&deployment, stay).await;
    let log = deployment.log();
    let line = log.lines().find(|line| line.contains(stay));
    let line = line.unwrap();
    assert!(
        line.contains("ERROR") && line.contains("secrets[0]"),
        "{line}"
    );
    assert!(accepts(&deployment, "third.toml"));
    deployment.write("hookbox.toml", "environment = 3\n");
    running.signal("HUP");
    said(
        &deployment,
        "the config cannot be used, so nothing was reloaded",
    )
    .await;
    assert!(accepts(&deployment, "third.toml"));
    assert!(!running.has_ended());
    deployment.write("hookbox.toml", &original);
    running.stop();
    deployment.finish().await;
}

/// Checks a source whose keys and other settings have both changed in the config. The keys must be
/// renewed without a restart. The other settings change only at a restart, so until then the source
/// must keep running with the old ones. The same must be true of a source that the config no longer
/// has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_running_source_are_renewed_whatever_else_the_config_contains() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let original = config(&deployment);
    let signer = |file: &str| {
        let secrets = format!("secrets = [{{ id = \"sender\", file = \"{file}\" }}]");
        original.replacen(SECRETS, &secrets, 1)
    };
    for (file, number) in [("second", 2), ("third", 3), ("fourth", 4)] {
        deployment.write(file, &format!("another-key-for-tests-{number}"));
        deployment.write(&format!("{file}.toml"), &signer(file));
    }
    let (running, _) = started(&deployment, "run").await;
    let preset = "preset = \"begini\"\n";
    let answer = format!("{preset}answer = {{ signature_status = 403 }}\n");
    let edited = original.replacen(preset, &answer, 1);
    let list = "secrets = [{ id = \"test\", file = \"key\" }, { id = \"new\", file = \"second\" }]";
    deployment.write("hookbox.toml", &edited.replacen(SECRETS, list, 1));
    running.signal("HUP");
    said(&deployment, "take effect only after a restart").await;
    assert!(accepts(&deployment, "second.toml"), "{}", deployment.log());
    deployment.write("second", "another-key-for-tests-3");
    within(PATIENCE, "the renewed key must be in use", async || {
        accepts(&deployment, "third.toml")
    })
    .await;

    // In the config the source now has another preset, whose keys have another format, so its old
    // keys must stay in use.
    let other = edited.replacen(preset, "preset = \"github\"\n", 1);
    deployment.write("hookbox.toml", &other.replacen("\"key\"", "\"fourth\"", 1));
    running.signal("HUP");
    said(&deployment, "the keys of source begini stay as they were").await;
    assert!(!accepts(&deployment, "fourth.toml"));

    let gone = edited.replacen("name = \"begini\"", "name = \"other\"", 1);
    deployment.write("hookbox.toml", &gone);
    running.signal("HUP");
    said(&deployment, "source begini, source other").await;
    deployment.write("second", "another-key-for-tests-4");
    within(
        PATIENCE,
        "the renewed key of a removed source must be in use",
        async || accepts(&deployment, "fourth.toml"),
    )
    .await;
    running.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_and_the_log_filter_are_read_again_and_the_rest_is_named() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    std::fs::create_dir(deployment.folder.join("schemas")).unwrap();
    let schema = |kind: &str| {
        format!(r#"{{"properties":{{"event":{{"properties":{{"type":{{"type":"{kind}"}}}}}}}}}}"#)
    };
    let file = "schemas/application.complete.json";
    deployment.write(file, &schema("integer"));
    let preset = "preset = \"begini\"\n";
    let with_schemas = format!("{preset}schemas = \"schemas\"\n");
    let original = config(&deployment).replacen(preset, &with_schemas, 1);
    deployment.write("hookbox.toml", &original);
    let (running, _) = started(&deployment, "run").await;
    let send = ["send", "--type", "application.complete"];
    let counted = async |statement: &'static str, count: u64| {
        within(PATIENCE, statement, async || {
            deployment.count(statement).await == count
        })
        .await;
    };
    let dead = "select count(*) from dead_letters where reason = 'schema_broken'";
    let done = "select count(*) from claims where state = 'done'";
    deployment.run(&send);
    counted(dead, 1).await;

    deployment.write(file, &schema("string"));
    said(
        &deployment,
        "a file has changed: new JSON Schemas are in use for begini",
    )
    .await;
    deployment.run(&send);
    counted(done, 1).await;

    deployment.write(file, "no schema");
    said(&deployment, "of source begini stay as they were, since ").await;
    said(&deployment, "application.complete.json is not JSON").await;
    deployment.run(&send);
    counted(done, 2).await;

    let changed = original.replacen("[ingest]\n", "[ingest]\nidle = \"80 s\"\n", 1);
    deployment.write(file, &schema("string"));
    deployment.write(
        "hookbox.toml",
        &format!("{changed}[log]\nfilter = \"debug\"\n"),
    );
    running.signal("HUP");
    said(&deployment, "SIGHUP: the log filter is \"debug\"").await;
    said(
        &deployment,
        "hookbox.toml take effect only after a restart: ingest.idle",
    )
    .await;
    running.stop();
    deployment.finish().await;
}

/// Checks a source whose last key has expired. A sender must get 503, so that it retries, and not
/// an answer that refuses the event for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_a_valid_key_is_red_and_answers_503() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let signed = Signed::catch(&deployment, &[]);
    let original = config(&deployment);
    let ended = "secrets = [{ id = \"test\", file = \"key\", until = 2020-01-01T00:00:00Z }]";
    deployment.write("hookbox.toml", &original.replacen(SECRETS, ended, 1));
    let refused = deployment.command(&["check-config"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
    let shown = Shown::new();
    let running = deployment.start(&["run", "--metrics", &shown.address()]);
    within(PATIENCE, "the service must listen", async || {
        get(deployment.port, "/healthz").is_some()
    })
    .await;
    let answer = signed.send(deployment.port);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    within(
        PATIENCE,
        "readiness must report the expired key",
        async || {
            let why = shown.trouble("source begini");
            why.is_some_and(|why| why.contains("every key of source begini has expired"))
        },
    )
    .await;
    assert!(!shown.is_ready());
    let (status, class) = get(deployment.port, "/readyz").unwrap();
    assert_eq!((status, class.contains("keys")), (503, true), "{class}");
    let end = "hookbox_source_keys_end_timestamp_seconds{source=\"begini\"}";
    assert_eq!(shown.metric(end), Some(1_577_836_800.0));
    said(&deployment, "every key of source begini has expired").await;

    deployment.write("hookbox.toml", &original);
    running.signal("HUP");
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    assert_eq!(get(deployment.port, "/readyz").unwrap().0, 200);
    assert_eq!(signed.send(deployment.port).status, 200);
    assert_eq!(shown.metric(end), None);
    running.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_to_new_connections_and_a_broken_one_to_none() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let [first, second, other]: [CertifiedKey<_>; 3] = std::array::from_fn(|_| certificate::new());
    certificate::write(&deployment, &first);
    let tls = "[ingest]\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    let config = config(&deployment).replacen("[ingest]\n", tls, 1);
    deployment.write("hookbox.toml", &config);
    let (running, _) = started(&deployment, "ingest").await;
    let mut before = certificate::connect(&deployment, &first).await.unwrap();
    assert!(certificate::is_answered(&mut before).await);

    certificate::write(&deployment, &second);
    within(
        PATIENCE,
        "ingest must show the second certificate",
        async || certificate::connect(&deployment, &second).await.is_some(),
    )
    .await;
    assert!(certificate::connect(&deployment, &first).await.is_none());
    assert!(
        certificate::is_answered(&mut before).await,
        "a connection that was open before the renewal must still be answered"
    );
    said(
        &deployment,
        "a file has changed: new connections get the certificate in",
    )
    .await;

    // Whether TLS is on changes only at a restart. Until then a renewed certificate must still be
    // used.
    deployment.write("hookbox.toml", &config.replacen(tls, "[ingest]\n", 1));
    running.signal("HUP");
    said(&deployment, "ingest.tls").await;
    certificate::write(&deployment, &first);
    within(
        PATIENCE,
        "ingest must show the first certificate again",
        async || certificate::connect(&deployment, &first).await.is_some(),
    )
    .await;
    deployment.write("hookbox.toml", &config);
    certificate::write(&deployment, &second);
    within(
        PATIENCE,
        "ingest must show the second certificate again",
        async || certificate::connect(&deployment, &second).await.is_some(),
    )
    .await;

    certificate::write_key(&deployment, &other);
    running.signal("HUP");
    said(&deployment, "the certificate stays as it was, since ").await;
    let log = deployment.log();
    let line = log
        .lines()
        .find(|line| line.contains("the certificate stays as it was"));
    assert!(line.unwrap().contains("key.pem"), "{log}");
    assert!(certificate::connect(&deployment, &second).await.is_some());
    running.stop();
    deployment.finish().await;
}
