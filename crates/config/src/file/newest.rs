//! The struct for the `newest` of a `[[route]]`.

use serde::Deserialize;

#[cfg(test)]
use crate::pattern;
#[cfg(test)]
use hookbox_event::VersionKind;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Newest {
    /// The JSON Pointers (RFC 6901) to the values that together are the key, such as `["/uid"]`, 1
    /// to 8. Each value is a text, a number or a boolean. Events with equal values have the same
    /// key.
    #[cfg_attr(test, schemars(
        length(min = 1, max = 8),
        inner(regex(pattern = pattern::POINTER)),
    ))]
    pub key: Vec<String>,
    /// The JSON Pointer to the version of an event.
    #[cfg_attr(test, schemars(regex(pattern = pattern::POINTER)))]
    pub version: String,
    /// What the version is: `integer`, `decimal`, or `rfc3339` (a time). Numbers may be written as
    /// texts.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(extend("enum" = VersionKind::ALL.map(VersionKind::as_str))))]
    pub kind: String,
}
