//! Loads the certificate of ingest, and checks whether the certificate and its private key can be
//! used, and until when.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, anyhow};
use hookbox_config::{Config, key_file, regular_file};
use hookbox_driver::{Clock as _, SystemClock};
use hookbox_event::Timestamp;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::exit::Unusable;

/// The largest file of a certificate chain, in bytes. A single certificate has a few KiB.
const CHAIN_BYTES_MAX: u64 = 1024 * 1024;

/// The certificate for new connections, which can be replaced at any time.
pub struct Certificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    /// Uses another certificate for new connections; returns whether it differs from the previous
    /// one. Existing connections keep the previous certificate.
    pub fn replace(&self, renewed: CertifiedKey) -> bool {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = shown.cert != renewed.cert;
        *shown = Arc::new(renewed);
        is_other
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The value is valid even if the lock is poisoned: a writer that panicked has either
        // replaced the whole certificate or left it as it was.
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// Returns the TLS acceptor and the certificate of the config, if the config has one.
///
/// An expired certificate is logged and still used, because some senders do not check the date, and
/// a restart must not interrupt them. `check-config` refuses an expired certificate.
pub fn acceptor(config: &Config) -> anyhow::Result<Option<(TlsAcceptor, Arc<Certificate>)>> {
    let Some((certificate, key)) = &config.ingest.tls else {
        return Ok(None);
    };
    let loaded = load(config, certificate, key)?;
    if let Err(error) = check_dates(config, certificate, &loaded.cert, SystemClock.now()) {
        tracing::warn!(error = format!("{error:#}"), "{error:#}");
    }
    let certificate = Arc::new(Certificate(RwLock::new(Arc::new(loaded))));
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificate) as _);
    Ok(Some((TlsAcceptor::from(Arc::new(server)), certificate)))
}

/// Reads the certificate of the config, if the config has one. Refuses what [`acceptor`] refuses,
/// and also a certificate that senders do not accept now: one that is expired or not valid yet, or
/// whose dates cannot be read.
pub fn read(config: &Config, now: Timestamp) -> anyhow::Result<Option<CertifiedKey>> {
    let Some((certificate, key)) = &config.ingest.tls else {
        return Ok(None);
    };
    let loaded = load(config, certificate, key)?;
    check_dates(config, certificate, &loaded.cert, now)?;
    Ok(Some(loaded))
}

fn load(config: &Config, certificate: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let chain = chain(config, certificate)?;
    let private = key_file::read_pem(key).map_err(|why| {
        let config = config.path.display();
        Unusable(format!("{config}: ingest.tls.key: {why}"))
    })?;
    let unusable = |what: &str| unusable(config, what, key);
    let private = PrivateKeyDer::from_pem_slice(&private).with_context(|| unusable("key"))?;
    CertifiedKey::from_der(chain, private, &default_provider())
        .with_context(|| unusable("key to the certificate"))
}

fn chain(config: &Config, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unusable = || unusable(config, "certificate", path);
    let text = regular_file::read(path, CHAIN_BYTES_MAX).with_context(unusable)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .with_context(unusable)?;
    if chain.is_empty() {
        let none = anyhow!("the file contains no certificate in PEM format");
        return Err(none.context(unusable()));
    }
    Ok(chain)
}

/// Checks the dates of every certificate in the chain, because a sender rejects a chain if any of
/// its certificates is invalid.
fn check_dates(
    config: &Config,
    path: &Path,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> anyhow::Result<()> {
    for certificate in chain {
        check_date(certificate, now).with_context(|| unusable(config, "certificate", path))?;
    }
    Ok(())
}

fn check_date(der: &[u8], now: Timestamp) -> anyhow::Result<()> {
    // The parser's error is about ASN.1 and does not help an operator, so another error text
    // replaces it.
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|_| anyhow!("the dates of the certificate cannot be read"))?;
    let validity = certificate.validity();
    let (from, until) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let moment = |seconds: i64| Timestamp::from_unix_micros(seconds.saturating_mul(1_000_000));
    if now.unix_seconds() > until {
        let until = moment(until);
        return Err(anyhow!(
            "the certificate expired at {until}, and senders that check it do not connect; renew it"
        ));
    }
    if now.unix_seconds() < from {
        let from = moment(from);
        return Err(anyhow!(
            "the certificate is not valid before {from}, and senders that check it do not connect; \
             check the clock, or use the previous certificate until then"
        ));
    }
    Ok(())
}

fn unusable(config: &Config, what: &str, path: &Path) -> Unusable {
    let (config, path) = (config.path.display(), path.display());
    Unusable(format!("{config}: the {what} {path} cannot be used"))
}
