//! Sources: a preset's values, each of which can be written out.

use std::path::PathBuf;

use hookbox_event::{SourceName, TopicPattern};
use hookbox_ingest::{EventType, Identity};
use hookbox_signature::{Answer, ConflictAction, Key, Preset, Scheme};

use super::file::{OnConflict, Source};
use super::place::Places;
use super::secret::{Secrets, beside};
use super::{identity, key, scheme};

/// One source, effective.
pub struct SourceConfig {
    /// Its name: `POST /hooks/{name}`.
    pub name: SourceName,
    /// The preset it began from.
    pub preset: Option<Preset>,
    /// How its sender signs.
    pub scheme: Scheme,
    /// The keys.
    pub keys: Vec<Key>,
    /// The field of a form body that holds the event, where its sender may post forms.
    pub form: Option<String>,
    /// The answer to a bad signature.
    pub answer: Answer,
    /// Where a request names its event type.
    pub topic: Option<EventType>,
    /// Which event a request is of.
    pub identity: Identity,
    /// What to do with conflicts; the first match wins.
    pub on_conflict: Vec<ConflictConfig>,
    /// JSON Schemas that override the preset's.
    pub schemas: Option<PathBuf>,
}

/// What to do with conflicts of some topics.
pub struct ConflictConfig {
    /// Which topics.
    pub topics: TopicPattern,
    /// What to do.
    pub action: ConflictAction,
}

/// Checks one source; `None` when a mistake was noted that leaves nothing to go on with.
pub fn check(
    at: &str,
    source: &Source,
    secrets: &Secrets<'_>,
    places: &mut Places,
) -> Option<SourceConfig> {
    let name = places.take(&format!("{at}/name"), source.name.parse::<SourceName>());
    let preset = source.preset.as_deref().and_then(Preset::parse);
    let scheme = scheme::check(at, source, preset, places);
    let keys = key::check(at, source, preset, &scheme, secrets, places);
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
