//! Topics (`source.event_type`), and the patterns with which routes select topics.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::SourceName;

/// The longest topic, in bytes. AMQP routing keys and properties are short strings of at most 255
/// bytes.
const TOPIC_BYTES_MAX: usize = 200;

/// The event type in the topic of a request that has no event type, or one that a topic cannot
/// contain.
const UNTYPED: &str = "untyped";

/// The topic of an event: the source and the event type, as in
/// `begini.psychometric_score.complete`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Topic(String);

/// The error for a text that is not a topic or not a topic pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a topic: 1 to 200 characters of A-Z, a-z, 0-9, '_', '-' and '.'{extra}")]
pub struct InvalidTopic {
    text: String,
    extra: &'static str,
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Converts an event type to characters that a topic may contain: '/' and ':' become '.', and a
/// space becomes '_'. Returns `None` if it contains any other character that a topic may not
/// contain. Letters and digits are never changed, so two types become the same text only if nothing
/// but their separators differs.
fn topic_text(kind: &str) -> Option<String> {
    let one = |c| match c {
        '/' | ':' => Some('.'),
        ' ' => Some('_'),
        c => plain(c).then_some(c),
    };
    let text: String = kind.chars().map(one).collect::<Option<_>>()?;
    (!text.is_empty()).then_some(text)
}

impl Topic {
    /// Returns the topic of an event of this source with this event type.
    ///
    /// If the event type is absent, too long, or contains a character that a topic may not contain,
    /// the topic is `source.untyped`. So an event is stored and routed whatever its type is, and
    /// never refused because of its type.
    pub fn of(source: &SourceName, event_type: Option<&str>) -> Self {
        event_type
            .filter(|kind| !kind.is_empty() && kind.chars().all(plain))
            .map(|kind| format!("{source}.{kind}"))
            .filter(|topic| topic.len() <= TOPIC_BYTES_MAX)
            .map_or_else(|| Self(format!("{source}.{UNTYPED}")), Self)
    }

    /// Returns the topic of an event whose type is in a header. The header `orders/create` gives
    /// `source.orders.create`, and `repo:push` gives `source.repo.push`. `part` is a text from the
    /// body, which is appended after a dot.
    ///
    /// A `part` that a topic cannot contain is left out. If the header is missing or cannot be
    /// used, the topic is `source.untyped` even when there is a `part`, because the part alone
    /// would name another type.
    pub fn of_header(source: &SourceName, header: Option<&[u8]>, part: Option<&str>) -> Self {
        let kind = header.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let kind = kind.and_then(topic_text);
        let joined = kind.as_ref().zip(part.and_then(topic_text));
        let joined = joined
            .map(|(kind, part)| format!("{kind}.{part}"))
            .filter(|joined| Self::is_event_type(source, joined));
        Self::of(source, joined.or(kind).as_deref())
    }

    /// Returns whether a topic of this source can contain this event type unchanged.
    pub fn is_event_type(source: &SourceName, kind: &str) -> bool {
        Self::of(source, Some(kind)).event_type() == kind
    }

    /// Returns the topic of accept reports, which have a queue of their own.
    pub fn of_accounts() -> Self {
        Self("hookbox.account".to_owned())
    }

    /// Returns the topic of witness messages. A store keeps them at its broker, and they show later
    /// whether the store or the broker was restored or replaced.
    pub fn of_witnesses() -> Self {
        Self("hookbox.witness".to_owned())
    }

    /// Returns the topic of undecodable bytes. Their real topic is unknown, because they cannot be
    /// decoded.
    pub fn unreadable() -> Self {
        Self("hookbox.unreadable".to_owned())
    }

    /// Returns the topic as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part of the topic after the source, which is the event type.
    pub fn event_type(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, kind)| kind)
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let ok = !text.is_empty() && text.len() <= TOPIC_BYTES_MAX && text.chars().all(plain);
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTopic {
                text: text.chars().take(80).collect(),
                extra: "",
            })
        }
    }
}

impl TryFrom<String> for Topic {
    type Error = InvalidTopic;

    fn try_from(text: String) -> Result<Self, InvalidTopic> {
        text.parse()
    }
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> String {
        topic.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern that selects the topics of a route. `*` matches any characters except `.`, and `#` as
/// the last part matches all remaining parts.
///
/// For example, `begini.*_score.complete` matches every score of Begini, and `begini.#` every topic
/// of Begini. In AMQP's own patterns `*` matches only whole words, so hookbox matches topics itself
/// and publishes directly to the queue of each route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern(String);

impl TopicPattern {
    /// Returns whether the pattern matches this topic.
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut parts = topic.as_str().split('.');
        for pattern in self.0.split('.') {
            if pattern == "#" {
                return true;
            }
            match parts.next() {
                Some(part) if glob(pattern.as_bytes(), part.as_bytes()) => {}
                Some(_) | None => return false,
            }
        }
        parts.next().is_none()
    }

    /// Returns whether the pattern may match a topic of this source. The event type is not
    /// considered.
    pub fn may_match_of(&self, source: &SourceName) -> bool {
        let first = self.0.split('.').next().unwrap_or_default();
        first == "#" || glob(first.as_bytes(), source.as_str().as_bytes())
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether the part `text` of a topic matches the part `pattern`, in which `*` matches any
/// characters. The function is greedy and remembers only the last `*` to go back to. So its time is
/// at most proportional to the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            back = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = back {
            p = star + 1;
            t = from + 1;
            back = Some((star, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

impl FromStr for TopicPattern {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let invalid = |extra| InvalidTopic {
            text: text.chars().take(80).collect(),
            extra,
        };
        let known = |c: char| plain(c) || c == '*' || c == '#';
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX || !text.chars().all(known) {
            return Err(invalid(", with '*' inside a part and '#' as the last part"));
        }
        let parts: Vec<&str> = text.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(invalid("; a part between two dots is empty"));
        }
        let (last, before) = parts.split_last().unwrap_or((&"", &[]));
        if before.iter().any(|part| part.contains('#')) || (last.contains('#') && *last != "#") {
            return Err(invalid("; '#' may only be the whole last part"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = InvalidTopic;

    fn try_from(text: String) -> Result<Self, InvalidTopic> {
        text.parse()
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> String {
        pattern.0
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, topic: &str, expect: bool) {
        let pattern: TopicPattern = pattern.parse().expect("the pattern must be valid");
        let topic: Topic = topic.parse().expect("the topic must be valid");
        assert_eq!(pattern.matches(&topic), expect, "{pattern} on {topic}");
    }

    #[test]
    fn patterns_choose_topics() {
        check(
            "begini.*_score.complete",
            "begini.psychometric_score.complete",
            true,
        );
        check("begini.*_score.complete", "begini.ios_score.complete", true);
        check(
            "begini.*_score.complete",
            "begini.application.complete",
            false,
        );
        check(
            "begini.*_score.complete",
            "begini.ios_score.complete.late",
            false,
        );
        check("begini.#", "begini.a.b.c", true);
        check("begini.#", "begini2.a", false);
        check("#", "anything.at.all", true);
        check("begini.*", "begini.a.b", false);
        check("*.a*b*c", "x.aXbbYc", true);
        check("*.a*b*c", "x.aXbbY", false);
    }

    #[test]
    fn patterns_may_match_topics_of_sources() {
        for (pattern, source, expect) in [
            ("shop.order", "shop", true),
            ("shop.#", "shop", true),
            ("#", "shop", true),
            ("*.order", "shop", true),
            ("s*p.order", "shop", true),
            ("shop.order", "bank", false),
            ("shop2.#", "shop", false),
        ] {
            let parsed: TopicPattern = pattern.parse().expect("the pattern must be valid");
            let source: SourceName = source.parse().expect("the source name must be valid");
            assert_eq!(parsed.may_match_of(&source), expect, "{pattern}, {source}");
        }
    }

    #[test]
    fn patterns_that_cannot_be() {
        for bad in ["", "a..b", "a.#.b", "a#", "a b", "é"] {
            assert!(bad.parse::<TopicPattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_strange_type_is_untyped_not_refused() {
        let source: SourceName = "begini".parse().expect("the source name must be valid");
        let long = "x".repeat(300);
        for kind in [
            None,
            Some(""),
            Some("a b"),
            Some("a\0"),
            Some("*"),
            Some(long.as_str()),
        ] {
            assert_eq!(
                Topic::of(&source, kind).as_str(),
                "begini.untyped",
                "{kind:?}"
            );
        }
        assert_eq!(
            Topic::of(&source, Some("New.Kind")).event_type(),
            "New.Kind"
        );
    }

    #[test]
    fn the_type_of_a_header_is_written_as_a_topic() {
        let source: SourceName = "shop".parse().expect("the source name must be valid");
        let long = "x".repeat(300);
        for (header, part, topic) in [
            ("orders/create", None, "shop.orders.create"),
            ("repo:push", None, "shop.repo.push"),
            ("Merge Request Hook", None, "shop.Merge_Request_Hook"),
            ("push", None, "shop.push"),
            ("issues", Some("opened"), "shop.issues.opened"),
            ("issues", Some(""), "shop.issues"),
            ("issues", Some("a\0b"), "shop.issues"),
            ("issues", Some(long.as_str()), "shop.issues"),
            ("", Some("opened"), "shop.untyped"),
            ("a, b", None, "shop.untyped"),
            ("caf\u{e9}", Some("opened"), "shop.untyped"),
            (long.as_str(), Some("opened"), "shop.untyped"),
        ] {
            let found = Topic::of_header(&source, Some(header.as_bytes()), part);
            assert_eq!(found.as_str(), topic, "{header:?} {part:?}");
        }
        let no_text = Topic::of_header(&source, Some(b"\xff"), None);
        let absent = Topic::of_header(&source, None, Some("opened"));
        assert_eq!([no_text.as_str(), absent.as_str()], ["shop.untyped"; 2]);
    }

    #[test]
    fn a_source_has_the_types_that_its_topics_can_hold() {
        let source: SourceName = "jira".parse().expect("the source name must be valid");
        for kind in ["issue_created", "a.b", "untyped", "A-1"] {
            assert!(Topic::is_event_type(&source, kind), "{kind}");
        }
        let long = "x".repeat(196);
        for kind in ["jira:issue_created", "a b", "", "\u{e9}", long.as_str()] {
            assert!(!Topic::is_event_type(&source, kind), "{kind}");
        }
    }
}
