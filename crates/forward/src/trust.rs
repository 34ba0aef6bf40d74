//! Decides which certificates are trusted: those that this machine trusts, and those of a file that
//! the config names.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_rustls::TlsConnector;

use crate::invalid::InvalidSettings;

/// The largest file of certificates, in bytes. The certificates of all authorities that browsers
/// trust have 300 KiB.
const CA_BYTES_MAX: u64 = 1024 * 1024;

/// The only protocol that a TLS handshake offers (ALPN), so that no proxy in front of the service
/// chooses another one.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Returns the TLS configuration of connections.
pub(crate) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, InvalidSettings> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        add_file(&mut roots, path).map_err(|why| InvalidSettings::CaFile {
            path: path.to_owned(),
            why,
        })?;
    }
    let of_machine = rustls_native_certs::load_native_certs();
    // On some machines, a few of the files with trusted certificates cannot be used. They are
    // ignored as long as other files can be used.
    roots.add_parsable_certificates(of_machine.certs);
    if roots.is_empty() {
        let errors = of_machine.errors.iter().map(ToString::to_string);
        let errors = errors.collect::<Vec<_>>().join("; ");
        return Err(InvalidSettings::NoRoots(errors));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidSettings::NoRoots(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config).into())
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let bytes = read(path).map_err(|error| format!("the file cannot be read ({error})"))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > CA_BYTES_MAX {
        return Err("the file is larger than 1 MiB; check whether the path is right".to_owned());
    }
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| format!("the PEM is damaged ({error})"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("a certificate cannot be used ({error})"))?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err("the file contains no certificate in PEM format".to_owned())
    }
}

/// Reads a regular file, up to one byte more than [`CA_BYTES_MAX`]. Other files are refused,
/// because opening a named pipe would block until the pipe has a writer.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(CA_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;

    use super::*;

    fn refused(path: &Path) -> String {
        connector(Some(path)).err().unwrap().to_string()
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let name = format!("hookbox-forward-trust-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("ca.pem");
        for (text, why) in [
            ("no certificate", "the file contains no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
                "the PEM is damaged",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "a certificate cannot be used",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let refused = refused(&file);
            let expect = format!("ca_file: {}: {why}", file.display());
            assert!(refused.starts_with(&expect), "{refused}");
        }
        let none: PathBuf = folder.join("absent.pem");
        assert!(refused(&none).contains("the file cannot be read"));
        assert!(refused(&folder).contains("it is not a regular file"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
