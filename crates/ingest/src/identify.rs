//! Finds out which event a verified request reports, and computes the digest of its content.

use hookbox_event::{
    ContentDigest, DigestedJson, Extract, IdDigest, JsonError, Pointer, Scalar, Topic,
};
use hookbox_signature::Verified;
use http::HeaderMap;

use crate::header_text::header_text;
use crate::{EventType, Identity, Source};

/// The topic, the digest of the event id and the content digest of a request.
pub(crate) struct Identified {
    pub topic: Topic,
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
/// The request is genuine, and refusing it would lose it. `content` is what was read from the body
/// at [`pointers`].
pub(crate) fn identify(
    source: &Source,
    headers: &HeaderMap,
    verified: &Verified,
    content: Result<DigestedJson, JsonError>,
) -> Identified {
    let (digest, extracts) = match content {
        Ok(json) => (json.digest, json.extracts),
        Err(_) => (ContentDigest::of_raw_body(verified.body()), Vec::new()),
    };
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
    let id = base(source, headers, verified, &digest, &values);
    let (topic, id) = match &source.topic {
        Some(EventType::Header { name, .. }) => {
            let text = header_text(headers, name);
            let topic = Topic::of_header(&source.name, text.as_deref(), kind.as_deref());
            // The event id includes the header's own text and not the topic, because several texts
            // can give the same topic. Different texts are different events.
            let id = text.map_or(id, |text| IdDigest::of_typed(&id, &text));
            (topic, id)
        }
        Some(EventType::Body(_)) | None => (Topic::of(&source.name, kind.as_deref()), id),
    };
    Identified { topic, id, digest }
}

/// Returns the event id before the event type from a header is added to it.
fn base(
    source: &Source,
    headers: &HeaderMap,
    verified: &Verified,
    digest: &ContentDigest,
    values: &[Scalar],
) -> IdDigest {
    let by_body = || IdDigest::from_digest(&source.name, digest);
    match &source.identity {
        Identity::Pointers(pointers) if !values.is_empty() && values.len() == pointers.len() => {
            IdDigest::from_fields(&source.name, values)
        }
        Identity::SignedId => verified.signed_id().map_or_else(by_body, |id| {
            IdDigest::from_fields(&source.name, &[Scalar::String(id.to_owned())])
        }),
        // The delivery number alone is never the identity of an event, because an attacker who
        // replays a captured request could write any number on it, and would hide the event that
        // the number belongs to (H12).
        Identity::Delivery(name) => header_text(headers, name)
            .map_or_else(by_body, |number| IdDigest::of_delivery(&by_body(), &number)),
        Identity::Pointers(_) | Identity::Body => by_body(),
    }
}
