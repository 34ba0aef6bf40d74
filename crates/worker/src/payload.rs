//! What a handler can take as its payload, and how it is made from the body.

use std::any::TypeId;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny, IntoDeserializer, value};
use serde_json::error::Category;

use crate::{HandlerError, Json};

/// What a handler can take as its payload: any type that serde can deserialize; [`Json`], which is
/// the body as the worker has read it; or a type that implements this trait itself.
///
/// A body that does not fit is a permanent failure: a dead letter that names the place and what is
/// expected there.
/// The payloads of all events are made before the handler runs. So an event whose payload cannot be
/// made costs the other events of its batch nothing, while an event that fails in the handler makes
/// the others run again. With [`serde::de::IgnoredAny`] any body fits, and nothing is built from
/// it.
pub trait Payload: Sized + Send + Sync + 'static {
    /// Returns whether a payload of this type is built from the body; false only for `IgnoredAny`.
    #[doc(hidden)]
    fn is_built() -> bool {
        true
    }

    /// Makes the payload from a body. `read` is the same body as parsed JSON, if it was parsed
    /// before. The text of an error is stored with the event, for operators.
    ///
    /// # Errors
    /// When no payload can be made from the body. The error is permanent, because every attempt
    /// gets the same body.
    fn of(body: &Bytes, read: Option<Json>) -> Result<Self, HandlerError>;
}

impl<T: DeserializeOwned + Send + Sync + 'static> Payload for T {
    fn is_built() -> bool {
        TypeId::of::<T>() != TypeId::of::<IgnoredAny>()
    }

    fn of(body: &Bytes, read: Option<Json>) -> Result<Self, HandlerError> {
        if !Self::is_built() {
            let nothing: value::UnitDeserializer<value::Error> = ().into_deserializer();
            return T::deserialize(nothing).map_err(HandlerError::permanent);
        }
        if let Some(payload) = read.as_ref().and_then(Json::to_payload) {
            return Ok(payload);
        }
        serde_json::from_slice(body).map_err(|error| {
            HandlerError::permanent(DoesNotFit {
                line: error.line(),
                column: error.column(),
                what: match error.classify() {
                    Category::Syntax => "it is not JSON".to_owned(),
                    Category::Eof => "it ends too early".to_owned(),
                    Category::Data => misfit::<T>(body, read),
                    Category::Io => "it could not be read".to_owned(),
                },
            })
        })
    }
}

impl Payload for Json {
    fn of(body: &Bytes, read: Option<Json>) -> Result<Self, HandlerError> {
        match read {
            Some(json) => Ok(json),
            None => Json::read(body).map_err(HandlerError::permanent),
        }
    }
}

/// Describes where a body that is JSON does not fit a type.
fn misfit<T: DeserializeOwned>(body: &Bytes, read: Option<Json>) -> String {
    let json = read.or_else(|| Json::read(body).ok());
    let misfit = json.and_then(|json| json.misfit::<T>());
    misfit.map_or_else(
        || "a value is missing or of another type".to_owned(),
        |misfit| misfit.to_string(),
    )
}

/// The error for a body that does not fit the handler's payload. It names the place and what is
/// expected there, and never the value.
#[derive(Debug, thiserror::Error)]
#[error("the body does not fit the handler: {what} (line {line}, column {column})")]
struct DoesNotFit {
    line: usize,
    column: usize,
    what: String,
}

#[cfg(test)]
mod tests;
