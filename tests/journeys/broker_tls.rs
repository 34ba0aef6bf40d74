//! RabbitMQ behind TLS: a certificate that is expired, of another authority or for another name is
//! refused, and the password never leaves; the right one is taken.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookbox_tests::proxy::address_of;
use hookbox_tests::variable;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use crate::deployment::{Deployment, Pair};

/// RFC 7468: base64 in lines of 64.
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

/// An authority of a test's own.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = pem(params.self_signed(&key).unwrap().der());
        Self(Issuer::new(params, key), pem)
    }

    /// Ends TLS with a certificate of this authority, before the real broker.
    async fn before_broker(&self, name: &str, expired: bool, links: &mut JoinSet<()>) -> u16 {
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
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let broker: SocketAddr = address_of(&variable("HOOKBOX_TEST_AMQP_URL"))
            .parse()
            .unwrap();
        links.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                open.spawn(async move {
                    // Whoever does not like the certificate ends it here.
                    let Ok(mut theirs) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut ours = TcpStream::connect(broker).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut theirs, &mut ours).await;
                });
            }
        });
        port
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_right_certificate_of_a_broker_is_taken() {
    let (authority, another) = (Authority::new(), Authority::new());
    let mut links = JoinSet::new();
    let good = authority
        .before_broker("localhost", false, &mut links)
        .await;
    let bad = [
        (
            "expired",
            authority.before_broker("localhost", true, &mut links).await,
        ),
        (
            "another authority",
            another.before_broker("localhost", false, &mut links).await,
        ),
        (
            "another name",
            authority
                .before_broker("elsewhere.test", false, &mut links)
                .await,
        ),
    ];
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let trusted: PathBuf = deployment.folder.join("authority.pem");
    deployment.write("authority.pem", &authority.1);
    let plain = variable("HOOKBOX_TEST_AMQP_URL");
    let through = |port: u16| {
        let to = format!("localhost:{port}");
        let url = plain.replacen(&address_of(&plain), &to, 1);
        deployment.write("broker", &url.replacen("amqp://", "amqps://", 1));
    };
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
    for (what, port) in bad {
        through(port);
        let (code, said) = run(&["queues", "declare", "--yes"]);
        assert_eq!(code, Some(69), "{what}: {said}");
        assert!(said.contains("ertificate"), "{what}: {said}");
        assert!(!said.contains(password), "{what}: a password is shown");
    }
    through(good);
    let (code, said) = run(&["queues", "declare", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["queues"]);
    assert_eq!(code, Some(0), "{said}");
    deployment.write("broker", &plain);
    links.shutdown().await;
    deployment.finish().await;
}
