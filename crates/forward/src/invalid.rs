//! Why the settings of `forward` cannot be used.

use std::path::PathBuf;
use std::time::Duration;

use crate::address::RefusedAddress;

/// Why the settings of `forward` cannot be used. The text says what to change, and contains no
/// secret.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// The URL cannot be posted to.
    #[error("url: {0}; write a URL such as https://orders.example.org/hooks")]
    Url(&'static str),
    /// The URL has the scheme `http`, and the setting `private_host` does not name its host.
    #[error(
        "url: http:// would send the body and the signature unencrypted; use https://, or set \
         private_host = {host:?} if the service is in your own network"
    )]
    InTheClear {
        /// The host of the URL.
        host: String,
    },
    /// The setting `private_host` is not the host of the URL.
    #[error("private_host: {private_host:?} is not the host of the URL, which is {host:?}")]
    OtherHost {
        /// The value of `private_host`.
        private_host: String,
        /// The host of the URL.
        host: String,
    },
    /// The host of the URL is an address to which nothing may be sent.
    #[error("url: {0}")]
    Address(RefusedAddress),
    /// A time limit is out of bounds.
    #[error("limits.{key}: must be {shortest:?} to {longest:?}")]
    Limit {
        /// The config key of the limit.
        key: &'static str,
        /// The shortest limit that is allowed.
        shortest: Duration,
        /// The longest limit that is allowed.
        longest: Duration,
    },
    /// The time limit of a part of a call is longer than that of the whole call.
    #[error("limits.{key}: {limit:?} is longer than limits.total, which is {total:?}")]
    LimitOverTotal {
        /// The config key of the limit.
        key: &'static str,
        /// The limit of the part.
        limit: Duration,
        /// The limit of the whole call.
        total: Duration,
    },
    /// There is no key to sign with, or there are too many.
    #[error(
        "secrets: {found} are set, and 1 to {max} are allowed; each request is signed with all of \
         them"
    )]
    SecretCount {
        /// The number of secrets.
        found: usize,
        /// The highest number that is allowed.
        max: usize,
    },
    /// Two secrets have the same id.
    #[error("secrets: the id {0:?} occurs twice")]
    TwiceSecret(String),
    /// A secret cannot be read.
    #[error("secrets.{id}: {why}")]
    Secret {
        /// The id of the secret.
        id: String,
        /// Why the secret cannot be read.
        why: String,
    },
    /// A secret is not written in base64.
    #[error(
        "secrets.{0}: the secret is not base64, in which Standard Webhooks encodes secrets; make \
         one with `openssl rand -base64 32`"
    )]
    NotBase64(String),
    /// A secret is too short.
    #[error(
        "secrets.{id}: the secret has {found} bytes, and Standard Webhooks requires {min}; make \
         one with `openssl rand -base64 32`"
    )]
    ShortSecret {
        /// The id of the secret.
        id: String,
        /// The length of the secret in bytes.
        found: usize,
        /// The shortest length that is allowed, in bytes.
        min: usize,
    },
    /// A header cannot be sent.
    #[error("{table}.{name:?}: {why}")]
    Header {
        /// The table in the config that contains the header.
        table: &'static str,
        /// The name of the header.
        name: String,
        /// Why the header cannot be sent.
        why: String,
    },
    /// There are too many headers.
    #[error("headers: {found} are set, and at most {max} are allowed")]
    HeaderCount {
        /// The number of headers.
        found: usize,
        /// The highest number that is allowed.
        max: usize,
    },
    /// The file of the certificate authority cannot be used.
    #[error("ca_file: {}: {why}", path.display())]
    CaFile {
        /// The path of the file.
        path: PathBuf,
        /// Why the file cannot be used.
        why: String,
    },
    /// This machine trusts no certificate authority.
    #[error(
        "url: this machine has no trusted certificates to verify the service with; install the \
         package ca-certificates, or set ca_file ({0})"
    )]
    NoRoots(String),
}
