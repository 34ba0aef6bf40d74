//! Generates the tables of keys in `docs/CONFIG.md` from the structs for the config file, and
//! compares them with the committed page. If the environment variable `UPDATE_SCHEMAS` is set, the
//! committed page is written instead.
//!
//! A table stands between `<!-- keys: NAME -->` and `<!-- end -->`. The keys of an inline table
//! that has no table of its own are rows below it, such as `tls.key`.

use std::path::Path;

use serde_json::Value;

use super::keys::tables;
use super::schema::{compare, generated};

/// The tables of the page: the name, and the pointer to the keys in the schema.
const TABLES: [(&str, &str); 14] = [
    ("top", ""),
    ("reference", "/$defs/reference"),
    ("store", "/properties/store"),
    ("broker", "/properties/broker"),
    ("identity", "/properties/identity"),
    ("ingest", "/properties/ingest"),
    ("worker", "/properties/worker"),
    ("metrics", "/properties/metrics"),
    ("log", "/properties/log"),
    ("source", "/properties/source/items"),
    ("route", "/properties/route/items"),
    (
        "condition",
        "/properties/route/items/properties/where/items",
    ),
    ("newest", "/properties/route/items/properties/newest"),
    ("retry", "/properties/route/items/properties/retry"),
];

/// Some defaults are not one value, so the comment of the field describes them in a paragraph of
/// its own. This is the beginning of that paragraph.
pub const DEFAULT: &str = "\n\nDefault: ";

/// A row of a table of the page: one key.
struct Row {
    key: String,
    default: String,
    meaning: String,
}

#[test]
fn the_tables_are_as_committed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIG.md");
    let page = std::fs::read_to_string(file).expect("reading docs/CONFIG.md must succeed");
    let schema = generated();
    let mut rest = page.as_str();
    let mut written = String::new();
    for (name, at) in in_order(&page) {
        let begin = format!("<!-- keys: {name} -->\n");
        let (before, after) = rest
            .split_once(&begin)
            .expect("the page must contain each table once");
        let (_, after) = after
            .split_once("<!-- end -->\n")
            .expect("each table of the page must have an end mark");
        let table = table(&rows(&schema, at, ""));
        written.push_str(&format!("{before}{begin}{table}<!-- end -->\n"));
        rest = after;
    }
    assert!(
        !rest.contains("<!-- keys:"),
        "the page must contain only tables that TABLES lists"
    );
    compare("docs/CONFIG.md", &format!("{written}{rest}"));
}

/// Returns the tables in the order in which they are on the page.
fn in_order(page: &str) -> Vec<(&'static str, &'static str)> {
    let mut tables = TABLES.to_vec();
    tables.sort_by_key(|(name, _)| page.find(&format!("<!-- keys: {name} -->")));
    tables
}

/// Returns the rows for the keys at this place of the schema. `of` is the prefix of each key.
fn rows(schema: &Value, at: &str, of: &str) -> Vec<Row> {
    let tables = tables();
    let found = tables.into_iter().find(|(table, _)| *table == at);
    let (_, keys) = found.expect("each table of the page must belong to a struct");
    let object = schema
        .pointer(at)
        .expect("the pointer of the table must exist in the schema");
    let mut rows = Vec::new();
    for key in keys {
        let value = &object["properties"][&key];
        let name = if at.is_empty() && value["type"] == "array" {
            format!("[[{key}]]")
        } else {
            format!("{of}{key}")
        };
        let needed = object["required"].as_array();
        let is_needed = needed.is_some_and(|needed| needed.contains(&Value::from(key.as_str())));
        let at = format!("{at}/properties/{key}");
        rows.push(row(&at, &name, value, is_needed));
        for (nested, list) in nested(&at, value) {
            rows.extend(self::rows(schema, &nested, &format!("{name}{list}.")));
        }
    }
    rows
}

fn row(at: &str, name: &str, value: &Value, is_needed: bool) -> Row {
    let text = value["description"]
        .as_str()
        .expect("the key must have a description");
    let (meaning, by_hand) = text.split_once(DEFAULT).unwrap_or((text, ""));
    let default = if is_needed {
        "needed".to_owned()
    } else if let Some(value) = value.get("default") {
        format!("`{}`", toml(value))
    } else if !by_hand.is_empty() {
        by_hand.trim_end_matches('.').to_owned()
    } else if is_table(at) && value.get("required").is_none() {
        "see below".to_owned()
    } else {
        "none".to_owned()
    };
    Row {
        key: format!("`{name}`"),
        default,
        meaning: meaning.replace("\n\n", " "),
    }
}

fn is_table(at: &str) -> bool {
    TABLES.iter().any(|(_, table)| *table == at)
}

/// Returns the inline tables that the value of a key may have: the pointer to each, and "[]" if it
/// is an entry of a list.
fn nested(at: &str, value: &Value) -> Vec<(String, &'static str)> {
    let forms = value["oneOf"].as_array().into_iter().flatten();
    let forms = forms
        .enumerate()
        .map(|(index, form)| (format!("{at}/oneOf/{index}"), form));
    let mut found = Vec::new();
    for (at, form) in forms.chain([(at.to_owned(), value)]) {
        if form.get("properties").is_some() && !is_table(&at) {
            found.push((at, ""));
        } else if form["items"].get("properties").is_some() && !is_table(&format!("{at}/items")) {
            found.push((format!("{at}/items"), "[]"));
        }
    }
    found
}

/// Returns a value as it is written in the config file.
pub fn toml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value.to_string()
        }
    }
}

/// Returns the rows as a table; without the column of defaults if no key has one.
fn table(rows: &[Row]) -> String {
    let has_defaults = rows.iter().any(|row| row.default != "none");
    let mut table = if has_defaults {
        "| Key | Default | Meaning |\n|---|---|---|\n".to_owned()
    } else {
        "| Key | Meaning |\n|---|---|\n".to_owned()
    };
    for row in rows {
        let (key, default, meaning) = (&row.key, &row.default, &row.meaning);
        let text = format!("{key}{default}{meaning}");
        assert!(
            !text.contains('|'),
            "the row of {key} must not contain |, which would end a cell of the table"
        );
        table.push_str(&if has_defaults {
            format!("| {key} | {default} | {meaning} |\n")
        } else {
            format!("| {key} | {meaning} |\n")
        });
    }
    table
}
