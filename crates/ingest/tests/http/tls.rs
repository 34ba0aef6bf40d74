//! Tests requests over TLS, peers that do not complete a TLS handshake, and plain HTTP on a TLS
//! port.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rcgen::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use hookbox_ingest::Limits;
use hookbox_testkit::eventually::eventually;

use crate::client::{Client, PATIENCE};
use crate::world::{EVENT, World, begini, hasty};

const NAME: &str = "hooks.example";

/// Returns a certificate, and a TLS acceptor that presents it to clients.
fn server() -> (CertificateDer<'static>, TlsAcceptor) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let certificate = cert.der().clone();
    let key = signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (certificate, TlsAcceptor::from(Arc::new(config)))
}

/// Sends a request from a client that trusts only this certificate, and returns all that it reads
/// until the connection ends.
async fn ask(world: &World, trusted: &CertificateDer<'static>, request: &[u8]) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let mut text = String::new();
    let asked = async {
        stream.write_all(request).await.unwrap();
        stream.read_to_string(&mut text).await.unwrap();
    };
    timeout(PATIENCE, asked).await.unwrap();
    text
}

/// Returns the request with a header that makes the server close the connection after it.
fn last(request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(request.to_vec()).unwrap();
    let closing = text.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    closing.into_bytes()
}

#[tokio::test]
async fn an_event_over_tls_is_kept_and_a_forged_one_is_not() {
    let (certificate, acceptor) = server();
    let world = World::secured(Limits::standard(), acceptor).await;
    let answer = ask(&world, &certificate, &last(&begini(EVENT))).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let all = world.broker.envelopes();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].body, EVENT);
    assert!(answer.contains(&all[0].receipt.to_string()), "{answer}");

    let forged = String::from_utf8(begini(EVENT)).unwrap();
    let forged = forged.replacen("u-1", "u-2", 1);
    let answer = ask(&world, &certificate, forged.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert_eq!(world.broker.envelopes().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn an_incomplete_handshake_is_cut_and_delays_no_other() {
    let (certificate, acceptor) = server();
    let limits = Limits {
        tls_deadline: Duration::from_secs(2),
        // These deadlines are longer than the test, so only the deadline of the handshake can cut
        // the connection.
        head_deadline: PATIENCE * 3,
        idle_deadline: PATIENCE * 3,
        ..hasty()
    };
    let world = World::secured(limits.clone(), acceptor).await;
    let began = Instant::now();
    let mut silent = world.client().await;
    let mut begun = world.client().await;
    // The first 11 bytes of a ClientHello message that announces 512 bytes.
    begun
        .send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .await;
    let answer = ask(&world, &certificate, &last(&begini(EVENT))).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(silent.closes().await);
    assert!(begun.closes().await);
    assert!(
        began.elapsed() >= limits.tls_deadline,
        "the connection must not be cut before the deadline of the TLS handshake"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_handshake() {
    let (_, acceptor) = server();
    let limits = Limits {
        // Only the drain can end the handshake within the test.
        tls_deadline: PATIENCE * 3,
        ..hasty()
    };
    let world = World::secured(limits, acceptor).await;
    let mut silent = world.client().await;
    let connections = &world.ingest.counters().connections;
    eventually("the connection must be accepted", || async {
        match connections.load(Ordering::Relaxed) {
            1 => Ok(()),
            other => Err(format!("{other} connections")),
        }
    })
    .await;
    world.stop().await;
    assert!(silent.closes().await);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_not_accepted() {
    let (_, acceptor) = server();
    let world = World::secured(Limits::standard(), acceptor).await;
    let mut plain: Client = world.client().await;
    plain.offer(&begini(EVENT)).await;
    let mut heard = Vec::new();
    plain.rest(&mut heard).await;
    // The server sends at most a TLS alert, which is not HTTP.
    assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
    world.nothing_published();
    world.stop().await;
}
