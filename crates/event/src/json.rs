//! A small strict JSON scanner (RFC 8259): checks whether a text is JSON, and returns its canonical
//! form and the values at the few places that a config names.
//!
//! hookbox does not parse a body into a tree, for three reasons. The identity of an event must not
//! depend on which of two equal keys a parser keeps; numbers must keep their text; and a hostile
//! body must use neither the call stack nor more memory than its own size. The scanner uses an
//! explicit stack, at most [`DEPTH_MAX`] deep. It never re-serialises a body: bodies are published
//! unchanged.

mod canonical;
mod decimal;
mod integer;
mod scanner;
mod string;

pub use decimal::Decimal;
pub use integer::exact_integer;
pub use scanner::scan;

/// How deep containers may nest. This is the limit of serde_json, which handlers use, so that a
/// handler can parse every body that has an identity.
pub(crate) const DEPTH_MAX: usize = 127;

/// A scalar JSON value to which a pointer leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A string, with its escapes resolved.
    String(String),
    /// A number, as the text in the document.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
}

impl Scalar {
    /// Returns the kind of the value as a word, which is hashed with the value.
    pub fn kind(&self) -> &'static str {
        match self {
            Scalar::String(_) => "string",
            Scalar::Number(_) => "number",
            Scalar::Bool(_) => "bool",
        }
    }

    /// Returns the value as text.
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
    /// The document has no value there, or `null`.
    Absent,
    /// The document has a scalar value there.
    Found(Scalar),
    /// The document has an object or an array there.
    Container,
    /// A key on the path occurs twice, so two readers may see different values.
    Ambiguous,
}

/// The result of scanning a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The canonical text: no white space, members sorted by key, one way to write each string, and
    /// numbers unchanged. Equal keys keep their order.
    pub canonical: Vec<u8>,
    /// What was found at each pointer, in the order of the pointers.
    pub extracts: Vec<Extract>,
}

/// Why a body is not JSON, or JSON that nests too deep. Safe to log: the error never quotes the
/// body.
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
    /// The body nests deeper than a handler could parse.
    #[error("the body nests deeper than {DEPTH_MAX} levels (at byte {at})")]
    TooDeep {
        /// Offset of the container that nests too deep.
        at: usize,
    },
}

#[cfg(test)]
mod tests;
