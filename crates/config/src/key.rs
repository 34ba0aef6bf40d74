//! The keys that verify the requests of a source. Each key is read from the place that the config
//! refers to, and its length is checked.

use hookbox_event::Timestamp;
use hookbox_signature::{KEY_BYTES_MIN, KEY_BYTES_STRONG, Key, Preset, Scheme};

use super::file::{Reference, Secret};
use super::place::Places;
use super::secret::Secrets;

/// Checks the keys of one source.
pub fn check(
    at: &str,
    list: &[Secret],
    is_providers: bool,
    preset: Option<Preset>,
    scheme: &Option<Scheme>,
    secrets: &Secrets<'_>,
    places: &mut Places,
) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for (index, secret) in list.iter().enumerate() {
        let at = format!("{at}/secrets/{index}");
        let before = &list[..index];
        if before.iter().any(|other| other.id == secret.id) {
            places.mistake(
                &format!("{at}/id"),
                format!("two secrets of this source have the id {:?}", secret.id),
            );
        }
        let until = until(&at, secret, places);
        if secrets.needs.keys
            && let Some(bytes) = bytes(&at, is_providers, secret, (preset, scheme), secrets, places)
            && let Some(until) = until
        {
            keys.extend(places.take(&at, Key::new(secret.id.clone(), until, bytes)));
        }
    }
    keys
}

/// Returns the time at which a key expires. The outer `None` means a mistake, `Some(None)` a key
/// that never expires.
fn until(at: &str, secret: &Secret, places: &mut Places) -> Option<Option<Timestamp>> {
    let Some(text) = &secret.until else {
        return Some(None);
    };
    let moment = Timestamp::parse_rfc3339(text);
    let moment = moment.map_err(|_| "the value must be a time such as 2026-12-31T00:00:00Z");
    places.take(&format!("{at}/until"), moment).map(Some)
}

/// Reads the bytes of a key from the place that the config refers to.
fn bytes(
    at: &str,
    is_providers: bool,
    secret: &Secret,
    (preset, scheme): (Option<Preset>, &Option<Scheme>),
    secrets: &Secrets<'_>,
    places: &mut Places,
) -> Option<Vec<u8>> {
    let reference = Reference {
        env: secret.env.clone(),
        file: secret.file.clone(),
        mode: secret.mode.clone(),
    };
    let text = secrets.resolve(at, &reference, places)?;
    let written = match (preset, scheme) {
        (Some(preset), _) => preset.secret(&text),
        (None, Some(Scheme::StandardWebhooks { .. })) => Preset::StandardWebhooks.secret(&text),
        (None, Some(Scheme::Hmac(_)) | None) => Some(text.into_bytes()),
    };
    let bytes =
        written.ok_or("the secret is not base64, in which Standard Webhooks encodes secrets");
    let bytes = places.take(at, bytes)?;
    check_length(at, bytes.len(), is_providers, places);
    Some(bytes)
}

/// Refuses a key that is short enough to be guessed, and warns about one that is weak. An empty key
/// is reported elsewhere. There is no warning about a weak key made by the provider, because the
/// operator cannot change its length.
fn check_length(at: &str, bytes: usize, is_providers: bool, places: &mut Places) {
    if (1..KEY_BYTES_MIN).contains(&bytes) {
        let what = format!(
            "the secret is shorter than {KEY_BYTES_MIN} bytes: one captured request is enough to \
             find it by trying all keys; make a secret of 32 random bytes and give it to the \
             provider"
        );
        places.mistake(at, what);
    } else if (KEY_BYTES_MIN..KEY_BYTES_STRONG).contains(&bytes) && !is_providers {
        let what = format!(
            "the secret is shorter than {KEY_BYTES_STRONG} bytes, and as text it is likely to have \
             less than the 112 bits that NIST SP 800-131A requires of an HMAC key; make a secret \
             of 32 random bytes and rotate to it with \"until\", or set secrets_made_by = \
             \"provider\" where the provider makes its keys"
        );
        places.warn(at, what);
    }
}
