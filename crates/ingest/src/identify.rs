//! Which event a verified request tells of, and what it says.

use hookbox_event::{ContentDigest, EventId, Extract, Pointer, Scalar, Topic, scan};
use hookbox_signature::Verified;

use crate::{Identity, Source};

/// What was read from a body.
pub(crate) struct Identified {
    pub topic: Topic,
    pub event: EventId,
    pub digest: ContentDigest,
}

/// Never fails: a genuine body that is not JSON, or lacks its identity fields, is identified by
/// what it says. Refusing it would lose it.
pub(crate) fn identify(source: &Source, verified: &Verified) -> Identified {
    let fields: &[Pointer] = match &source.identity {
        Identity::Pointers(pointers) => pointers,
        Identity::SignedId | Identity::Body => &[],
    };
    let pointers: Vec<Pointer> = source.topic.iter().chain(fields).cloned().collect();
    let (digest, extracts) = match scan(verified.body(), &pointers) {
        Ok(document) => (
            ContentDigest::of_canonical_json(&document.canonical),
            document.extracts,
        ),
        Err(_) => (ContentDigest::of_raw_body(verified.body()), Vec::new()),
    };
    let mut extracts = extracts.into_iter();
    let kind = source.topic.as_ref().and_then(|_| extracts.next());
    let kind = match kind {
        Some(Extract::Found(Scalar::String(kind))) => Some(kind),
        Some(_) | None => None,
    };
    let values: Vec<Scalar> = extracts
        .filter_map(|extract| match extract {
            Extract::Found(value) => Some(value),
            Extract::Absent | Extract::Container | Extract::Ambiguous => None,
        })
        .collect();
    let event = match (&source.identity, verified.signed_id()) {
        (Identity::Pointers(pointers), _)
            if !values.is_empty() && values.len() == pointers.len() =>
        {
            EventId::from_fields(&source.name, &values)
        }
        (Identity::SignedId, Some(id)) => {
            EventId::from_fields(&source.name, &[Scalar::String(id.to_owned())])
        }
        (Identity::Pointers(_) | Identity::SignedId | Identity::Body, _) => {
            EventId::from_digest(&source.name, &digest)
        }
    };
    Identified {
        topic: Topic::of(&source.name, kind.as_deref()),
        event,
        digest,
    }
}
