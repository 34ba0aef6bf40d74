//! Converts a body that was read already into a type that serde can deserialize.
//!
//! Objects, arrays, strings and `null` come from the values that were read. For numbers, enums and
//! its own types, serde_json reads their text. So a body that this deserializer accepts gets the
//! same value that serde_json would give it. If this deserializer refuses a body, serde_json reads
//! that body again. So the errors of this deserializer are never shown.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Error;

use super::JsonValue;
use crate::instance::{Instance, Kind};

/// The prefix of the names of those types that only serde_json itself can read, such as `RawValue`.
pub(super) const OF_SERDE_JSON: &str = "$serde_json::";

/// Lets serde_json deserialize a value from its text.
macro_rules! by_serde_json {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                serde_json::Deserializer::from_str(self.raw()).$method(visitor)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for JsonValue<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.instance.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::String(text) => visitor.visit_borrowed_str(text),
            Kind::Array(_) => self.deserialize_seq(visitor),
            Kind::Object(_) => self.deserialize_map(visitor),
            Kind::Number(_) | Kind::LoneSurrogate => {
                serde_json::Deserializer::from_str(self.raw()).deserialize_any(visitor)
            }
        }
    }

    by_serde_json! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_bytes
        deserialize_byte_buf deserialize_unit
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.as_str() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(refused()),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name.starts_with(OF_SERDE_JSON) {
            return serde_json::Deserializer::from_str(self.raw())
                .deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Kind::Array(elements) = &self.instance.kind else {
            return Err(refused());
        };
        let mut rest = Elements {
            body: self.body,
            rest: elements.iter(),
        };
        let value = visitor.visit_seq(&mut rest)?;
        // As serde_json does, rejects an array from which the type took only the first elements.
        match rest.rest.next() {
            None => Ok(value),
            Some(_) => Err(refused()),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(object) = self.instance.object() else {
            return Err(refused());
        };
        // The members are visited in the order of the body, because a type may depend on that
        // order.
        let mut members: Vec<_> = object.members.iter().collect();
        members.sort_unstable_by_key(|(_, value)| value.start);
        let mut rest = MembersLeft {
            body: self.body,
            rest: members.into_iter(),
            value: None,
        };
        let value = visitor.visit_map(&mut rest)?;
        match rest.rest.next() {
            None => Ok(value),
            Some(_) => Err(refused()),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.instance.kind {
            Kind::Array(_) => self.deserialize_seq(visitor),
            Kind::Object(_) => self.deserialize_map(visitor),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::LoneSurrogate => Err(refused()),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        serde_json::Deserializer::from_str(self.raw()).deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// The error for a value that this deserializer does not convert. It is never shown, because
/// serde_json then reads the value again.
fn refused() -> Error {
    Error::custom("serde_json must read this value")
}

/// The elements of an array that the type has not taken yet.
struct Elements<'de> {
    body: &'de [u8],
    rest: std::slice::Iter<'de, Instance>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let body = self.body;
        let next = self.rest.next();
        next.map(|instance| seed.deserialize(JsonValue { body, instance }))
            .transpose()
    }
}

/// The members of an object that the type has not taken yet.
struct MembersLeft<'de> {
    body: &'de [u8],
    rest: std::vec::IntoIter<(&'de String, &'de Instance)>,
    /// The value of the member whose name was taken last.
    value: Option<&'de Instance>,
}

impl<'de> MapAccess<'de> for MembersLeft<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(Name(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let instance = self.value.take().ok_or_else(refused)?;
        let body = self.body;
        seed.deserialize(JsonValue { body, instance })
    }
}

/// The name of a member, which is read only as a string. serde_json can also read a number or an
/// enum from a name. If a type needs that, this deserializer refuses, and serde_json reads the
/// body.
struct Name<'de>(&'de str);

macro_rules! refuse {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
                Err(refused())
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    refuse! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_bytes deserialize_byte_buf
        deserialize_option
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        Err(refused())
    }

    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
