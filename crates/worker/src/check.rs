//! Checks whether a body is valid: first that it is JSON, then that it matches the JSON Schema of
//! its source.
//!
//! A genuine event that fails this check is not refused: its signature was valid, and refusing it
//! would lose it. It becomes a dead letter that names the member of the body and the violated
//! keyword of the schema. It can be replayed once the schema is fixed.

use std::collections::BTreeMap;

use bytes::Bytes;
use hookbox_driver::DeadReason;
use hookbox_event::{JsonError, Topic};
use jsonschema::{Draft, Validator};
use serde_json::Value;

use crate::Json;
use crate::instance::reader::validate;
use crate::instance::{Exact, LoneSurrogate};

/// How many violations the detail of one dead letter lists at most. The first few show what is
/// wrong. Without a limit, a body with two million bad values would produce a detail of several
/// megabytes.
const MISTAKES_MAX: usize = 5;

/// The compiled JSON Schemas of one source. Each schema is read by the rules of the draft that its
/// `$schema` names, or of draft 2020-12 if it names none. `format` is not checked in any draft.
///
/// Two values of this type are equal if they were compiled from equal schemas.
pub struct Schemas {
    by_type: BTreeMap<String, Validator<Exact>>,
    unknown: Option<Validator<Exact>>,
    /// What each schema was compiled from.
    compiled_from: BTreeMap<String, Value>,
}

impl PartialEq for Schemas {
    fn eq(&self, other: &Self) -> bool {
        self.compiled_from == other.compiled_from
    }
}

/// Why a JSON Schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The schema violates the rules of its draft.
    #[error("the JSON Schema {name}.json cannot be compiled")]
    Invalid {
        /// The event type that the schema is for.
        name: String,
        /// The rule that the schema violates.
        #[source]
        source: Box<jsonschema::ValidationError<'static>>,
    },
    /// The schema names a dialect that is not known, so its meaning is not known either (JSON
    /// Schema Core §8.1.1).
    #[error(
        "the JSON Schema {name}.json has the \"$schema\" {dialect:?}, which is not known; known \
         are the drafts 4, 6, 7, 2019-09 and 2020-12 of json-schema.org"
    )]
    UnknownDialect {
        /// The event type that the schema is for.
        name: String,
        /// The dialect that `$schema` names.
        dialect: String,
    },
}

/// The reason why a body is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub reason: DeadReason,
    pub detail: String,
}

impl Schemas {
    /// The name of the schema for event types without a schema of their own.
    pub const UNKNOWN: &'static str = "unknown";

    /// Compiles the schemas of a source, given by event type ("application.complete"). The schema
    /// named [`Schemas::UNKNOWN`] is for every other type. A `$ref` to a URL is never fetched over
    /// the network.
    pub fn compile<'a>(
        schemas: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Result<Self, CompileError> {
        let (mut by_type, mut compiled_from) = (BTreeMap::new(), BTreeMap::new());
        for (name, schema) in schemas {
            if let Some(dialect) = unknown_dialect(Draft::default(), schema) {
                return Err(CompileError::UnknownDialect {
                    name: name.to_owned(),
                    dialect: dialect.to_owned(),
                });
            }
            let options = jsonschema::options_for::<Exact>().should_validate_formats(false);
            let validator = options
                .build(schema)
                .map_err(|error| CompileError::Invalid {
                    name: name.to_owned(),
                    source: Box::new(error.to_owned()),
                })?;
            by_type.insert(name.to_owned(), validator);
            compiled_from.insert(name.to_owned(), schema.clone());
        }
        let unknown = by_type.remove(Self::UNKNOWN);
        Ok(Self {
            by_type,
            unknown,
            compiled_from,
        })
    }

    /// Returns the event types that have a schema of their own.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.by_type.keys().map(String::as_str)
    }

    /// Returns the schema of an event type.
    fn of(&self, topic: &Topic) -> Option<&Validator<Exact>> {
        let own = self.by_type.get(topic.event_type());
        own.or(self.unknown.as_ref())
    }
}

/// Applies a schema to a body.
fn apply(validator: &Validator<Exact>, json: &Json) -> Result<(), Broken> {
    if json.has_lone_surrogate() {
        return Err(Broken {
            reason: DeadReason::Malformed,
            detail: LoneSurrogate.to_string(),
        });
    }
    let instance = json.instance();
    // Most bodies are valid, and `is_valid` is much faster than listing the violations.
    if validator.is_valid(instance) {
        return Ok(());
    }
    let mut mistakes: Vec<String> = validator
        .iter_errors(instance)
        .take(MISTAKES_MAX + 1)
        .map(|error| {
            let path = error.instance_path().to_string();
            let path = if path.is_empty() {
                "the body"
            } else {
                path.as_str()
            };
            let rule = error.schema_path().to_string();
            // The value is masked, because this text becomes the detail of a dead letter, which
            // lists show, and values are personal data.
            format!("{path}: {} (rule {rule})", error.masked_with("the value"))
        })
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    if mistakes.len() > MISTAKES_MAX {
        mistakes.truncate(MISTAKES_MAX);
        mistakes.push("and more".into());
    }
    Err(Broken {
        reason: DeadReason::SchemaBroken,
        detail: mistakes.join("; "),
    })
}

/// Returns the first `$schema` that names no known draft, or `None`. Subschemas are searched as
/// well, because they may have a `$schema` of their own.
fn unknown_dialect(draft: Draft, schema: &Value) -> Option<&str> {
    let own = draft.detect(schema);
    if own == Draft::Unknown {
        return schema.get("$schema").and_then(Value::as_str);
    }
    own.subresources_of(schema)
        .find_map(|inner| unknown_dialect(own, inner))
}

/// Checks one body of a source: it must be JSON, and match the schema if there is one. Returns the
/// body as it was read. If there is no schema, and `is_built` is false because the handler builds
/// no payload from the body, the body is only checked to be JSON, and `None` is returned.
pub(crate) fn check(
    schemas: Option<&Schemas>,
    topic: &Topic,
    body: &Bytes,
    is_built: bool,
) -> Result<Option<Json>, Broken> {
    let malformed = |error: JsonError| Broken {
        reason: DeadReason::Malformed,
        detail: error.to_string(),
    };
    let validator = schemas.and_then(|schemas| schemas.of(topic));
    if validator.is_none() && !is_built {
        validate(body).map_err(malformed)?;
        return Ok(None);
    }
    let json = Json::read(body).map_err(malformed)?;
    if let Some(validator) = validator {
        apply(validator, &json)?;
    }
    Ok(Some(json))
}

#[cfg(test)]
mod tests;
