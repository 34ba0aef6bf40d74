//! The settings of a source: the values of a preset, each of which can be overridden.

use std::mem::discriminant;
use std::path::{Path, PathBuf};

use hookbox_event::{SourceName, TopicPattern};
use hookbox_ingest::{EventType, Identity};
use hookbox_signature::{ConflictAction, Key, Preset, RefusalAnswer, Scheme};

use super::file::{OnConflict, Secret, Source};
use super::needs::Needs;
use super::place::{Mistakes, Places};
use super::secret::{Env, Secrets, beside, folder};
use super::{identity, key, scheme};

/// The effective settings of a source.
pub struct SourceConfig {
    /// The name of the source, which is in its path: `POST /hooks/{name}`.
    pub name: SourceName,
    /// The preset that the source is based on.
    pub preset: Option<Preset>,
    /// How the sender signs its requests.
    pub scheme: Scheme,
    /// The keys that verify requests.
    pub keys: Vec<Key>,
    /// The entries of the config that say where each key is read from.
    pub(super) secrets: Vec<Secret>,
    /// The field of a form body that contains the event, if the sender may post forms.
    pub form: Option<String>,
    /// The answer to a request with a bad signature.
    pub answer: RefusalAnswer,
    /// Where a request names its event type.
    pub topic: Option<EventType>,
    /// What identifies the event of a request.
    pub identity: Identity,
    /// What to do with conflicts. The first entry whose pattern matches the topic applies.
    pub on_conflict: Vec<ConflictConfig>,
    /// The folder of JSON Schemas that replace those of the preset.
    pub schemas: Option<PathBuf>,
}

impl SourceConfig {
    /// Returns whether the keys of both sources are written in the same form, so that a key of one
    /// source could also be a key of the other.
    pub fn is_keyed_as(&self, other: &Self) -> bool {
        let is_same_scheme = discriminant(&self.scheme) == discriminant(&other.scheme);
        self.preset == other.preset && is_same_scheme
    }

    /// Replaces the keys of this source, and the places that they are read from, by those of
    /// `other`.
    pub fn take_keys(&mut self, other: Self) {
        self.keys = other.keys;
        self.secrets = other.secrets;
    }

    /// Reads the keys again from the files and variables that this source names. It is used for a
    /// source that a running ingest still serves, although the config at `path` no longer contains
    /// it. Warnings about the keys are not logged again.
    pub fn read_keys(&self, path: &Path, env: Env<'_>, needs: Needs) -> Result<Vec<Key>, Mistakes> {
        let mut places = Places::new(path, "")?;
        let scheme = Some(self.scheme.clone());
        let secrets = Secrets::of(path, env, needs);
        let (list, preset) = (&self.secrets, self.preset);
        let keys = key::check("", list, true, preset, &scheme, &secrets, &mut places);
        if places.is_clean() {
            Ok(keys)
        } else {
            Err(places.into_mistakes())
        }
    }

    /// Returns the paths of the files that contain keys of this source. A relative path is relative
    /// to the folder of the config at `path`.
    pub fn secret_files(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        let files = self
            .secrets
            .iter()
            .filter_map(|secret| secret.file.as_deref());
        files.map(move |file| beside(folder(path), file))
    }
}

/// What to do with conflicts of the topics that match a pattern.
pub struct ConflictConfig {
    /// The pattern of the topics.
    pub topics: TopicPattern,
    /// What to do with a conflict.
    pub action: ConflictAction,
}

/// Checks the settings of a source; returns `None` if a recorded mistake prevents further checks.
pub fn check(
    at: &str,
    source: &Source,
    secrets: &Secrets<'_>,
    places: &mut Places,
) -> Option<SourceConfig> {
    let name = places.take(&format!("{at}/name"), source.name.parse::<SourceName>());
    let preset = source.preset.as_deref().and_then(Preset::parse);
    let scheme = scheme::check(at, source, preset, places);
    // The config schema allows only the word "provider" for `secrets_made_by`, so any value of it
    // means "provider".
    let is_providers = source.secrets_made_by.is_some();
    let list = &source.secrets;
    let keys = key::check(at, list, is_providers, preset, &scheme, secrets, places);
    let topic = identity::topic(at, source, preset, places);
    let identity = identity::check(at, source, preset, &scheme, places);
    if let Some(scheme) = &scheme {
        identity::check_headers(at, scheme, &topic, &identity, places);
    }
    let mut answer = preset.map(Preset::answer).unwrap_or_default();
    answer.signature_status = source
        .answer
        .signature_status
        .unwrap_or(answer.signature_status);
    answer.signature_detail = source
        .answer
        .signature_detail
        .clone()
        .or(answer.signature_detail);
    let schemas = source
        .schemas
        .as_deref()
        .map(|path| beside(secrets.folder, path));
    if let Some(path) = schemas.as_deref().filter(|path| !path.is_dir()) {
        places.mistake(
            &format!("{at}/schemas"),
            format!("{} is not a folder", path.display()),
        );
    }
    let name = name?;
    Some(SourceConfig {
        on_conflict: conflicts(at, &name, source, preset, places),
        name,
        preset,
        scheme: scheme?,
        keys,
        secrets: source.secrets.clone(),
        form: source
            .form
            .clone()
            .or(preset.and_then(Preset::form).map(str::to_owned)),
        answer,
        topic,
        identity,
        schemas,
    })
}

fn conflicts(
    at: &str,
    name: &SourceName,
    source: &Source,
    preset: Option<Preset>,
    places: &mut Places,
) -> Vec<ConflictConfig> {
    let action = |word: &str| match word {
        "process" => ConflictAction::Process,
        "duplicate" => ConflictAction::Duplicate,
        _ => ConflictAction::DeadLetter,
    };
    let rules: Vec<(String, ConflictAction)> = match &source.on_conflict {
        Some(OnConflict::All(word)) => vec![(format!("{name}.#"), action(word))],
        Some(OnConflict::Rules(rules)) => rules
            .iter()
            .flat_map(|rule| {
                rule.topics
                    .iter()
                    .map(|topic| (topic.clone(), action(&rule.action)))
            })
            .collect(),
        None => preset
            .map(Preset::on_conflict)
            .unwrap_or_default()
            .into_iter()
            .map(|(topics, action)| (format!("{name}.{topics}"), action))
            .collect(),
    };
    let at = format!("{at}/on_conflict");
    rules
        .into_iter()
        .filter_map(|(topics, action)| {
            let topics = places.take(&at, topics.parse::<TopicPattern>())?;
            Some(ConflictConfig { topics, action })
        })
        .collect()
}
