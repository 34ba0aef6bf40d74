//! Is it TOML, and is it shaped as `schemas/config.json` says? All that is not, at once.

use std::path::Path;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::SCHEMA;
use super::file::File;
use super::place::{Mistakes, Places};

/// Reads the file's structure.
pub fn read(path: &Path, text: &str) -> Result<(File, Places), Mistakes> {
    let mut places = Places::new(path, text)?;
    let value: Value = match toml_edit::de::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            places.mistake("", error.message().to_owned());
            return Err(places.into_mistakes());
        }
    };
    let schema: Value = serde_json::from_str(SCHEMA).map_err(|error| broken_schema(path, error))?;
    let validator =
        jsonschema::draft202012::new(&schema).map_err(|error| broken_schema(path, error))?;
    for error in validator.iter_errors(&value) {
        let pointer = error.instance_path().to_string();
        tell(&mut places, &pointer, &schema, &error);
    }
    if !places.is_clean() {
        return Err(places.into_mistakes());
    }
    match serde_json::from_value(value) {
        Ok(file) => Ok((file, places)),
        Err(error) => {
            places.mistake("", error.to_string());
            Err(places.into_mistakes())
        }
    }
}

/// The schema is part of the program: a test compiles it, so this cannot be met.
fn broken_schema(path: &Path, error: impl std::fmt::Display) -> Mistakes {
    Mistakes::one(
        path,
        format!("hookbox's own config schema is broken: {error}"),
    )
}

fn tell(
    places: &mut Places,
    pointer: &str,
    schema: &Value,
    error: &jsonschema::ValidationError<'_>,
) {
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_keys(schema, &error.schema_path().to_string());
            for key in unexpected {
                let hint = nearest(key, &known)
                    .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                places.mistake(
                    &format!("{pointer}/{key}"),
                    format!("there is no such key{hint}"),
                );
            }
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            places.mistake(pointer, format!("the key {key:?} is missing"));
        }
        ValidationErrorKind::OneOfNotValid { .. } if pointer.ends_with("/url") => {
            places.mistake(
                pointer,
                "it must be { env = \"NAME\" } or { file = \"PATH\" }, because a URL may hold a \
                 password; only a \"sqlite:PATH\" URL is written out",
            );
        }
        ValidationErrorKind::Pattern { .. } => {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            places.mistake(pointer, wording(name));
        }
        // The masked text: what is written there may be a secret in the wrong place.
        _ => places.mistake(pointer, error.masked_with("the value").to_string()),
    }
}

/// What a text of this name must look like.
fn wording(name: &str) -> &'static str {
    match name {
        "environment" | "name" => {
            "it must be 1 to 63 characters of a-z, 0-9, '-' and '_', and start with a letter or \
             digit"
        }
        "body_max" => "it must be a whole number and B, KiB or MiB, as \"1 MiB\"",
        "first" | "max" | "drain" | "tolerance" | "handler_time_limit" => {
            "it must be a number and ms, s, min, h or d, as \"5 s\""
        }
        _ => "it must begin with '/', as a JSON Pointer does",
    }
}

/// The keys that the schema knows where `additionalProperties` failed.
fn known_keys(schema: &Value, schema_path: &str) -> Vec<String> {
    let object = schema_path.trim_end_matches("/additionalProperties");
    schema
        .pointer(&format!("{object}/properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

/// The known key that differs least, when it differs little.
fn nearest<'k>(key: &str, known: &'k [String]) -> Option<&'k str> {
    let (distance, near) = known
        .iter()
        .map(|known| (distance(key, known), known.as_str()))
        .min()?;
    (distance <= 1 + key.len() / 3).then_some(near)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.chars().enumerate() {
            let cost = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
