//! A body in the form in which its JSON Schema is applied to it (an "instance"). Its numbers are
//! exact, and not rounded to floats.
//!
//! serde_json's feature `arbitrary_precision` is not used: a feature applies to the whole program,
//! and with this one a handler's payload that is untagged or has `#[serde(flatten)]` cannot read
//! numbers.

mod number;
pub(crate) mod reader;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity};
use serde_json::Value;

use number::Number;

/// One value of a body.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Instance {
    pub kind: Kind,
    /// Where the text of the value begins and ends in the body, in bytes.
    pub start: usize,
    pub end: usize,
}

/// The kind of a JSON value in a body, with its content.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Kind {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    /// A string with half of a surrogate pair. No schema is applied to a body with such a string.
    LoneSurrogate,
    Array(Vec<Instance>),
    Object(Object),
}

type Members = BTreeMap<String, Instance>;

/// A JSON object of a body.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Object {
    /// The members by name. Of several members with the same name the last one counts, as in
    /// serde_json.
    pub members: Members,
    /// The names that more than one member of this object has.
    pub repeated: Vec<String>,
}

/// The error for a string with half of a surrogate pair, which is not valid Unicode text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has a string that is not Unicode text (a lone surrogate)")]
pub(crate) struct LoneSurrogate;

/// The type parameter with which a validator of the `jsonschema` crate reads an [`Instance`] in
/// place of a `serde_json::Value`.
pub(crate) struct Exact;

impl Instance {
    pub fn object(&self) -> Option<&Object> {
        match &self.kind {
            Kind::Object(object) => Some(object),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::LoneSurrogate
            | Kind::Array(_) => None,
        }
    }

    /// Returns the text of a string; `None` for any other value.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::LoneSurrogate
            | Kind::Array(_)
            | Kind::Object(_) => None,
        }
    }
}

impl Object {
    /// Adds a member. Returns whether the object had a member of that name already.
    pub fn insert(&mut self, name: String, value: Instance) -> bool {
        match self.members.entry(name) {
            Entry::Vacant(place) => {
                place.insert(value);
                false
            }
            Entry::Occupied(mut place) => {
                self.repeated.push(place.key().clone());
                place.insert(value);
                true
            }
        }
    }
}

impl Json for Exact {
    type Node<'a> = &'a Instance;
    type PreparedKey = String;
    type StringBuffer = Instance;

    // How many comparisons of keys one lookup counts as. The schema checker scans all members
    // instead of looking up keys if a scan needs fewer comparisons. A lookup in a `BTreeMap`
    // compares the key with several others, so it counts as more than one.
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
        buffer.kind = Kind::String(string.to_owned());
        f(buffer)
    }
}

impl<'a> Node<'a, Exact> for &'a Instance {
    type Object = &'a Members;
    type Array = &'a [Instance];
    type Number = &'a Number;

    fn as_object(&self) -> Option<&'a Members> {
        self.object().map(|object| &object.members)
    }

    fn as_array(&self) -> Option<&'a [Instance]> {
        match &self.kind {
            Kind::Array(elements) => Some(elements),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::LoneSurrogate
            | Kind::Object(_) => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.text().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        match &self.kind {
            Kind::Number(number) => Some(number),
            Kind::Null
            | Kind::Bool(_)
            | Kind::String(_)
            | Kind::LoneSurrogate
            | Kind::Array(_)
            | Kind::Object(_) => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self.kind {
            Kind::Bool(value) => Some(value),
            Kind::Null
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::LoneSurrogate
            | Kind::Array(_)
            | Kind::Object(_) => None,
        }
    }

    fn is_null(&self) -> bool {
        self.json_type() == JsonType::Null
    }

    fn json_type(&self) -> JsonType {
        match self.kind {
            Kind::Null => JsonType::Null,
            Kind::Bool(_) => JsonType::Boolean,
            Kind::Number(_) => JsonType::Number,
            Kind::String(_) | Kind::LoneSurrogate => JsonType::String,
            Kind::Array(_) => JsonType::Array,
            Kind::Object(_) => JsonType::Object,
        }
    }

    /// Compares this value with a value of the schema. The default method would first copy this
    /// value, once for each choice of an `enum`.
    fn equals_value(&self, expected: &Value) -> bool {
        match &self.kind {
            Kind::Null => expected.is_null(),
            Kind::Bool(own) => expected.as_bool() == Some(*own),
            Kind::Number(own) => expected.as_number().is_some_and(|it| own.equals(it)),
            Kind::String(own) => expected.as_str() == Some(own),
            // A `Value` holds only Unicode text.
            Kind::LoneSurrogate => false,
            Kind::Array(own) => expected.as_array().is_some_and(|expected| {
                let mut pairs = own.iter().zip(expected);
                own.len() == expected.len() && pairs.all(|(own, it)| own.equals_value(it))
            }),
            Kind::Object(own) => expected.as_object().is_some_and(|expected| {
                let own = &own.members;
                let is_there = |(key, own): (&String, &Instance)| {
                    expected.get(key).is_some_and(|it| own.equals_value(it))
                };
                own.len() == expected.len() && own.iter().all(is_there)
            }),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match &self.kind {
            Kind::Null | Kind::LoneSurrogate => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => Value::Number(number.nearest().clone()),
            Kind::String(text) => Value::String(text.clone()),
            Kind::Array(elements) => {
                let copies = elements.iter().map(|it| it.to_value().into_owned());
                Value::Array(copies.collect())
            }
            Kind::Object(object) => {
                let copies = object.members.iter();
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

impl<'a> jsonschema::json::Object<'a, Exact> for &'a Members {
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
