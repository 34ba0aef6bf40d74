//! The structs for `[[source]]`.

use serde::Deserialize;

#[cfg(test)]
use crate::{pattern, scheme, units::duration_text};
#[cfg(test)]
use hookbox_signature::Preset;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name of the source. Its endpoint is `POST /hooks/NAME`, and the topics of its events
    /// begin with the name. 1 to 63 characters of a-z, 0-9, `-` and `_`, of which the first is a
    /// letter or digit.
    #[cfg_attr(test, schemars(regex(pattern = pattern::NAME)))]
    pub name: String,
    /// A provider that hookbox knows. The preset provides the defaults of the other keys.
    #[cfg_attr(test, schemars(extend("enum" = Preset::NAMES)))]
    pub preset: Option<String>,
    /// The keys that verify requests; several while one replaces another. To rotate: add the new
    /// key, give the old one an `until`, and send SIGHUP. A source whose last key has expired
    /// answers 503 with `Retry-After`, so that senders try again, and turns `/readyz` of the
    /// listener for metrics red. From 14 days before, `/readyz` warns about this, and so does the
    /// log once a day.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub secrets: Vec<Secret>,
    /// `"provider"` declares that the provider makes the keys. A key of less than 24 bytes then
    /// causes no warning; a key of less than 8 bytes is refused all the same.
    #[cfg_attr(test, schemars(extend("enum" = ["provider"])))]
    pub secrets_made_by: Option<String>,
    /// How the sender signs: `hmac` or `standard-webhooks`.
    ///
    /// Default: the preset's.
    #[cfg_attr(test, schemars(extend("enum" = ["hmac", "standard-webhooks"])))]
    pub scheme: Option<String>,
    /// For `hmac`: the header with the signature.
    ///
    /// Default: the preset's.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub header: Option<String>,
    /// For `hmac`: the hash function, `sha256` or `sha512`.
    ///
    /// Default: the preset's.
    #[cfg_attr(test, schemars(extend("enum" = ["sha256", "sha512"])))]
    pub algorithm: Option<String>,
    /// For `hmac`: how the signature is written: `hex` (only lower case), `hex-any-case` (also
    /// upper case, for senders that write it or whose documentation does not say), or `base64`.
    ///
    /// Default: the preset's, or `hex`.
    #[cfg_attr(test, schemars(extend("enum" = ["hex", "hex-any-case", "base64"])))]
    pub encoding: Option<String>,
    /// For `hmac`: the text before the signature in its header, such as `sha256=`.
    ///
    /// Default: the preset's, or none.
    pub prefix: Option<String>,
    /// For `hmac`: a header with a time in Unix seconds, which is signed together with the body.
    ///
    /// Default: the preset's, or none.
    pub timestamp: Option<Timestamp>,
    /// For `standard-webhooks`: how far the timestamp of a request may differ from now.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(scheme::TOLERANCE)),
    ))]
    pub tolerance: Option<String>,
    /// If the provider posts a form (`application/x-www-form-urlencoded`): the field that contains
    /// the JSON. See "Forms".
    ///
    /// Default: the preset's, or none.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub form: Option<String>,
    /// The answer to a request whose signature does not verify.
    ///
    /// Default: the preset's.
    #[serde(default)]
    pub answer: Answer,
    /// Where a request names its event type: a JSON Pointer into the body, or
    /// `{ header, pointer }`. The topic is `NAME.TYPE`: see "Topics".
    ///
    /// Default: the preset's, or none.
    pub topic: Option<Topic>,
    /// What identifies an event: at most 8 JSON Pointers to values of the body, which identify the
    /// event together; `"body"`, for what the whole body says; or `{ header, with = "body" }`, for
    /// a header together with the body. See "Which event it is".
    ///
    /// Default: the preset's, or the signed message id, or else what the body says.
    pub identity: Option<Identity>,
    /// What to do with a conflict (another body under a known event id): `dead_letter`, `process`
    /// (as an event of its own), `duplicate` (only the id counts, see "Another body under a known
    /// id"), or a list of `{ topics, action }`, of which the first match counts.
    ///
    /// Default: the preset's, or `dead_letter`.
    pub on_conflict: Option<OnConflict>,
    /// A folder of JSON Schemas: `TYPE.json` for one event type, and `unknown.json` for every other
    /// type. They replace the JSON Schemas of the preset. An event that violates its schema is
    /// stored as a dead letter: see "Schemas".
    ///
    /// Default: the preset's, or none.
    pub schemas: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    /// The header's name.
    pub header: String,
    /// The text between the timestamp and the body when they are signed.
    #[cfg_attr(test, schemars(extend("default" = scheme::SEPARATOR)))]
    pub separator: Option<String>,
    /// How far the timestamp may differ from now.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(scheme::TOLERANCE)),
    ))]
    pub tolerance: Option<String>,
}

#[derive(Deserialize, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// A name of at most 64 characters. It is recorded with every receipt that the key verified.
    #[cfg_attr(test, schemars(length(min = 1, max = 64)))]
    pub id: String,
    /// The name of an environment variable that contains the key. Either this or `file` is needed.
    #[cfg_attr(test, schemars(regex(pattern = pattern::VARIABLE)))]
    pub env: Option<String>,
    /// The path of a file that contains the key, relative to the config's folder.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub file: Option<String>,
    /// Only with `file`: as in a reference to a secret, see "Secrets".
    #[cfg_attr(test, schemars(extend("enum" = ["any"])))]
    pub mode: Option<String>,
    /// The time (RFC 3339, with an offset) from which on the key is no longer valid.
    pub until: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(untagged)]
pub enum Topic {
    Pointer(#[cfg_attr(test, schemars(regex(pattern = pattern::POINTER)))] String),
    Header(TopicHeader),
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct TopicHeader {
    /// The name of the header with the event type. The event type is part of the event id.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub header: String,
    /// A JSON Pointer to a text in the body that is the last part of the event type.
    #[cfg_attr(test, schemars(regex(pattern = pattern::POINTER)))]
    pub pointer: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(untagged)]
pub enum Identity {
    Word(Word),
    Pointers(
        #[cfg_attr(test, schemars(
            length(min = 1, max = 8),
            inner(regex(pattern = pattern::POINTER)),
        ))]
        Vec<String>,
    ),
    Header(IdentityHeader),
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct IdentityHeader {
    /// The header in which the provider numbers its deliveries. It is not signed.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub header: String,
    /// The signed part of a request that identifies an event together with the header: only
    /// `"body"` is possible.
    #[serde(rename = "with")]
    pub _with: Word,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Body,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// 400, 401 or 403.
    ///
    /// Default: the preset's, or 401.
    #[cfg_attr(test, schemars(extend("enum" = [400, 401, 403])))]
    pub signature_status: Option<u16>,
    /// The text of `detail` in the body of the answer.
    ///
    /// Default: the preset's, or none.
    pub signature_detail: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(untagged)]
pub enum OnConflict {
    All(
        #[cfg_attr(test, schemars(extend("enum" = ["dead_letter", "process", "duplicate"])))]
        String,
    ),
    Rules(#[cfg_attr(test, schemars(length(min = 1)))] Vec<ConflictRule>),
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct ConflictRule {
    /// Patterns of topics, as in a route.
    #[cfg_attr(test, schemars(length(min = 1), inner(length(min = 1))))]
    pub topics: Vec<String>,
    /// `dead_letter`, `process` or `duplicate`.
    #[cfg_attr(test, schemars(extend("enum" = ["dead_letter", "process", "duplicate"])))]
    pub action: String,
}
