//! The JSON Schemas that the config names: each file compiled, and each of a type that events of
//! its source can have.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use hookbox_event::{SourceName, Topic};
use hookbox_signature::Preset;
use hookbox_worker::Schemas;

use crate::config::{Config, SourceConfig};
use crate::exit::Unusable;

/// The compiled JSON Schemas of every source that has some.
pub fn schemas(config: &Config) -> anyhow::Result<HashMap<SourceName, Arc<Schemas>>> {
    let mut compiled = HashMap::new();
    for source in &config.sources {
        let unusable = || {
            let (file, name) = (config.path.display(), &source.name);
            Unusable(format!(
                "{file}: the JSON Schemas of the source {name} cannot be used"
            ))
        };
        let texts = match (&source.schemas, source.preset) {
            (Some(folder), _) => read_schemas(folder).with_context(unusable)?,
            (None, Some(Preset::Begini)) => hookbox_handlers::begini_schemas()
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
            (None, Some(Preset::Github | Preset::StandardWebhooks) | None) => continue,
        };
        if texts.is_empty() {
            return Err(anyhow!("there is no .json file in it")).with_context(unusable);
        }
        for (name, _) in &texts {
            check_name(source, name).with_context(unusable)?;
        }
        let mut values = Vec::new();
        for (name, text) in &texts {
            let value: serde_json::Value = serde_json::from_str(text)
                .with_context(|| format!("{name}.json is not JSON"))
                .with_context(unusable)?;
            values.push((name.as_str(), value));
        }
        let schemas = Schemas::compile(values.iter().map(|(name, value)| (*name, value)))
            .with_context(unusable)?;
        compiled.insert(source.name.clone(), Arc::new(schemas));
    }
    Ok(compiled)
}

/// `{event type}.json` for each type, and `unknown.json` for every other.
fn read_schemas(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let read = || format!("read the JSON Schemas in {}", folder.display());
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(read)? {
        let path = entry.with_context(read)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            texts.push((name, std::fs::read_to_string(&path).with_context(read)?));
        }
    }
    Ok(texts)
}

/// Refuses a file that no event would ever be checked with: it looks like a check and is none.
fn check_name(source: &SourceConfig, name: &str) -> anyhow::Result<()> {
    let of = &source.name;
    let untyped = Topic::of(of, None);
    let untyped = untyped.event_type();
    if name == Schemas::UNKNOWN {
        return Ok(());
    }
    if !Topic::is_event_type(of, name) {
        return Err(anyhow!(
            "no event can have the type of the file {:?}: types are of A-Z, a-z, 0-9, '_', '-' \
             and '.', and a topic has at most 200 characters; an event of another type has the \
             topic {of}.{untyped}, which {untyped}.json or {}.json is for",
            format!("{name}.json"),
            Schemas::UNKNOWN
        ));
    }
    if source.topic.is_none() && name != untyped {
        return Err(anyhow!(
            "no event has the type of the file \"{name}.json\": without \"topic\", every event \
             of {of} has the topic {of}.{untyped}; say with \"topic\" where the type is"
        ));
    }
    Ok(())
}
