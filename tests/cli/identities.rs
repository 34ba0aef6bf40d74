//! Tests which requests count as one event. The sources have configs of version 0.1.0, or events
//! that differ only in headers, or events that are sent again with another body.

use serde_json::Value;

use crate::service::Service;

const SECRETS: &str = "secrets = [{ id = \"k\", file = \"key\" }]";
const OTHER_SECRETS: &str = "secrets = [{ id = \"k\", file = \"key-2\" }]";
const THIRD_SECRETS: &str = "secrets = [{ id = \"k\", file = \"key-3\" }]";

const ADDED: &str = r#"{"action":"added","member":{"id":1},"team":{"id":2}}"#;
const REMOVED: &str = r#"{"action":"removed","member":{"id":1},"team":{"id":2}}"#;

fn topics(events: &[(String, String, String)]) -> Vec<&str> {
    assert!(events.iter().all(|(_, state, _)| state == "done"));
    events.iter().map(|(topic, _, _)| topic.as_str()).collect()
}

/// Checks that six requests of GitHub with five different values of `X-GitHub-Delivery` are five
/// events.
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

/// Checks that two requests with the same body are two events, an order created and an order paid,
/// because a header gives their type.
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

/// Checks that configs written for version 0.1.0 still produce the event ids that version 0.1.0
/// stored. With other ids, an event that is sent again after an upgrade would be processed again.
#[test]
fn sources_as_they_were_keep_their_ids() {
    let key = |number: u8| format!("secrets = [{{ id = \"k\", file = \"key-{number}\" }}]");
    let sources = format!(
        "[[source]]\nname = \"begini\"\npreset = \"begini\"\n{SECRETS}\n\
         [[source]]\nname = \"github\"\npreset = \"github\"\n{OTHER_SECRETS}\n\
         [[source]]\nname = \"bare\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha512\"\n{THIRD_SECRETS}\n\
         [[source]]\nname = \"typed\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\ntopic = \"/kind\"\n{}\n\
         [[source]]\nname = \"written\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\ntopic = \"/kind\"\nidentity = [\"/id\", \"/kind\"]\n{}\n",
        key(4),
        key(5)
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
        ("bare.untyped", "474f81ade00e3ec1d5d74923f64a245c"),
        ("begini.new.type", "6bec4a4af5e3889c5c3fefc6a0a841eb"),
        ("github.untyped", "d7b93a5bc9a8eaebb780b395451416ef"),
        ("typed.a.b", "42b01447ef69e755980a004c91b6709e"),
        ("written.a.b", "80f5cbfdae64228bbdc8f9395e8c5e11"),
    ];
    assert_eq!(found, known);
}

/// Builds a config with these routes. Its source treats a request that has a known event id and
/// another body as a duplicate.
fn id_decides(routes: &str) -> String {
    format!(
        "[[source]]\nname = \"pay\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\ntopic = \"/type\"\nidentity = [\"/id\"]\n\
         on_conflict = \"duplicate\"\n{SECRETS}\n\
         {routes}"
    )
}

/// Checks a provider that changes a number in the body each time that it sends an event, so that
/// the same event arrives with other bodies. The config says that such a request, with a known
/// event id and another body, is a duplicate.
#[test]
fn another_body_under_a_known_id_is_a_duplicate_where_configured() {
    let sources = id_decides(
        "[[route]]\nname = \"all\"\ntopics = [\"pay.#\"]\n\
         [[route]]\nname = \"paid\"\ntopics = [\"pay.paid\"]\n",
    );
    let service = Service::start("another_body_under_a_known_id_is_a_duplicate", &sources);
    let body =
        |pending: u8| format!(r#"{{"id":"evt_1","type":"paid","pending_webhooks":{pending}}}"#);
    for pending in [1, 0, 0, 1] {
        service.send("pay", &[], &body(pending));
    }
    let events = service.events();
    let states = events
        .iter()
        .map(|(topic, state, _)| (topic.as_str(), state.as_str()));
    let states: Vec<_> = states.collect();
    assert_eq!(
        states,
        [("pay.paid", "done"), ("pay.paid", "done")],
        "the event must be done once on each of the two routes"
    );
    assert_eq!(events[0].2, events[1].2);
    let dead = service.run(&["dead", "list", "--json"]).well().json();
    assert_eq!(dead["dead"].as_array().unwrap().len(), 0, "{dead:#}");
    // A receipt with another body than the stored one must keep the digest of its own body.
    let shown = service.run(&["events", "show", &events[0].2, "--json"]);
    let shown = shown.well().json();
    for route in ["all", "paid"] {
        let receipts = shown["receipts"].as_array().unwrap().iter();
        let receipts: Vec<_> = receipts.filter(|one| one["route"] == route).collect();
        let count = |outcome: &str, other: bool| {
            let is =
                |one: &&&Value| one["outcome"] == outcome && one["other_digest"].is_null() != other;
            receipts.iter().filter(is).count()
        };
        assert_eq!(
            (count("done", false), count("duplicate", true)),
            (1, 2),
            "{shown:#}"
        );
        assert_eq!(
            (count("duplicate", false), receipts.len()),
            (1, 4),
            "{shown:#}"
        );
    }
    let text = service.run(&["events", "show", &events[0].2]).well().out;
    assert!(text.contains("receipts with another body"), "{text}");
    let books = service.run(&["reconcile", "--json"]).well().json();
    assert_eq!(books["verdict"], "balanced", "{books:#}");
}

/// Checks an event that is sent with two bodies. One route gets only the second body, and makes the
/// event a dead letter. `dead show` and `events show` must both report that this body is not the
/// first body of the event.
#[test]
fn a_second_body_that_is_given_up_is_shown_with_its_dead_letter() {
    let sources = id_decides(
        "[[route]]\nname = \"made\"\ntopics = [\"pay.made\"]\n\
         [[route]]\nname = \"paid\"\ntopics = [\"pay.paid\"]\n\
         handler = { kind = \"begini\" }\n",
    );
    let service = Service::start("a_second_body_that_is_given_up", &sources);
    service.send("pay", &[], r#"{"id":"evt_1","type":"made"}"#);
    let events = service.events();
    service.send("pay", &[], r#"{"id":"evt_1","type":"paid"}"#);
    let books = service.run(&["reconcile", "--wait", "30s", "--json"]);
    assert_eq!(books.well().json()["verdict"], "balanced");
    let dead = service.run(&["dead", "list", "--json"]).well().json();
    assert_eq!(dead["dead"].as_array().unwrap().len(), 1, "{dead:#}");
    assert_eq!(dead["dead"][0]["reason"], "rejected", "{dead:#}");
    let id = dead["dead"][0]["id"].to_string();
    for show in [["dead", "show", &id], ["events", "show", &events[0].2]] {
        let text = service.run(&show).well().out;
        assert!(text.contains("receipts with another body"), "{text}");
        let shown = service.run(&[&show[..], &["--json"]].concat());
        let shown = shown.well().json();
        // The JSON of `dead show` has the receipts under `history`, and that of `events show` at
        // the top level.
        let history = shown.get("history").unwrap_or(&shown);
        let receipts = history["receipts"].as_array().unwrap();
        let of_route: Vec<_> = receipts
            .iter()
            .map(|one| (&one["route"], one["other_digest"].is_string()))
            .map(|(route, other)| (route.as_str().unwrap(), other))
            .collect();
        assert_eq!(of_route, [("made", false), ("paid", true)], "{shown:#}");
    }
}

/// Checks a body in the format of an HTML form. GitHub sends such bodies by default, and a source
/// whose config has no `form` refuses them.
#[test]
fn a_form_is_accepted_where_configured_and_refused_elsewhere() {
    let sources = format!(
        "[[source]]\nname = \"hub\"\npreset = \"github\"\nidentity = \"body\"\n{SECRETS}\n\
         topic = {{ header = \"X-GitHub-Event\", pointer = \"/action\" }}\n\
         [[source]]\nname = \"own\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\nform = \"data\"\nidentity = [\"/id\"]\n{OTHER_SECRETS}\n\
         [[source]]\nname = \"none\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\nidentity = [\"/id\"]\n{THIRD_SECRETS}\n"
    );
    let service = Service::start("a_form_is_taken_where_the_source_says_so", &sources);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let event = "X-GitHub-Event: issues";
    service.send(
        "hub",
        &[event, form],
        "payload=%7B%22action%22%3A%22opened%22%7D",
    );
    service.send("hub", &[event], r#"{"action":"opened"}"#);
    service.send("own", &[form], "data=%7B%22id%22%3A1%7D&more=x");
    let refused = service.try_to_send("none", &[form], "data=%7B%22id%22%3A1%7D");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.out.contains("415") && refused.out.contains("application/json"),
        "{refused:?}"
    );
    let events = service.events();
    assert_eq!(topics(&events), ["hub.issues.opened", "own.untyped"]);
    let shown = service.run(&["events", "show", &events[0].2, "--body", "--json"]);
    let shown = shown.well().json();
    assert_eq!(shown["receipts"].as_array().unwrap().len(), 2, "{shown:#}");
    assert_eq!(shown["body"]["body"], r#"{"action":"opened"}"#, "{shown:#}");
}
