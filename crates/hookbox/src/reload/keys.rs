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
                self.broken.keys = true;
                let why = mistakes.line();
                tracing::error!(
                    why,
                    "the keys of all sources stay as they were, since {why}"
                );
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
        let Some(ingest) = &self.targets.ingest else {
            return Vec::new();
        };
        let mut is_broken = self.report_kept(left) | self.report_parts(parts);
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
            is_broken = true;
            tracing::error!("{why}");
        }
        let mut changes = Vec::new();
        for Renewal { source, held, read } in renewals {
            let Some(read) = read else { continue };
            if !are_same(&held, read) && ingest.swap_keys(source.as_str(), read.to_vec()) {
                let ids: Vec<&str> = read.iter().map(Key::id).collect();
                changes.push(format!("source {source} has the keys {}", ids.join(", ")));
            }
        }
        self.broken.keys = is_broken;
        changes
    }

    /// Returns whether this process verifies requests of a source.
    pub(super) fn has_keys_of(&self, source: &str) -> bool {
        let ingest = self.targets.ingest.as_ref();
        ingest.is_some_and(|ingest| ingest.keys(source).is_some())
    }

    /// Logs which newly read keys cannot be used; returns whether there are any such keys.
    fn report_parts(&self, parts: &BrokenParts) -> bool {
        let mut is_broken = false;
        for (part, why) in parts.iter() {
            let source = match part {
                Part::Keys(source) if self.has_keys_of(source) => source,
                Part::Keys(_)
                | Part::Certificate
                | Part::Schemas(_)
                | Part::Filter
                | Part::Servers => continue,
            };
            is_broken = true;
            tracing::error!(
                source,
                why,
                "the keys of source {source} stay as they were, since {why}"
            );
        }
        is_broken
    }

    /// Logs which keys stay in use although the config has others; returns whether the keys in the
    /// config could not be read and must be read again.
    fn report_kept(&self, left: &[KeptKeys]) -> bool {
        let mut is_broken = false;
        for left in left {
            match left {
                KeptKeys::WrittenOtherwise(source) => tracing::warn!(
                    %source,
                    "the keys of source {source} stay as they were: its preset or its scheme has \
                     changed, and takes effect, together with the new keys, only at a restart"
                ),
                KeptKeys::Unreadable(source, mistakes) => {
                    is_broken = true;
                    let why = mistakes.reasons();
                    tracing::error!(
                        %source,
                        why,
                        "the keys of source {source} stay as they were, since {why}; the source \
                         runs until a restart, although the config no longer contains it"
                    );
                }
            }
        }
        is_broken
    }
}
