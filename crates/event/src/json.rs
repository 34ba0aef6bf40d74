//! A small strict JSON scanner (RFC 8259): whether a text is JSON, its canonical form, and the
//! values at the few places that a config names.
//!
//! Why not a parser into a tree: the identity of an event must not depend on which of two equal
//! keys a parser keeps, numbers must keep their text, and a hostile body must cost neither stack
//! nor more memory than its own size. The scanner uses a stack of its own, at most [`DEPTH_MAX`]
//! deep, and never re-serialises what travels: bodies are passed on unchanged.

mod canonical;
mod decimal;
mod integer;
mod scanner;
mod string;

pub use decimal::Decimal;
pub use integer::exact_integer;
pub use scanner::scan;

/// How deep containers may nest: the limit of serde_json, which handlers use next, so that a body
/// with an identity can be parsed there.
pub(crate) const DEPTH_MAX: usize = 127;

/// A scalar value at a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A string, unescaped.
    String(String),
    /// A number, by its text.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
}

impl Scalar {
    /// What kind of value it is, for hashing.
    pub fn kind(&self) -> &'static str {
        match self {
            Scalar::String(_) => "string",
            Scalar::Number(_) => "number",
            Scalar::Bool(_) => "bool",
        }
    }

    /// The value as text.
    pub fn text(&self) -> &str {
        match self {
            Scalar::String(text) | Scalar::Number(text) => text,
            Scalar::Bool(true) => "true",
            Scalar::Bool(false) => "false",
        }
    }
}

/// What was found at one pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extract {
    /// Nothing, or `null`.
    Absent,
    /// A scalar.
    Found(Scalar),
    /// An object or an array.
    Container,
    /// The path has a key twice, so that two readers may see different values.
    Ambiguous,
}

/// A JSON document, scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The canonical text: no white space, members sorted by key, one way to write a string,
    /// numbers unchanged. Equal keys keep their order.
    pub canonical: Vec<u8>,
    /// The value at each pointer, in the order of the pointers.
    pub extracts: Vec<Extract>,
}

/// Why a body is not JSON that can be identified by its fields. Safe to log: it never quotes the
/// body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not UTF-8 (RFC 8259 §8.1).
    #[error("the body is not UTF-8 (first at byte {at})")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// It breaks the grammar.
    #[error("the body is not JSON (at byte {at})")]
    Syntax {
        /// Offset of the byte that does not fit.
        at: usize,
    },
    /// It nests deeper than any handler could read.
    #[error("the body nests deeper than {DEPTH_MAX} levels (at byte {at})")]
    TooDeep {
        /// Offset of the container that is too deep.
        at: usize,
    },
}

#[cfg(test)]
mod tests;
