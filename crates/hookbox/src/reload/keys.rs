//! Replaces the keys of each source.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hookbox_config::{BrokenParts, Config, Part, SourceConfig};
use hookbox_event::Timestamp;
use hookbox_signature::Key;

use super::Reloader;
use super::in_use::{KeptKeys, are_same};
use super::renewal::{Renewal, keep_apart};

impl Reloader {
    /// Reads the secrets again from the places that the config in use names, and replaces the keys.
    /// The config file itself is not read, because it may be edited at this moment. Keys from files
    /// in `moving`, which are still being written, stay as they were. Returns the changes as texts
    /// for the log.
    pub(super) fn read_keys(&mut self, moving: &BTreeSet<PathBuf>, now: Timestamp) -> Vec<String> {
        let Config {
            path,
            text,
            needs,
            kinds,
            ..
        } = &self.config;
        match Config::parse_parts(path, text, *needs, kinds, now) {
            Ok((config, parts)) => {
                let left = self.exchange_config(config, &parts);
                self.exchange_keys(&left, &parts, moving)
            }
            Err(mistakes) => {
                let why = mistakes.line();
                self.broken.keys.start_read();
                if self.broken.keys.fail(&why) {
                    tracing::error!(
                        why,
                        "the keys of all sources stay as they were, since {why}"
                    );
                }
                Vec::new()
            }
        }
    }

    /// Replaces the keys of each source, and returns the changes as texts for the log. If the new
    /// keys of one source cannot be used, this source keeps its keys, and other sources are not
    /// affected.
    pub(super) fn exchange_keys(
        &mut self,
        left: &[KeptKeys],
        parts: &BrokenParts,
        moving: &BTreeSet<PathBuf>,
    ) -> Vec<String> {
        let Some(ingest) = self.targets.ingest.clone() else {
            return Vec::new();
        };
        self.broken.keys.start_read();
        self.report_kept(left);
        self.report_parts(parts);
        let is_moving = |source: &SourceConfig| {
            let mut files = source.secret_files(&self.config.path);
            files.any(|file| moving.contains(&file))
        };
        let mut renewals = Vec::new();
        for source in &self.config.sources {
            let name = source.name.as_str();
            let Some(held) = ingest.keys(name) else {
                continue;
            };
            let stays = parts.why(&Part::Keys(name.to_owned())).is_some()
                || left.iter().any(|left| *left.source() == source.name)
                || is_moving(source);
            renewals.push(Renewal {
                source: &source.name,
                held,
                read: (!stays).then_some(&source.keys),
            });
        }
        for why in keep_apart(&mut renewals) {
            if self.broken.keys.fail(&why) {
                tracing::error!("{why}");
            }
        }
        let mut changes = Vec::new();
        for Renewal { source, held, read } in renewals {
            let Some(read) = read else { continue };
            if !are_same(&held, read) && ingest.swap_keys(source.as_str(), read.to_vec()) {
                let ids: Vec<&str> = read.iter().map(Key::id).collect();
                changes.push(format!("source {source} has the keys {}", ids.join(", ")));
            }
        }
        changes
    }

    /// Returns whether this process verifies requests of a source.
    pub(super) fn has_keys_of(&self, source: &str) -> bool {
        let ingest = self.targets.ingest.as_ref();
        ingest.is_some_and(|ingest| ingest.keys(source).is_some())
    }

    /// Logs which newly read keys cannot be used.
    fn report_parts(&mut self, parts: &BrokenParts) {
        for (part, why) in parts.iter() {
            let source = match part {
                Part::Keys(source) if self.has_keys_of(source) => source,
                Part::Keys(_)
                | Part::Certificate
                | Part::Schemas(_)
                | Part::Filter
                | Part::Servers => continue,
            };
            let text = format!("the keys of source {source} stay as they were, since {why}");
            if self.broken.keys.fail(&text) {
                tracing::error!(source, why, "{text}");
            }
        }
    }

    /// Logs which keys stay in use although the config has others. Those that could not be read
    /// must be read again.
    fn report_kept(&mut self, left: &[KeptKeys]) {
        for left in left {
            match left {
                KeptKeys::WrittenOtherwise(source) => {
                    let text = format!(
                        "the keys of source {source} stay as they were: its preset or its scheme \
                         has changed, and takes effect, together with the new keys, only at a \
                         restart"
                    );
                    if self.broken.keys.is_new(&text) {
                        tracing::warn!(%source, "{text}");
                    }
                }
                KeptKeys::Unreadable(source, mistakes) => {
                    let why = mistakes.reasons();
                    let text = format!(
                        "the keys of source {source} stay as they were, since {why}; the source \
                         runs until a restart, although the config no longer contains it"
                    );
                    if self.broken.keys.fail(&text) {
                        tracing::error!(%source, why, "{text}");
                    }
                }
            }
        }
    }
}
