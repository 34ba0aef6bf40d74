//! Replaces the JSON Schemas of each source.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use hookbox_config::{BrokenParts, Part};
use hookbox_event::SourceName;

use super::Reloader;
use super::watched::is_of;
use crate::compose::{self, SchemaTexts};

impl Reloader {
    /// Replaces the JSON Schemas of each source, and returns which have changed, as a text for the
    /// log. If those of one source cannot be used, they stay as they were, without an effect on
    /// other sources.
    pub(super) fn exchange_schemas(
        &mut self,
        parts: &BrokenParts,
        moving: &BTreeSet<PathBuf>,
    ) -> Option<String> {
        let target = self.targets.schemas.as_ref()?;
        let before = self.schemas.take();
        let (mut after, mut all) = (SchemaTexts::new(), HashMap::new());
        self.broken.schemas = false;
        for source in &self.config.sources {
            let name = &source.name;
            let folder = source.schemas.as_slice();
            let is_moving = moving.iter().any(|path| is_of(path, folder));
            let read = match parts.why(&Part::Schemas(name.to_string())) {
                Some(why) => Err(why),
                None if is_moving => Ok(None),
                None => compose::source_schemas(&self.config, source)
                    .map(Some)
                    .map_err(|error| format!("{error:#}")),
            };
            match read {
                Ok(Some(Some((texts, compiled)))) => {
                    after.insert(name.clone(), texts);
                    all.insert(name.clone(), Arc::new(compiled));
                    continue;
                }
                Ok(Some(None)) => continue,
                Ok(None) => {}
                Err(why) => {
                    self.broken.schemas = true;
                    tracing::error!(
                        source = %name,
                        why,
                        "the JSON Schemas of source {name} stay as they were, since {why}"
                    );
                }
            }
            let texts = before.as_ref().and_then(|before| before.get(name));
            after.extend(texts.map(|texts| (name.clone(), texts.clone())));
            all.extend(target.of(name).map(|held| (name.clone(), held)));
        }
        target.replace(all);
        let after = self.schemas.insert(after);
        let before = before?;
        let names: BTreeSet<&SourceName> = before.keys().chain(after.keys()).collect();
        let names = names
            .into_iter()
            .filter(|name| before.get(name) != after.get(name));
        let names: Vec<&str> = names.map(SourceName::as_str).collect();
        let names = names.join(", ");
        (!names.is_empty()).then(|| format!("new JSON Schemas are in use for {names}"))
    }
}
