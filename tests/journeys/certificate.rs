//! The certificate of ingest, and a TLS client that trusts only this certificate.

use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::broker_tls::pem;
use crate::deployment::Deployment;

pub fn new() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Writes a certificate and its key to the files that the ingest reads, as a renewal does.
pub fn write(deployment: &Deployment, made: &CertifiedKey<KeyPair>) {
    deployment.write("cert.pem", &pem("CERTIFICATE", made.cert.der()));
    write_key(deployment, made);
}

pub fn write_key(deployment: &Deployment, made: &CertifiedKey<KeyPair>) {
    let der = made.signing_key.serialize_der();
    deployment.write("key.pem", &pem("PRIVATE KEY", &der));
}

/// Makes a TLS client that trusts only these certificates.
pub fn connector<'a>(trusted: impl IntoIterator<Item = &'a CertifiedKey<KeyPair>>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for trusted in trusted {
        let der: CertificateDer<'static> = trusted.cert.der().clone();
        roots.add(der).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Connects if the ingest shows this certificate. Returns `None` if it shows another one or cannot
/// be reached.
pub async fn connect(
    deployment: &Deployment,
    trusted: &CertifiedKey<KeyPair>,
) -> Option<TlsStream<TcpStream>> {
    connect_by(deployment.port, &connector([trusted])).await
}

/// Connects if the client trusts the certificate that the server shows, and returns `None`
/// otherwise.
pub async fn connect_by(port: u16, connector: &TlsConnector) -> Option<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await;
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, tcp.ok()?).await.ok()
}

/// Returns whether a request on the connection is answered 200. The connection stays open.
pub async fn is_answered(stream: &mut TlsStream<TcpStream>) -> bool {
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"{\"status\":\"alive\"}") {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200 ")
}
