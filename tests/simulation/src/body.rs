//! The body of a simulated webhook: it names the event and how the handler must treat it.

use bytes::Bytes;
use hookbox_event::{ContentDigest, Digester, EventId, Scalar, SourceName, scan};
use serde::{Deserialize, Serialize};

/// How the handler must treat an event. If a variant has a number N, the first N attempts fail in
/// this way, and the next one succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Plan {
    /// The handler succeeds.
    Well,
    /// The handler returns a transient error.
    Transient(u32),
    /// The handler returns a permanent error.
    Permanent,
    /// The handler panics.
    Panic(u32),
    /// The handler runs past its time limit.
    Hang(u32),
    /// The handler commits the transaction, which it only borrows.
    Commit,
    /// The handler rolls back the transaction, which it only borrows, and writes its effect after
    /// that.
    RollBack,
    /// The handler kills its process.
    Kill,
    /// A statement of the handler fails, and the handler reports success (H9).
    Swallow(u32),
}

/// A webhook body as the handler parses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventBody {
    pub integration_id: u64,
    pub uid: String,
    pub event: Kind,
    pub plan: Plan,
    /// The key on routes that apply only the newest event of each key.
    pub account: String,
    pub version: u64,
    /// A number that makes two bodies of the same event differ.
    pub variant: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kind {
    #[serde(rename = "type")]
    pub name: String,
}

impl EventBody {
    pub fn bytes(&self) -> Bytes {
        // Serializing these plain fields cannot fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Computes the event id and the content digest that a body must get. This code is separate from
/// the code of ingest, so that a mistake in one of them shows as a difference.
pub(crate) fn identity(source: &SourceName, body: &[u8]) -> (EventId, ContentDigest) {
    match serde_json::from_slice::<EventBody>(body) {
        Ok(said) => {
            let digest = scan(body, &[]).map_or_else(
                |_| ContentDigest::of_raw_body(&Digester::Plain, body),
                |document| ContentDigest::of_canonical_json(&Digester::Plain, &document.canonical),
            );
            let fields = [
                Scalar::Number(said.integration_id.to_string()),
                Scalar::String(said.uid),
                Scalar::String(said.event.name),
            ];
            (
                EventId::from_fields(&Digester::Plain, source, &fields),
                digest,
            )
        }
        Err(_) => {
            let digest = ContentDigest::of_raw_body(&Digester::Plain, body);
            (
                EventId::from_digest(&Digester::Plain, source, &digest),
                digest,
            )
        }
    }
}
