//! The JSON Schemas that the config names: each file compiled, and each of a type that events of
//! its source can have.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use hookbox_event::{SourceName, Topic};
use hookbox_signature::Preset;
use hookbox_worker::Schemas;

use crate::config::{Config, SourceConfig};
use crate::exit::Unusable;

/// The texts of the JSON Schemas of each source that has some, by event type.
pub type SchemaTexts = BTreeMap<SourceName, Vec<(String, String)>>;

/// The compiled JSON Schemas of every source that has some.
pub fn schemas(config: &Config) -> anyhow::Result<HashMap<SourceName, Arc<Schemas>>> {
    compile_schemas(config, &read_schemas(config)?)
}

/// Reads the files that the config names.
pub fn read_schemas(config: &Config) -> anyhow::Result<SchemaTexts> {
    let mut all = SchemaTexts::new();
    for source in &config.sources {
        let mut texts = match (&source.schemas, source.preset) {
            (Some(folder), _) => {
                read_folder(folder).with_context(|| unusable(config, &source.name))?
            }
            (None, Some(Preset::Begini)) => hookbox_handlers::begini_schemas()
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
            (None, Some(Preset::Github | Preset::StandardWebhooks) | None) => continue,
        };
        texts.sort();
        all.insert(source.name.clone(), texts);
    }
    Ok(all)
}

/// Compiles what was read, all of it or nothing.
pub fn compile_schemas(
    config: &Config,
    texts: &SchemaTexts,
) -> anyhow::Result<HashMap<SourceName, Arc<Schemas>>> {
    let mut compiled = HashMap::new();
    for source in &config.sources {
        if let Some(texts) = texts.get(&source.name) {
            let schemas = compile(source, texts).with_context(|| unusable(config, &source.name))?;
            compiled.insert(source.name.clone(), Arc::new(schemas));
        }
    }
    Ok(compiled)
}

fn compile(source: &SourceConfig, texts: &[(String, String)]) -> anyhow::Result<Schemas> {
    if texts.is_empty() {
        return Err(anyhow!("there is no .json file in it"));
    }
    for (name, _) in texts {
        check_name(source, name)?;
    }
    let mut values = Vec::new();
    for (name, text) in texts {
        let value: serde_json::Value =
            serde_json::from_str(text).with_context(|| format!("{name}.json is not JSON"))?;
        values.push((name.as_str(), value));
    }
    Ok(Schemas::compile(
        values.iter().map(|(name, value)| (*name, value)),
    )?)
}

fn unusable(config: &Config, source: &SourceName) -> Unusable {
    let file = config.path.display();
    Unusable(format!(
        "{file}: the JSON Schemas of the source {source} cannot be used"
    ))
}

/// `{event type}.json` for each type, and `unknown.json` for every other.
fn read_folder(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
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
