//! The content of a body in a run: which event, and what its handler is to do.

use bytes::Bytes;
use hookbox_event::{ContentDigest, EventId, Scalar, SourceName, scan};
use serde::{Deserialize, Serialize};

/// How a handler fails an event, for its first so many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Plan {
    /// Not at all.
    Well,
    /// An error that may pass.
    Transient(u32),
    /// An error that will not.
    Permanent,
    /// A panic.
    Panic(u32),
    /// It takes longer than it may.
    Hang(u32),
    /// It commits the transaction that it only borrows.
    Commit,
    /// It rolls back the transaction that it only borrows, and writes its effect after that.
    RollBack,
    /// It takes its process with it.
    Kill,
    /// A statement fails, and the handler continues as if nothing had happened (H9).
    Swallow(u32),
}

/// A body, as the handler reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventBody {
    pub integration_id: u64,
    pub uid: String,
    pub event: Kind,
    pub plan: Plan,
    /// Distinguishes two bodies of one event.
    pub variant: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kind {
    #[serde(rename = "type")]
    pub name: String,
}

impl EventBody {
    pub fn bytes(&self) -> Bytes {
        // Plain data always becomes JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// What a body must be taken for, worked out anew here: not by the code that is tested.
pub(crate) fn identity(source: &SourceName, body: &[u8]) -> (EventId, ContentDigest) {
    match serde_json::from_slice::<EventBody>(body) {
        Ok(said) => {
            let digest = scan(body, &[]).map_or_else(
                |_| ContentDigest::of_raw_body(body),
                |document| ContentDigest::of_canonical_json(&document.canonical),
            );
            let fields = [
                Scalar::Number(said.integration_id.to_string()),
                Scalar::String(said.uid),
                Scalar::String(said.event.name),
            ];
            (EventId::from_fields(source, &fields), digest)
        }
        Err(_) => {
            let digest = ContentDigest::of_raw_body(body);
            (EventId::from_digest(source, &digest), digest)
        }
    }
}
