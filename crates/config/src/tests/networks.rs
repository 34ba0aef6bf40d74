//! Tests connections to servers on other machines: they must be encrypted and verified, or the
//! network must be declared private.

use super::*;

/// Returns the warnings about a config with the URLs of the store and the broker in `urls`, and
/// with the additional `lines` in the tables `[store]` and `[broker]`.
fn warnings(urls: (&str, &str), lines: (&str, &str)) -> Vec<String> {
    let (store, broker) = (urls.0.to_owned(), urls.1.to_owned());
    let env = move |name: &str| match name {
        "DATABASE_URL" => Some(store.clone()),
        "AMQP_URL" => Some(broker.clone()),
        _ => env(name),
    };
    let text = GOOD
        .replace("[broker]\n", &format!("{}[broker]\n", lines.0))
        .replace("[ingest]\n", &format!("{}[ingest]\n", lines.1));
    let config = Config::parse(Path::new("hookbox.toml"), &text, &env, NOW);
    config
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .warnings
}

const LOCAL: (&str, &str) = (
    "postgres://u:hunter2@localhost/db",
    "amqp://u:hunter2@127.0.0.1",
);
const FAR: (&str, &str) = (
    "postgres://u:hunter2@db.example/db",
    "amqp://u:hunter2@mq.example",
);
const TLS: (&str, &str) = (
    "postgres://u:hunter2@db.example/db?sslmode=verify-full",
    "amqps://u:hunter2@mq.example",
);

#[test]
fn off_this_machine_a_connection_is_verified_or_warned_of() {
    assert_eq!(warnings(LOCAL, ("", "")), [""; 0]);
    assert_eq!(warnings(TLS, ("", "")), [""; 0]);
    let warned = warnings(FAR, ("", ""));
    assert_eq!(warned.len(), 2, "{warned:#?}");
    for (warning, [at, remedy]) in warned.iter().zip([
        ["hookbox.toml:5:1: store.url: ", "sslmode=verify-full"],
        ["hookbox.toml:8:1: broker.url: ", "amqps://"],
    ]) {
        for word in [at, remedy, "network = \"private\"", "version 0.3 refuses"] {
            assert!(warning.contains(word), "{word}: {warning}");
        }
        assert!(!warning.contains("hunter2"), "{warning}");
    }
    let required = ("postgres://u@db.example/db?sslmode=require", LOCAL.1);
    assert_eq!(warnings(required, ("", "")).len(), 1);
}

#[test]
fn a_private_network_is_declared_for_each_server() {
    let private = "network = \"private\"\n";
    assert_eq!(warnings(FAR, (private, private)), [""; 0]);
    assert_eq!(warnings(FAR, (private, "")).len(), 1);
    assert_eq!(warnings(FAR, ("", private)).len(), 1);
}

#[test]
fn the_management_api_is_warned_of_as_its_broker_is() {
    let api = |url: &str| format!("management = \"{url}\"\n");
    assert_eq!(warnings(TLS, ("", &api("http://127.0.0.1:15672"))), [""; 0]);
    assert_eq!(
        warnings(TLS, ("", &api("https://mq.example:15671"))),
        [""; 0]
    );
    let warned = warnings(TLS, ("", &api("http://mq.example:15672")));
    assert_eq!(warned.len(), 1, "{warned:#?}");
    assert!(warned[0].contains("broker.management") && warned[0].contains("https://"));
    let said = api("http://mq.example:15672") + "network = \"private\"\n";
    assert_eq!(warnings(TLS, ("", &said)), [""; 0]);
}
