//! A body in the form in which its JSON Schema is applied to it (an "instance"). Its numbers are
//! exact, and not rounded to floats.
//!
//! serde_json's feature `arbitrary_precision` is not used: a feature applies to the whole program,
//! and with this one no `#[serde(flatten)]` or untagged payload of a handler can read a number.

mod number;
mod reader;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object};
use serde_json::Value;

use number::Number;

/// One value of a body.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Instance {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Instance>),
    /// The members of an object. Of several members with the same key the last one counts, as in
    /// serde_json.
    Object(Members),
}

type Members = BTreeMap<String, Instance>;

/// The error for a string with half of a surrogate pair, which is not valid Unicode text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has a string that is no Unicode text (a lone surrogate)")]
pub(crate) struct LoneSurrogate;

/// The type parameter with which a validator of the `jsonschema` crate reads an [`Instance`] in
/// place of a `serde_json::Value`.
pub(crate) struct Exact;

impl Json for Exact {
    type Node<'a> = &'a Instance;
    type PreparedKey = String;
    type StringBuffer = Instance;

    // The schema checker scans all members instead of looking up keys if that compares fewer keys.
    // This constant says how many comparisons one lookup is worth. A lookup in a `BTreeMap`
    // compares the key with several others, so it is worth more than one.
    const KEYS_PER_LOOKUP: usize = 2;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(
        buffer: &mut Instance,
        string: &str,
        f: impl FnOnce(&Instance) -> T,
    ) -> T {
        *buffer = Instance::String(string.to_owned());
        f(buffer)
    }
}

impl<'a> Node<'a, Exact> for &'a Instance {
    type Object = &'a Members;
    type Array = &'a [Instance];
    type Number = &'a Number;

    fn as_object(&self) -> Option<&'a Members> {
        match self {
            Instance::Object(members) => Some(members),
            Instance::Null
            | Instance::Bool(_)
            | Instance::Number(_)
            | Instance::String(_)
            | Instance::Array(_) => None,
        }
    }

    fn as_array(&self) -> Option<&'a [Instance]> {
        match self {
            Instance::Array(elements) => Some(elements),
            Instance::Null
            | Instance::Bool(_)
            | Instance::Number(_)
            | Instance::String(_)
            | Instance::Object(_) => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self {
            Instance::String(text) => Some(Cow::Borrowed(text)),
            Instance::Null
            | Instance::Bool(_)
            | Instance::Number(_)
            | Instance::Array(_)
            | Instance::Object(_) => None,
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self {
            Instance::Number(number) => Some(number),
            Instance::Null
            | Instance::Bool(_)
            | Instance::String(_)
            | Instance::Array(_)
            | Instance::Object(_) => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self {
            Instance::Bool(value) => Some(*value),
            Instance::Null
            | Instance::Number(_)
            | Instance::String(_)
            | Instance::Array(_)
            | Instance::Object(_) => None,
        }
    }

    fn is_null(&self) -> bool {
        self.json_type() == JsonType::Null
    }

    fn json_type(&self) -> JsonType {
        match self {
            Instance::Null => JsonType::Null,
            Instance::Bool(_) => JsonType::Boolean,
            Instance::Number(_) => JsonType::Number,
            Instance::String(_) => JsonType::String,
            Instance::Array(_) => JsonType::Array,
            Instance::Object(_) => JsonType::Object,
        }
    }

    /// Compares without a copy. The default method would copy the value for each choice of an
    /// `enum`.
    fn equals_value(&self, expected: &Value) -> bool {
        match self {
            Instance::Null => expected.is_null(),
            Instance::Bool(own) => expected.as_bool() == Some(*own),
            Instance::Number(own) => expected.as_number().is_some_and(|it| own.equals(it)),
            Instance::String(own) => expected.as_str() == Some(own),
            Instance::Array(own) => expected.as_array().is_some_and(|expected| {
                let mut pairs = own.iter().zip(expected);
                own.len() == expected.len() && pairs.all(|(own, it)| own.equals_value(it))
            }),
            Instance::Object(own) => expected.as_object().is_some_and(|expected| {
                let is_there = |(key, own): (&String, &Instance)| {
                    expected.get(key).is_some_and(|it| own.equals_value(it))
                };
                own.len() == expected.len() && own.iter().all(is_there)
            }),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self {
            Instance::Null => Value::Null,
            Instance::Bool(value) => Value::Bool(*value),
            Instance::Number(number) => Value::Number(number.nearest().clone()),
            Instance::String(text) => Value::String(text.clone()),
            Instance::Array(elements) => {
                let copies = elements.iter().map(|it| it.to_value().into_owned());
                Value::Array(copies.collect())
            }
            Instance::Object(members) => {
                let copies = members.iter();
                let copies = copies.map(|(key, it)| (key.clone(), it.to_value().into_owned()));
                Value::Object(copies.collect())
            }
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        let address = std::ptr::from_ref::<Instance>(self).addr();
        Some(NodeIdentity::new(address))
    }
}

impl<'a> Object<'a, Exact> for &'a Members {
    type Node = &'a Instance;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        Members::len(self)
    }

    fn get(&self, key: &String) -> Option<&'a Instance> {
        Members::get(self, key)
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter(self.iter())
    }
}

impl<'a> Array<'a, Exact> for &'a [Instance] {
    type Node = &'a Instance;
    type ElementsIter = std::slice::Iter<'a, Instance>;

    fn len(&self) -> usize {
        <[Instance]>::len(self)
    }

    fn elements(&self) -> Self::ElementsIter {
        self.iter()
    }
}

/// Iterates over the members of an object in the order of their names.
pub(crate) struct MembersIter<'a>(std::collections::btree_map::Iter<'a, String, Instance>);

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, &'a Instance);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_str(), value))
    }
}

#[cfg(test)]
mod tests;
