//! A message of the broker whose bytes are not an envelope, in the form in which a store gets it.

use bytes::Bytes;
use hookbox_event::{ContentDigest, Digester, EventId, RouteName};

use crate::DeadReason;

/// A message that is not a readable envelope.
#[derive(Debug, Clone)]
pub struct UndecodableMessage<'a> {
    /// The route from whose queue the bytes came.
    pub route: &'a RouteName,
    /// The bytes of the message.
    pub bytes: &'a Bytes,
    /// The id under which the bytes are stored; see [`EventId::of_undecodable`].
    pub event: EventId,
    /// The content digest of the bytes.
    pub digest: ContentDigest,
    /// The reason why the message could not be read or delivered.
    pub reason: DeadReason,
    /// The detail for operators.
    pub detail: String,
}

impl<'a> UndecodableMessage<'a> {
    /// Creates an undecodable message, and computes the id and the digest of its bytes.
    pub fn new(
        digester: &Digester,
        route: &'a RouteName,
        bytes: &'a Bytes,
        reason: DeadReason,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            route,
            bytes,
            event: EventId::of_undecodable(digester, bytes),
            digest: ContentDigest::of_raw_body(digester, bytes),
            reason,
            detail: detail.into(),
        }
    }
}
