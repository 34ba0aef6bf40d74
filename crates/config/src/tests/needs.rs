//! Checks that a command resolves the secrets that it uses, and no others.

use super::super::secret::Env;
use super::*;

/// Returns why a config is refused; an empty text if it is accepted.
fn refusal(text: &str, env: Env<'_>, needs: Needs) -> String {
    let kinds = HandlerKinds::built_in();
    let parsed = Config::parse_for(Path::new("hookbox.toml"), text, env, needs, &kinds, NOW);
    let refusal = parsed.err().map(|mistakes| mistakes.to_string());
    refusal.unwrap_or_default()
}

/// Returns the keys of the secrets that are missing when only the variables in `set` exist.
fn missing(needs: Needs, set: &[&str]) -> Vec<String> {
    let env = |name: &str| set.contains(&name).then(|| env(name)).flatten();
    let place = |line: &str| line.split(": ").nth(1).unwrap_or_default().to_owned();
    refusal(GOOD, &env, needs).lines().map(place).collect()
}

#[test]
fn only_what_is_needed_is_resolved() {
    let (store, broker, keys) = ("store.url", "broker.url", "source[0].secrets[0]");
    let keys = [keys, "source[0].secrets[1]", "source[1].secrets[0]"];
    for (needs, wanted) in [
        (Needs::ALL, [&[store, broker][..], &keys].concat()),
        (Needs::PROCESSING, vec![store, broker]),
        (Needs::STORE_AND_BROKER, vec![store, broker]),
        (Needs::STORE, vec![store]),
        (Needs::BROKER_AND_KEYS, [&[broker][..], &keys].concat()),
        (Needs::KEYS, keys.to_vec()),
        (Needs::NONE, vec![]),
    ] {
        assert_eq!(missing(needs, &[]), wanted, "{needs:?}");
    }
    assert!(missing(Needs::STORE, &["DATABASE_URL"]).is_empty());
    assert!(missing(Needs::BROKER_AND_KEYS, &["AMQP_URL", "KEY", "KEY2", "KEY3"]).is_empty());
    assert!(missing(Needs::STORE_AND_BROKER, &["DATABASE_URL", "AMQP_URL"]).is_empty());
}

/// The listener's private key is only needed by commands that listen.
#[test]
fn the_certificate_is_checked_where_the_command_listens() {
    let tls = "connections = 100\ntls = { certificate = \"absent\", key = \"absent\" }\n";
    let text = GOOD.replacen("connections = 100\n", tls, 1);
    for (needs, is_refused) in [
        (Needs::ALL, true),
        (Needs::BROKER_AND_KEYS, true),
        (Needs::PROCESSING, false),
        (Needs::STORE_AND_BROKER, false),
        (Needs::STORE, false),
        (Needs::KEYS, false),
        (Needs::NONE, false),
    ] {
        let refusal = refusal(&text, &env, needs);
        assert_eq!(!refusal.is_empty(), is_refused, "{needs:?}: {refusal}");
        for key in ["ingest.tls.certificate", "ingest.tls.key"] {
            assert_eq!(refusal.contains(key), is_refused, "{needs:?}: {refusal}");
        }
    }
}

/// A secret whose value is not needed is still checked in every other respect.
#[test]
fn what_is_not_resolved_is_checked_as_it_is_written() {
    let bad = GOOD
        .replace("id = \"old\"", "id = \"2026-11\"")
        .replace("\"2026-12-31T00:00:00Z\"", "\"tomorrow\"");
    let none = |_: &str| None;
    let refusal = refusal(&bad, &none, Needs::NONE);
    assert_eq!(refusal.lines().count(), 2, "{refusal}");
    assert!(
        refusal.contains("two secrets of this source have the id")
            && refusal.contains("the value must be a time")
    );
    let kinds = HandlerKinds::built_in();
    let path = Path::new("hookbox.toml");
    let config = Config::parse_for(path, GOOD, &none, Needs::NONE, &kinds, NOW);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(matches!(config.store, StoreUrl::NotResolved));
    assert!(matches!(config.broker, BrokerUrl::NotResolved));
    assert!(config.sources.iter().all(|source| source.keys.is_empty()));
}
