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
    /// The endpoint is `POST /hooks/NAME`, and its topics begin with the name. 1 to 63 characters
    /// of a-z, 0-9, `-` and `_`, of which the first is a letter or digit.
    #[cfg_attr(test, schemars(regex(pattern = pattern::NAME)))]
    pub name: String,
    /// A provider that hookbox knows; provides the defaults of the other keys.
    #[cfg_attr(test, schemars(extend("enum" = Preset::NAMES)))]
    pub preset: Option<String>,
    /// Keys, several while one takes over from another. To rotate: add the new one, give the old
    /// one an `until`, and send SIGHUP. A source whose last one has ended answers 503 with
    /// `Retry-After`, so that senders try again, and is red at `/readyz` of the listener for
    /// metrics; from 14 days before, that says so, as does the log once a day.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub secrets: Vec<Secret>,
    /// `"provider"`: the provider makes the keys, so that one of under 24 bytes is not warned of
    /// (one of under 8 is refused all the same).
    #[cfg_attr(test, schemars(extend("enum" = ["provider"])))]
    pub secrets_made_by: Option<String>,
    /// How the sender signs: `hmac` or `standard-webhooks`.
    ///
    /// Default: the preset's.
    #[cfg_attr(test, schemars(extend("enum" = ["hmac", "standard-webhooks"])))]
    pub scheme: Option<String>,
    /// `hmac`: the header with the signature.
    ///
    /// Default: the preset's.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub header: Option<String>,
    /// `hmac`: the hash, `sha256` or `sha512`.
    ///
    /// Default: the preset's.
    #[cfg_attr(test, schemars(extend("enum" = ["sha256", "sha512"])))]
    pub algorithm: Option<String>,
    /// `hmac`: how the signature is written: `hex` (lower case alone), `hex-any-case` (upper case,
    /// too, for senders that write it or whose documentation does not say), or `base64`.
    ///
    /// Default: the preset's, or `hex`.
    #[cfg_attr(test, schemars(extend("enum" = ["hex", "hex-any-case", "base64"])))]
    pub encoding: Option<String>,
    /// `hmac`: what stands before the signature, such as `sha256=`.
    ///
    /// Default: the preset's, or none.
    pub prefix: Option<String>,
    /// `hmac`: a header with Unix seconds that is signed with the body.
    ///
    /// Default: the preset's, or none.
    pub timestamp: Option<Timestamp>,
    /// `standard-webhooks`: how far its timestamp may be from now.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(scheme::TOLERANCE)),
    ))]
    pub tolerance: Option<String>,
    /// The field that holds the JSON where the provider posts a form
    /// (`application/x-www-form-urlencoded`), see "Forms".
    ///
    /// Default: the preset's, or none.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub form: Option<String>,
    /// What a sender gets for a signature that does not verify.
    ///
    /// Default: the preset's.
    #[serde(default)]
    pub answer: Answer,
    /// Where the event type is: a JSON Pointer into the body, or `{ header, pointer }`. The topic
    /// is `NAME.TYPE`, see "Topics".
    ///
    /// Default: the preset's, or none.
    pub topic: Option<Topic>,
    /// What identifies an event: JSON Pointers to values of the body, together (at most 8);
    /// `"body"`, what the whole body says; or `{ header, with = "body" }`, a header together with
    /// the body. See "Which event it is".
    ///
    /// Default: the preset's, or the signed message id, or else what the body says.
    pub identity: Option<Identity>,
    /// What to do with another body under a known event id: `dead_letter`, `process` (as an event
    /// of its own), `duplicate` (the id decides, see "Another body under a known id"), or a list of
    /// `{ topics, action }`, the first match counts.
    ///
    /// Default: the preset's, or `dead_letter`.
    pub on_conflict: Option<OnConflict>,
    /// A folder of JSON Schemas, `TYPE.json` for an event type and `unknown.json` for every other;
    /// it overrides the preset's own. An event that breaks its schema is kept as a dead letter; see
    /// "Schemas".
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
    /// What stands between the timestamp and the body.
    #[cfg_attr(test, schemars(extend("default" = scheme::SEPARATOR)))]
    pub separator: Option<String>,
    /// How far the timestamp may be from now.
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
    /// A name of at most 64 characters; recorded with every receipt that the key verified.
    #[cfg_attr(test, schemars(length(min = 1, max = 64)))]
    pub id: String,
    /// The name of an environment variable; either this or `file` is needed.
    #[cfg_attr(test, schemars(regex(pattern = pattern::VARIABLE)))]
    pub env: Option<String>,
    /// A file, relative to the config's folder.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub file: Option<String>,
    /// Beside `file`: as in a reference, see "Secrets".
    #[cfg_attr(test, schemars(extend("enum" = ["any"])))]
    pub mode: Option<String>,
    /// A moment with its offset (RFC 3339), from which on the key is not valid.
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
    /// The header with the event type. It is part of the event id.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub header: String,
    /// Where the body has a text that is the last part of the type.
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
    /// What is signed and identifies an event together with the header; can only be `"body"`.
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
    /// A `detail` in the body.
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
