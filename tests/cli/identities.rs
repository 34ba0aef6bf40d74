//! Which requests are one event, by the real binary: sources as they were, and sources whose
//! events differ in headers.

use crate::service::Service;

const SECRETS: &str = "secrets = [{ id = \"k\", file = \"key\" }]";

const ADDED: &str = r#"{"action":"added","member":{"id":1},"team":{"id":2}}"#;
const REMOVED: &str = r#"{"action":"removed","member":{"id":1},"team":{"id":2}}"#;

fn topics(events: &[(String, String, String)]) -> Vec<&str> {
    assert!(events.iter().all(|(_, state, _)| state == "done"));
    events.iter().map(|(topic, _, _)| topic.as_str()).collect()
}

/// Case C10: five deliveries of GitHub, and one of them delivered twice.
#[test]
fn deliveries_that_github_numbers_are_distinct_events() {
    let sources = format!(
        "[[source]]\nname = \"hub\"\npreset = \"github\"\n{SECRETS}\n\
         topic = {{ header = \"X-GitHub-Event\", pointer = \"/action\" }}\n\
         identity = {{ header = \"X-GitHub-Delivery\", with = \"body\" }}\n"
    );
    let service = Service::start("deliveries_that_github_numbers", &sources);
    let kind = "X-GitHub-Event: membership";
    for (delivery, body) in [
        ("X-GitHub-Delivery: d-1", ADDED),
        ("X-GitHub-Delivery: d-2", REMOVED),
        ("X-GitHub-Delivery: d-3", ADDED),
        ("X-GitHub-Delivery: d-4", REMOVED),
        ("X-GitHub-Delivery: d-5", ADDED),
        ("X-GitHub-Delivery: d-5", ADDED),
    ] {
        service.send("hub", &[kind, delivery], body);
    }
    let (added, removed) = ("hub.membership.added", "hub.membership.removed");
    let wanted = [added, added, added, removed, removed];
    assert_eq!(topics(&service.events()), wanted);
}

/// Case C10b: one order, created and paid, in one body.
#[test]
fn types_that_shopify_writes_in_a_header_are_distinct_events() {
    let sources = format!(
        "[[source]]\nname = \"shop\"\nscheme = \"hmac\"\nheader = \"X-Shopify-Hmac-SHA256\"\n\
         algorithm = \"sha256\"\nencoding = \"base64\"\n{SECRETS}\n\
         topic = {{ header = \"X-Shopify-Topic\" }}\n"
    );
    let service = Service::start("types_that_shopify_writes", &sources);
    let order = r#"{"id":820982911946154500,"total_price":"403.00"}"#;
    for topic in ["orders/create", "orders/paid", "orders/paid"] {
        let header = format!("X-Shopify-Topic: {topic}");
        service.send("shop", &[&header], order);
    }
    let wanted = ["shop.orders.create", "shop.orders.paid"];
    assert_eq!(topics(&service.events()), wanted);
}

/// The ids that version 0.1.0 stored. A config that says no more than it did there must not make
/// other ones: what is sent again after an upgrade would be processed again.
#[test]
fn sources_as_they_were_keep_their_ids() {
    let sources = format!(
        "[[source]]\nname = \"begini\"\npreset = \"begini\"\n{SECRETS}\n\
         [[source]]\nname = \"github\"\npreset = \"github\"\n{SECRETS}\n\
         [[source]]\nname = \"bare\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha512\"\n{SECRETS}\n\
         [[source]]\nname = \"typed\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\ntopic = \"/kind\"\n{SECRETS}\n\
         [[source]]\nname = \"written\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\ntopic = \"/kind\"\nidentity = [\"/id\", \"/kind\"]\n{SECRETS}\n"
    );
    let service = Service::start("sources_as_they_were_keep_their_ids", &sources);
    let begini = r#"{"integration_id":"7","uid":"u-1","event":{"type":"new.type"}}"#;
    let body = r#"{"id":7,"kind":"a.b"}"#;
    service.send("begini", &[], begini);
    for source in ["github", "bare", "typed", "written"] {
        service.send(source, &[], body);
    }
    let events = service.events();
    let found: Vec<(&str, &str)> = events
        .iter()
        .map(|(topic, _, id)| (topic.as_str(), id.as_str()))
        .collect();
    let known = [
        (
            "bare.untyped",
            "474f81ade00e3ec1d5d74923f64a245c93575f7d44c3b26f29cc360160f03418",
        ),
        (
            "begini.new.type",
            "6bec4a4af5e3889c5c3fefc6a0a841eb7955ad8629c5a6b471da98e84dea1a52",
        ),
        (
            "github.untyped",
            "d7b93a5bc9a8eaebb780b395451416ef89431d1dfc37dba1acbeaad33fb014a1",
        ),
        (
            "typed.a.b",
            "42b01447ef69e755980a004c91b6709ede1ce369eaa1d8265e229c9cef601dae",
        ),
        (
            "written.a.b",
            "80f5cbfdae64228bbdc8f9395e8c5e1176b8b176beb0d6a2dbf66b8349937ad0",
        ),
    ];
    assert_eq!(found, known);
}
