//! Sources: a preset's values, each of which can be written out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hookbox_event::{Pointer, SourceName, Timestamp, TopicPattern};
use hookbox_signature::{
    Algorithm, Answer, ConflictAction, Encoding, HmacScheme, Identity, Key, Preset, Scheme,
    TimestampRule,
};
use http::HeaderName;

use super::file::{OnConflict, Reference, Secret, Source};
use super::place::Places;
use super::secret::{Env, beside, resolve};
use super::units::duration;

/// How far a signed timestamp may be from now, where nothing else is said.
const TOLERANCE: Duration = Duration::from_secs(300);

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
    /// The answer to a bad signature.
    pub answer: Answer,
    /// Where a body tells its type.
    pub topic: Option<Pointer>,
    /// How events are told apart.
    pub identity: IdentityConfig,
    /// What to do with conflicts; the first match wins.
    pub on_conflict: Vec<ConflictConfig>,
    /// JSON Schemas that override the preset's.
    pub schemas: Option<PathBuf>,
}

/// How events are told apart.
#[derive(Debug, Clone)]
pub enum IdentityConfig {
    /// By these fields.
    Pointers(Vec<Pointer>),
    /// By the signed message id.
    SignedId,
    /// By what the body says.
    Body,
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
    folder: &Path,
    places: &mut Places,
    env: Env<'_>,
) -> Option<SourceConfig> {
    let name = places.take(&format!("{at}/name"), source.name.parse::<SourceName>());
    let preset = source.preset.as_deref().and_then(Preset::parse);
    let scheme = scheme(at, source, preset, places);
    let keys = keys(at, source, preset, &scheme, folder, places, env);
    let pointer = |text: &str| text.parse::<Pointer>();
    let topic = match (&source.topic, preset.and_then(Preset::topic)) {
        (Some(text), _) => places.take(&format!("{at}/topic"), pointer(text)),
        (None, Some(text)) => pointer(text).ok(),
        (None, None) => None,
    };
    let identity = match (&source.identity, preset.map(Preset::identity)) {
        (Some(texts), _) => pointers(&format!("{at}/identity"), texts, places),
        (None, Some(Identity::Pointers(texts))) => pointers(at, &texts, places),
        (None, Some(Identity::SignedId)) => IdentityConfig::SignedId,
        (None, Some(Identity::Body)) => IdentityConfig::Body,
        (None, None) => match &scheme {
            Some(Scheme::StandardWebhooks { .. }) => IdentityConfig::SignedId,
            Some(Scheme::Hmac(_)) | None => IdentityConfig::Body,
        },
    };
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
    let schemas = source.schemas.as_deref().map(|path| beside(folder, path));
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
        answer,
        topic,
        identity,
        schemas,
    })
}

fn pointers(at: &str, texts: &[String], places: &mut Places) -> IdentityConfig {
    let pointers = texts
        .iter()
        .filter_map(|text| places.take(at, text.parse::<Pointer>()));
    IdentityConfig::Pointers(pointers.collect())
}

/// A tolerance of this source, or the usual one.
fn tolerance(at: &str, text: Option<&String>, places: &mut Places) -> Duration {
    let given = text.and_then(|text| places.take(at, duration(text)));
    given.unwrap_or(TOLERANCE)
}

fn scheme(
    at: &str,
    source: &Source,
    preset: Option<Preset>,
    places: &mut Places,
) -> Option<Scheme> {
    match (source.scheme.as_deref(), preset.map(Preset::scheme)) {
        (Some("standard-webhooks"), _) | (None, Some(Scheme::StandardWebhooks { .. })) => {
            unused(at, source, &HMAC_KEYS, "scheme \"hmac\"", places);
            let at = format!("{at}/tolerance");
            let tolerance = tolerance(&at, source.tolerance.as_ref(), places);
            Some(Scheme::StandardWebhooks { tolerance })
        }
        (Some(_), _) if source.header.is_none() || source.algorithm.is_none() => {
            let what = "scheme \"hmac\" needs the keys \"header\" and \"algorithm\"";
            places.mistake(at, what);
            None
        }
        (Some(_), _) => {
            let blank = HmacScheme {
                algorithm: Algorithm::Sha256,
                encoding: Encoding::Hex,
                header: HeaderName::from_static("x-signature"),
                prefix: String::new(),
                timestamp: None,
            };
            written_out(at, source, blank, places)
        }
        (None, Some(Scheme::Hmac(preset))) => written_out(at, source, preset, places),
        (None, None) => {
            let names = Preset::NAMES.join(", ");
            places.mistake(at, format!("it needs a preset ({names}) or a scheme"));
            None
        }
    }
}

/// The keys that say how an HMAC is written.
const HMAC_KEYS: [&str; 5] = ["header", "algorithm", "encoding", "prefix", "timestamp"];

/// What is set and would be ignored is a mistake: whoever wrote it counts on it.
fn unused(at: &str, source: &Source, keys: &[&str], belongs_to: &str, places: &mut Places) {
    let set = |key: &str| match key {
        "header" => source.header.is_some(),
        "algorithm" => source.algorithm.is_some(),
        "encoding" => source.encoding.is_some(),
        "prefix" => source.prefix.is_some(),
        "timestamp" => source.timestamp.is_some(),
        _ => source.tolerance.is_some(),
    };
    for key in keys.iter().filter(|key| set(key)) {
        places.mistake(
            &format!("{at}/{key}"),
            format!("it belongs to {belongs_to}"),
        );
    }
}

/// An HMAC scheme with what the source writes out over it.
fn written_out(
    at: &str,
    source: &Source,
    mut hmac: HmacScheme,
    places: &mut Places,
) -> Option<Scheme> {
    let elsewhere = "scheme \"standard-webhooks\"; an HMAC has timestamp = { header, tolerance }";
    unused(at, source, &["tolerance"], elsewhere, places);
    match source.algorithm.as_deref() {
        Some("sha256") => hmac.algorithm = Algorithm::Sha256,
        Some(_) => hmac.algorithm = Algorithm::Sha512,
        None => {}
    }
    match source.encoding.as_deref() {
        Some("base64") => hmac.encoding = Encoding::Base64,
        Some(_) => hmac.encoding = Encoding::Hex,
        None => {}
    }
    if let Some(header) = &source.header {
        hmac.header = places.take(&format!("{at}/header"), header.parse::<HeaderName>())?;
    }
    if let Some(prefix) = &source.prefix {
        hmac.prefix.clone_from(prefix);
    }
    if let Some(rule) = &source.timestamp {
        let at = format!("{at}/timestamp");
        let header = rule.header.parse::<HeaderName>();
        hmac.timestamp = Some(TimestampRule {
            header: places.take(&format!("{at}/header"), header)?,
            separator: rule.separator.clone().unwrap_or_else(|| ".".into()),
            tolerance: tolerance(&format!("{at}/tolerance"), rule.tolerance.as_ref(), places),
        });
    }
    Some(Scheme::Hmac(hmac))
}

fn keys(
    at: &str,
    source: &Source,
    preset: Option<Preset>,
    scheme: &Option<Scheme>,
    folder: &Path,
    places: &mut Places,
    env: Env<'_>,
) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for (index, secret) in source.secrets.iter().enumerate() {
        let at = format!("{at}/secrets/{index}");
        if keys.iter().any(|key| key.id() == secret.id) {
            places.mistake(
                &format!("{at}/id"),
                format!("the id {:?} is there twice", secret.id),
            );
        }
        if let Some(key) = key(&at, secret, preset, scheme, folder, places, env) {
            keys.push(key);
        }
    }
    keys
}

fn key(
    at: &str,
    secret: &Secret,
    preset: Option<Preset>,
    scheme: &Option<Scheme>,
    folder: &Path,
    places: &mut Places,
    env: Env<'_>,
) -> Option<Key> {
    let until = match &secret.until {
        Some(text) => Some(
            places.take(
                &format!("{at}/until"),
                Timestamp::parse_rfc3339(text)
                    .map_err(|_| "it must be a moment as 2026-12-31T00:00:00Z"),
            )?,
        ),
        None => None,
    };
    let reference = Reference {
        env: secret.env.clone(),
        file: secret.file.clone(),
    };
    let text = places.take(at, resolve(folder, &reference, env))?;
    let written = match (preset, scheme) {
        (Some(preset), _) => preset.secret(&text),
        (None, Some(Scheme::StandardWebhooks { .. })) => Preset::StandardWebhooks.secret(&text),
        (None, Some(Scheme::Hmac(_)) | None) => Some(text.into_bytes()),
    };
    let bytes = written.ok_or("the secret is not base64, as Standard Webhooks writes secrets");
    let bytes = places.take(at, bytes)?;
    places.take(at, Key::new(secret.id.clone(), until, bytes))
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
