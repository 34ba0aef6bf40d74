//! Tests what a dead letter says about a body that does not fit the handler.

#![allow(clippy::unwrap_used)]

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct Invoice {
    #[allow(dead_code)]
    cents: i64,
}

/// Returns the error for a body that does not fit, whether the body was read before or not.
fn refused(body: &'static str) -> String {
    let body = Bytes::from_static(body.as_bytes());
    let error = |read| {
        let error = Invoice::of(&body, read).unwrap_err();
        error.cause().to_string()
    };
    let unread = error(None);
    if let Ok(json) = Json::read(&body) {
        assert_eq!(error(Some(json)), unread);
    }
    unread
}

#[test]
fn a_body_that_does_not_fit_is_described_by_its_place() {
    for (body, what) in [
        (r#"{"cents":"ada"}"#, "/cents: expected i64"),
        (r#"{"cent":7}"#, "/cents: it is missing"),
        ("[]", "the body: expected struct Invoice with 1 element"),
        ("{", "it ends too early"),
        ("{]", "it is not JSON"),
    ] {
        let expected = format!("the body does not fit the handler: {what} (line 1, column ");
        let text = refused(body);
        assert!(text.starts_with(&expected), "{body}: {text}");
    }
}

/// hookbox reads one of two members with the same name, and serde refuses the second one.
#[test]
fn what_only_serde_json_refuses_is_not_described() {
    let text = refused(r#"{"cents":1,"cents":2}"#);
    assert!(
        text.starts_with(
            "the body does not fit the handler: a value is missing or of another type (line 1"
        ),
        "{text}"
    );
}
