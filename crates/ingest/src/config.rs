//! The configuration of an ingest. Its values are validated already.

use std::sync::{Arc, RwLock};

use hookbox_event::{Digester, Pointer, Routing, SourceName};
use hookbox_signature::{Key, RefusalAnswer, Scheme};
use http::HeaderName;

use crate::{Limits, Peers};

/// The configuration of an ingest.
pub struct Config {
    /// The sources: the endpoints to which providers send their requests.
    pub sources: Vec<Source>,
    /// The routes that take the events of these sources.
    pub routing: Routing,
    /// How the ids of events and content digests are computed.
    pub digester: Digester,
    /// The peers that may send requests.
    pub peers: Peers,
    /// The limits on sizes and times, and on the number of connections and requests.
    pub limits: Limits,
}

/// One endpoint: `POST /hooks/{name}`.
pub struct Source {
    /// The name of the source, which is the last part of its URL.
    pub name: SourceName,
    /// How the sender signs its requests.
    pub scheme: Scheme,
    /// The keys that the sender signs with. The list is replaced as a whole when keys change.
    pub keys: RwLock<Arc<[Key]>>,
    /// The form field that contains the event, where the sender posts a form
    /// (`application/x-www-form-urlencoded`).
    pub form: Option<String>,
    /// The answer that the sender expects when the signature of its request is not valid.
    pub answer: RefusalAnswer,
    /// Where a request states its event type; `None` if requests to this source state none.
    pub topic: Option<EventType>,
    /// What distinguishes an event from the other events of the source.
    pub identity: Identity,
}

/// The place in a request that states its event type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventType {
    /// The type is at this place in the body.
    Body(Pointer),
    /// The type is in a header, which is not signed. Its text becomes a part of the event id, so
    /// requests with equal bodies and different types are different events. Otherwise an attacker
    /// could send a captured body with another type and thereby hide the genuine event.
    Header {
        /// The name of the header.
        name: HeaderName,
        /// The place in the body whose text is the last part of the type; `None` if the header has
        /// the whole type.
        pointer: Option<Pointer>,
    },
}

/// What identifies the event of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The values at these places in the body. All of them together identify the event.
    Pointers(Vec<Pointer>),
    /// The message id that the scheme covers with its signature.
    SignedId,
    /// The content of the body.
    Body,
    /// The content of the body, together with the number that the sender gives each delivery in
    /// this header. The header is not signed.
    Delivery(HeaderName),
}

impl EventType {
    /// Returns the place in the body that contains the event type, or the last part of it. `None`
    /// if the type is stated only in a header.
    pub(crate) fn pointer(&self) -> Option<&Pointer> {
        match self {
            EventType::Body(pointer) => Some(pointer),
            EventType::Header { pointer, .. } => pointer.as_ref(),
        }
    }
}

impl Source {
    /// Returns the keys that are configured now.
    pub(crate) fn keys_now(&self) -> Arc<[Key]> {
        // The list of keys is replaced in one step, so a writer that panicked left either the old
        // list or the new one.
        Arc::clone(
            &self
                .keys
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}
