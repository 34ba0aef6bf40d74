//! Deserializes the settings of a handler. A key without a field is a mistake, and the error names
//! the value that has the wrong type.
//!
//! serde_json cannot be used for this: it ignores keys without a field, its errors do not name the
//! place, and they quote the value, which may be a secret that was written in the wrong place.

mod words;

use std::cell::RefCell;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::nearest::nearest;
use crate::place::escape;
use crate::wrong_settings::WrongSetting;

/// Deserializes a table of settings. The error lists the unknown keys and the first wrong value;
/// what comes after that value is not checked.
pub(super) fn read<T: DeserializeOwned>(
    table: &Map<String, Value>,
) -> Result<T, Vec<WrongSetting>> {
    let root = Value::Object(table.clone());
    let wrong = RefCell::default();
    let read = T::deserialize(Setting {
        value: &root,
        at: String::new(),
        siblings: &[],
        wrong: &wrong,
    });
    let mut wrong = wrong.into_inner();
    match read {
        Ok(value) if wrong.is_empty() => Ok(value),
        Ok(_) => Err(wrong),
        Err(error) => {
            wrong.push(error.located(""));
            Err(wrong)
        }
    }
}

/// A value of the settings, with its place.
struct Setting<'de, 'w> {
    value: &'de Value,
    /// The JSON Pointer to the value.
    at: String,
    /// The keys of the struct that contains this value; empty if no struct contains it.
    siblings: &'static [&'static str],
    /// The unknown settings that were found so far: keys for which the struct has no field.
    wrong: &'w RefCell<Vec<WrongSetting>>,
}

/// The message about a value that is not a table where a table is expected.
const NOT_A_TABLE: &str = "the value must be a table";

/// The error about a value that does not have the type of its field.
#[derive(Debug)]
struct DoesNotFit {
    /// The JSON Pointer to the value; `None` until the deserializer of the value has added it.
    at: Option<String>,
    /// The unknown key in the value, if the error is about an unknown key.
    key: Option<String>,
    what: String,
}

impl DoesNotFit {
    fn new(what: String) -> Self {
        Self {
            at: None,
            key: None,
            what,
        }
    }

    /// Adds a key of the expected table as an example, if the error says that the value is not a
    /// table.
    fn with_a_key(mut self, keys: &[&str]) -> Self {
        if self.what == NOT_A_TABLE
            && let Some(key) = keys.first()
        {
            self.what = format!("{NOT_A_TABLE}, such as {{ {key} = … }}");
        }
        self
    }

    /// Sets the place of the error to `at`, unless the error already has the place of an inner
    /// value.
    fn within(mut self, at: &str) -> Self {
        if self.at.is_none() {
            let key = self.key.as_deref().map(escape);
            self.at = Some(key.map_or_else(|| at.to_owned(), |key| format!("{at}/{key}")));
        }
        self
    }

    fn located(self, at: &str) -> WrongSetting {
        let DoesNotFit { at, what, .. } = self.within(at);
        let at = at.unwrap_or_default();
        WrongSetting { at, what }
    }
}

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for DoesNotFit {}

impl serde::de::Error for DoesNotFit {
    fn custom<T: fmt::Display>(what: T) -> Self {
        let what = what.to_string();
        // This text of serde is replaced, because it ends with the name of a Rust type.
        if what.starts_with("data did not match any variant of untagged enum") {
            return Self::new("the value has none of the forms that are allowed".to_owned());
        }
        Self::new(what)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        if expected.starts_with("struct ") {
            return Self::new(NOT_A_TABLE.to_owned());
        }
        let expected = words::of_toml(&expected);
        Self::new(format!("the value has another type; expected {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let expected = words::of_toml(&expected);
        Self::new(format!("the value is not allowed; expected {expected}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let expected = words::of_toml(&expected);
        Self::new(format!("the list has another length; expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        let words: Vec<String> = expected.iter().map(|word| format!("{word:?}")).collect();
        Self::new(format!("the value must be one of {}", words.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            key: Some(field.to_owned()),
            ..Self::new(no_such_key(field, expected))
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key {field:?} is missing"))
    }
}

fn no_such_key(key: &str, known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|&key| key.to_owned()).collect();
    match nearest(key, &known) {
        Some(near) => format!("there is no such key; did you mean {near:?}?"),
        None => "there is no such key".to_owned(),
    }
}

impl<'de> Setting<'de, '_> {
    /// Returns a member of this table or an element of this list. `token` is its key or its index.
    fn inner<'s>(
        &'s self,
        token: &str,
        value: &'de Value,
        siblings: &'static [&'static str],
    ) -> Setting<'de, 's> {
        Setting {
            value,
            at: format!("{}/{token}", self.at),
            siblings,
            wrong: self.wrong,
        }
    }

    fn members<V: Visitor<'de>>(
        &self,
        members: &'de Map<String, Value>,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DoesNotFit> {
        visitor.visit_map(Members {
            of: self,
            rest: members.iter(),
            next: None,
            known,
        })
    }
}

impl<'de> Deserializer<'de> for Setting<'de, '_> {
    type Error = DoesNotFit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DoesNotFit> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_i64(number),
                (None, Some(number), _) => visitor.visit_u64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(DoesNotFit::custom("the number is too large")),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(values) => {
                let mut elements = Elements {
                    of: &self,
                    rest: values.iter().enumerate(),
                };
                let visited = visitor.visit_seq(&mut elements)?;
                // A list is refused if the type took only its first elements.
                match elements.rest.next() {
                    None => Ok(visited),
                    Some(_) => Err(DoesNotFit::custom("the list has too many elements")),
                }
            }
            Value::Object(members) => self.members(members, &[], visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DoesNotFit> {
        match self.value {
            Value::Object(members) => self.members(members, fields, visitor),
            // A list is refused, because serde would take its elements as the values of the fields,
            // in the order of the struct.
            Value::Array(_) => Err(DoesNotFit::new(NOT_A_TABLE.to_owned()).with_a_key(fields)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let visited = self.deserialize_any(visitor);
                visited.map_err(|error| error.with_a_key(fields))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DoesNotFit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DoesNotFit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DoesNotFit> {
        match self.value {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Object(members) if members.len() == 1 => {
                let members = Members {
                    of: &self,
                    rest: members.iter(),
                    next: None,
                    known: &[],
                };
                visitor.visit_enum(MapAccessDeserializer::new(members))
            }
            _ => Err(DoesNotFit::unknown_variant("", variants)),
        }
    }

    /// Records the key of this value as a mistake. serde calls this if the struct has no field for
    /// the key.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DoesNotFit> {
        let key = self.at.rsplit('/').next().unwrap_or_default();
        let what = no_such_key(key, self.siblings);
        self.wrong
            .borrow_mut()
            .push(WrongSetting { at: self.at, what });
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

/// The keys of a table, with their values.
struct Members<'de, 's, 'w> {
    of: &'s Setting<'de, 'w>,
    rest: serde_json::map::Iter<'de>,
    next: Option<(&'de String, &'de Value)>,
    known: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Members<'de, '_, '_> {
    type Error = DoesNotFit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DoesNotFit> {
        self.next = self.rest.next();
        let Some((key, _)) = self.next else {
            return Ok(None);
        };
        let read = seed.deserialize(key.as_str().into_deserializer());
        read.map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, DoesNotFit> {
        let Some((key, value)) = self.next.take() else {
            return Err(DoesNotFit::custom("serde has read a value before its key"));
        };
        let inner = self.of.inner(&escape(key), value, self.known);
        let at = inner.at.clone();
        seed.deserialize(inner).map_err(|error| error.within(&at))
    }
}

/// The elements of a list.
struct Elements<'de, 's, 'w> {
    of: &'s Setting<'de, 'w>,
    rest: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_, '_> {
    type Error = DoesNotFit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DoesNotFit> {
        let Some((index, value)) = self.rest.next() else {
            return Ok(None);
        };
        let inner = self.of.inner(&index.to_string(), value, &[]);
        let at = inner.at.clone();
        let read = seed.deserialize(inner);
        read.map(Some).map_err(|error| error.within(&at))
    }
}
