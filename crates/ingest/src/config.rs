//! The configuration of an ingest, in values that are valid already.

use std::sync::{Arc, RwLock};

use hookbox_event::{Pointer, RouteName, SourceName, Topic, TopicPattern};
use hookbox_signature::{Key, RefusalAnswer, Scheme};
use http::HeaderName;

use crate::{Limits, Peers};

/// The configuration of an ingest.
pub struct Config {
    /// The endpoints.
    pub sources: Vec<Source>,
    /// The routes of their events.
    pub routing: Routing,
    /// The peers that may send.
    pub peers: Peers,
    /// The limits.
    pub limits: Limits,
}

/// One endpoint: `POST /hooks/{name}`.
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// How its sender signs.
    pub scheme: Scheme,
    /// The keys it signs with. Swapped as a whole when they change.
    pub keys: RwLock<Arc<[Key]>>,
    /// The field that holds the event where its sender posts a form
    /// (`application/x-www-form-urlencoded`).
    pub form: Option<String>,
    /// The answer its sender wants for a bad signature.
    pub answer: RefusalAnswer,
    /// Where a request names its event type.
    pub topic: Option<EventType>,
    /// How two events are distinguished.
    pub identity: Identity,
}

/// Where a request names its event type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventType {
    /// At this place of the body.
    Body(Pointer),
    /// In a header, which is not signed: its text is a part of the event id.
    Header {
        /// The header.
        name: HeaderName,
        /// The place of the body whose text is the last part of the type.
        pointer: Option<Pointer>,
    },
}

/// What identifies the event of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The values at these places, all of them.
    Pointers(Vec<Pointer>),
    /// The message id that the scheme signs.
    SignedId,
    /// The content of the body.
    Body,
    /// The content of the body, together with the number that the sender gives each delivery in
    /// this header, which is not signed.
    Delivery(HeaderName),
}

impl EventType {
    /// The place of the body that contains it, or a part of it.
    pub(crate) fn pointer(&self) -> Option<&Pointer> {
        match self {
            EventType::Body(pointer) => Some(pointer),
            EventType::Header { pointer, .. } => pointer.as_ref(),
        }
    }
}

/// Which routes take a topic.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Routes with their patterns.
    pub routes: Vec<(RouteName, Vec<TopicPattern>)>,
    /// The route for a topic that none of them takes.
    pub unrouted: RouteName,
}

impl Source {
    /// The keys as they are now.
    pub(crate) fn keys_now(&self) -> Arc<[Key]> {
        // A writer that panicked has swapped the whole list or nothing.
        Arc::clone(
            &self
                .keys
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl Routing {
    /// The routes that take a topic; never none.
    pub fn routes_of(&self, topic: &Topic) -> Vec<RouteName> {
        let takes = |patterns: &[TopicPattern]| patterns.iter().any(|one| one.matches(topic));
        let taking = self.routes.iter().filter(|(_, patterns)| takes(patterns));
        let routes: Vec<RouteName> = taking.map(|(name, _)| name.clone()).collect();
        if routes.is_empty() {
            vec![self.unrouted.clone()]
        } else {
            routes
        }
    }
}
