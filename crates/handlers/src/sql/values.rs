//! The values of a handler's own parameters, which are read from the body.

use std::borrow::Cow;

use bytes::Bytes;
use hookbox_event::{Pointer, Timestamp, exact_integer};
use hookbox_sql::Dialect;
use hookbox_worker::{Event, HandlerError, Json, JsonValue, Payload};

use super::parameter::{Kind, Source};

/// One value, as it is passed to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'v> {
    Null,
    Text(Cow<'v, str>),
    Whole(i64),
    Boolean(bool),
}

/// The values of a handler's own parameters, in the order of its settings.
#[derive(Default)]
pub struct Values(Vec<Value<'static>>);

/// A parameter that the settings of a handler define.
#[derive(Debug)]
pub(super) struct OwnParameter {
    pub name: String,
    pub pointer: Pointer,
    pub kind: Kind,
    pub is_required: bool,
}

/// Why a body does not fit the parameters of a handler. The text has the JSON Pointer, and never
/// the value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: {what}")]
pub(super) struct WrongValue {
    name: String,
    what: String,
}

impl Payload for Values {
    /// Makes the values of a handler without parameters of its own. For any other handler the
    /// values depend on its settings, so the handler makes them itself.
    fn of(_body: &Bytes, _read: Option<Json>) -> Result<Self, HandlerError> {
        Ok(Self::default())
    }
}

impl Values {
    /// Reads the values of parameters from a body.
    pub(super) fn read(
        parameters: &[OwnParameter],
        body: &Json,
        dialect: Dialect,
    ) -> Result<Self, WrongValue> {
        let value = |parameter: &OwnParameter| {
            read(parameter, body, dialect).map_err(|what| WrongValue {
                name: parameter.name.clone(),
                what,
            })
        };
        let values: Result<_, _> = parameters.iter().map(value).collect();
        values.map(Self)
    }
}

/// Reads the value of one parameter, or returns why the body does not fit.
fn read(parameter: &OwnParameter, body: &Json, dialect: Dialect) -> Result<Value<'static>, String> {
    let pointer = &parameter.pointer;
    let found = body.root().reach(pointer);
    let found = found.map_err(|unreachable| unreachable.to_string())?;
    let converted = match found.filter(|value| !value.is_null()) {
        Some(value) => convert(value, parameter.kind, dialect),
        None if parameter.is_required => Err("is required, and is absent or null"),
        None => Ok(Value::Null),
    };
    converted.map_err(|what| format!("the value at {pointer} {what}"))
}

/// Converts a value of the body into a value of this type, or returns why that is not possible.
fn convert(
    value: JsonValue<'_>,
    kind: Kind,
    dialect: Dialect,
) -> Result<Value<'static>, &'static str> {
    match kind {
        Kind::Text => {
            let text = text(value)?;
            if dialect == Dialect::Postgres && text.contains('\0') {
                return Err("has the character NUL, which PostgreSQL cannot store");
            }
            Ok(Value::Text(Cow::Owned(text.to_owned())))
        }
        Kind::Bigint => {
            let whole = value.is_number().then(|| exact_integer(value.raw()));
            let whole = whole.flatten().ok_or("is not a whole number of 64 bits")?;
            Ok(Value::Whole(whole))
        }
        Kind::Decimal if value.is_number() => Ok(Value::Text(Cow::Owned(value.raw().to_owned()))),
        Kind::Decimal => Err("is not a number"),
        Kind::Boolean => match value.raw() {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            _ => Err("is neither true nor false"),
        },
        Kind::Timestamp => {
            let time = value
                .as_str()
                .and_then(|it| Timestamp::parse_rfc3339(it).ok());
            let time = time.and_then(written).ok_or("is not a time of RFC 3339")?;
            Ok(Value::Text(Cow::Owned(time)))
        }
        Kind::Json => Ok(Value::Text(Cow::Owned(value.raw().to_owned()))),
    }
}

/// Returns the text of a string.
fn text(value: JsonValue<'_>) -> Result<&str, &'static str> {
    match value.as_str() {
        Some(text) => Ok(text),
        None if value.raw().starts_with('"') => Err("has half of a surrogate pair"),
        None => Err("is not a string"),
    }
}

/// Returns a time in UTC with six digits after the second; `None` for a time before the year 0,
/// which RFC 3339 cannot express.
fn written(time: Timestamp) -> Option<String> {
    let second = Timestamp::from_unix_micros(time.unix_seconds().checked_mul(1_000_000)?);
    let micros = time.unix_micros().rem_euclid(1_000_000);
    let text = second.to_string();
    let text = text.strip_suffix('Z')?;
    Some(format!("{text}.{micros:06}Z"))
}

impl Source {
    /// Returns the value of a parameter for an event.
    pub(super) fn value(self, event: &Event<Values>) -> Value<'_> {
        let text = |text: String| Value::Text(Cow::Owned(text));
        match self {
            Source::EventId => text(event.id.to_string()),
            Source::EventNumber => Value::Whole(event.number.as_i64()),
            Source::ReceiptId => text(event.receipt.to_string()),
            Source::Topic => Value::Text(Cow::Borrowed(event.topic.as_str())),
            Source::ReceivedAt => written(event.received_at).map_or(Value::Null, text),
            Source::Attempt => Value::Whole(event.attempt.into()),
            Source::Round => Value::Whole(event.round.into()),
            // A body that is JSON is UTF-8, so nothing is replaced here.
            Source::Body => Value::Text(String::from_utf8_lossy(&event.body)),
            Source::Own(at) => match event.payload.0.get(at) {
                Some(Value::Text(text)) => Value::Text(Cow::Borrowed(text)),
                Some(Value::Whole(whole)) => Value::Whole(*whole),
                Some(Value::Boolean(boolean)) => Value::Boolean(*boolean),
                Some(Value::Null) | None => Value::Null,
            },
        }
    }
}

impl Value<'_> {
    /// Returns the text, if the value is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Null | Value::Whole(_) | Value::Boolean(_) => None,
        }
    }

    /// Returns the whole number, if the value is one.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Value::Whole(whole) => Some(*whole),
            Value::Null | Value::Text(_) | Value::Boolean(_) => None,
        }
    }

    /// Returns the boolean, if the value is one.
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Value::Boolean(boolean) => Some(*boolean),
            Value::Null | Value::Text(_) | Value::Whole(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"text":"é\u0000","half":"\ud800","one":712.0,"huge":9223372036854775808,
        "exact":0.10000000000000000000001,"yes":true,"word":"true","null":null,
        "at":"2025-11-24T16:00:00.5Z","early":"0000-01-01T00:00:00+01:00",
        "list":[{"a" : [1, 2.50]}]}"#;

    fn value(pointer: &str, kind: Kind, dialect: Dialect) -> Result<Value<'static>, String> {
        let body = Json::read(&Bytes::from_static(BODY.as_bytes())).expect("the body must be JSON");
        let parameter = OwnParameter {
            name: "p".to_owned(),
            pointer: pointer.parse().expect("the pointer must be valid"),
            kind,
            is_required: false,
        };
        let values = Values::read(&[parameter], &body, dialect);
        let one = values.map(|values| {
            values
                .0
                .into_iter()
                .next()
                .expect("one parameter must have one value")
        });
        one.map_err(|error| error.to_string())
    }

    fn as_text(text: &str) -> Result<Value<'static>, String> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    #[test]
    fn each_type_takes_its_values() {
        let of = |pointer, kind| value(pointer, kind, Dialect::Sqlite);
        assert_eq!(of("/text", Kind::Text), as_text("é\0"));
        assert_eq!(of("/one", Kind::Bigint), Ok(Value::Whole(712)));
        assert_eq!(of("/one", Kind::Decimal), as_text("712.0"));
        let exact = as_text("0.10000000000000000000001");
        assert_eq!(of("/exact", Kind::Decimal), exact);
        assert_eq!(of("/yes", Kind::Boolean), Ok(Value::Boolean(true)));
        let time = as_text("2025-11-24T16:00:00.500000Z");
        assert_eq!(of("/at", Kind::Timestamp), time);
        assert_eq!(of("/list/0", Kind::Json), as_text(r#"{"a" : [1, 2.50]}"#));
        assert_eq!(of("/word", Kind::Json), as_text(r#""true""#));
        for kind in [Kind::Text, Kind::Bigint, Kind::Json, Kind::Timestamp] {
            assert_eq!(of("/null", kind), Ok(Value::Null), "{kind:?}");
            assert_eq!(of("/list/7/a", kind), Ok(Value::Null), "{kind:?}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused_without_showing_it() {
        for (pointer, kind, what) in [
            ("/one", Kind::Text, "is not a string"),
            ("/half", Kind::Text, "has half of a surrogate pair"),
            ("/word", Kind::Bigint, "is not a whole number of 64 bits"),
            ("/exact", Kind::Bigint, "is not a whole number of 64 bits"),
            ("/huge", Kind::Bigint, "is not a whole number of 64 bits"),
            ("/word", Kind::Decimal, "is not a number"),
            ("/word", Kind::Boolean, "is neither true nor false"),
            ("/one", Kind::Boolean, "is neither true nor false"),
            ("/word", Kind::Timestamp, "is not a time of RFC 3339"),
            ("/one", Kind::Timestamp, "is not a time of RFC 3339"),
            ("/early", Kind::Timestamp, "is not a time of RFC 3339"),
        ] {
            let expect = format!("parameter p: the value at {pointer} {what}");
            let found = value(pointer, kind, Dialect::Sqlite);
            assert_eq!(found, Err(expect), "{kind:?}");
        }
        // An optional parameter is absent where a part of the body is missing, but not where the
        // body has another structure.
        let through = value("/word/uid", Kind::Text, Dialect::Sqlite);
        let expect = "parameter p: the value at /word is not an object, so that nothing can be at \
                      /word/uid";
        assert_eq!(through, Err(expect.to_owned()));
        let nul = value("/text", Kind::Text, Dialect::Postgres);
        let error = nul.expect_err("a NUL must be refused on PostgreSQL");
        assert!(error.contains("NUL") && !error.contains('é'), "{error}");
    }

    #[test]
    fn a_required_value_must_be_present() {
        let body = Json::read(&Bytes::from_static(BODY.as_bytes())).expect("the body must be JSON");
        for pointer in ["/null", "/absent"] {
            let parameter = OwnParameter {
                name: "p".to_owned(),
                pointer: pointer.parse().expect("the pointer must be valid"),
                kind: Kind::Json,
                is_required: true,
            };
            let found = Values::read(&[parameter], &body, Dialect::Postgres);
            let error = found.map(drop).expect_err(pointer).to_string();
            assert!(
                error.contains("is required") && error.contains(pointer),
                "{error}"
            );
        }
    }
}
