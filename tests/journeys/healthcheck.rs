//! `hookbox healthcheck` without a URL takes the address from the config, for an ingest as well as
//! for a worker.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use rcgen::{CertificateParams, KeyPair};

use crate::broker_tls::pem;
use crate::deployment::{Deployment, Pair};
use crate::shown::{Shown, get};

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `hookbox healthcheck`, and returns its exit code and its output.
fn asked(deployment: &Deployment, arguments: &[&str]) -> (Option<i32>, String) {
    let all = [&["healthcheck"][..], arguments].concat();
    let output = deployment.command(&all).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

/// Adds lines under `[ingest]` and at the end of the config.
fn configure(deployment: &Deployment, under_ingest: &str, at_the_end: &str) {
    let path = deployment.folder.join("hookbox.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("[ingest]\n", &format!("[ingest]\n{under_ingest}"));
    deployment.write("hookbox.toml", &(text + at_the_end));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_is_checked_where_the_config_has_it_listen() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let (code, said) = asked(&deployment, &[]);
    assert_eq!(code, Some(1), "{said}");
    let port = deployment.port;
    assert!(said.contains(&format!("127.0.0.1:{port}/readyz")), "{said}");
    let ingest = deployment.start(&["ingest"]);
    within(PATIENCE, "hookbox must be ready", async || {
        get(port, "/readyz").is_some_and(|(status, _)| status == 200)
    })
    .await;
    assert_eq!(asked(&deployment, &[]).0, Some(0));
    // A URL on the command line replaces the address in the config. The config is then not read at
    // all.
    let url = format!("http://127.0.0.1:{port}/healthz");
    let other = ["--config", "none.toml", "--url", &url];
    let (code, said) = asked(&deployment, &other);
    assert_eq!(code, Some(0), "{said}");
    ingest.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_checked_on_its_listener_for_metrics() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let shown = Shown::new();
    let metrics = format!("[metrics]\nlisten = \"{}\"\n", shown.address());
    configure(&deployment, "", &metrics);
    let worker = deployment.start(&["worker"]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    assert_eq!(asked(&deployment, &[]).0, Some(0));
    worker.stop();
    let (code, said) = asked(&deployment, &[]);
    assert_eq!(code, Some(1), "{said}");
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_with_tls_is_checked_on_its_listener_for_metrics() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key);
    let chain = pem("CERTIFICATE", certificate.unwrap().der());
    deployment.write("chain.pem", &chain);
    deployment.write("key.pem", &pem("PRIVATE KEY", key.serialized_der()));
    let tls = "tls = { certificate = \"chain.pem\", key = \"key.pem\" }\n";
    configure(&deployment, tls, "");
    let (code, said) = asked(&deployment, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("[metrics] listen") && said.contains("--url"),
        "{said}"
    );
    let shown = Shown::new();
    let metrics = format!("[metrics]\nlisten = \"{}\"\n", shown.address());
    configure(&deployment, "", &metrics);
    let ingest = deployment.start(&["ingest"]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    assert_eq!(asked(&deployment, &[]).0, Some(0));
    ingest.stop();
    deployment.finish().await;
}
