//! The struct for one condition in the `where` of a `[[route]]`.

use serde::Deserialize;

#[cfg(test)]
use crate::pattern;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The JSON Pointer (RFC 6901) to the value, such as `/event/type`, at most 512 bytes. A
    /// condition has exactly one of the other keys.
    #[cfg_attr(test, schemars(regex(pattern = pattern::POINTER)))]
    pub pointer: String,
    /// The value is equal to this text, number or boolean. Numbers are equal by their exact values:
    /// `1`, `1.0` and `1e0` are one number.
    pub equals: Option<Scalar>,
    /// The value is equal to one of the values in this list, at most 100.
    #[serde(rename = "in")]
    pub one_of: Option<Vec<Scalar>>,
    /// `true`: the body has a value at the pointer, which may be `null`, an object or an array.
    /// `false`: the body has no value there.
    pub exists: Option<bool>,
    /// `true`: the value is `null`. `false`: the body has a value at the pointer that is not
    /// `null`.
    pub null: Option<bool>,
    /// The value is a text that begins with this text.
    pub prefix: Option<String>,
    /// The value is a number less than this number.
    pub less: Option<serde_json::Number>,
    /// The value is a number greater than this number.
    pub greater: Option<serde_json::Number>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(inline, extend("type" = ["string", "number", "boolean"])))]
#[serde(transparent)]
pub struct Scalar(pub serde_json::Value);
