//! Tests the settings `topic` and `identity` of a source, and the warnings about them.

use expect_test::{Expect, expect};
use hookbox_ingest::{EventType, Identity};

use super::*;

/// Returns a config with one more source, whose settings are the given lines.
fn with(lines: &str) -> String {
    let secrets = "secrets = [{ id = \"k\", env = \"KEY4\" }]";
    format!("{GOOD}[[source]]\nname = \"more\"\n{secrets}\n{lines}\n")
}

const HMAC: &str = "scheme = \"hmac\"\nheader = \"X-Sig\"\nalgorithm = \"sha256\"";

fn parse(lines: &str) -> Config {
    let config = Config::parse(Path::new("hookbox.toml"), &with(lines), &env, NOW);
    config.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn warned(lines: &str, expect: Expect) {
    let mut warnings = parse(lines).warnings.join("\n");
    warnings.push('\n');
    assert!(
        !warnings.contains("hunter2"),
        "no warning may contain a secret"
    );
    expect.assert_eq(&warnings);
}

fn chosen(lines: &str) -> (Option<EventType>, Identity) {
    let config = parse(lines);
    let source = config
        .sources
        .last()
        .expect("the config must have a source");
    (source.topic.clone(), source.identity.clone())
}

fn body(pointer: &str) -> Option<EventType> {
    pointer.parse().ok().map(EventType::Body)
}

fn header(name: &'static str) -> http::HeaderName {
    http::HeaderName::from_static(name)
}

/// The ids of stored events depend on these defaults, so the defaults must not change.
#[test]
fn an_old_source_keeps_its_topic_and_identity() {
    assert_eq!(chosen("preset = \"github\""), (None, Identity::Body));
    assert_eq!(chosen(HMAC), (None, Identity::Body));
    let pointers = |texts: &[&str]| {
        let pointers = texts
            .iter()
            .map(|text| text.parse().expect("the text must be a valid JSON Pointer"));
        Identity::Pointers(pointers.collect())
    };
    let begini = pointers(&["/integration_id", "/uid", "/event/type"]);
    assert_eq!(chosen("preset = \"begini\""), (body("/event/type"), begini));
    let written = format!("{HMAC}\ntopic = \"/kind\"\nidentity = [\"/a\", \"/b\"]");
    assert_eq!(chosen(&written), (body("/kind"), pointers(&["/a", "/b"])));
}

#[test]
fn headers_name_types_and_deliveries() {
    let github = "preset = \"github\"\n\
                  topic = { header = \"X-GitHub-Event\", pointer = \"/action\" }\n\
                  identity = { header = \"X-GitHub-Delivery\", with = \"body\" }";
    let topic = EventType::Header {
        name: header("x-github-event"),
        pointer: "/action".parse().ok(),
    };
    let identity = Identity::Delivery(header("x-github-delivery"));
    assert_eq!(chosen(github), (Some(topic), identity));
    assert!(parse(github).warnings.is_empty());
    let shop = format!("{HMAC}\ntopic = {{ header = \"X-Shopify-Topic\" }}\nidentity = \"body\"");
    let topic = EventType::Header {
        name: header("x-shopify-topic"),
        pointer: None,
    };
    assert_eq!(chosen(&shop), (Some(topic), Identity::Body));
}

#[test]
fn what_makes_one_event_of_two_is_warned_about_until_it_is_chosen() {
    warned(
        "preset = \"github\"",
        expect![[r#"
        hookbox.toml:47:1: source[2]: two requests with the same body are one event here, and the second is not processed, since no "identity" is written; write identity = { header = "X-GitHub-Delivery", with = "body" }, and topic = { header = "X-GitHub-Event", pointer = "/action" }; to keep this identity without the warning, write identity = "body" (docs/CONFIG.md, Which event it is)
    "#]],
    );
    warned(
        "preset = \"github\"\ntopic = { header = \"X-GitHub-Event\" }",
        expect![[r#"
            hookbox.toml:47:1: source[2]: two requests with the same body and topic are one event here, and the second is not processed, since no "identity" is written; write identity = { header = "X-GitHub-Delivery", with = "body" }, and topic = { header = "X-GitHub-Event", pointer = "/action" }; to keep this identity without the warning, write identity = "body" (docs/CONFIG.md, Which event it is)
        "#]],
    );
    warned(
        HMAC,
        expect![[r#"
        hookbox.toml:47:1: source[2]: two requests with the same body are one event here, and the second is not processed, since no "identity" is written; if the body holds an id, name it in identity; if the provider numbers its deliveries in a header, write identity = { header = "NAME", with = "body" }; if its type is in a header, write topic = { header = "NAME" }; to keep this identity without the warning, write identity = "body" (docs/CONFIG.md, Which event it is)
    "#]],
    );
    warned(
        &format!("{HMAC}\ntopic = {{ header = \"X-Topic\" }}"),
        expect![[r#"
            hookbox.toml:47:1: source[2]: two requests with the same body and topic are one event here, and the second is not processed, since no "identity" is written; if the body holds an id, name it in identity; if the provider numbers its deliveries in a header, write identity = { header = "NAME", with = "body" }; if its type is in a header, write topic = { header = "NAME" }; to keep this identity without the warning, write identity = "body" (docs/CONFIG.md, Which event it is)
        "#]],
    );
    for chosen in [
        "preset = \"github\"\nidentity = \"body\"",
        "preset = \"begini\"",
        &format!("{HMAC}\nidentity = [\"/id\"]"),
        &format!("{HMAC}\nidentity = {{ header = \"X-Id\", with = \"body\" }}"),
    ] {
        assert!(parse(chosen).warnings.is_empty(), "{chosen}");
    }
}

#[test]
fn a_topic_or_an_identity_that_cannot_be_is_refused_at_its_place() {
    for (lines, expect) in [
        (
            "topic = \"type\"",
            expect![[r#"
            hookbox.toml:53:1: source[2].topic: the value must be a JSON Pointer into the body, such as "/type", or { header = "NAME" }, with or without pointer = "/PATH"
        "#]],
        ),
        (
            "topic = { pointer = \"/type\" }",
            expect![[r#"
            hookbox.toml:53:1: source[2].topic: the value must be a JSON Pointer into the body, such as "/type", or { header = "NAME" }, with or without pointer = "/PATH"
        "#]],
        ),
        (
            "topic = { header = \"X Topic\" }",
            expect![[r#"
            hookbox.toml:53:11: source[2].topic.header: invalid HTTP header name
        "#]],
        ),
        (
            "identity = \"id\"",
            expect![[r#"
            hookbox.toml:53:1: source[2].identity: the value must be a list of JSON Pointers into the body, such as ["/id"], or "body", or { header = "NAME", with = "body" }
        "#]],
        ),
        (
            "identity = { header = \"X-Id\" }",
            expect![[r#"
            hookbox.toml:53:1: source[2].identity: the value must be a list of JSON Pointers into the body, such as ["/id"], or "body", or { header = "NAME", with = "body" }
        "#]],
        ),
        (
            "identity = { header = \"Date\", with = \"body\" }",
            expect![[r#"
                hookbox.toml:53:14: source[2].identity.header: date is a header of HTTP itself, which a sender cannot choose freely; name the header that the provider documents
            "#]],
        ),
        (
            "identity = { header = \"x-sig\", with = \"body\" }",
            expect![[r#"
                hookbox.toml:53:14: source[2].identity.header: x-sig belongs to the signature, which may change with each retry: every retry would be another event
            "#]],
        ),
    ] {
        check(&with(&format!("{HMAC}\n{lines}")), expect);
    }
}
