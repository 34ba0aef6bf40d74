//! The table `[identity]`: the key with which the ids of events are computed.

use hookbox_driver::ExpectedIdentity;
use hookbox_event::{Digester, IdentityKey};
use secrecy::{ExposeSecret as _, SecretString};

use super::file::Identities;
use super::place::Places;
use super::secret::Secrets;

/// The JSON Pointer to the identity key in the config file.
const AT: &str = "/identity/key";

/// How the ids of events are computed.
pub enum IdentityConfig {
    /// The ids are computed without a key.
    Plain,
    /// The ids are computed with this key.
    Keyed(IdentityKey),
    /// The command computes no ids, so it did not read the key.
    NotResolved,
}

impl IdentityConfig {
    /// Returns how ids and digests are computed; `None` for a command that computes none.
    pub fn digester(&self) -> Option<Digester> {
        match self {
            IdentityConfig::Plain => Some(Digester::Plain),
            IdentityConfig::Keyed(key) => Some(Digester::Keyed(key.clone())),
            IdentityConfig::NotResolved => None,
        }
    }

    /// Returns whether the command computes ids with a key.
    pub fn is_keyed(&self) -> bool {
        match self {
            IdentityConfig::Keyed(_) => true,
            IdentityConfig::Plain | IdentityConfig::NotResolved => false,
        }
    }

    /// Returns the identity stamp that the store and the broker must have.
    pub fn expected(&self) -> ExpectedIdentity {
        match self {
            IdentityConfig::Plain => ExpectedIdentity::Plain,
            IdentityConfig::Keyed(key) => ExpectedIdentity::Keyed(key.fingerprint()),
            IdentityConfig::NotResolved => ExpectedIdentity::Unchecked,
        }
    }
}

/// Reads the identity key, if the command needs it and the config has one. If the key is wrong,
/// records a mistake, which makes the whole config invalid.
pub fn read(
    given: Option<&Identities>,
    secrets: &Secrets<'_>,
    places: &mut Places,
) -> IdentityConfig {
    match given {
        _ if !secrets.needs.identity => IdentityConfig::NotResolved,
        None => IdentityConfig::Plain,
        Some(given) => {
            key(given, secrets, places).map_or(IdentityConfig::NotResolved, IdentityConfig::Keyed)
        }
    }
}

fn key(given: &Identities, secrets: &Secrets<'_>, places: &mut Places) -> Option<IdentityKey> {
    let text = SecretString::from(secrets.resolve(AT, &given.key, places)?);
    places.take(AT, text.expose_secret().parse())
}
