//! What hookbox knows about each provider: how it signs, what answer it wants, how its events are
//! distinguished. Each of these can be configured for a provider without a preset.

use std::time::Duration;

use http::HeaderName;

use crate::{Algorithm, Encoding, HmacScheme, Scheme};

/// How far a signed timestamp may be from now: the five minutes that Standard Webhooks suggests.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(300);

/// The providers that hookbox knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Begini: HMAC-SHA-512 in lower-case hex in `X-Signature`, keyed with the API key.
    Begini,
    /// GitHub: HMAC-SHA-256 in hex in `X-Hub-Signature-256`, after `sha256=`.
    Github,
    /// Anyone who keeps to Standard Webhooks 1.0.
    StandardWebhooks,
}

/// Which fields of a body identify its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The values at these JSON Pointers, all of them.
    Pointers(Vec<String>),
    /// The message id that the scheme signs.
    SignedId,
    /// The content of the body.
    Body,
}

/// The answer to a request whose signature does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalAnswer {
    /// The status.
    pub signature_status: u16,
    /// The `detail` in the provider's own examples, if they have one.
    pub signature_detail: Option<String>,
}

/// What to do with another body under a known event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictAction {
    /// A dead letter for an operator to decide on.
    DeadLetter,
    /// An event of its own.
    Process,
    /// The same event: its id decides.
    Duplicate,
}

impl Preset {
    /// The names of all presets, for messages.
    pub const NAMES: [&'static str; 3] = ["begini", "github", "standard-webhooks"];

    /// The preset of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "begini" => Some(Preset::Begini),
            "github" => Some(Preset::Github),
            "standard-webhooks" => Some(Preset::StandardWebhooks),
            _ => None,
        }
    }

    /// How it signs.
    pub fn scheme(self) -> Scheme {
        match self {
            Preset::Begini => Scheme::Hmac(HmacScheme {
                algorithm: Algorithm::Sha512,
                encoding: Encoding::Hex,
                header: HeaderName::from_static("x-signature"),
                prefix: String::new(),
                timestamp: None,
            }),
            Preset::Github => Scheme::Hmac(HmacScheme {
                algorithm: Algorithm::Sha256,
                encoding: Encoding::Hex,
                header: HeaderName::from_static("x-hub-signature-256"),
                prefix: "sha256=".into(),
                timestamp: None,
            }),
            Preset::StandardWebhooks => Scheme::StandardWebhooks {
                tolerance: TOLERANCE,
            },
        }
    }

    /// The place of the event type, as a JSON Pointer.
    pub fn topic(self) -> Option<&'static str> {
        match self {
            Preset::Begini => Some("/event/type"),
            // The type is in a header that is not signed.
            Preset::Github => None,
            Preset::StandardWebhooks => Some("/type"),
        }
    }

    /// How its events are distinguished.
    pub fn identity(self) -> Identity {
        match self {
            Preset::Begini => {
                let pointers = ["/integration_id", "/uid", "/event/type"];
                Identity::Pointers(pointers.map(str::to_owned).into())
            }
            // The delivery id is in a header that is not signed (H12).
            Preset::Github => Identity::Body,
            Preset::StandardWebhooks => Identity::SignedId,
        }
    }

    /// The field of a form body that holds the JSON, where the provider may send forms.
    pub fn form(self) -> Option<&'static str> {
        match self {
            // The default of a webhook that is created in GitHub's settings.
            Preset::Github => Some("payload"),
            Preset::Begini | Preset::StandardWebhooks => None,
        }
    }

    /// The answer that it wants.
    pub fn answer(self) -> RefusalAnswer {
        match self {
            Preset::Begini => RefusalAnswer {
                signature_status: 403,
                signature_detail: Some("Validation Failure".into()),
            },
            Preset::Github | Preset::StandardWebhooks => RefusalAnswer::default(),
        }
    }

    /// What to do with conflicts, by topic pattern after the source; the first match wins.
    pub fn on_conflict(self) -> Vec<(&'static str, ConflictAction)> {
        match self {
            // A second `application.*` under one uid is a repeated application.
            Preset::Begini => {
                vec![
                    ("application.*", ConflictAction::Process),
                    ("#", ConflictAction::DeadLetter),
                ]
            }
            Preset::Github | Preset::StandardWebhooks => vec![("#", ConflictAction::DeadLetter)],
        }
    }

    /// The bytes of a secret, in the encoding that this provider uses.
    pub fn secret(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Preset::Begini | Preset::Github => Some(text.as_bytes().to_vec()),
            Preset::StandardWebhooks => crate::standard_webhooks::secret(text),
        }
    }
}

impl Default for RefusalAnswer {
    fn default() -> Self {
        Self {
            signature_status: 401,
            signature_detail: None,
        }
    }
}

#[cfg(test)]
mod tests;
