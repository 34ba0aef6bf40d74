//! Finds the differences between two config texts that take effect only after a restart. A reload
//! applies all other differences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::place::Places;

/// The config keys of a source that a reload applies, without a restart.
const OF_SOURCES: [&str; 3] = ["secrets", "secrets_made_by", "schemas"];

/// The differences between two configs that need a restart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The keys that differ, such as `ingest.idle` or `route`.
    pub settings: Vec<String>,
    /// The names of sources that are new, removed, or differ in a key that a reload does not apply.
    pub sources: BTreeSet<String>,
}

impl Differences {
    /// Finds the differences between two valid config texts.
    pub fn between(before: &str, after: &str) -> Self {
        let (before, after) = (table(before), table(after));
        let mut found = Self::default();
        for key in keys(&before, &after) {
            match key {
                "source" => {}
                "ingest" | "log" | "worker" | "store" | "broker" | "identity" | "metrics" => {
                    found.compare_tables(key, &before, &after);
                }
                key if before.get(key) != after.get(key) => found.settings.push(key.to_owned()),
                _ => {}
            }
        }
        found.compare_sources(&before, &after);
        found
    }

    fn compare_tables(
        &mut self,
        name: &str,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
    ) {
        let empty = Map::new();
        let of = |table: &'_ Map<String, Value>| {
            let table = table.get(name).and_then(Value::as_object);
            table.unwrap_or(&empty).clone()
        };
        let (before, after) = (of(before), of(after));
        for key in keys(&before, &after) {
            let (was, is) = (before.get(key), after.get(key));
            let is_reloaded = match (name, key) {
                ("log", "filter") => true,
                // Changes of the certificate files are reloaded, but TLS is switched on or off only
                // by a restart.
                ("ingest", "tls") => was.is_some() && is.is_some(),
                _ => false,
            };
            if was != is && !is_reloaded {
                self.settings.push(format!("{name}.{key}"));
            }
        }
    }

    fn compare_sources(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        let (before, after) = (sources(before), sources(after));
        let differ = |name: &&String| before.get(*name) != after.get(*name);
        let names = before.keys().chain(after.keys()).filter(differ);
        self.sources = names.cloned().collect();
    }

    /// Describes the differences in words; returns `None` if there are none.
    pub fn describe(&self) -> Option<String> {
        let sources = self.sources.iter().map(|name| format!("source {name}"));
        let all: Vec<String> = self.settings.iter().cloned().chain(sources).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

fn table(text: &str) -> Map<String, Value> {
    match Places::new(Path::new(""), text).map(|places| places.json()) {
        Ok(Value::Object(table)) => table,
        // This case never occurs: the text is a valid config, so it is TOML, and a TOML document is
        // always a table.
        Ok(_) | Err(_) => Map::new(),
    }
}

fn keys<'m>(before: &'m Map<String, Value>, after: &'m Map<String, Value>) -> BTreeSet<&'m str> {
    before
        .keys()
        .chain(after.keys())
        .map(String::as_str)
        .collect()
}

fn sources(table: &Map<String, Value>) -> BTreeMap<String, Map<String, Value>> {
    let sources = table.get("source").and_then(Value::as_array);
    let sources = sources.into_iter().flatten().filter_map(Value::as_object);
    sources
        .map(|source| {
            let name = source.get("name").and_then(Value::as_str);
            let mut source = source.clone();
            for key in OF_SOURCES {
                source.remove(key);
            }
            (name.unwrap_or_default().to_owned(), source)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
environment = "a"
[store]
url = "sqlite:a"
[ingest]
idle = "60 s"
tls = { certificate = "c", key = "k" }
[log]
format = "json"
[[source]]
name = "one"
preset = "begini"
secrets = [{ id = "a", file = "a" }]
[[source]]
name = "two"
preset = "github"
secrets = [{ id = "a", file = "b" }]
"#;

    fn after(changes: &[(&str, &str)]) -> Differences {
        let mut text = TEXT.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        Differences::between(TEXT, &text)
    }

    #[test]
    fn what_is_reloaded_needs_no_restart() {
        let found = after(&[
            (
                "file = \"a\"",
                "file = \"a2\", until = 2026-12-31T00:00:00Z",
            ),
            (
                "preset = \"github\"",
                "preset = \"github\"\nschemas = \"s\"",
            ),
            ("certificate = \"c\"", "certificate = \"c2\""),
            (
                "format = \"json\"",
                "format = \"json\"\nfilter = \"debug\" # more",
            ),
        ]);
        assert_eq!(found, Differences::default());
        assert_eq!(found.describe(), None);
    }

    #[test]
    fn everything_else_is_named() {
        let found = after(&[
            (
                "environment = \"a\"",
                "environment = \"b\"\ndrain = \"5 s\"\n[identity]\nkey = { file = \"i\" }",
            ),
            ("sqlite:a", "sqlite:b"),
            (
                "idle = \"60 s\"\ntls = { certificate = \"c\", key = \"k\" }",
                "",
            ),
            ("format = \"json\"", "format = \"text\""),
            ("preset = \"github\"", "preset = \"standard-webhooks\""),
            ("name = \"one\"", "name = \"three\""),
        ]);
        assert_eq!(
            found.describe().as_deref(),
            Some(
                "drain, environment, identity.key, ingest.idle, ingest.tls, log.format, store.url, \
                 source one, source three, source two"
            )
        );
    }
}
