//! The keys of a source: read from where the config says, and long enough to be secrets.

use std::path::Path;

use hookbox_event::Timestamp;
use hookbox_signature::{KEY_BYTES_MIN, KEY_BYTES_STRONG, Key, Preset, Scheme};

use super::file::{Reference, Secret, Source};
use super::place::Places;
use super::secret::{Env, resolve};

/// Checks the keys of one source.
pub fn check(
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
    check_length(at, bytes.len(), places);
    places.take(at, Key::new(secret.id.clone(), until, bytes))
}

/// A key that can be guessed proves nothing. An empty one has its own message.
fn check_length(at: &str, bytes: usize, places: &mut Places) {
    if (1..KEY_BYTES_MIN).contains(&bytes) {
        let what = format!(
            "the secret is shorter than {KEY_BYTES_MIN} bytes: whoever sees one request can find \
             it by trying; make one of 32 random bytes and give it to the provider"
        );
        places.mistake(at, what);
    } else if (KEY_BYTES_MIN..KEY_BYTES_STRONG).contains(&bytes) {
        let what = format!(
            "the secret is shorter than {KEY_BYTES_STRONG} bytes (112 bits), too short for an \
             HMAC by NIST SP 800-131A; make one of 32 random bytes and rotate to it with \"until\""
        );
        places.warn(at, what);
    }
}
