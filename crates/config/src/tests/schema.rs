//! Generates `schemas/config.json` from the structs for the config file, and compares it with the
//! committed file. If the environment variable `UPDATE_SCHEMAS` is set, the committed file is
//! written instead.

use std::path::Path;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use super::super::file::File;

/// Returns the schema of the config file.
pub fn generated() -> Value {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.untagged_enum_variant_titles = false)
        .with_transform(OfToml)
        .into_generator();
    generator.into_root_schema_for::<File>().into()
}

/// Compares a generated text with a committed file, or writes it.
pub fn compare(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&file, generated).expect("writing the committed file must succeed");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == generated,
        "{path} differs from the structs in crates/config/src/file.rs; `cargo xtask dump -p \
         hookbox-config -- as_committed` rewrites it"
    );
}

#[test]
fn the_schema_is_as_committed() {
    let text = serde_json::to_string_pretty(&generated()).expect("JSON");
    compare("schemas/config.json", &format!("{text}\n"));
}

/// Removes from the generated schema what has no meaning in TOML or in an error message: a null,
/// which TOML does not have; the Rust type of a number; and the type and range beside a list of
/// allowed values, because a wrong value would then get a second error.
#[derive(Clone)]
struct OfToml;

impl Transform for OfToml {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        without_null(schema);
        if let Some(text) = schema.get("description").and_then(Value::as_str) {
            let paragraphs = text.split("\n\n").map(|text| text.replace('\n', " "));
            let text = paragraphs.collect::<Vec<_>>().join("\n\n");
            schema.insert("description".to_owned(), text.into());
        }
        // An empty default comes from `#[serde(default)]`. It says only that the key may be
        // missing, so it is removed.
        if matches!(schema.get("default"), Some(Value::Null | Value::Array(_))) {
            schema.remove("default");
        }
        // `format` names the Rust type of a number, such as `uint32`, which means nothing to the
        // author of a config.
        schema.remove("format");
        if schema.get("enum").is_some() {
            for of_type in ["type", "minimum", "maximum"] {
                schema.remove(of_type);
            }
        }
    }
}

/// Removes the null that stands for a missing key.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = &types[..] {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let Some(Value::Array(mut forms)) = schema.remove("anyOf") else {
        return;
    };
    forms.retain(|form| form.get("type").is_none_or(|one| one != "null"));
    if let [Value::Object(only)] = &mut forms[..] {
        for (key, value) in std::mem::take(only) {
            if schema.get(&key).is_none() {
                schema.insert(key, value);
            }
        }
    } else {
        // `anyOf` becomes `oneOf`, because the error messages about wrong values are made for
        // `oneOf`. No value matches two of the forms, so both accept the same values.
        schema.insert("oneOf".to_owned(), forms.into());
    }
}
