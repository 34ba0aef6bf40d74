//! Tests with services that use TLS, and with certificates that must be refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hookbox_forward::{CallClass, CallError, Settings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use crate::service::{Reply, Service};
use crate::world::{HOST, Names, call, client_of, failure, localhost, settings};

/// A certificate authority in a file that is removed when this is dropped.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let file = format!("hookbox-forward-{name}-{}.pem", std::process::id());
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, pem(&der)).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, file }
    }

    fn acceptor(&self, name: &str, is_expired: bool) -> TlsAcceptor {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if is_expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
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

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Encodes a certificate as PEM.
fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

fn trusting(port: u16, file: &Path) -> Settings {
    let mut settings = settings(port);
    settings.url = settings.url.replace("http://", "https://");
    settings.ca_file = Some(file.to_owned());
    settings
}

async fn refused(acceptor: TlsAcceptor, trusted: &Authority) -> CallError {
    let service = Service::secured(acceptor, |_| Reply::ok()).await;
    let settings = trusting(service.address.port(), &trusted.file);
    let error = failure(&client_of(&settings, Names::local())).await;
    assert_eq!(error.class, CallClass::TargetFault);
    let expect = format!("no encrypted connection to https://{HOST}:");
    assert!(error.text.starts_with(&expect), "{error}");
    assert_eq!(service.received().len(), 0);
    error
}

#[tokio::test]
async fn a_service_of_a_trusted_authority_is_called() {
    let authority = Authority::new("trusted");
    let service = Service::secured(authority.acceptor(HOST, false), |_| Reply::ok()).await;
    let settings = trusting(service.address.port(), &authority.file);
    let client = client_of(&settings, Names::local());
    for _ in 0..3 {
        client.call(&call()).await.unwrap();
    }
    assert_eq!((service.received().len(), service.opened()), (3, 1));
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_before_anything_is_sent() {
    let (authority, other) = (Authority::new("mine"), Authority::new("other"));
    let name = refused(authority.acceptor("other.test", false), &authority).await;
    assert!(name.text.contains("not valid for name"), "{name}");
    let expired = refused(authority.acceptor(HOST, true), &authority).await;
    assert!(expired.text.contains("expired"), "{expired}");
    let foreign = refused(other.acceptor(HOST, false), &authority).await;
    assert!(foreign.text.contains("certificate"), "{foreign}");
}

#[tokio::test]
async fn a_service_without_tls_is_refused() {
    let authority = Authority::new("plain");
    let listener = TcpListener::bind((localhost(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 16];
        stream.read_exact(&mut first).await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    });
    let settings = trusting(port, &authority.file);
    let error = failure(&client_of(&settings, Names::local())).await;
    assert_eq!(error.class, CallClass::TargetFault);
    let expect = format!("no encrypted connection to https://{HOST}:{port}: ");
    assert!(error.text.starts_with(&expect), "{error}");
}
