//! Tests posted forms: the event in a form field is extracted after the signature has been
//! verified. A form without an event must be refused. It must not be answered 200 and become a dead
//! letter.

use hookbox_event::{ContentDigest, Digester, IdDigest, scan};
use hookbox_signature::Preset;

use crate::client::{HttpResponse, post};
use crate::world::{World, key, plain_scheme, signature, source};

const FORM: &str = "application/x-www-form-urlencoded";

const JSON: &[u8] = br#"{"action":"opened","title":"a b+c & d=e"}"#;

/// The body [`JSON`] in a form field, encoded as GitHub sends it when its content type is a form.
const IN_A_FORM: &[u8] =
    b"payload=%7B%22action%22%3A%22opened%22%2C%22title%22%3A%22a+b%2Bc+%26+d%3De%22%7D";

/// Returns a genuine GitHub request, signed over the body as it is sent.
fn hub(content_type: &str, body: &[u8]) -> Vec<u8> {
    let signed = signature(&Preset::Github.scheme(), &key("hub"), body);
    let headers = [
        ("content-type", content_type),
        ("x-github-event", "issues"),
        ("x-github-delivery", "d-1"),
        ("x-hub-signature-256", signed.as_str()),
    ];
    post("/hooks/hub", &headers, body)
}

/// Returns a genuine request to a source whose sender posts no forms.
fn plain(content_type: &str, body: &[u8]) -> Vec<u8> {
    let signed = signature(&plain_scheme(), &key("plain"), body);
    let headers = [("content-type", content_type), ("x-plain", signed.as_str())];
    post("/hooks/plain", &headers, body)
}

fn is_refused(answer: &HttpResponse) {
    assert_eq!(answer.status, 415, "{}", answer.text);
    let fields = answer.json();
    assert_eq!(fields["reason"], "content_type");
    let detail = fields["detail"].as_str().unwrap();
    assert!(detail.contains("application/json"), "{detail}");
}

#[tokio::test]
async fn the_event_of_a_form_is_in_its_field() {
    let world = World::new().await;
    for request in [
        hub("application/json", JSON),
        hub(FORM, IN_A_FORM),
        hub(
            "Application/X-WWW-Form-URLEncoded; charset=utf-8",
            IN_A_FORM,
        ),
    ] {
        let answer = world.ask(&request).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let envelopes = world.broker.envelopes();
    assert_eq!(envelopes.len(), 3);
    let canonical = scan(JSON, &[]).unwrap().canonical;
    let digest = ContentDigest::of_canonical_json(&Digester::Plain, &canonical);
    let by_body = IdDigest::from_digest(&Digester::Plain, &source("hub"), &digest);
    let id = IdDigest::of_typed(
        &Digester::Plain,
        &IdDigest::of_delivery(&Digester::Plain, &by_body, b"d-1"),
        b"issues",
    );
    for envelope in &envelopes {
        assert!(
            envelope.body == JSON,
            "the published body must be the JSON of the event, not the form around it"
        );
        assert_eq!(envelope.topic.as_str(), "hub.issues.opened");
        // The same event has the same id as JSON and as a form. So an event that GitHub redelivers
        // after its content type was changed is still a duplicate.
        assert_eq!((envelope.event, envelope.digest), (id.event(), digest));
    }
}

/// A signature must cover the form as it was sent. A signature over only the JSON inside the form
/// is refused.
#[tokio::test]
async fn a_form_is_verified_as_it_was_sent() {
    let world = World::new().await;
    let signed = signature(&Preset::Github.scheme(), &key("hub"), JSON);
    let headers = [
        ("content-type", FORM),
        ("x-hub-signature-256", signed.as_str()),
    ];
    let answer = world.ask(&post("/hooks/hub", &headers, IN_A_FORM)).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    // The signature is checked first, so a sender without a key does not learn what is wrong with
    // its form.
    let answer = world
        .ask(&post("/hooks/plain", &headers[..1], b"a=1"))
        .await;
    assert_eq!(
        (answer.status, answer.json()["reason"].as_str()),
        (401, Some("signature"))
    );
    world.nothing_published();
}

#[tokio::test]
async fn a_form_that_holds_no_event_is_refused() {
    let world = World::new().await;
    for body in [
        &b""[..],
        b"other=%7B%7D",
        b"payload=%7B%7D&payload=%7B%7D",
        b"payload=%7B%7",
        b"not a form",
        b"payload=hello",
        b"payload=%7B",
    ] {
        is_refused(&world.ask(&hub(FORM, body)).await);
    }
    is_refused(
        &world
            .ask(&hub("multipart/form-data; boundary=b", IN_A_FORM))
            .await,
    );
    is_refused(&world.ask(&plain(FORM, IN_A_FORM)).await);
    is_refused(&world.ask(&plain(FORM, b"a=1&b=2")).await);
    world.nothing_published();
    let counted = world.ingest.counters().refused_by_reason();
    assert_eq!(
        counted.into_iter().collect::<Vec<_>>(),
        [("content_type", 10)]
    );
    // The connection stays usable after the refusal, because the whole request was read.
    let mut client = world.client().await;
    is_refused(&client.ask(&hub(FORM, b"a=1")).await);
    assert_eq!(client.ask(&hub(FORM, IN_A_FORM)).await.status, 200);
}

/// Some senders, and people with curl, post JSON and declare it as a form. Such a request must be
/// accepted.
#[tokio::test]
async fn json_is_accepted_whatever_its_media_type() {
    let world = World::new().await;
    let with_a_field = br#"["&payload=%7B%7D&"]"#;
    for request in [
        plain(FORM, JSON),
        hub(FORM, JSON),
        hub(FORM, with_a_field),
        plain("text/plain", JSON),
        plain("", JSON),
        // The media type of these requests is not that of a form, so the body is published
        // unchanged, even if it looks like a form.
        plain("application/json", b"a=1"),
        plain("application/x-www-form-urlencoded-not", b"a=1"),
        hub("application/json", IN_A_FORM),
    ] {
        let answer = world.ask(&request).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let bodies = world.broker.envelopes().into_iter().map(|one| one.body);
    let bodies: Vec<_> = bodies.collect();
    let sent = [
        JSON,
        JSON,
        with_a_field,
        JSON,
        JSON,
        b"a=1",
        b"a=1",
        IN_A_FORM,
    ];
    assert!(
        bodies == sent,
        "each published body must be the one that was sent"
    );
}
