//! Finds the values that the pointers lead to, while the scanner passes over them.

use super::canonical::{Canonical, Mark, Span, is_value, value_of};
use super::{Extract, Scalar};
use crate::Pointer;

/// An object or array whose end the scanner has not reached yet.
pub(super) enum Open {
    Array {
        index: usize,
        /// The array's place in the tree of conditions; `None` if no condition is on the array or
        /// on a value inside it.
        place: Option<usize>,
    },
    Object {
        /// Where the canonical text of the first member begins.
        start: Mark,
        /// The index of the first member in the scanner's list of members.
        first: usize,
        /// The canonical key of the last member.
        key: Span,
        /// Whether each key so far is greater than the one before it.
        is_sorted: bool,
        /// The object's place in the tree of conditions, as for an array.
        place: Option<usize>,
    },
}

/// A JSON value that contains no other value.
#[derive(Clone, Copy)]
pub(super) enum Leaf {
    /// The content of a string, in canonical form.
    String(Span),
    /// The text of a number.
    Number(Span),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// The pointers, and what was found at each of them so far.
pub(super) struct Extracts<'a> {
    pointers: &'a [&'a Pointer],
    pub found: Vec<Extract>,
}

impl<'a> Extracts<'a> {
    pub fn new(pointers: &'a [&'a Pointer]) -> Self {
        Self {
            pointers,
            found: vec![Extract::Absent; pointers.len()],
        }
    }

    /// Called at the beginning of an object or array, before it is pushed onto the stack.
    pub fn container(&mut self, stack: &[Open], text: &Canonical<'_>) {
        for (pointer, found) in self.pointers.iter().zip(&mut self.found) {
            if is_at(stack, text, pointer) {
                *found = Extract::Container;
            }
        }
    }

    /// Called after a value that contains no other value. Its text is copied only if a pointer
    /// leads to it. `null` is treated like a missing value.
    pub fn leaf(&mut self, stack: &[Open], text: &Canonical<'_>, leaf: Leaf) {
        for (pointer, found) in self.pointers.iter().zip(&mut self.found) {
            if is_at(stack, text, pointer)
                && let Some(scalar) = scalar(text, leaf)
            {
                *found = Extract::Found(scalar);
            }
        }
    }

    /// Marks as ambiguous each pointer that leads through `key`, which occurs twice in the object
    /// that was just closed.
    pub fn ambiguous(&mut self, stack: &[Open], text: &Canonical<'_>, key: Span) {
        let depth = stack.len();
        for (pointer, found) in self.pointers.iter().zip(&mut self.found) {
            let tokens = pointer.tokens();
            let through = tokens.len() > depth && is_value(text.bytes(key), &tokens[depth]);
            if through && leads_to(stack, text, &tokens[..depth]) {
                *found = Extract::Ambiguous;
            }
        }
    }
}

/// Returns whether a pointer leads to the current value.
fn is_at(stack: &[Open], text: &Canonical<'_>, pointer: &Pointer) -> bool {
    let tokens = pointer.tokens();
    tokens.len() == stack.len() && leads_to(stack, text, tokens)
}

/// Returns whether a pointer with these tokens leads through the open objects and arrays.
fn leads_to(stack: &[Open], text: &Canonical<'_>, tokens: &[String]) -> bool {
    stack.iter().zip(tokens).all(|(open, token)| match open {
        Open::Array { index, .. } => Pointer::element_index(token) == Some(*index),
        Open::Object { key, .. } => is_value(text.bytes(*key), token),
    })
}

/// Returns a value as a scalar; `None` for `null` and for a string that contains a lone surrogate.
fn scalar(text: &Canonical<'_>, leaf: Leaf) -> Option<Scalar> {
    match leaf {
        Leaf::String(content) => value_of(text.bytes(content)).map(Scalar::String),
        Leaf::Number(number) => {
            let number = String::from_utf8_lossy(text.bytes(number));
            Some(Scalar::Number(number.into_owned()))
        }
        Leaf::Bool(value) => Some(Scalar::Bool(value)),
        Leaf::Null => None,
    }
}
