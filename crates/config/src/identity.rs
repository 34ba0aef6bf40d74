//! The settings of a source that say where a request names its event type and what identifies its
//! event.

use hookbox_event::Pointer;
use hookbox_ingest::{EventType, Identity};
use hookbox_signature::{self as signature, Preset, Scheme};

use super::file::{self, Source};
use super::place::Places;
use super::scheme::header;

/// Returns where a request of this source names its event type, by the settings of the source or
/// else by its preset. `None` means that requests do not name one, or that a mistake was recorded.
pub fn topic(
    at: &str,
    source: &Source,
    preset: Option<Preset>,
    places: &mut Places,
) -> Option<EventType> {
    let at = format!("{at}/topic");
    match (&source.topic, preset.and_then(Preset::topic)) {
        (Some(file::Topic::Pointer(text)), _) => pointer(&at, text, places).map(EventType::Body),
        (Some(file::Topic::Header(given)), _) => {
            let name = header(&format!("{at}/header"), &given.header, places);
            let pointer = match &given.pointer {
                Some(text) => Some(pointer(&format!("{at}/pointer"), text, places)?),
                None => None,
            };
            Some(EventType::Header {
                name: name?,
                pointer,
            })
        }
        (None, Some(text)) => pointer(&at, text, places).map(EventType::Body),
        (None, None) => None,
    }
}

/// Returns which parts of a request identify its event. Two requests to the source that are equal
/// in these parts report the same event.
pub fn check(
    at: &str,
    source: &Source,
    preset: Option<Preset>,
    scheme: &Option<Scheme>,
    places: &mut Places,
) -> Identity {
    let key = format!("{at}/identity");
    match (&source.identity, preset.map(Preset::identity)) {
        (Some(file::Identity::Word(file::Word::Body)), _) => Identity::Body,
        (Some(file::Identity::Pointers(texts)), _) => pointers(&key, texts, places),
        (Some(file::Identity::Header(given)), _) => {
            header(&format!("{key}/header"), &given.header, places)
                .map_or(Identity::Body, Identity::Delivery)
        }
        (None, Some(signature::Identity::Pointers(texts))) => pointers(at, &texts, places),
        (None, Some(signature::Identity::SignedId)) => Identity::SignedId,
        (None, Some(signature::Identity::Body)) => by_default(at, source, preset, places),
        (None, None) => match scheme {
            Some(Scheme::StandardWebhooks { .. }) => Identity::SignedId,
            Some(Scheme::Hmac(_)) => by_default(at, source, preset, places),
            None => Identity::Body,
        },
    }
}

/// Chooses the default: the body identifies the event. A warning is recorded, because two events
/// with the same body become one event. The default can never change, because the ids of stored
/// events depend on it.
fn by_default(at: &str, source: &Source, preset: Option<Preset>, places: &mut Places) -> Identity {
    let typed = match &source.topic {
        Some(file::Topic::Header(_)) => true,
        Some(file::Topic::Pointer(_)) | None => false,
    };
    let of = if typed { "body and topic" } else { "body" };
    let advice = match preset {
        Some(Preset::Github) => {
            "write identity = { header = \"X-GitHub-Delivery\", with = \"body\" }, and topic = { \
             header = \"X-GitHub-Event\", pointer = \"/action\" }"
        }
        Some(Preset::Begini | Preset::StandardWebhooks) | None => {
            "if the body holds an id, name it in identity; if the provider numbers its deliveries \
             in a header, write identity = { header = \"NAME\", with = \"body\" }; if its type is \
             in a header, write topic = { header = \"NAME\" }"
        }
    };
    let what = format!(
        "two requests with the same {of} are one event here, and the second is not processed, \
         since no \"identity\" is written; {advice}; to keep this identity without the warning, \
         write identity = \"body\" (docs/CONFIG.md, Which event it is)"
    );
    places.warn(at, what);
    Identity::Body
}

/// Refuses the headers that contain the signature or its timestamp as identity or event type. Their
/// values may differ in each request, even in a retry of the same event, so every retry would
/// become a new event.
pub fn check_headers(
    at: &str,
    scheme: &Scheme,
    topic: &Option<EventType>,
    identity: &Identity,
    places: &mut Places,
) {
    let signed: Vec<&str> = match scheme {
        Scheme::Hmac(hmac) => {
            let stamp = hmac.timestamp.iter().map(|rule| rule.header.as_str());
            stamp.chain([hmac.header.as_str()]).collect()
        }
        Scheme::StandardWebhooks { .. } => vec!["webhook-timestamp", "webhook-signature"],
    };
    let of_topic = match topic {
        Some(EventType::Header { name, .. }) => Some((name, "topic")),
        Some(EventType::Body(_)) | None => None,
    };
    let of_identity = match identity {
        Identity::Delivery(name) => Some((name, "identity")),
        Identity::Pointers(_) | Identity::SignedId | Identity::Body => None,
    };
    for (name, key) in of_topic.into_iter().chain(of_identity) {
        if signed.contains(&name.as_str()) {
            let what = format!(
                "{name} belongs to the signature, which may change with each retry: every retry \
                 would be another event"
            );
            places.mistake(&format!("{at}/{key}/header"), what);
        }
    }
}

fn pointer(at: &str, text: &str, places: &mut Places) -> Option<Pointer> {
    places.take(at, text.parse::<Pointer>())
}

fn pointers(at: &str, texts: &[String], places: &mut Places) -> Identity {
    let pointers = texts.iter().filter_map(|text| pointer(at, text, places));
    Identity::Pointers(pointers.collect())
}
