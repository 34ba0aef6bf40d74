//! The request of a call: the body as it was received, signed, with what the service needs to
//! recognise a repetition.

use bytes::Bytes;
use hookbox_event::{Timestamp, Topic};
use hookbox_signature::{Key, sign_standard_webhook};
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;

use crate::target::Target;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static TOPIC: HeaderName = HeaderName::from_static("hookbox-topic");
static ATTEMPT: HeaderName = HeaderName::from_static("hookbox-attempt");
static EPOCH: HeaderName = HeaderName::from_static("hookbox-epoch");
static TRACE: HeaderName = HeaderName::from_static("traceparent");

const AGENT: HeaderValue = HeaderValue::from_static(concat!("hookbox/", env!("CARGO_PKG_VERSION")));

/// The longest idempotency key, in bytes: the longest message id that receivers of Standard
/// Webhooks such as hookbox itself accept.
const KEY_BYTES_MAX: usize = 255;

/// One call: an event that is to be posted.
///
/// The `Debug` output does not contain the body.
#[derive(Clone)]
pub struct Call {
    /// The idempotency key: the same for all calls for the event on the route until the event is
    /// done.
    pub key: IdempotencyKey,
    /// The topic of the event.
    pub topic: Topic,
    /// The number of the attempt, counted from 1.
    pub attempt: u32,
    /// The number of the lease under which the call is made. It grows with each call of the event,
    /// so that a service can reject a call that was overtaken by a later one.
    pub epoch: u32,
    /// The W3C trace context of the event.
    pub traceparent: Option<String>,
    /// The body of the event, as it was received.
    pub body: Bytes,
    /// The present time. The signature covers it.
    pub now: Timestamp,
}

/// The key by which a service recognises the repetition of a call. It is the header
/// `Idempotency-Key` and the message id of Standard Webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The error for a text that is not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 255 characters of A-Z, a-z, 0-9, '_' and '-'")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Creates a key from its text, which must have no dot: a dot would make the signed text
    /// ambiguous.
    ///
    /// # Errors
    /// When the text is empty or too long, or has other characters than letters, digits, `_` and
    /// `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
        if (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text))
        } else {
            Err(InvalidKey)
        }
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("key", &self.key)
            .field("topic", &self.topic)
            .field("attempt", &self.attempt)
            .field("epoch", &self.epoch)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Returns the request of a call. `own` are the headers of the config.
pub(crate) fn of(
    call: &Call,
    target: &Target,
    keys: &[Key],
    own: &HeaderMap,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path.clone().into();
    let headers = request.headers_mut();
    headers.clone_from(own);
    headers.insert(USER_AGENT, AGENT);
    // hyper would leave out this header for an empty body. Some servers refuse a request without
    // this header (status 411).
    headers.insert(CONTENT_LENGTH, call.body.len().into());
    let (attempt, epoch) = (call.attempt.to_string(), call.epoch.to_string());
    for (name, text) in [
        (&HOST, target.authority.as_str()),
        (&IDEMPOTENCY_KEY, call.key.as_str()),
        (&TOPIC, call.topic.as_str()),
        (&ATTEMPT, attempt.as_str()),
        (&EPOCH, epoch.as_str()),
        (&TRACE, call.traceparent.as_deref().unwrap_or_default()),
    ] {
        // All of these texts are visible ASCII, except perhaps the trace context, which comes from
        // the sender of the event. If it cannot be sent, it is left out.
        if !text.is_empty()
            && let Ok(value) = HeaderValue::from_str(text)
        {
            headers.insert(name, value);
        }
    }
    for (name, value) in sign_standard_webhook(keys, &call.body, call.now, call.key.as_str()) {
        headers.insert(name, value);
    }
    request
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hookbox_signature::{Preset, verify};
    use http::header::CONTENT_TYPE;
    use http_body_util::BodyExt as _;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_123_456);
    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn call(traceparent: Option<&str>) -> Call {
        Call {
            key: IdempotencyKey::new("0f1e_orders_1").unwrap(),
            topic: "shop.order.paid".parse().unwrap(),
            attempt: 3,
            epoch: 7,
            traceparent: traceparent.map(str::to_owned),
            body: Bytes::from_static(b"{\"secret\":\xff}"),
            now: NOW,
        }
    }

    fn key(id: &str, byte: u8) -> Key {
        Key::new(id, None, vec![byte; 32]).unwrap()
    }

    fn request(traceparent: Option<&str>) -> Request<Full<Bytes>> {
        let target = Target::read("https://orders.example.org:8443/in?a=1", None).unwrap();
        let mut own = HeaderMap::new();
        own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let keys = [key("new", 1), key("old", 2)];
        of(&call(traceparent), &target, &keys, &own)
    }

    #[test]
    fn a_request_says_what_the_service_needs() {
        let request = request(Some(TRACEPARENT));
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "/in?a=1");
        let agent = format!("hookbox/{}", env!("CARGO_PKG_VERSION"));
        for (name, expect) in [
            ("host", "orders.example.org:8443"),
            ("user-agent", agent.as_str()),
            ("content-type", "application/json"),
            ("content-length", "12"),
            ("idempotency-key", "0f1e_orders_1"),
            ("webhook-id", "0f1e_orders_1"),
            ("webhook-timestamp", "1764000000"),
            ("hookbox-topic", "shop.order.paid"),
            ("hookbox-attempt", "3"),
            ("hookbox-epoch", "7"),
            ("traceparent", TRACEPARENT),
        ] {
            assert_eq!(request.headers()[name], expect, "{name}");
        }
        assert_eq!(request.headers().len(), 12);
        for traceparent in [None, Some(""), Some("a\nb")] {
            assert!(
                !self::request(traceparent)
                    .headers()
                    .contains_key("traceparent")
            );
        }
    }

    #[tokio::test]
    async fn the_signature_verifies_with_either_key_and_no_other() {
        let (parts, body) = request(None).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(body, call(None).body);
        let scheme = Preset::StandardWebhooks.scheme();
        for (key, expect) in [
            (key("a", 1), true),
            (key("b", 2), true),
            (key("c", 3), false),
        ] {
            let verified = verify(&scheme, &[key], &parts.headers, body.clone(), NOW);
            assert_eq!(verified.is_ok(), expect);
            if let Ok(verified) = verified {
                assert_eq!(verified.signed_id(), Some("0f1e_orders_1"));
            }
        }
    }

    #[test]
    fn a_key_is_plain_text() {
        let longest = "k".repeat(KEY_BYTES_MAX);
        for text in ["a", "0f_A-z9", longest.as_str()] {
            assert_eq!(IdempotencyKey::new(text).unwrap().as_str(), text);
        }
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for text in ["", "a.b", "a b", "a:b", "ä", "a\n", long.as_str()] {
            assert_eq!(IdempotencyKey::new(text), Err(InvalidKey), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_body() {
        let shown = format!("{:?}", call(Some(TRACEPARENT)));
        assert!(shown.contains("shop.order.paid"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
