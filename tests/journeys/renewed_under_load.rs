//! Certificates and keys are renewed under load. The provider rotates its key as usual: it signs
//! with the new key when both are valid, and then the old key is removed. No genuine request is
//! refused or lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookbox_testkit::eventually::within;
use rcgen::{CertifiedKey, KeyPair};
use tokio::net::TcpStream;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate;
use crate::deployment::{Deployment, Pair, Process};
use crate::event;
use crate::sender::post;
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of sender tasks that keep their connections. The same number of other tasks opens a
/// new connection for each request.
const SENDERS: usize = 4;

/// The least number of requests that must be sent during the renewals.
const REQUESTS_MIN: u64 = 2_000;

/// The number of renewals of the certificate and a key (rounds). In some rounds no signal is sent,
/// and the service must notice the changed files by itself.
const ROUNDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_renewed_under_load_costs_no_request_on_rabbitmq_and_postgres() {
    renew_under_load(Deployment::new(Pair::RabbitmqPostgres).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_renewed_under_load_costs_no_request_on_sqlite() {
    renew_under_load(Deployment::new(Pair::SqliteAlone).await).await;
}

/// The state that the senders share.
struct Load {
    port: u16,
    connector: TlsConnector,
    /// The key that the provider signs with. A request holds the lock until it is answered, so no
    /// request with the old key is open when the key is replaced.
    key: RwLock<String>,
    sent: AtomicU64,
    connections: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        certificate::connect_by(self.port, &self.connector)
            .await
            .expect("the ingest must show one of the certificates that were written")
    }

    /// Sends requests until the load ends.
    async fn send(self: Arc<Self>, keeps_connection: bool) {
        let mut kept = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => self.connect().await,
            };
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let body = event::score(&format!("user-{number}"));
            let key = self.key.read().await;
            let answer = post(&mut stream, "begini", &key, &body).await;
            drop(key);
            let answer = answer.unwrap_or_else(|| panic!("request {number} must get an answer"));
            assert_eq!(answer.status, 200, "request {number}");
            if keeps_connection && answer.is_kept {
                kept = Some(stream);
            }
        }
    }
}

/// The files that are renewed, and the service that reads them.
struct Rotation {
    deployment: Deployment,
    running: Process,
    certificates: Vec<CertifiedKey<KeyPair>>,
}

impl Rotation {
    /// Returns how often the log contains a text.
    fn count(&self, what: &str) -> usize {
        self.deployment.log().matches(what).count()
    }

    /// Sends SIGHUP when only a part of the files has been replaced: the key file of the source is
    /// empty, and the certificate does not fit its key. The service must keep using the old keys
    /// and the old certificate.
    async fn signal_half_written(&self, file: &str, round: usize) {
        let stays = [
            "the keys of source begini stay as they were, since ",
            "the certificate stays as it was, since ",
        ];
        let before = stays.map(|what| self.count(what));
        self.deployment.write(file, "");
        certificate::write_key(&self.deployment, &self.certificates[round + 1]);
        self.running.signal("HUP");
        within(
            PATIENCE,
            "the log must say that key and certificate stay as they were",
            async || {
                let after = stays.map(|what| self.count(what));
                after[0] > before[0] && after[1] > before[1]
            },
        )
        .await;
    }

    /// Renews the certificate. The source has two keys. Also replaces the key with which the
    /// provider does not sign at the moment, and lets the provider sign with the new key.
    async fn renew(&self, load: &Load, round: usize) {
        let is_signalled = round % 4 != 3;
        let (keys, shown) = (
            "source begini has the keys test, other",
            "new connections get the certificate in",
        );
        let before = (self.count(keys), self.count(shown));
        let (file, key) = (["other", "key"][round % 2], key(round + 1));
        if is_signalled {
            self.signal_half_written(file, round).await;
        }
        self.deployment.write(file, &key);
        certificate::write(&self.deployment, &self.certificates[round + 1]);
        if is_signalled {
            self.running.signal("HUP");
        }
        within(
            PATIENCE,
            "key and certificate must be renewed",
            async || self.count(keys) > before.0 && self.count(shown) > before.1,
        )
        .await;
        // From here on both keys are valid, and the provider signs with the new one.
        *load.key.write().await = key;
        let renewed = &self.certificates[round + 1];
        assert!(
            certificate::connect(&self.deployment, renewed)
                .await
                .is_some()
        );
    }
}

fn key(number: usize) -> String {
    format!("key-{number}-of-the-provider-for-tests")
}

async fn renew_under_load(deployment: Deployment) {
    let path = deployment.folder.join("hookbox.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let tls = "[ingest]\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    let one = "{ id = \"test\", file = \"key\" }";
    let both = format!("{one}, {{ id = \"other\", file = \"other\" }}");
    let text = text.replacen("[ingest]\n", tls, 1).replacen(one, &both, 1);
    deployment.write("hookbox.toml", &text);
    deployment.write("key", &key(0));
    deployment.write("other", "a-key-before-the-first-one-for-tests");
    let certificates: Vec<_> = (0..=ROUNDS).map(|_| certificate::new()).collect();
    certificate::write(&deployment, &certificates[0]);
    let shown = Shown::new();
    let running = deployment.start(&["run", "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let load = Arc::new(Load {
        port: deployment.port,
        connector: certificate::connector(&certificates),
        key: RwLock::new(key(0)),
        sent: AtomicU64::new(0),
        connections: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let mut senders = JoinSet::new();
    for number in 0..2 * SENDERS {
        senders.spawn(Arc::clone(&load).send(number < SENDERS));
    }
    let rotation = Rotation {
        deployment,
        running,
        certificates,
    };
    let began = Instant::now();
    for round in 0..ROUNDS {
        rotation.renew(&load, round).await;
    }
    within(
        PATIENCE,
        "at least REQUESTS_MIN requests must be sent",
        async || load.sent.load(Ordering::Relaxed) >= REQUESTS_MIN,
    )
    .await;
    load.is_over.store(true, Ordering::Relaxed);
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    let sent = load.sent.load(Ordering::Relaxed);
    let connections = load.connections.load(Ordering::Relaxed);
    println!(
        "{sent} requests on {connections} connections in {:?}: {ROUNDS} renewals of a \
         key and the certificate",
        began.elapsed()
    );
    check_accounting(rotation, sent).await;
}

/// Checks that every request became an event with one effect, and that the accounting is balanced.
async fn check_accounting(rotation: Rotation, sent: u64) {
    let Rotation {
        deployment,
        running,
        ..
    } = rotation;
    let accounting = deployment.json(&["reconcile", "--wait", "120s"]);
    assert_eq!(accounting["verdict"], "balanced", "{accounting:#}");
    for (what, statement) in [
        ("effects", "select count(*) from begini_scores"),
        ("receipts", "select count(*) from receipts"),
    ] {
        assert_eq!(deployment.count(statement).await, sent, "{what}");
    }
    let refusals = "select count(*) from refusals";
    assert_eq!(deployment.count(refusals).await, 0);
    running.stop();
    deployment.finish().await;
}
