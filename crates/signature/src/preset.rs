//! Presets: for each known provider, how it signs, which answer it expects, and what identifies its
//! events. All of this can also be configured for a provider without a preset.

use std::time::Duration;

use http::HeaderName;

use crate::{Algorithm, Encoding, HmacScheme, Scheme};

/// How far a signed timestamp may be from now: the five minutes that Standard Webhooks suggests.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(300);

/// A provider that hookbox knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Begini: HMAC-SHA-512 in lower-case hex in `X-Signature`, keyed with the API key.
    Begini,
    /// GitHub: HMAC-SHA-256 in hex in `X-Hub-Signature-256`, after `sha256=`.
    Github,
    /// Any provider that follows Standard Webhooks 1.0.
    StandardWebhooks,
}

/// What identifies the event of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// All values at these JSON Pointers into the body.
    Pointers(Vec<String>),
    /// The message id that the scheme signs.
    SignedId,
    /// The content of the body.
    Body,
}

/// The answer to a request whose signature does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalAnswer {
    /// The HTTP status of the answer.
    pub signature_status: u16,
    /// The text of the member `detail` in the answer, if the provider's examples contain this
    /// member.
    pub signature_detail: Option<String>,
}

/// What to do with a conflict: an event id that is known already, with a different body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictAction {
    /// Store the conflict as a dead letter, for an operator to decide.
    DeadLetter,
    /// Process the conflict as an event of its own.
    Process,
    /// Treat the conflict as a duplicate of the known event, because only the event id is compared.
    Duplicate,
}

impl Preset {
    /// The names of all presets, for error messages.
    pub const NAMES: [&'static str; 3] = ["begini", "github", "standard-webhooks"];

    /// Returns the preset with this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "begini" => Some(Preset::Begini),
            "github" => Some(Preset::Github),
            "standard-webhooks" => Some(Preset::StandardWebhooks),
            _ => None,
        }
    }

    /// Returns how the provider signs.
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

    /// Returns where the body contains the event type, as a JSON Pointer.
    pub fn topic(self) -> Option<&'static str> {
        match self {
            Preset::Begini => Some("/event/type"),
            // GitHub sends the event type in a header that is not signed, and not in the body.
            Preset::Github => None,
            Preset::StandardWebhooks => Some("/type"),
        }
    }

    /// Returns what identifies the provider's events.
    pub fn identity(self) -> Identity {
        match self {
            Preset::Begini => {
                let pointers = ["/integration_id", "/uid", "/event/type"];
                Identity::Pointers(pointers.map(str::to_owned).into())
            }
            // GitHub sends the delivery id in a header that is not signed. An attacker could change
            // it, so it is not used to identify an event (H12 in docs/HAZARDS.md).
            Preset::Github => Identity::Body,
            Preset::StandardWebhooks => Identity::SignedId,
        }
    }

    /// Returns the field of a form body that contains the JSON, if the provider may send forms.
    pub fn form(self) -> Option<&'static str> {
        match self {
            // A webhook that is created on GitHub's settings page sends forms by default.
            Preset::Github => Some("payload"),
            Preset::Begini | Preset::StandardWebhooks => None,
        }
    }

    /// Returns the answer that the provider expects when a signature does not verify.
    pub fn answer(self) -> RefusalAnswer {
        match self {
            Preset::Begini => RefusalAnswer {
                signature_status: 403,
                signature_detail: Some("Validation Failure".into()),
            },
            Preset::Github | Preset::StandardWebhooks => RefusalAnswer::default(),
        }
    }

    /// Returns what to do with conflicts, as patterns of the event type with an action each. The
    /// first pattern that matches applies.
    pub fn on_conflict(self) -> Vec<(&'static str, ConflictAction)> {
        match self {
            // A second `application.*` event with the same uid means that the applicant has applied
            // again, so it is an event of its own.
            Preset::Begini => {
                vec![
                    ("application.*", ConflictAction::Process),
                    ("#", ConflictAction::DeadLetter),
                ]
            }
            Preset::Github | Preset::StandardWebhooks => vec![("#", ConflictAction::DeadLetter)],
        }
    }

    /// Decodes a secret from the text in which the provider shows it. Returns `None` if the text is
    /// not in that encoding.
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
