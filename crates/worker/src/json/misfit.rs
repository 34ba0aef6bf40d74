//! Finds where a body does not fit a type that serde deserializes, and what the type expects there.
//!
//! The errors of serde_json do not name the place, and they quote the value, which may be personal
//! data. So a body that serde_json has refused is read once more by the deserializer of this file.
//! Its errors name the place and what the type expects there. Of the body, they contain only the
//! names of members that the type itself declares.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::deserializer::OF_SERDE_JSON;
use super::{Json, JsonValue};
use crate::instance::{Instance, Kind, Object};

/// Stands in a path for the name of a member that the type does not declare, such as a key of a
/// map. The sender chooses such a name. If the path contained it, each body could make a group of
/// dead letters of its own.
const ANY_NAME: &str = "*";

/// Where a body does not fit a type, and what the type expects there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The escaped tokens of the JSON Pointer to the place, in reverse order.
    at: Vec<String>,
    what: What,
}

/// What is wrong at a place of the body.
#[derive(Debug, PartialEq, Eq)]
enum What {
    /// The member at this place is missing.
    Missing,
    /// The object has several members with the name of this place.
    Repeated,
    /// The type expects another value, which this text describes. The text comes from the type.
    Expected(String),
    /// The type expects another name of a member, which this text describes.
    ExpectedName(String),
    /// The value is none of these words, which the type expects.
    OneOf(&'static [&'static str]),
    /// A member has a name that the type does not accept.
    UnknownMember,
    /// The array has more elements than the type accepts.
    TooLong,
    /// The type has refused the value with an error of its own, whose text may quote the value.
    Refused,
}

impl Json {
    /// Returns the first place where the body does not fit a type. Returns `None` if it fits, or if
    /// only serde_json knows why it does not.
    pub(crate) fn misfit<T: DeserializeOwned>(&self) -> Option<Misfit> {
        T::deserialize(Place(self.root())).err()
    }
}

impl Misfit {
    fn new(what: What) -> Self {
        let at = Vec::new();
        Self { at, what }
    }

    /// Adds the name of the member, or the index of the element, in which the place is.
    fn within(mut self, token: &str) -> Self {
        self.at.push(token.replace('~', "~0").replace('/', "~1"));
        self
    }

    /// Converts the error for a value into the error for the name of a member.
    fn of_name(mut self) -> Self {
        if let What::Expected(expected) = self.what {
            self.what = What::ExpectedName(expected);
        }
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str("the body")?;
        }
        for token in self.at.iter().rev() {
            write!(f, "/{token}")?;
        }
        match &self.what {
            What::Missing => f.write_str(": it is missing"),
            What::Repeated => f.write_str(": it occurs twice"),
            What::Expected(expected) => write!(f, ": expected {expected}"),
            What::ExpectedName(expected) => {
                write!(f, ": expected names of members that are {expected}")
            }
            What::OneOf(words) => {
                // Backticks, unlike other quotes, keep the words in the cause by which dead letters
                // are grouped.
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                write!(f, ": expected one of {}", words.join(", "))
            }
            What::UnknownMember => {
                f.write_str(": it has a member that the handler does not accept")
            }
            What::TooLong => f.write_str(": it has too many elements"),
            What::Refused => f.write_str(": the type of the handler refuses the value"),
        }
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new(What::Refused)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::OneOf(expected))
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(What::UnknownMember)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing).within(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(What::Repeated).within(field)
    }
}

/// Lets serde_json deserialize a value from its text. If serde_json refuses the text, the error
/// says what the visitor expects.
macro_rules! by_serde_json {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
                let expected = expected_by(&visitor);
                let read = serde_json::Deserializer::from_str(self.text()).$method(visitor);
                read.map_err(|_| expected)
            }
        )*
    };
}

fn expected_by<'de, V: Visitor<'de>>(visitor: &V) -> Misfit {
    let expected: &dyn Expected = visitor;
    Misfit::new(What::Expected(expected.to_string()))
}

/// A value of the body.
struct Place<'de>(JsonValue<'de>);

impl<'de> Place<'de> {
    fn text(&self) -> &'de str {
        self.0.raw()
    }

    /// Returns the members of an object. `declared` are the names that the type declares.
    fn members(&self, object: &'de Object, declared: &'static [&'static str]) -> Members<'de> {
        // The members are visited in the order of the body, as serde_json does.
        let mut members: Vec<_> = object.members.iter().collect();
        members.sort_unstable_by_key(|(_, value)| value.start);
        Members {
            body: self.0.body,
            rest: members.into_iter(),
            value: None,
            declared,
        }
    }

    fn any_by_serde_json<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let expected = expected_by(&visitor);
        let read = serde_json::Deserializer::from_str(self.text()).deserialize_any(visitor);
        read.map_err(|_| expected)
    }
}

impl<'de> Deserializer<'de> for Place<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.instance.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::String(text) => visitor.visit_borrowed_str(text),
            Kind::Array(elements) => {
                let mut elements = Elements {
                    body: self.0.body,
                    rest: elements.iter().enumerate(),
                };
                let value = visitor.visit_seq(&mut elements)?;
                match elements.rest.next() {
                    None => Ok(value),
                    Some(_) => Err(Misfit::new(What::TooLong)),
                }
            }
            Kind::Object(object) => visitor.visit_map(self.members(object, &[])),
            Kind::Number(_) | Kind::LoneSurrogate => self.any_by_serde_json(visitor),
        }
    }

    by_serde_json! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_bytes
        deserialize_byte_buf deserialize_unit
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if !name.starts_with(OF_SERDE_JSON) {
            return visitor.visit_newtype_struct(self);
        }
        let expected = expected_by(&visitor);
        let read = serde_json::Deserializer::from_str(self.text())
            .deserialize_newtype_struct(name, visitor);
        read.map_err(|_| expected)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0.instance.object() {
            Some(object) => visitor.visit_map(self.members(object, fields)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if let Some(text) = self.0.as_str() {
            return visitor.visit_enum(text.into_deserializer());
        }
        match self.0.instance.object() {
            Some(object) if object.members.len() == 1 => {
                let members = self.members(object, variants);
                visitor.visit_enum(MapAccessDeserializer::new(members))
            }
            Some(_) | None => Err(Misfit::new(What::OneOf(variants))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        str string identifier unit_struct seq tuple tuple_struct map
    }
}

/// The elements of an array that the type has not taken yet.
struct Elements<'de> {
    body: &'de [u8],
    rest: std::iter::Enumerate<std::slice::Iter<'de, Instance>>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some((index, instance)) = self.rest.next() else {
            return Ok(None);
        };
        let body = self.body;
        let read = seed.deserialize(Place(JsonValue { body, instance }));
        read.map(Some)
            .map_err(|misfit| misfit.within(&index.to_string()))
    }
}

/// The members of an object that the type has not taken yet.
struct Members<'de> {
    body: &'de [u8],
    rest: std::vec::IntoIter<(&'de String, &'de Instance)>,
    /// The member whose name was taken last.
    value: Option<(&'de String, &'de Instance)>,
    /// The names that the type declares.
    declared: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        self.value = self.rest.next();
        let Some((name, _)) = self.value else {
            return Ok(None);
        };
        let read = seed.deserialize(Name(name));
        read.map(Some).map_err(Misfit::of_name)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        // As serde_json does, refuses a type that takes the value of a member before its name.
        let Some((name, instance)) = self.value.take() else {
            return Err(Misfit::new(What::Refused));
        };
        let is_declared = self.declared.contains(&name.as_str());
        let token = if is_declared { name.as_str() } else { ANY_NAME };
        let body = self.body;
        let read = seed.deserialize(Place(JsonValue { body, instance }));
        read.map_err(|misfit| misfit.within(token))
    }
}

/// The name of a member. serde_json reads it if the type needs a number or a boolean.
struct Name<'de>(&'de str);

impl<'de> Name<'de> {
    fn text(&self) -> &'de str {
        self.0
    }
}

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_borrowed_str(self.0)
    }

    by_serde_json! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests;
