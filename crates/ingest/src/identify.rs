//! Finds out which event a verified request reports, computes the digest of its content, and
//! decides which routes with conditions select it.

use hookbox_event::{
    ContentDigest, DigestedJson, Digester, Extract, IdDigest, JsonError, MatchedRoutes, Pointer,
    Scalar, SourceConditions, Topic,
};
use hookbox_signature::Verified;
use http::HeaderMap;

use crate::header_text::header_text;
use crate::{EventType, Identity, Source};

/// What decides to which routes an event goes. Only events with equal destinations may share a
/// batch, because a batch is one message, and goes to its routes as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub topic: Topic,
    /// The routes with conditions that select the event; always empty if no route has conditions.
    pub matched: MatchedRoutes,
}

/// What a request reports: the destination of its event, the digest that the event id is taken
/// from, and the content digest.
pub(crate) struct Identified {
    pub destination: Destination,
    pub id: IdDigest,
    pub digest: ContentDigest,
}

/// Returns the places in a body that are needed to identify its event: the event type, if the body
/// contains it, and then the identity fields.
pub(crate) fn pointers(source: &Source) -> Vec<&Pointer> {
    let fields: &[Pointer] = match &source.identity {
        Identity::Pointers(pointers) => pointers,
        Identity::SignedId | Identity::Body | Identity::Delivery(_) => &[],
    };
    let kind_at = source.topic.as_ref().and_then(EventType::pointer);
    kind_at.into_iter().chain(fields).collect()
}

/// Identifies the event of a request, and never fails: a body that is not JSON or lacks its
/// identity fields is identified by its content, and a header may be absent or hold invalid bytes.
/// The request is genuine, and refusing it would lose the event. `content` contains the values of
/// the body at [`pointers`], and which of the `conditions` hold for the body.
pub(crate) fn identify(
    digester: &Digester,
    source: &Source,
    conditions: &SourceConditions,
    headers: &HeaderMap,
    verified: &Verified,
    content: Result<DigestedJson, JsonError>,
) -> Identified {
    let DigestedJson {
        digest,
        extracts,
        holds,
    } = content.unwrap_or_else(|_| DigestedJson {
        digest: ContentDigest::of_raw_body(digester, verified.body()),
        extracts: Vec::new(),
        holds: Vec::new(),
    });
    let mut extracts = extracts.into_iter();
    let kind_at = source.topic.as_ref().and_then(EventType::pointer);
    let kind = match kind_at.and_then(|_| extracts.next()) {
        Some(Extract::Found(Scalar::String(kind))) => Some(kind),
        Some(_) | None => None,
    };
    let values: Vec<Scalar> = extracts
        .filter_map(|extract| match extract {
            Extract::Found(value) => Some(value),
            Extract::Absent | Extract::Container | Extract::Ambiguous => None,
        })
        .collect();
    let id = base(digester, source, headers, verified, &digest, &values);
    let (topic, id) = match &source.topic {
        Some(EventType::Header { name, .. }) => {
            let text = header_text(headers, name);
            let topic = Topic::of_header(&source.name, text.as_deref(), kind.as_deref());
            // The event id includes the header's own text and not the topic, because several texts
            // can give the same topic. Different texts are different events.
            let id = text.map_or(id, |text| IdDigest::of_typed(digester, &id, &text));
            (topic, id)
        }
        Some(EventType::Body(_)) | None => (Topic::of(&source.name, kind.as_deref()), id),
    };
    let matched = conditions.matched(&topic, &holds);
    let destination = Destination { topic, matched };
    Identified {
        destination,
        id,
        digest,
    }
}

/// Returns the event id before the event type from a header is added to it.
fn base(
    digester: &Digester,
    source: &Source,
    headers: &HeaderMap,
    verified: &Verified,
    digest: &ContentDigest,
    values: &[Scalar],
) -> IdDigest {
    let by_body = || IdDigest::from_digest(digester, &source.name, digest);
    match &source.identity {
        Identity::Pointers(pointers) if !values.is_empty() && values.len() == pointers.len() => {
            IdDigest::from_fields(digester, &source.name, values)
        }
        Identity::SignedId => verified.signed_id().map_or_else(by_body, |id| {
            IdDigest::from_fields(digester, &source.name, &[Scalar::String(id.to_owned())])
        }),
        // The delivery number alone is never the identity of an event, because that number is not
        // signed. An attacker could send a captured request with the number of a genuine event, and
        // the genuine event would then be taken for a duplicate (H12).
        Identity::Delivery(name) => header_text(headers, name).map_or_else(by_body, |number| {
            IdDigest::of_delivery(digester, &by_body(), &number)
        }),
        Identity::Pointers(_) | Identity::Body => by_body(),
    }
}
