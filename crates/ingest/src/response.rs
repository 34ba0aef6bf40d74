//! Maps the result of a request to the answer that its sender gets.
//!
//! The answer contains the class of the reason and a request id; the log has the details. The
//! status is never 410, because senders then disable the endpoint, and never 3xx.

use axum::body::Body;
use hookbox_driver::PublishErrorKind;
use hookbox_event::ReceiptId;
use hookbox_signature::{Refusal, RefusalAnswer};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// The value of the header `Retry-After`: 5 seconds. Outages of a broker last seconds to minutes,
/// and providers lengthen the delays of later retries by themselves, so the value need not grow.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The `detail` of the answer to a form that contains no event: it says what to change at the
/// provider.
const NO_FORM: &str = "the body is a form and not JSON; have it sent as application/json";

/// Why a request was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAccepted {
    /// Trusted proxies are configured, and the request came from another peer.
    UntrustedPeer,
    /// The trusted proxy does not report that it received the request over https.
    NotHttps,
    UnknownSource,
    UnknownPath,
    WrongMethod,
    Signature(Refusal),
    TooLarge,
    TooSlow,
    BrokenBody,
    Encoded,
    Form,
    TooBusy,
    /// The address of the sender has used its share of the memory for unverified bodies.
    AddressBusy,
    NotDurable(PublishErrorKind),
    Draining,
}

impl NotAccepted {
    /// Returns the name of the reason in logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            NotAccepted::UntrustedPeer => "untrusted_peer",
            NotAccepted::NotHttps => "not_https",
            NotAccepted::UnknownSource => "unknown_source",
            NotAccepted::UnknownPath => "unknown_path",
            NotAccepted::WrongMethod => "wrong_method",
            NotAccepted::Signature(refusal) => refusal.reason(),
            NotAccepted::TooLarge => "too_large",
            NotAccepted::TooSlow => "too_slow",
            NotAccepted::BrokenBody => "broken_body",
            NotAccepted::Encoded => "content_encoding",
            NotAccepted::Form => "content_type",
            NotAccepted::TooBusy => "too_busy",
            NotAccepted::AddressBusy => "address_busy",
            NotAccepted::NotDurable(kind) => kind.as_str(),
            NotAccepted::Draining => "draining",
        }
    }

    /// Returns the HTTP status and the class of the reason. This is the table of all refusals.
    fn status_and_class(self, answer: &RefusalAnswer) -> (StatusCode, &'static str) {
        match self {
            NotAccepted::UnknownSource | NotAccepted::UnknownPath => {
                (StatusCode::NOT_FOUND, "unknown_source")
            }
            NotAccepted::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            // No key of the source is valid now, which is a mistake in hookbox's config and not of
            // the sender. A 503 makes the sender retry, so that the mistake loses no event.
            NotAccepted::Signature(Refusal::NoValidKey) => {
                (StatusCode::SERVICE_UNAVAILABLE, "try_again")
            }
            NotAccepted::Signature(_) => {
                let status = StatusCode::from_u16(answer.signature_status);
                (status.unwrap_or(StatusCode::UNAUTHORIZED), "signature")
            }
            NotAccepted::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            NotAccepted::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            NotAccepted::BrokenBody => (StatusCode::BAD_REQUEST, "body"),
            NotAccepted::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding"),
            NotAccepted::Form => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type"),
            // When a proxy has a new address or has lost a setting, a genuine request comes from an
            // untrusted peer, or does not seem to have come over https. Its sender must retry, and
            // 503 makes it do so.
            NotAccepted::UntrustedPeer | NotAccepted::NotHttps => {
                (StatusCode::SERVICE_UNAVAILABLE, "not_through_https")
            }
            NotAccepted::TooBusy
            | NotAccepted::AddressBusy
            | NotAccepted::NotDurable(_)
            | NotAccepted::Draining => (StatusCode::SERVICE_UNAVAILABLE, "try_again"),
        }
    }

    /// Returns whether the connection must be closed after the answer, because the rest of the
    /// request may still arrive or may be parsed as another request.
    fn ends_connection(self) -> bool {
        match self {
            // The whole request was read and its sender is verified, so the connection may be used
            // again.
            NotAccepted::NotDurable(_) | NotAccepted::Form => false,
            // If the signature does not fit the body, the announced length may be wrong. Then the
            // bytes that follow may be no request, so the connection must end.
            NotAccepted::Signature(_)
            | NotAccepted::UntrustedPeer
            | NotAccepted::NotHttps
            | NotAccepted::UnknownSource
            | NotAccepted::UnknownPath
            | NotAccepted::WrongMethod
            | NotAccepted::TooLarge
            | NotAccepted::TooSlow
            | NotAccepted::BrokenBody
            | NotAccepted::Encoded
            | NotAccepted::TooBusy
            | NotAccepted::AddressBusy
            | NotAccepted::Draining => true,
        }
    }

    /// Builds the answer.
    pub fn response(self, request: ReceiptId, answer: &RefusalAnswer) -> Response<Body> {
        let (status, class) = self.status_and_class(answer);
        let mut fields = serde_json::json!({
            "status": "refused",
            "reason": class,
            "request": request.to_string(),
        });
        if let ("signature", Some(detail)) = (class, &answer.signature_detail) {
            fields["detail"] = detail.as_str().into();
        }
        if self == NotAccepted::Form {
            // The body is an HTML form instead of JSON. The signature was valid, so the sender
            // may learn this.
            fields["detail"] = NO_FORM.into();
        }
        let mut response = json(status, &fields);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if self == NotAccepted::WrongMethod {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if self.ends_connection() {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Builds the answer to an accepted request: exactly 200, with a JSON body, because some providers
/// accept nothing else as success.
pub(crate) fn accepted(receipt: ReceiptId) -> Response<Body> {
    // Every accepted request gets this answer, so it must cost little: the JSON is formatted
    // directly, without building a `serde_json::Value`. A receipt id needs no escapes.
    let text = format!(r#"{{"receipt":"{receipt}","status":"accepted"}}"#);
    json_text(StatusCode::OK, text)
}

pub(crate) fn json(status: StatusCode, fields: &serde_json::Value) -> Response<Body> {
    json_text(status, fields.to_string())
}

fn json_text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_answer_to_an_accepted_request_is_json() {
        let receipt = ReceiptId::from_bytes([1; 16]);
        let response = accepted(receipt);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 1024).await;
        let body = body.expect("the body must be at most 1024 bytes long");
        let fields: serde_json::Value =
            serde_json::from_slice(&body).expect("the body must be JSON");
        let expect = serde_json::json!({ "receipt": receipt.to_string(), "status": "accepted" });
        assert_eq!(fields, expect);
    }

    #[test]
    fn the_table() {
        let begini = hookbox_signature::Preset::Begini.answer();
        let wrong = NotAccepted::Signature(Refusal::WrongSignature);
        let rejected = NotAccepted::NotDurable(PublishErrorKind::Rejected);
        for (outcome, answer, status) in [
            (NotAccepted::UnknownSource, RefusalAnswer::default(), 404),
            (NotAccepted::UnknownPath, RefusalAnswer::default(), 404),
            (NotAccepted::WrongMethod, RefusalAnswer::default(), 405),
            (wrong, RefusalAnswer::default(), 401),
            (wrong, begini.clone(), 403),
            (NotAccepted::Signature(Refusal::NoValidKey), begini, 503),
            (NotAccepted::TooLarge, RefusalAnswer::default(), 413),
            (NotAccepted::TooSlow, RefusalAnswer::default(), 408),
            (NotAccepted::BrokenBody, RefusalAnswer::default(), 400),
            (NotAccepted::Encoded, RefusalAnswer::default(), 415),
            (NotAccepted::Form, RefusalAnswer::default(), 415),
            (NotAccepted::UntrustedPeer, RefusalAnswer::default(), 503),
            (NotAccepted::NotHttps, RefusalAnswer::default(), 503),
            (NotAccepted::TooBusy, RefusalAnswer::default(), 503),
            (NotAccepted::AddressBusy, RefusalAnswer::default(), 503),
            (rejected, RefusalAnswer::default(), 503),
            (NotAccepted::Draining, RefusalAnswer::default(), 503),
        ] {
            let receipt = ReceiptId::from_bytes([1; 16]);
            let response = outcome.response(receipt, &answer);
            assert_eq!(response.status().as_u16(), status, "{outcome:?}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
            assert_eq!(response.headers().contains_key(ALLOW), status == 405);
        }
    }
}
