//! The routing key of a message: a text that may contain the topic, the source and the event type
//! in braces.

use hookbox_event::{SourceName, Topic};
use serde::Deserialize;

/// The longest text of a routing key in the config, in bytes. AMQP allows keys of at most 255
/// bytes. The key of a message may still be longer, because the names of its event are put into the
/// text.
const BYTES_MAX: usize = 255;

/// The routing key of messages, such as `shop.{event_type}`. Without a setting it is the topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RoutingKey(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Topic,
    Source,
    EventType,
}

/// The error for a text that is not a routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a routing key has at most {BYTES_MAX} bytes, and braces only in {{topic}}, {{source}} and \
     {{event_type}}"
)]
pub struct InvalidRoutingKey;

impl RoutingKey {
    /// Returns the routing key for an event.
    pub fn of(&self, source: &SourceName, topic: &Topic) -> String {
        let texts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Topic => topic.as_str(),
            Part::Source => source.as_str(),
            Part::EventType => topic.event_type(),
        });
        texts.collect()
    }
}

impl Default for RoutingKey {
    fn default() -> Self {
        Self(vec![Part::Topic])
    }
}

impl TryFrom<String> for RoutingKey {
    type Error = InvalidRoutingKey;

    fn try_from(text: String) -> Result<Self, InvalidRoutingKey> {
        if text.len() > BYTES_MAX {
            return Err(InvalidRoutingKey);
        }
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(InvalidRoutingKey)?;
            parts.extend(plain(before)?);
            parts.push(named(name).ok_or(InvalidRoutingKey)?);
            rest = after;
        }
        parts.extend(plain(rest)?);
        Ok(Self(parts))
    }
}

/// Returns what a name in braces stands for.
fn named(name: &str) -> Option<Part> {
    match name {
        "topic" => Some(Part::Topic),
        "source" => Some(Part::Source),
        "event_type" => Some(Part::EventType),
        _ => None,
    }
}

/// Returns a text outside of braces; `None` if it is empty.
fn plain(text: &str) -> Result<Option<Part>, InvalidRoutingKey> {
    if text.contains('}') {
        return Err(InvalidRoutingKey);
    }
    Ok((!text.is_empty()).then(|| Part::Text(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<String, InvalidRoutingKey> {
        let source = "shop"
            .parse()
            .expect("the name of the source must be valid");
        let topic = "shop.order.paid".parse().expect("the topic must be valid");
        RoutingKey::try_from(text.to_owned()).map(|key| key.of(&source, &topic))
    }

    #[test]
    fn names_of_the_event_stand_in_braces() {
        for (text, expect) in [
            ("", ""),
            ("orders", "orders"),
            ("{topic}", "shop.order.paid"),
            ("in.{source}.x.{event_type}", "in.shop.x.order.paid"),
            ("{source}{source}", "shopshop"),
        ] {
            assert_eq!(key(text).as_deref(), Ok(expect));
        }
        let source = "shop"
            .parse()
            .expect("the name of the source must be valid");
        let topic = "shop".parse().expect("the topic must be valid");
        assert_eq!(RoutingKey::default().of(&source, &topic), "shop");
    }

    #[test]
    fn other_braces_are_refused() {
        let long = "k".repeat(BYTES_MAX + 1);
        for text in [
            "{",
            "}",
            "{}",
            "{uid}",
            "{topic",
            "a}b",
            "{topic}}",
            "{{topic}}",
            &long,
        ] {
            assert_eq!(key(text), Err(InvalidRoutingKey), "{text}");
        }
    }
}
