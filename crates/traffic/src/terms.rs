//! The config, the source and the key with which requests were signed. The tally names all three,
//! because an accepted request shows only that hookbox accepts this signature, and not that the
//! provider signs in this way.

use std::fmt;
use std::path::{Path, PathBuf};

use hookbox_event::SourceName;
use hookbox_signature::{Algorithm, Key, Scheme};
use serde::Serialize;

/// Names the config, the source and the key with which requests were signed. Contains no secret.
#[derive(Debug, Clone, Serialize)]
pub struct Terms {
    /// The config file.
    pub config: PathBuf,
    /// The source in that config.
    pub source: SourceName,
    /// The name of the scheme: `hmac-sha256`, `hmac-sha512` or `standard-webhooks`.
    pub scheme: &'static str,
    /// The header that contains the signature.
    pub header: String,
    /// The id of the key.
    pub key: String,
}

impl Terms {
    /// Returns the `Terms` of requests that are signed for this source with this key.
    pub fn new(config: &Path, source: &SourceName, scheme: &Scheme, key: &Key) -> Self {
        let (scheme, header) = match scheme {
            Scheme::Hmac(hmac) => (
                match hmac.algorithm {
                    Algorithm::Sha256 => "hmac-sha256",
                    Algorithm::Sha512 => "hmac-sha512",
                },
                hmac.header.as_str(),
            ),
            Scheme::StandardWebhooks { .. } => ("standard-webhooks", "webhook-signature"),
        };
        Self {
            config: config.to_owned(),
            source: source.clone(),
            scheme,
            header: header.to_owned(),
            key: key.id().to_owned(),
        }
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            config,
            source,
            scheme,
            header,
            key,
        } = self;
        write!(
            f,
            "signed by the config {}: source {source}, {scheme} in {header}, key {key:?}; this \
             shows that the config accepts such requests, and not that the provider signs in this \
             way",
            config.display()
        )
    }
}
