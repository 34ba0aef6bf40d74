//! Checks whether a body is valid: first that it is JSON, then that it matches the JSON Schema of
//! its source.
//!
//! A genuine event that fails this check is not refused: its signature was valid, and refusing it
//! would lose it. It becomes a dead letter that names the member of the body and the violated
//! keyword of the schema. It can be replayed once the schema is fixed.

use std::collections::BTreeMap;

use hookbox_driver::DeadReason;
use hookbox_event::{Topic, scan};
use jsonschema::{Draft, Validator};
use serde_json::Value;

use crate::instance::{Exact, Instance};

/// How many violations the detail of one dead letter lists at most. The first few show what is
/// wrong. Without a limit, a body with two million bad values would produce a detail of several
/// megabytes.
const MISTAKES_MAX: usize = 5;

/// The compiled JSON Schemas of one source. Each schema has the draft that its `$schema` names, or
/// draft 2020-12 if it names none. `format` is not checked in any draft.
pub struct Schemas {
    by_type: BTreeMap<String, Validator<Exact>>,
    unknown: Option<Validator<Exact>>,
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
        let mut by_type = BTreeMap::new();
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
        }
        let unknown = by_type.remove(Self::UNKNOWN);
        Ok(Self { by_type, unknown })
    }

    /// Returns the event types that have a schema of their own.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.by_type.keys().map(String::as_str)
    }

    /// Checks a body, given as canonical JSON, against the schema of its event type.
    fn check(&self, topic: &Topic, canonical: &[u8]) -> Result<(), Broken> {
        let Some(validator) = self
            .by_type
            .get(topic.event_type())
            .or(self.unknown.as_ref())
        else {
            return Ok(());
        };
        let instance = Instance::read(canonical).map_err(|error| Broken {
            reason: DeadReason::Malformed,
            detail: error.to_string(),
        })?;
        let mut mistakes: Vec<String> = validator
            .iter_errors(&instance)
            .take(MISTAKES_MAX + 1)
            .map(|error| {
                let path = error.instance_path().to_string();
                let path = if path.is_empty() {
                    "the body"
                } else {
                    path.as_str()
                };
                let rule = error.schema_path().to_string();
                // The value is masked: lists show the detail of dead letters, and values are
                // personal data.
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

/// Checks one body of a source: it must be JSON, and match the schema if there is one.
pub(crate) fn check(schemas: Option<&Schemas>, topic: &Topic, body: &[u8]) -> Result<(), Broken> {
    let document = scan(body, &[]).map_err(|error| Broken {
        reason: DeadReason::Malformed,
        detail: error.to_string(),
    })?;
    schemas.map_or(Ok(()), |schemas| schemas.check(topic, &document.canonical))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn detail(body: &str) -> Result<(), String> {
        let schema = json!({
            "type": "object",
            "required": ["uid"],
            "properties": { "uid": { "type": "string" }, "score": { "type": "integer" } },
        });
        let schemas = Schemas::compile([("a.b", &schema)]).expect("compiles");
        let topic = "x.a.b".parse().expect("a topic");
        check(Some(&schemas), &topic, body.as_bytes()).map_err(|broken| broken.detail)
    }

    #[test]
    fn a_broken_body_tells_path_and_rule_and_no_value() {
        assert_eq!(detail(r#"{"uid":"u","more":1}"#), Ok(()));
        assert_eq!(
            detail(r#"{"uid":4711}"#),
            Err("/uid: the value is not of type \"string\" (rule /properties/uid/type)".into())
        );
        assert_eq!(
            detail(r#"{"score":"SECRET"}"#).map_err(|detail| detail.contains("SECRET")),
            Err(false)
        );
        assert_eq!(
            detail("{}"),
            Err("the body: \"uid\" is a required property (rule /required)".into())
        );
        assert_eq!(
            detail("nope"),
            Err("the body is not JSON (at byte 0)".into())
        );
        assert!(detail(&"[".repeat(100_000)).is_err_and(|text| text.contains("deeper")));
        assert!(detail(r#"{"uid":"\ud800"}"#).is_err_and(|text| text.contains("surrogate")));
    }

    #[test]
    fn a_type_without_a_schema_passes() {
        let schema = json!(false);
        let schemas = Schemas::compile([("a.b", &schema)]).expect("compiles");
        let topic = "x.new.type".parse().expect("a topic");
        assert_eq!(check(Some(&schemas), &topic, b"{}"), Ok(()));
        let schemas = Schemas::compile([(Schemas::UNKNOWN, &schema)]).expect("compiles");
        assert!(check(Some(&schemas), &topic, b"{}").is_err());
        assert!(check(None, &topic, b"{} x").is_err());
    }

    fn passes(schema: &Value, body: &str) -> bool {
        let schemas = Schemas::compile([("a.b", schema)]).expect("compiles");
        let topic = "x.a.b".parse().expect("a topic");
        check(Some(&schemas), &topic, body.as_bytes()).is_ok()
    }

    /// The schema sees the exact number of the body, and not the nearest float.
    #[test]
    fn a_number_is_the_one_that_is_written() {
        let integer = json!({ "type": "integer" });
        let whole = [
            "712",
            "712.0",
            "7.12e2",
            "0e-400",
            "9007199254740993.0",
            "18446744073709551617",
            "1e400",
        ];
        let fractions = [
            "712.5",
            "712.00000000000000000001",
            "711.99999999999999999999",
            "-0.00000000000000000000000000001",
            "1e-400",
            "9007199254740993.5",
            "18446744073709551616.5",
        ];
        for (text, valid) in (whole.iter().map(|text| (text, true)))
            .chain(fractions.iter().map(|text| (text, false)))
        {
            assert_eq!(passes(&integer, text), valid, "{text}");
            assert_eq!(
                passes(&json!({ "type": ["string", "integer"] }), text),
                valid,
                "{text}"
            );
            assert!(passes(&json!({ "type": "number" }), text), "{text}");
        }
        // In draft 4, `712.0` is not an integer: how the number is written decides, and not its
        // value.
        let draft_4 = "http://json-schema.org/draft-04/schema#";
        let integer = json!({ "$schema": draft_4, "type": "integer" });
        assert!(passes(&integer, "712") && !passes(&integer, "712.0"));
    }

    #[test]
    fn numbers_are_compared_exactly() {
        let large: u64 = 9_007_199_254_740_993;
        for (schema, body, valid) in [
            (json!({ "const": large }), "9007199254740993.0", true),
            (json!({ "const": large }), "9007199254740992", false),
            (json!({ "const": large }), "9007199254740992.0", false),
            (
                json!({ "enum": [1, large + 1] }),
                "9007199254740993.5",
                false,
            ),
            (json!({ "const": 712 }), "7.12e2", true),
            (json!({ "const": 712 }), "712.00000000000000000001", false),
            (json!({ "const": 0.5 }), "5e-1", true),
            (json!({ "maximum": large - 1 }), "9007199254740993.0", false),
            (json!({ "minimum": large }), "9007199254740993.0", true),
            (json!({ "maximum": 712 }), "712.00000000000000000001", false),
            (
                json!({ "maximum": -712 }),
                "-711.99999999999999999999",
                false,
            ),
            (json!({ "minimum": 712 }), "711.99999999999999999999", false),
            (json!({ "exclusiveMinimum": 0 }), "1e-400", true),
            (json!({ "exclusiveMaximum": 0 }), "-1e-400", true),
            (
                json!({ "maximum": u64::MAX }),
                "18446744073709551616",
                false,
            ),
            (
                json!({ "maximum": u64::MAX }),
                "1.8446744073709551615e19",
                true,
            ),
            (json!({ "maximum": 1 }), "1e400", false),
            (json!({ "minimum": 1 }), "1e400", true),
            (json!({ "minimum": 1 }), "-1e400", false),
            (
                json!({ "multipleOf": 1 }),
                "712.00000000000000000001",
                false,
            ),
            (json!({ "multipleOf": 2 }), "9007199254740993.0", false),
            (json!({ "multipleOf": 2 }), "18446744073709551617", false),
            (
                json!({ "uniqueItems": true }),
                "[9007199254740993.0,9007199254740992]",
                true,
            ),
            (json!({ "uniqueItems": true }), "[1,1.0]", false),
        ] {
            assert_eq!(passes(&schema, body), valid, "{schema}: {body}");
        }
    }

    /// Before draft 2019-09, keywords beside `$ref` are ignored.
    #[test]
    fn a_schema_means_what_its_draft_says() {
        let schema = |dialect: &str| {
            let (name, text) = ("definitions", json!({ "type": "string" }));
            json!({
                "$schema": dialect,
                name: { "x": text },
                "properties": { "code": { "$ref": "#/definitions/x", "maxLength": 3 } },
            })
        };
        let body = r#"{"code":"four"}"#;
        for (dialect, valid) in [
            ("http://json-schema.org/draft-04/schema#", true),
            ("http://json-schema.org/draft-06/schema#", true),
            ("http://json-schema.org/draft-07/schema#", true),
            ("http://json-schema.org/draft-07/schema", true),
            ("https://json-schema.org/draft/2019-09/schema", false),
            ("https://json-schema.org/draft/2020-12/schema", false),
        ] {
            let schema = schema(dialect);
            assert_eq!(passes(&schema, body), valid, "{dialect}");
            assert!(!passes(&schema, r#"{"code":4}"#), "{dialect}");
        }
        let mut newest = schema("");
        newest.as_object_mut().expect("an object").remove("$schema");
        assert!(
            !passes(&newest, body),
            "a schema without $schema must have the meaning of draft 2020-12"
        );
    }

    #[test]
    fn a_format_is_not_checked_in_any_draft() {
        for dialect in [
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            let schema = json!({ "$schema": dialect, "format": "email" });
            assert!(passes(&schema, r#""user""#), "{dialect}");
        }
    }

    #[test]
    fn an_unknown_dialect_is_refused_by_its_name() {
        let other = "https://example.com/my-dialect";
        let root = json!({ "$schema": other, "type": "object" });
        let inner = json!({ "properties": { "a": { "$id": "a", "$schema": other } } });
        for schema in [root, inner] {
            let refused = Schemas::compile([("a.b", &schema)]).map(drop);
            let refused = refused
                .expect_err("a schema of an unknown dialect must be refused")
                .to_string();
            assert!(
                refused.contains("a.b.json") && refused.contains(other),
                "{refused}"
            );
        }
        // Here `$schema` is the name of a property and not a keyword, so it names no dialect.
        let data = json!({ "properties": { "$schema": { "const": { "$schema": other } } } });
        assert!(Schemas::compile([("a.b", &data)]).is_ok());
        for bad in [
            json!({ "$schema": 7 }),
            json!({ "$ref": "other.json" }),
            json!({ "$ref": "https://example.com/other.json" }),
        ] {
            assert!(Schemas::compile([("a.b", &bad)]).is_err(), "{bad}");
        }
    }
}
