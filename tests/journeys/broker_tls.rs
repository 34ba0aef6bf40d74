//! RabbitMQ behind TLS. Hookbox must refuse a certificate that has expired, comes from another
//! authority, or has another name, before it sends the password. It must accept a valid
//! certificate, also one that is renewed while hookbox is connected.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookbox_testkit::eventually::within;
use hookbox_testkit::proxy::address_of;
use hookbox_tests::variable;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use crate::deployment::{Deployment, Pair};
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of events that are sent under load, for about ten seconds.
const EVENTS: u64 = 2_000;

/// Encodes DER as PEM: base64 in lines of 64 characters (RFC 7468).
pub fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {what}-----\n{lines}\n-----END {what}-----\n")
}

/// A private certificate authority, and its certificate as PEM.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = pem("CERTIFICATE", params.self_signed(&key).unwrap().der());
        Self(Issuer::new(params, key), pem)
    }

    /// Makes a TLS server with a new certificate of this authority.
    fn acceptor(&self, name: &str, expired: bool) -> TlsAcceptor {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                key.serialize_der().try_into().unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A proxy in front of the real broker. It speaks TLS with hookbox and plain TCP with the broker.
struct Front {
    port: u16,
    shows: watch::Sender<TlsAcceptor>,
    /// The number of connections whose client accepted the certificate.
    taken: Arc<AtomicU64>,
    _links: JoinSet<()>,
}

impl Front {
    async fn new(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shows, showing) = watch::channel(acceptor);
        let taken = Arc::new(AtomicU64::new(0));
        let mut links = JoinSet::new();
        let counted = Arc::clone(&taken);
        links.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(link(stream, showing.clone(), Arc::clone(&counted)));
            }
        });
        Self {
            port,
            shows,
            taken,
            _links: links,
        }
    }

    /// Makes the proxy use another certificate for new connections, and cuts every open connection.
    fn rotate(&self, acceptor: TlsAcceptor) {
        self.shows.send_replace(acceptor);
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }
}

async fn link(stream: TcpStream, mut showing: watch::Receiver<TlsAcceptor>, taken: Arc<AtomicU64>) {
    let acceptor = showing.borrow_and_update().clone();
    // The handshake fails here when hookbox rejects the certificate.
    let Ok(mut theirs) = acceptor.accept(stream).await else {
        return;
    };
    taken.fetch_add(1, Ordering::SeqCst);
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let mut ours = TcpStream::connect(address_of(&broker)).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut theirs, &mut ours) => {}
        _ = showing.changed() => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_right_certificate_of_a_broker_is_taken() {
    let (authority, another) = (Authority::new(), Authority::new());
    let good = Front::new(authority.acceptor("localhost", false)).await;
    let bad = [
        ("expired", authority.acceptor("localhost", true)),
        ("another authority", another.acceptor("localhost", false)),
        ("another name", authority.acceptor("elsewhere.test", false)),
    ];
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let trusted: PathBuf = deployment.folder.join("authority.pem");
    deployment.write("authority.pem", &authority.1);
    let plain = variable("HOOKBOX_TEST_AMQP_URL");
    let run = |words: &[&str]| {
        let mut command = deployment.command(words);
        let output = command.env("SSL_CERT_FILE", &trusted).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let password = plain
        .rsplit_once('@')
        .unwrap()
        .0
        .rsplit_once(':')
        .unwrap()
        .1;
    for (what, acceptor) in bad {
        let front = Front::new(acceptor).await;
        through(&deployment, &front);
        let (code, said) = run(&["queues", "declare", "--yes"]);
        assert_eq!(code, Some(78), "{what}: {said}");
        assert!(said.contains("certificate is valid"), "{what}: {said}");
        assert!(
            !said.contains(password),
            "{what}: the error must not show the password"
        );
        assert_eq!(front.taken(), 0, "{what}");
    }
    through(&deployment, &good);
    let (code, said) = run(&["queues", "declare", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["queues"]);
    assert_eq!(code, Some(0), "{said}");
    deployment.write("broker", &plain);
    deployment.finish().await;
}

/// Checks that the certificate of the broker may be renewed while hookbox is connected. The test
/// cuts all connections, and each process must reconnect although it has never seen the new
/// certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_renewed_under_load_costs_nothing() {
    let authority = Authority::new();
    let front = Front::new(authority.acceptor("localhost", false)).await;
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    deployment.write("authority.pem", &authority.1);
    through(&deployment, &front);
    let trusting = |words: &[&str]| {
        let mut command = deployment.command(words);
        command.env("SSL_CERT_FILE", deployment.folder.join("authority.pem"));
        command
    };
    let ingest = deployment.spawn_ingest(trusting(&["ingest"]));
    let shown = Shown::new();
    let worker = deployment.spawn(trusting(&["worker", "--metrics", &shown.address()]));
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let count = EVENTS.to_string();
    let load = deployment
        .command(&["generate", "--json", "--count", &count, "--seed", "8"])
        .args(["--rate", "200", "--retries", "60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let done = "hookbox_receipts_total{route=\"scores\",outcome=\"done\"}";
    for so_far in [100.0, 300.0, 500.0] {
        within(
            PATIENCE,
            "enough receipts must be done before the next renewal",
            async || shown.metric(done).is_some_and(|done| done >= so_far),
        )
        .await;
        let before = front.taken();
        front.rotate(authority.acceptor("localhost", false));
        // The ingest has one connection to the broker, and the worker has two. So three connections
        // must be opened again.
        within(PATIENCE, "all processes must reconnect", async || {
            front.taken() >= before + 3
        })
        .await;
    }
    let output = tokio::task::spawn_blocking(|| load.wait_with_output()).await;
    let tally: Value = serde_json::from_slice(&output.unwrap().unwrap().stdout).unwrap();
    assert_eq!(tally["accepted"], EVENTS, "{tally:#}");
    // The ingest publishes its last accept report when it stops. Until then `reconcile` may not
    // know the latest receipts.
    ingest.stop();
    let output = trusting(&["reconcile", "--wait", "120s", "--json"]).output();
    let books: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    let effects = "select (select count(*) from begini_scores)
                        + (select count(*) from begini_applications)";
    assert_eq!(deployment.count(effects).await, EVENTS);
    worker.stop();
    let log = deployment.log();
    assert!(
        log.contains("the publishing connection is closed"),
        "the cut of the publishing connection must be logged: {log}"
    );
    assert!(!log.contains("a panic at"), "{log}");
    deployment.finish().await;
}

/// Changes the config so that hookbox connects to the broker through the proxy.
fn through(deployment: &Deployment, front: &Front) {
    let plain = variable("HOOKBOX_TEST_AMQP_URL");
    let to = format!("localhost:{}", front.port);
    let url = plain.replacen(address_of(&plain), &to, 1);
    deployment.write("broker", &url.replacen("amqp://", "amqps://", 1));
}
