//! The names that a config gives to sources, routes and environments.
//!
//! These names become parts of URLs, queue names and topics, so all of them are limited to the same
//! small alphabet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// The longest name, in bytes. The name of a queue contains the name of the environment, the name
/// of a route and some fixed words. A name of a queue is an AMQP short string, which has at most
/// 255 bytes, so two names of 63 bytes fit.
const NAME_BYTES_MAX: usize = 63;

/// An invalid name. The error states the kind of the name, the name, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} name {name:?} must be 1 to 63 characters of a-z, 0-9, '-' and '_', \
     and start with a letter or digit"
)]
pub struct InvalidName {
    kind: &'static str,
    name: String,
}

fn check(kind: &'static str, name: &str) -> Result<(), InvalidName> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ok = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || c == '-' || c == '_');
    if ok {
        Ok(())
    } else {
        Err(InvalidName {
            kind,
            name: name.chars().take(80).collect(),
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(String);

        impl $type {
            /// Returns the name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                check($kind, name)?;
                Ok(Self(name.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                check($kind, &name)?;
                Ok(Self(name))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a source, which is one endpoint of one provider. It is the last part of `POST
    /// /hooks/{source}`.
    SourceName,
    "source"
);
name!(
    /// The name of a route, which is a topic pattern with a handler and a retry policy. Each route
    /// has a queue of its own.
    RouteName,
    "route"
);
name!(
    /// The name of the environment, such as sandbox or production. The store records it, and the
    /// names of queues contain it.
    EnvironmentName,
    "environment"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_alphabet() {
        for good in ["a", "begini", "begini-2", "x_y", &"a".repeat(63)] {
            assert!(good.parse::<SourceName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "_a",
            "A",
            "a.b",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<RouteName>().is_err(), "{bad:?}");
        }
    }
}
