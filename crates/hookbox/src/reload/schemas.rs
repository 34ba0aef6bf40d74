//! Replaces the JSON Schemas of each source.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::Reloader;
use super::watched::is_of;
use crate::compose;
use hookbox_config::{BrokenParts, Part};

impl Reloader {
    /// Replaces the JSON Schemas of each source, and returns the sources whose schemas have
    /// changed, as a text for the log. If the new schemas of one source cannot be used, this source
    /// keeps its schemas, and other sources are not affected.
    pub(super) fn exchange_schemas(
        &mut self,
        parts: &BrokenParts,
        moving: &BTreeSet<PathBuf>,
    ) -> Option<String> {
        let target = self.targets.schemas.as_ref()?;
        let mut all = HashMap::new();
        let mut changed = Vec::new();
        self.broken.schemas.start_read();
        for source in &self.config.sources {
            let name = &source.name;
            let folder = source.schemas.as_slice();
            let is_moving = moving.iter().any(|path| is_of(path, folder));
            let in_use = target.of(name);
            let read = match parts.why(&Part::Schemas(name.to_string())) {
                Some(why) => Err(why),
                None if is_moving => Ok(in_use.clone()),
                None => compose::source_schemas(&self.config, source)
                    .map(|compiled| compiled.map(Arc::new))
                    .map_err(|error| format!("{error:#}")),
            };
            let after = read.unwrap_or_else(|why| {
                let text =
                    format!("the JSON Schemas of source {name} stay as they were, since {why}");
                if self.broken.schemas.fail(&text) {
                    tracing::error!(source = %name, why, "{text}");
                }
                in_use.clone()
            });
            if after != in_use {
                changed.push(name.as_str());
            }
            all.extend(after.map(|schemas| (name.clone(), schemas)));
        }
        target.replace(all);
        changed.sort_unstable();
        let names = changed.join(", ");
        (!names.is_empty()).then(|| format!("new JSON Schemas are in use for {names}"))
    }
}
