//! Checks that a config file is TOML with the structure of `schemas/config.json`, and reports all
//! mistakes at once. The allowed kinds of handlers are those that the program has.

use std::path::Path;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::file::File;
use super::handler_kinds::HandlerKinds;
use super::nearest::nearest;
use super::pattern::wording;
use super::place::{Mistakes, Places, escape, unescape};
use super::schema::SCHEMA;

/// Parses a config file and checks its structure.
pub fn read(path: &Path, text: &str, kinds: &HandlerKinds) -> Result<(File, Places), Mistakes> {
    let mut places = Places::new(path, text)?;
    let mut value = places.json();
    let settings = kinds.take_settings(&mut value);
    let mut schema: Value =
        serde_json::from_str(SCHEMA).map_err(|error| broken_schema(path, error))?;
    kinds.list_in(&mut schema);
    let validator =
        jsonschema::draft202012::new(&schema).map_err(|error| broken_schema(path, error))?;
    let mut wrong = Vec::new();
    for error in validator.iter_errors(&value) {
        let pointer = error.instance_path().to_string();
        report(&mut places, &pointer, &schema, kinds, &error);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let keys = unexpected.iter().map(|key| escape(key));
                wrong.extend(keys.map(|key| format!("{pointer}/{key}")));
            }
            _ => wrong.push(pointer),
        }
    }
    // Values with the right structure are still checked for their meaning, so that all mistakes are
    // reported at once. Values with a wrong structure are removed first. If the config cannot be
    // parsed without them, only the mistakes of structure are reported.
    for pointer in wrong {
        remove(&mut value, &pointer);
        places.broken(pointer);
    }
    match serde_json::from_value::<File>(value) {
        Ok(mut file) => {
            for (index, settings) in settings {
                let handler = file.route.get_mut(index).and_then(|it| it.handler.as_mut());
                if let Some(handler) = handler {
                    handler.settings = settings;
                }
            }
            Ok((file, places))
        }
        Err(_) if !places.is_clean() => Err(places.into_mistakes()),
        // The error text of serde is not shown, because it would contain the value.
        Err(_) => Err(Mistakes::one(
            path,
            "the file has the structure of schemas/config.json and still cannot be parsed: this is \
             a bug in hookbox, please report it"
                .to_owned(),
        )),
    }
}

/// Removes a value with a wrong structure. If the value is in a list, removes the whole list,
/// because a list without one entry would have other indexes, and so wrong places in messages.
fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, token)) = pointer.rsplit_once('/') else {
        *value = Value::Null;
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&unescape(token));
        }
        Some(_) => remove(value, parent),
        None => {}
    }
}

/// The error for an invalid config schema. It never occurs, because the schema is part of the
/// program and a test compiles it.
fn broken_schema(path: &Path, error: impl std::fmt::Display) -> Mistakes {
    Mistakes::one(
        path,
        format!("hookbox's own config schema is broken: {error}"),
    )
}

/// The hint for a secret that is written into the config.
const NEVER_WRITTEN: &str = "a secret is never written here: { id = \"NAME\", env = \"VARIABLE\" } \
    or { id = \"NAME\", file = \"PATH\" } says where it is";

/// Returns whether a pointer has the form `/source/{index}/secrets/{index}`.
fn is_secret(pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').collect();
    matches!(parts[..], ["", "source", _, "secrets", _])
}

/// The message about an identity key that is written into the config itself.
const NEVER_WRITTEN_KEY: &str = "the key is never written here: { env = \"VARIABLE\" } or { file = \
    \"PATH\" } says where it is";

/// Returns whether a pointer has the form `/route/{index}/handler/kind`.
fn is_kind(pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').collect();
    matches!(parts[..], ["", "route", _, "handler", "kind"])
}

/// Returns the message about a kind of handler that this program does not have.
fn no_such_kind(kinds: &HandlerKinds, given: &Value) -> String {
    let names: Vec<String> = kinds.names().map(str::to_owned).collect();
    let near = given.as_str().and_then(|given| nearest(given, &names));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let names = names.join(", ");
    format!("this program has no handler of this kind; it has {names}{hint}")
}

fn report(
    places: &mut Places,
    pointer: &str,
    schema: &Value,
    kinds: &HandlerKinds,
    error: &jsonschema::ValidationError<'_>,
) {
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_keys(schema, &error.schema_path().to_string());
            for key in unexpected {
                let hint = match nearest(key, &known) {
                    Some(near) => format!("; did you mean {near:?}?"),
                    None if is_secret(pointer) => format!("; {NEVER_WRITTEN}"),
                    None => String::new(),
                };
                places.mistake(
                    &format!("{pointer}/{}", escape(key)),
                    format!("there is no such key{hint}"),
                );
            }
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            places.mistake(pointer, format!("the key {key:?} is missing"));
        }
        ValidationErrorKind::Enum { .. } if is_kind(pointer) => {
            places.mistake(pointer, no_such_kind(kinds, error.instance()));
        }
        ValidationErrorKind::OneOfNotValid { .. } => places.mistake(pointer, forms(pointer)),
        ValidationErrorKind::Type { .. } if is_secret(pointer) => {
            places.mistake(pointer, NEVER_WRITTEN);
        }
        ValidationErrorKind::Type { .. } if pointer == "/identity/key" => {
            places.mistake(pointer, NEVER_WRITTEN_KEY);
        }
        ValidationErrorKind::MinItems { .. } if pointer.ends_with("/secrets") => {
            places.mistake(
                pointer,
                "the source needs a secret: verification cannot be switched off",
            );
        }
        ValidationErrorKind::Pattern { pattern } if let Some(wording) = wording(pattern) => {
            places.mistake(pointer, wording);
        }
        // The library's error text contains the wrong value, which may be a secret that was written
        // in the wrong place. So "the value" is shown in its stead.
        _ => places.mistake(pointer, error.masked_with("the value").to_string()),
    }
}

/// Returns the hint for a key whose value may have one of several forms.
fn forms(pointer: &str) -> &'static str {
    match pointer.rsplit('/').next().unwrap_or_default() {
        "url" => {
            "the value must be { env = \"NAME\" } or { file = \"PATH\" }, because a URL may hold a \
             password; only a \"sqlite:PATH\" URL may be written here"
        }
        "management" => {
            "the value must be { env = \"NAME\" } or { file = \"PATH\" }, or a URL without a \
             password, such as \"http://rabbitmq:15672\""
        }
        "topic" => {
            "the value must be a JSON Pointer into the body, such as \"/type\", or { header = \
             \"NAME\" }, with or without pointer = \"/PATH\""
        }
        "identity" => {
            "the value must be a list of JSON Pointers into the body, such as [\"/id\"], or \"body\
             \", or { header = \"NAME\", with = \"body\" }"
        }
        _ => {
            "the value must be \"dead_letter\", \"process\", \"duplicate\", or a list of { topics, \
             action }"
        }
    }
}

/// Returns the keys that the schema allows at the place where `additionalProperties` failed.
fn known_keys(schema: &Value, schema_path: &str) -> Vec<String> {
    let object = schema_path.trim_end_matches("/additionalProperties");
    schema
        .pointer(&format!("{object}/properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}
