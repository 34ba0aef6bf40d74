//! A body that was read once. The check against its JSON Schema and the handler's payload both use
//! it.

mod deserializer;
mod misfit;

use bytes::Bytes;
use hookbox_event::{JsonError, Pointer};
use serde::de::DeserializeOwned;

use crate::instance::reader::{self, Read};
use crate::instance::{Instance, Kind};

/// A body as JSON, which was read when its JSON Schema was applied. A handler that takes it as its
/// payload causes no further pass over the body. Numbers are exact: each keeps its text.
///
/// `Debug` does not show the body.
pub struct Json {
    body: Bytes,
    read: Read,
}

/// One value of a [`Json`].
#[derive(Clone, Copy)]
pub struct JsonValue<'a> {
    body: &'a [u8],
    instance: &'a Instance,
}

/// The error for a JSON Pointer that leads through a value that cannot contain the next part of the
/// pointer: a string, a number, a boolean, or an array if the next part is not an index. Such a
/// body has another structure than the pointer expects; it does not only lack a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// The pointer to the value that cannot contain the next part of `to`; `None` if that value is
    /// the whole body.
    at: Option<Pointer>,
    /// The whole pointer that was to be followed.
    to: Pointer,
    is_array: bool,
}

impl Json {
    /// Reads a body.
    pub fn read(body: &Bytes) -> Result<Self, JsonError> {
        Ok(Self {
            body: body.clone(),
            read: reader::read(body)?,
        })
    }

    /// Returns the value that is the whole body.
    pub fn root(&self) -> JsonValue<'_> {
        JsonValue {
            body: &self.body,
            instance: &self.read.root,
        }
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.read.root
    }

    /// Returns whether a string or the name of a member contains half of a surrogate pair, so that
    /// it is not Unicode text.
    pub(crate) fn has_lone_surrogate(&self) -> bool {
        self.read.has_lone_surrogate
    }

    /// Converts the body into a type of the handler's author, without another pass over it. Returns
    /// `None` if serde_json has to decide whether the body fits the type, and has to report the
    /// error if it does not.
    pub(crate) fn to_payload<T: DeserializeOwned>(&self) -> Option<T> {
        // serde_json must read a body with a repeated name or a lone surrogate. A `Json` has only
        // one of the members with the same name, and no text of a string with a lone surrogate.
        // serde_json passes every member to the type, and some types reject the second one.
        if self.read.has_repeated_name || self.read.has_lone_surrogate {
            return None;
        }
        T::deserialize(self.root()).ok()
    }
}

impl<'a> JsonValue<'a> {
    /// Returns the text of the value, exactly as it stands in the body.
    pub fn raw(self) -> &'a str {
        let (start, end) = (self.instance.start, self.instance.end);
        // Neither default can occur: the whole body is UTF-8, and a value begins and ends at an
        // ASCII character, so that this part of the body is UTF-8 as well.
        let text = self.body.get(start..end).unwrap_or_default();
        str::from_utf8(text).unwrap_or_default()
    }

    /// Returns whether the value is `null`.
    pub fn is_null(self) -> bool {
        matches!(self.instance.kind, Kind::Null)
    }

    /// Returns whether the value is a number.
    pub fn is_number(self) -> bool {
        matches!(self.instance.kind, Kind::Number(_))
    }

    /// Returns the text of a string, with its escapes resolved. Returns `None` for another value,
    /// and for a string with half of a surrogate pair, which is not Unicode text.
    pub fn as_str(self) -> Option<&'a str> {
        self.instance.text()
    }

    /// Returns the members of an object in the order of their names; `None` for another value. Of
    /// several members of one name, the last one is returned.
    pub fn members(self) -> Option<impl Iterator<Item = (&'a str, JsonValue<'a>)>> {
        let object = self.instance.object()?;
        let body = self.body;
        let value = move |instance| JsonValue { body, instance };
        let members = object.members.iter();
        Some(members.map(move |(name, instance)| (name.as_str(), value(instance))))
    }

    /// Returns the names that several members of this object have; empty for another value.
    pub fn repeated_names(self) -> &'a [String] {
        match self.instance.object() {
            Some(object) => &object.repeated,
            None => &[],
        }
    }

    /// Returns the value to which a JSON Pointer leads; `None` if there is none. Of several members
    /// of one name, the last one counts.
    pub fn at(self, pointer: &Pointer) -> Option<JsonValue<'a>> {
        let mut names = pointer.tokens().iter();
        names.try_fold(self, |at, name| at.member(name))
    }

    /// Returns the value to which a JSON Pointer leads, like [`JsonValue::at`].
    ///
    /// # Errors
    /// When a value on the way cannot contain the next part of the pointer. It is no error if a
    /// value on the way is absent or `null`: then an optional part of the body is missing.
    pub fn reach(self, pointer: &Pointer) -> Result<Option<JsonValue<'a>>, Unreachable> {
        let mut value = self;
        for (names, name) in pointer.tokens().iter().enumerate() {
            let (is_array, leads) = match &value.instance.kind {
                Kind::Object(_) | Kind::Null => (false, true),
                Kind::Array(_) => (true, Pointer::element_index(name).is_some()),
                Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::LoneSurrogate => {
                    (false, false)
                }
            };
            if !leads {
                return Err(Unreachable {
                    at: pointer.beginning(names),
                    to: pointer.clone(),
                    is_array,
                });
            }
            let Some(next) = value.member(name) else {
                return Ok(None);
            };
            value = next;
        }
        Ok(Some(value))
    }

    /// Returns the member of an object with this name, or the element of an array with this index;
    /// `None` if there is none. Of several members of one name, the last one counts.
    pub(crate) fn member(self, name: &str) -> Option<JsonValue<'a>> {
        let instance = match &self.instance.kind {
            Kind::Object(object) => object.members.get(name)?,
            Kind::Array(elements) => elements.get(Pointer::element_index(name)?)?,
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::LoneSurrogate => return None,
        };
        Some(JsonValue {
            body: self.body,
            instance,
        })
    }

    /// Returns the elements of an array; `None` for another value.
    pub fn elements(self) -> Option<impl Iterator<Item = JsonValue<'a>>> {
        let body = self.body;
        match &self.instance.kind {
            Kind::Array(elements) => Some(
                elements
                    .iter()
                    .map(move |instance| JsonValue { body, instance }),
            ),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::LoneSurrogate
            | Kind::Object(_) => None,
        }
    }
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.at {
            Some(at) => write!(f, "the value at {at}")?,
            None => f.write_str("the body")?,
        }
        let what = if self.is_array {
            "is an array and not an object"
        } else {
            "is not an object"
        };
        write!(f, " {what}, so that nothing can be at {}", self.to)
    }
}

impl std::error::Error for Unreachable {}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Json")
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for JsonValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonValue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
