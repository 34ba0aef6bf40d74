//! The settings of `forward`, as they are written in the config.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::limits::{LimitSettings, Span};

/// The settings of `forward`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The URL to which events are posted. It contains no secret, because it is shown.
    pub url: String,
    /// The host of the URL, if the service is in a private network of the operator: then its name
    /// may lead to a private address, and the URL may begin with `http://`.
    pub private_host: Option<String>,
    /// The keys to sign with. While a key is changed, both the old and the new one are listed.
    pub secrets: Vec<Secret>,
    /// Further headers of each request, which contain no secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Further headers of each request, whose values are secrets.
    #[serde(default)]
    pub secret_headers: BTreeMap<String, Reference>,
    /// A file with certificates, as PEM, of authorities that are trusted in addition to those of
    /// this machine. A relative path is relative to the folder of the config file.
    pub ca_file: Option<PathBuf>,
    /// The time limits of a call.
    #[serde(default)]
    pub limits: LimitSettings,
    /// The most calls at once. The client ignores this and `rate`: its caller applies them.
    pub concurrency: Option<u32>,
    /// The most calls in a period.
    pub rate: Option<RateSettings>,
    /// Whether an event that is done may be posted again, when an operator replays it. The client
    /// ignores this: its caller applies it.
    #[serde(default)]
    pub repeatable: bool,
}

/// A number of calls in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table; write rate = { calls = 5, per = \"1 s\" }"
)]
pub struct RateSettings {
    /// The number of calls.
    pub calls: u32,
    /// The length of the period, such as "1 s".
    pub per: Span,
}

/// A reference to a key to sign with. The key itself is written in base64, with or without the
/// prefix `whsec_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, such as { id = \"one\", env = \"SHOP_KEY\" }"
)]
pub struct Secret {
    /// The name of the key, for messages.
    pub id: String,
    /// The environment variable that contains the key.
    pub env: Option<String>,
    /// The file that contains the key.
    pub file: Option<String>,
    /// Only with `file`: `"any"` declares that the permissions of the file are intended.
    pub mode: Option<AnyMode>,
}

/// Where a secret is written: exactly one of `env` and `file` is set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, such as { env = \"SHOP_TOKEN\" }"
)]
pub struct Reference {
    /// The environment variable that contains the secret.
    pub env: Option<String>,
    /// The file that contains the secret. A relative path is relative to the folder of the config
    /// file.
    pub file: Option<String>,
    /// Only with `file`: `"any"` declares that the permissions of the file are intended.
    pub mode: Option<AnyMode>,
}

/// The only value of `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnyMode {
    /// Any mode of the file is accepted without a warning.
    Any,
}

/// Reads a secret. The program passes the function with which it reads all secrets of the config,
/// so that the same rules hold for all files of secrets. The error is a text for people that does
/// not contain the secret.
pub type ReadSecret<'r> = &'r dyn Fn(&Reference) -> Result<String, String>;

impl Secret {
    pub(crate) fn reference(&self) -> Reference {
        Reference {
            env: self.env.clone(),
            file: self.file.clone(),
            mode: self.mode,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    const WHOLE: &str = r#"{
        "url": "https://orders.example.org/hooks",
        "private_host": "orders.example.org",
        "secrets": [{ "id": "new", "file": "key", "mode": "any" }, { "id": "old", "env": "KEY" }],
        "headers": { "X-Tenant": "a" },
        "secret_headers": { "Authorization": { "env": "TOKEN" } },
        "ca_file": "ca.pem",
        "limits": { "connect": "250 ms", "total": "1 min" },
        "concurrency": 16,
        "rate": { "calls": 100, "per": "1 min" }
    }"#;

    fn wrong(from: &str, to: &str) -> String {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE);
        let read = serde_json::from_str::<Settings>(&text);
        read.unwrap_err().to_string()
    }

    #[test]
    fn settings_are_read() {
        let settings: Settings = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(settings.secrets.len(), 2);
        let reference = settings.secrets[0].reference();
        let expect = (Some("key"), Some(AnyMode::Any));
        assert_eq!((reference.file.as_deref(), reference.mode), expect);
        let connect = Some(Span(Duration::from_millis(250)));
        assert_eq!(settings.limits.connect, connect);
        assert_eq!(settings.limits.first_byte, None);
        let per = Span(Duration::from_secs(60));
        assert_eq!(settings.rate, Some(RateSettings { calls: 100, per }));
        assert_eq!(settings.concurrency, Some(16));
        let least = r#"{ "url": "https://example.org/", "secrets": [] }"#;
        let settings: Settings = serde_json::from_str(least).unwrap();
        assert!(settings.headers.is_empty() && settings.secret_headers.is_empty());
        assert_eq!(settings.limits.total, None);
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_an_example() {
        for (from, to, expect) in [
            (
                r#"{ "calls": 100, "per": "1 min" }"#,
                "\"5/s\"",
                r#"expected a table; write rate = { calls = 5, per = "1 s" }"#,
            ),
            (
                r#"{ "connect": "250 ms", "total": "1 min" }"#,
                "\"5 s\"",
                r#"expected a table, such as { total = "10 s" }"#,
            ),
            (
                r#"{ "env": "TOKEN" }"#,
                "\"TOKEN\"",
                r#"expected a table, such as { env = "SHOP_TOKEN" }"#,
            ),
            (
                r#"{ "id": "old", "env": "KEY" }"#,
                "\"KEY\"",
                r#"expected a table, such as { id = "one", env = "SHOP_KEY" }"#,
            ),
        ] {
            let found = wrong(from, to);
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn a_key_that_does_not_exist_is_refused() {
        for (from, to, why) in [
            ("private_host", "privat_host", "unknown field `privat_host`"),
            ("\"id\"", "\"name\"", "unknown field `name`"),
            ("connect", "conect", "unknown field `conect`"),
            ("calls", "call", "unknown field `call`"),
            ("\"any\"", "\"all\"", "unknown variant `all`"),
            ("250 ms", "250", "\"250\" has no unit"),
        ] {
            let wrong = wrong(from, to);
            assert!(wrong.starts_with(why), "{wrong}");
        }
    }
}
