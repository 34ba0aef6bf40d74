//! Sources: a preset's values, each of which can be overridden.

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

/// One source, effective.
pub struct SourceConfig {
    /// Its name: `POST /hooks/{name}`.
    pub name: SourceName,
    /// The preset that it is based on.
    pub preset: Option<Preset>,
    /// How its sender signs.
    pub scheme: Scheme,
    /// The keys.
    pub keys: Vec<Key>,
    /// The places of the keys.
    pub(super) secrets: Vec<Secret>,
    /// The field of a form body that holds the event, where its sender may post forms.
    pub form: Option<String>,
    /// The answer to a bad signature.
    pub answer: RefusalAnswer,
    /// Where a request names its event type.
    pub topic: Option<EventType>,
    /// Which event a request is of.
    pub identity: Identity,
    /// What to do with conflicts; the first match wins.
    pub on_conflict: Vec<ConflictConfig>,
    /// JSON Schemas that override the preset's.
    pub schemas: Option<PathBuf>,
}

impl SourceConfig {
    /// Whether keys of both are written in the same way, so that those of one are valid for the
    /// other.
    pub fn is_keyed_as(&self, other: &Self) -> bool {
        let is_same_scheme = discriminant(&self.scheme) == discriminant(&other.scheme);
        self.preset == other.preset && is_same_scheme
    }

    /// Takes the keys of another one, and their places.
    pub fn take_keys(&mut self, other: Self) {
        self.keys = other.keys;
        self.secrets = other.secrets;
    }

    /// Reads the keys again from their old places, for a source that the config at `path` no longer
    /// has. Warnings about them were logged before.
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

    /// The files of its keys, relative to the config at `path`.
    pub fn secret_files(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        let files = self
            .secrets
            .iter()
            .filter_map(|secret| secret.file.as_deref());
        files.map(move |file| beside(folder(path), file))
    }
}

/// What to do with conflicts of some topics.
pub struct ConflictConfig {
    /// Which topics.
    pub topics: TopicPattern,
    /// What to do.
    pub action: ConflictAction,
}

/// Checks one source; `None` when a recorded mistake leaves nothing to check further.
pub fn check(
    at: &str,
    source: &Source,
    secrets: &Secrets<'_>,
    places: &mut Places,
) -> Option<SourceConfig> {
    let name = places.take(&format!("{at}/name"), source.name.parse::<SourceName>());
    let preset = source.preset.as_deref().and_then(Preset::parse);
    let scheme = scheme::check(at, source, preset, places);
    // The schema allows one word.
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
            format!("{} is no folder", path.display()),
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
