//! Reads the key and the version of an event, on a route that applies only the newest event of each
//! key.

use hookbox_driver::{DeadReason, VersionedEvent};
use hookbox_event::{Pointer, Scalar};

use crate::check::Broken;
use crate::claimed_event::ClaimedEvent;
use crate::newest_rule::NewestRule;
use crate::{Json, JsonValue};

/// Reads the key and the version of an event from its body.
///
/// A version that is a time must not be far in the future. It is compared with the later of two
/// times: that of the receipt, by the clock of the ingest, and the present time. So a single slow
/// clock makes no event a dead letter, and an event whose version was in the future can be replayed
/// later.
pub(crate) fn read(
    rule: NewestRule<'_>,
    event: &ClaimedEvent,
    body: &Json,
) -> Result<VersionedEvent, Broken> {
    let NewestRule {
        newest: rule,
        digester,
        now,
    } = rule;
    let mut values = Vec::with_capacity(rule.key.len());
    for pointer in &rule.key {
        values.push(scalar_at(body, pointer)?);
    }
    let value = scalar_at(body, &rule.version)?;
    let now = now.max(event.envelope.received_at);
    let version = rule.kind.read(&value, now);
    Ok(VersionedEvent {
        event: event.envelope.event,
        key: rule.digest(digester, &values),
        version: version.map_err(|why| broken(&rule.version, &why.to_string()))?,
    })
}

/// Returns the text, the number or the boolean to which a pointer leads.
fn scalar_at(body: &Json, pointer: &Pointer) -> Result<Scalar, Broken> {
    let mut at = body.root();
    for name in pointer.tokens() {
        if at.repeated_names().contains(name) {
            return Err(broken(pointer, "a name on its path occurs twice"));
        }
        at = match at.member(name) {
            Some(member) => member,
            None => return Err(broken(pointer, "the body has no value there")),
        };
    }
    scalar(at).ok_or_else(|| broken(pointer, "it is neither a text nor a number nor a boolean"))
}

fn scalar(value: JsonValue<'_>) -> Option<Scalar> {
    if let Some(text) = value.as_str() {
        return Some(Scalar::String(text.to_owned()));
    }
    if value.is_number() {
        return Some(Scalar::Number(value.raw().to_owned()));
    }
    match value.raw() {
        "true" => Some(Scalar::Bool(true)),
        "false" => Some(Scalar::Bool(false)),
        _ => None,
    }
}

/// The detail never quotes the value, because lists show details, and values are personal data.
fn broken(pointer: &Pointer, why: &str) -> Broken {
    Broken {
        reason: DeadReason::Unversioned,
        detail: format!("the value at {pointer}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hookbox_event::{Digester, EventId, IdentityKey, Newest, Timestamp, Version, VersionKind};

    use super::*;
    use crate::claimed_event::sample;

    fn rule() -> Newest {
        Newest {
            key: vec!["/uid".parse().expect("the pointer must be valid")],
            version: "/at/version".parse().expect("the pointer must be valid"),
            kind: VersionKind::Integer,
        }
    }

    fn read_from(body: &'static str) -> Result<VersionedEvent, Broken> {
        read_with(&Digester::Plain, body)
    }

    fn read_with(digester: &Digester, body: &'static str) -> Result<VersionedEvent, Broken> {
        let json = Json::read(&Bytes::from_static(body.as_bytes())).expect("the body must be JSON");
        let rule = NewestRule {
            newest: &rule(),
            digester,
            now: Timestamp::from_unix_micros(0),
        };
        read(rule, &sample(1), &json)
    }

    #[test]
    fn key_and_version_are_read_from_the_body() {
        let found =
            read_from(r#"{"uid":"a","at":{"version":7}}"#).expect("the body must have a version");
        assert_eq!(
            found.version,
            Version::from_stored("7").expect("the version must be valid")
        );
        let same = read_from(r#"{"at":{"version":"7.0"},"uid":"\u0061"}"#)
            .expect("the body must have a version");
        assert_eq!(
            (same.key, same.event),
            (found.key, EventId::from_bytes([1; 16]))
        );
        let other =
            read_from(r#"{"uid":1,"at":{"version":7}}"#).expect("the body must have a version");
        assert_ne!(other.key, found.key);
    }

    #[test]
    fn a_key_is_digested_under_the_identity_key() {
        let body = r#"{"uid":"a","at":{"version":7}}"#;
        let keyed = Digester::Keyed(IdentityKey::from_bytes([7; IdentityKey::BYTES]));
        let found = read_with(&keyed, body).expect("the body must have a version");
        let newest = rule().digest(&keyed, &[Scalar::String("a".to_owned())]);
        assert_eq!(found.key, newest);
        assert_ne!(
            found.key,
            read_from(body).expect("the body must have a version").key
        );
    }

    #[test]
    fn a_body_without_a_key_or_a_version_is_unversioned() {
        for (body, part) in [
            (
                r#"{"at":{"version":7}}"#,
                "/uid: the body has no value there",
            ),
            (r#"{"uid":null,"at":{"version":7}}"#, "/uid: it is neither"),
            (r#"{"uid":["a"],"at":{"version":7}}"#, "/uid: it is neither"),
            (
                r#"{"uid":"a","uid":"b","at":{"version":7}}"#,
                "/uid: a name on its path",
            ),
            (
                r#"{"uid":"a","at":7}"#,
                "/at/version: the body has no value there",
            ),
            (
                r#"{"uid":"a","at":{"version":"secret"}}"#,
                "/at/version: it is not a number",
            ),
            (
                r#"{"uid":"a","at":{"version":7.5}}"#,
                "/at/version: it is a number with a fraction",
            ),
            (r"[]", "/uid: the body has no value there"),
        ] {
            let broken = read_from(body).expect_err(body);
            assert_eq!(broken.reason, DeadReason::Unversioned, "{body}");
            assert!(broken.detail.contains(part), "{body}: {}", broken.detail);
            assert!(!broken.detail.contains("secret"), "{}", broken.detail);
        }
    }
}
