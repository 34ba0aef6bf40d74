//! The setting `[ingest] tls`: the files of the listener's certificate and of its private key.

use std::path::{Path, PathBuf};

use super::file::Ingest;
use super::key_file;
use super::place::Places;
use super::secret::{Secrets, beside};
use crate::regular_file::{self, ReadError};

const CERTIFICATE: &str = "/ingest/tls/certificate";

const KEY: &str = "/ingest/tls/key";

/// Checks the paths of the certificate and of its private key. If the command listens, also checks
/// both files. Returns `None` without TLS, or if one of the paths is invalid.
pub fn check(
    given: &Ingest,
    secrets: &Secrets<'_>,
    places: &mut Places,
) -> Option<(PathBuf, PathBuf)> {
    let tls = given.tls.as_ref()?;
    let certificate = path(CERTIFICATE, secrets.folder, &tls.certificate, places);
    let key = path(KEY, secrets.folder, &tls.key, places);
    if secrets.needs.certificate {
        if let Some(path) = &certificate {
            check_certificate(path, places);
        }
        if let Some(path) = &key {
            // The config schema allows only the word "any" for `mode`, so any value of it means
            // "any".
            check_key(path, tls.mode.is_some(), places);
        }
    }
    certificate.zip(key)
}

/// Returns the path of a PEM file. If the PEM text itself was written instead, it is not shown,
/// because it may be a private key.
fn path(at: &str, folder: &Path, given: &str, places: &mut Places) -> Option<PathBuf> {
    if given.contains("-----BEGIN") || given.contains('\n') {
        places.mistake(at, "the value must be the path of a PEM file, not its text");
        return None;
    }
    Some(beside(folder, given))
}

fn check_certificate(path: &Path, places: &mut Places) {
    let shown = path.display();
    if let Err(error) = regular_file::check(path) {
        let what = match error {
            ReadError::NotFound(error) => format!("the file {shown} cannot be found ({error})"),
            other => format!("{shown}: {other}"),
        };
        places.mistake(CERTIFICATE, what);
    }
}

/// Checks that the key file can be read. Whether the key matches the certificate is checked when
/// both are loaded.
fn check_key(path: &Path, any_mode: bool, places: &mut Places) {
    if places.take(KEY, key_file::read_pem(path)).is_some()
        && let Some(warning) = key_file::warning(path, any_mode)
    {
        places.warn(KEY, warning);
    }
}
