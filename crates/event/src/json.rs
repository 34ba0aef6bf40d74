//! A small, strict JSON scanner (RFC 8259). It checks whether a body is JSON, and returns its
//! canonical form and the values at the few JSON Pointers that a config names. In the same pass it
//! decides the conditions that a config sets on values of the body.
//!
//! hookbox does not parse a body into a tree, for three reasons: the identity of an event must not
//! depend on which of two equal keys a parser keeps; numbers must keep their text; and a hostile
//! body must not use up the call stack, or memory out of proportion to its size. So the scanner
//! uses a stack of its own, which is at most [`DEPTH_MAX`] deep. A body itself is published
//! unchanged. Its canonical form is only hashed, so ingest does not write the form out: it hashes
//! it in parts, most of which are bytes of the body.

mod canonical;
mod compare;
mod condition;
mod conditions;
mod decimal;
mod extracts;
mod integer;
mod number;
mod scanner;
mod string;

pub use condition::{Condition, ExactNumber, InvalidNumber, Literal, Test};
pub use conditions::Conditions;
pub use decimal::Decimal;
pub use integer::exact_integer;
pub use number::number_end;
pub use scanner::{decide_conditions, digest_json, scan};

use crate::ContentDigest;

/// How deep objects and arrays may be nested. serde_json, which handlers use, has the same limit,
/// so a handler can parse every body that the scanner accepts as JSON.
pub(crate) const DEPTH_MAX: usize = 127;

/// A scalar JSON value to which a pointer leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A string, with its escapes resolved.
    String(String),
    /// A number, as its text in the document.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
}

impl Scalar {
    /// Returns the kind of the value, such as "string". It is hashed together with the value, so
    /// that the string `"1"` and the number `1` differ.
    pub fn kind(&self) -> &'static str {
        match self {
            Scalar::String(_) => "string",
            Scalar::Number(_) => "number",
            Scalar::Bool(_) => "bool",
        }
    }

    /// Returns the value as text, without quotes.
    pub fn text(&self) -> &str {
        match self {
            Scalar::String(text) | Scalar::Number(text) => text,
            Scalar::Bool(true) => "true",
            Scalar::Bool(false) => "false",
        }
    }
}

/// What the scanner found at one pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extract {
    /// The document has no value at the pointer, or the value `null`.
    Absent,
    /// The document has a string, a number or a boolean at the pointer.
    Found(Scalar),
    /// The document has an object or an array at the pointer.
    Container,
    /// A key on the path of the pointer occurs twice in its object, so two parsers may see
    /// different values.
    Ambiguous,
}

/// The result of scanning a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The canonical form: no white space, members sorted by key, one way to write each string, and
    /// numbers unchanged. Members with equal keys keep their order.
    pub canonical: Vec<u8>,
    /// What was found at each pointer, in the order of the pointers.
    pub extracts: Vec<Extract>,
}

/// The content digest of a JSON document, the values that a config names, and what was decided
/// about the conditions of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestedJson {
    /// The content digest.
    pub digest: ContentDigest,
    /// What was found at each pointer, in the order of the pointers.
    pub extracts: Vec<Extract>,
    /// Whether each condition holds, in the order of the conditions.
    pub holds: Vec<bool>,
}

/// Why a body is not JSON, or why its JSON is refused. Safe to log, because the error never quotes
/// the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The body is not UTF-8 (RFC 8259 §8.1).
    #[error("the body is not UTF-8 (first at byte {at})")]
    NotUtf8 {
        /// Offset of the first byte that is not UTF-8.
        at: usize,
    },
    /// The body breaks the grammar of JSON.
    #[error("the body is not JSON (at byte {at})")]
    Syntax {
        /// Offset of the byte that breaks the grammar.
        at: usize,
    },
    /// The body is nested so deep that a handler could not parse it.
    #[error("the body nests deeper than {DEPTH_MAX} levels (at byte {at})")]
    TooDeep {
        /// Offset of the object or array that is nested too deep.
        at: usize,
    },
}

#[cfg(test)]
mod tests;
