//! Checks that the defaults in the schema and in `docs/CONFIG.md` are those that take effect.

use std::collections::BTreeMap;

use expect_test::expect;
use hookbox_ingest::Identity;
use hookbox_signature::{Encoding, Scheme};
use hookbox_worker::OnConflict;

use super::super::{Config, IdentityConfig, LOG_FILTER};
use super::keys::tables;
use super::page::{DEFAULT, toml};
use super::schema::generated;
use super::{NOW, env};

/// Returns the keys of a table that have a value as their default, each as a line of the config
/// file.
fn lines(at: &str) -> Vec<String> {
    let schema = generated();
    let keys = schema.pointer(&format!("{at}/properties")).expect("keys");
    let keys = keys.as_object().expect("keys").iter();
    let lines = keys.filter_map(|(key, value)| Some((key, value.get("default")?)));
    lines
        .map(|(key, value)| format!("{key} = {}", toml(value)))
        .collect()
}

/// Returns a config in which each table contains the lines that `lines` returns for the table's
/// place in the schema.
fn config(lines: impl Fn(&str) -> Vec<String>) -> Config {
    let table = |at: &str| lines(at).join("\n");
    let inline = |at: &str| lines(at).join(", ");
    let timestamp = inline("/properties/source/items/properties/timestamp");
    let text = format!(
        r#"
environment = "sandbox"
{top}
[store]
url = {{ env = "DATABASE_URL" }}
{store}
[broker]
url = {{ env = "AMQP_URL" }}
[ingest]
spool = "sqlite:spool.db"
{ingest}
[worker]
{worker}
[log]
{log}
[[source]]
name = "one"
scheme = "hmac"
header = "X-Signature"
algorithm = "sha256"
identity = "body"
timestamp = {{ header = "X-Time"{comma}{timestamp} }}
secrets = [{{ id = "a", env = "KEY" }}]
[[source]]
name = "two"
scheme = "standard-webhooks"
{source}
secrets = [{{ id = "a", env = "BASE64" }}]
[[source]]
name = "three"
scheme = "hmac"
header = "X-Signature"
algorithm = "sha256"
secrets = [{{ id = "a", env = "KEY2" }}]
[[route]]
name = "one"
topics = ["one.#"]
retry = {{ {retry} }}
{route}
"#,
        top = table(""),
        store = table("/properties/store"),
        ingest = table("/properties/ingest"),
        worker = table("/properties/worker"),
        log = table("/properties/log"),
        comma = if timestamp.is_empty() { "" } else { ", " },
        source = table("/properties/source/items"),
        route = table("/properties/route/items"),
        retry = inline("/properties/route/items/properties/retry"),
    );
    let env = |name: &str| match name {
        "BASE64" => Some("whsec_aG9va2JveC1ob29rYm94LWhvb2tib3gtaG9va2JveA==".to_owned()),
        name => env(name),
    };
    let config = Config::parse("hookbox.toml".as_ref(), &text, &env, NOW);
    config.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

/// Returns the effective values of all settings that have a value as their default.
fn effective(config: &Config) -> String {
    let (ingest, log) = (&config.ingest, &config.log);
    let connections = (config.store_connections, config.store_connection_lifetime);
    let drain = (config.drain, config.drain_lead);
    let sizes = (ingest.body_max, ingest.bodies_max, ingest.idle);
    let counts = (
        ingest.connections_max,
        ingest.connections_per_address_max,
        ingest.waiting_max,
    );
    let spool = ingest.spool.as_ref().map(|spool| spool.bytes_max);
    let filter = log.filter.as_deref().unwrap_or(LOG_FILTER);
    let log = (log.json, filter);
    let schemes: Vec<_> = config.sources.iter().map(|source| &source.scheme).collect();
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| {
            let limits = (route.concurrency, route.prefetch, route.handler_time_limit);
            (&route.handler.kind, route.retry, limits)
        })
        .collect();
    format!(
        "{connections:?} {drain:?} {listen} {sizes:?} {counts:?} {spool:?} {log:?} {schemes:?} \
         {routes:?}",
        listen = ingest.listen,
    )
}

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let (left_out, written_out) = (config(|_| Vec::new()), config(lines));
    assert_eq!(effective(&left_out), effective(&written_out));
    let all = generated().to_string().matches("\"default\":").count();
    let tables = [
        "",
        "/properties/store",
        "/properties/ingest",
        "/properties/worker",
        "/properties/log",
        "/properties/source/items",
        "/properties/source/items/properties/timestamp",
        "/properties/route/items",
        "/properties/route/items/properties/retry",
    ];
    let compared: usize = tables.map(|at| lines(at).len()).iter().sum();
    assert_eq!(
        compared, all,
        "the effective config must contain every setting that has a default"
    );
}

/// Returns the defaults that are described in words, because they are not one value. Each is stored
/// under its table and key.
fn in_words() -> BTreeMap<String, String> {
    let schema = generated();
    let mut found = BTreeMap::new();
    for (at, keys) in tables() {
        let name = at.replace("/properties", "").replace("/items", "");
        for key in keys {
            let described = &schema
                .pointer(at)
                .expect("the schema must contain the table")["properties"][&key]["description"];
            let text = described.as_str().and_then(|text| text.split_once(DEFAULT));
            if let Some((_, default)) = text {
                found.insert(format!("{name}/{key}"), default.to_owned());
            }
        }
    }
    found
}

#[test]
fn a_default_in_words_is_what_takes_effect() {
    let found = in_words();
    let words: Vec<String> = found
        .iter()
        .map(|(key, text)| format!("{key}: {text}\n"))
        .collect();
    expect![[r#"
        /identity: without a key.
        /ingest/connections_per_address: a sixteenth of `connections` (256).
        /metrics: off.
        /route/concurrency: that of `[worker]`.
        /route/handler_time_limit: that of `[worker]`.
        /route/prefetch: that of `[worker]`.
        /source/algorithm: the preset's.
        /source/answer: the preset's.
        /source/answer/signature_detail: the preset's, or none.
        /source/answer/signature_status: the preset's, or 401.
        /source/encoding: the preset's, or `hex`.
        /source/form: the preset's, or none.
        /source/header: the preset's.
        /source/identity: the preset's, or the signed message id, or else what the body says.
        /source/on_conflict: the preset's, or `dead_letter`.
        /source/prefix: the preset's, or none.
        /source/schemas: the preset's, or none.
        /source/scheme: the preset's.
        /source/timestamp: the preset's, or none.
        /source/topic: the preset's, or none.
    "#]]
    .assert_eq(&words.concat());

    let worker = [
        "concurrency = 7",
        "prefetch = 8",
        "handler_time_limit = \"9 s\"",
    ];
    let config = config(|at| match at {
        "/properties/worker" => worker.map(str::to_owned).to_vec(),
        _ => Vec::new(),
    });
    assert!(config.metrics.is_none());
    assert!(matches!(config.identity, IdentityConfig::Plain));
    let route = &config.routes[0];
    assert_eq!((route.concurrency.get(), route.prefetch), (7, 8));
    assert_eq!(route.handler_time_limit.as_secs(), 9);

    let share = config.ingest.connections_max / 16;
    assert_eq!(config.ingest.connections_per_address_max, share);
    assert!(found["/ingest/connections_per_address"].contains(&format!("({share})")));

    // Defaults that come from a preset are tested with the presets. These sources have no preset.
    let (signed, other) = (&config.sources[1], &config.sources[2]);
    assert_eq!(signed.identity, Identity::SignedId);
    assert_eq!(other.identity, Identity::Body);
    assert!(other.form.is_none() && other.topic.is_none() && other.schemas.is_none());
    let Scheme::Hmac(hmac) = &other.scheme else {
        panic!("the source without a preset must use an HMAC");
    };
    assert_eq!(hmac.encoding, Encoding::Hex);
    assert!(hmac.prefix.is_empty() && hmac.timestamp.is_none());
    let status = other.answer.signature_status.to_string();
    assert!(found["/source/answer/signature_status"].contains(&status));
    assert!(other.answer.signature_detail.is_none());
    assert!(other.on_conflict.is_empty());
    assert_eq!(OnConflict::default(), OnConflict::DeadLetter);
}
