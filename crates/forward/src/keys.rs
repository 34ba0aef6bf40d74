//! The keys with which requests are signed.

use hookbox_signature::{Key, Preset};

use crate::invalid::InvalidSettings;
use crate::settings::{ReadSecret, Secret};

/// The highest number of signing keys. Two are needed while a key is changed. Each key adds a
/// signature to every request, and a receiver checks each signature.
const KEYS_MAX: usize = 4;

/// The shortest key, in bytes: Standard Webhooks requires 24 to 64 random bytes. (Longer keys are
/// accepted, although they add no security.)
const KEY_BYTES_MIN: usize = 24;

/// Reads all signing keys, in the order of the settings.
pub(crate) fn read(
    secrets: &[Secret],
    read_secret: ReadSecret<'_>,
) -> Result<Vec<Key>, InvalidSettings> {
    let found = secrets.len();
    if !(1..=KEYS_MAX).contains(&found) {
        let max = KEYS_MAX;
        return Err(InvalidSettings::SecretCount { found, max });
    }
    let mut keys: Vec<Key> = Vec::with_capacity(found);
    for secret in secrets {
        if keys.iter().any(|key| key.id() == secret.id) {
            return Err(InvalidSettings::TwiceSecret(secret.id.clone()));
        }
        keys.push(read_one(secret, read_secret)?);
    }
    Ok(keys)
}

fn read_one(secret: &Secret, read_secret: ReadSecret<'_>) -> Result<Key, InvalidSettings> {
    let id = secret.id.clone();
    let wrong = |why| InvalidSettings::Secret {
        id: id.clone(),
        why,
    };
    let text = read_secret(&secret.reference()).map_err(wrong)?;
    let bytes = Preset::StandardWebhooks.secret(&text);
    let bytes = bytes.ok_or_else(|| InvalidSettings::NotBase64(id.clone()))?;
    let (found, min) = (bytes.len(), KEY_BYTES_MIN);
    if found < min {
        return Err(InvalidSettings::ShortSecret { id, found, min });
    }
    Key::new(id.as_str(), None, bytes).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::settings::Reference;

    const GOOD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Returns the secret of a reference. In these tests, the name of the environment variable is
    /// the secret itself.
    fn text(reference: &Reference) -> Result<String, String> {
        match reference.env.as_deref() {
            Some(text) => Ok(text.to_owned()),
            None => Err("the reference must name either env or file".to_owned()),
        }
    }

    fn keys(secrets: &[(&str, Option<&str>)]) -> Result<Vec<Key>, String> {
        let secrets = secrets.iter().map(|(id, text)| Secret {
            id: (*id).to_owned(),
            env: text.map(str::to_owned),
            file: None,
            mode: None,
        });
        let secrets: Vec<Secret> = secrets.collect();
        read(&secrets, &text).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_read_in_their_order() {
        let long = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let keys = keys(&[("new", Some(GOOD)), ("old", Some(long))]).unwrap();
        let ids: Vec<&str> = keys.iter().map(Key::id).collect();
        assert_eq!(ids, ["new", "old"]);
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let five = [("a", Some(GOOD)); 5];
        let short = "c2hvcnQga2V5";
        for (secrets, why) in [
            (&[][..], "secrets: 0 are set, and 1 to 4 are allowed"),
            (&five, "secrets: 5 are set, and 1 to 4 are allowed"),
            (&five[..2], "secrets: the id \"a\" occurs twice"),
            (
                &[("a", None)],
                "secrets.a: the reference must name either env or file",
            ),
            (
                &[("a", Some("no base64!"))],
                "secrets.a: the secret is not base64",
            ),
            (&[("a", Some(short))], "secrets.a: the secret has 9 bytes"),
            (&[("a", Some(""))], "secrets.a: the secret has 0 bytes"),
        ] {
            let refused = keys(secrets).err().unwrap();
            assert!(refused.starts_with(why), "{refused}");
            assert!(!refused.contains(GOOD) && !refused.contains(short));
            assert!(!refused.contains("no base64!"), "{refused}");
        }
    }
}
