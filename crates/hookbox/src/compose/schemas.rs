//! Compiles the JSON Schemas that the config names. Each file must be for an event type that the
//! source can have.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use hookbox_config::{Config, SourceConfig, regular_file};
use hookbox_event::{SourceName, Topic};
use hookbox_signature::Preset;
use hookbox_worker::Schemas;

use crate::exit::Unusable;

/// The largest size of a JSON Schema file, in bytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The texts of the JSON Schemas of a source, each with its event type.
type Texts = Vec<(String, String)>;

/// Compiles the JSON Schemas of every source that has JSON Schemas.
pub fn schemas(config: &Config) -> anyhow::Result<HashMap<SourceName, Arc<Schemas>>> {
    let mut all = HashMap::new();
    for source in &config.sources {
        if let Some(compiled) = source_schemas(config, source)? {
            all.insert(source.name.clone(), Arc::new(compiled));
        }
    }
    Ok(all)
}

/// Reads and compiles the JSON Schemas of a source, if it has any.
pub fn source_schemas(config: &Config, source: &SourceConfig) -> anyhow::Result<Option<Schemas>> {
    let Some(texts) = read(config, source)? else {
        return Ok(None);
    };
    let compiled = compile(source, &texts).with_context(|| unusable(config, &source.name))?;
    Ok(Some(compiled))
}

fn read(config: &Config, source: &SourceConfig) -> anyhow::Result<Option<Texts>> {
    let mut texts = match (&source.schemas, source.preset) {
        (Some(folder), _) => read_folder(folder).with_context(|| unusable(config, &source.name))?,
        (None, Some(Preset::Begini)) => hookbox_handlers::begini_schemas()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        (None, Some(Preset::Github | Preset::StandardWebhooks) | None) => return Ok(None),
    };
    texts.sort();
    Ok(Some(texts))
}

fn compile(source: &SourceConfig, texts: &[(String, String)]) -> anyhow::Result<Schemas> {
    if texts.is_empty() {
        return Err(anyhow!("the folder contains no .json file"));
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

/// Reads `{event type}.json` for each event type, and `unknown.json` for all other event types.
fn read_folder(folder: &Path) -> anyhow::Result<Texts> {
    let read = || format!("cannot read the JSON Schemas in {}", folder.display());
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
            let file = || format!("cannot read the JSON Schema {}", path.display());
            let bytes = regular_file::read(&path, BYTES_MAX).with_context(file)?;
            texts.push((name, String::from_utf8(bytes).with_context(file)?));
        }
    }
    Ok(texts)
}

/// Refuses a file that would never be used for any event, because its author expects a check that
/// would never run.
fn check_name(source: &SourceConfig, name: &str) -> anyhow::Result<()> {
    let of = &source.name;
    let untyped = Topic::of(of, None);
    let untyped = untyped.event_type();
    if name == Schemas::UNKNOWN {
        return Ok(());
    }
    if !Topic::is_event_type(of, name) {
        return Err(anyhow!(
            "no event can have the type that the file {:?} is named after: a type consists of A-Z, \
             a-z, 0-9, '_', '-' and '.', and a topic has at most 200 characters; an event of any \
             other type has the topic {of}.{untyped}, and {untyped}.json or {}.json is for it",
            format!("{name}.json"),
            Schemas::UNKNOWN
        ));
    }
    if source.topic.is_none() && name != untyped {
        return Err(anyhow!(
            "no event has the type that the file \"{name}.json\" is named after: without \
             \"topic\", every event of {of} has the topic {of}.{untyped}; set \"topic\" to the \
             place of the type"
        ));
    }
    Ok(())
}
