//! Compares the messages about invalid configs with the expected texts, and loads a config that
//! uses every key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use expect_test::{Expect, expect};
use hookbox_event::Timestamp;

use super::*;

const GOOD: &str = r#"
environment = "sandbox"
drain = "10 s"
[store]
url = { env = "DATABASE_URL" }
connections = 8
[broker]
url = { env = "AMQP_URL" }
[ingest]
listen = "127.0.0.1:8080"
body_max = "1 MiB"
connections = 100
connections_per_address = 50
bodies_max = "32 MiB"
waiting = 200
trusted_proxies = ["10.0.0.0/8"]
[worker]
concurrency = 2
prefetch = 8
handler_time_limit = "10 s"
[log]
format = "json"
filter = "info"
[[source]]
name = "begini"
preset = "begini"
secrets = [{ id = "2026-11", env = "KEY" }, { id = "old", env = "KEY2", until = "2026-12-31T00:00:00Z" }]
[[source]]
name = "other"
scheme = "hmac"
header = "X-Sig"
algorithm = "sha256"
encoding = "base64"
prefix = "v0="
timestamp = { header = "X-Time", separator = ":", tolerance = "5 min" }
topic = "/kind"
identity = ["/id"]
on_conflict = [{ topics = ["other.a.*"], action = "process" }]
answer = { signature_status = 400, signature_detail = "no" }
secrets = [{ id = "k", env = "KEY3" }]
[[route]]
name = "scores"
topics = ["begini.*_score.complete"]
handler = { kind = "begini" }
retry = { attempts = 12, first = "5 s", factor = 3, max = "6 h", jitter = 0.2 }
concurrency = 3
"#;

/// The time of all checks: 2026-11-24T00:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_micros(1_795_478_400_000_000);

fn env(name: &str) -> Option<String> {
    match name {
        "DATABASE_URL" => Some("postgres://u:hunter2@localhost/db".into()),
        "AMQP_URL" => Some("amqp://u:hunter2@localhost".into()),
        "KEY" | "KEY2" | "KEY3" | "KEY4" => Some(format!("hunter2-hunter2-hunter2-{name}")),
        "EMPTY" => Some("  \n".into()),
        _ => None,
    }
}

fn check(text: &str, expect: Expect) {
    let message = match Config::parse(Path::new("hookbox.toml"), text, &env, NOW) {
        Ok(_) => "ok".to_owned(),
        // The newline at the end makes `expect_test` write the expected text as a block of lines.
        Err(mistakes) => format!("{mistakes}\n"),
    };
    assert!(
        !message.contains("hunter2"),
        "no message may contain a secret"
    );
    expect.assert_eq(&message);
}

#[test]
fn a_full_config_loads() {
    let config =
        Config::parse(Path::new("hookbox.toml"), GOOD, &env, NOW).expect("the config must load");
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.routes[1].name.as_str(), UNROUTED);
    assert_eq!(config.routes[0].concurrency.get(), 3);
    assert_eq!(config.sources[0].keys.len(), 2);
    assert_eq!(config.sources[0].answer.signature_status, 403);
    assert_eq!(config.sources[1].answer.signature_status, 400);
    assert!(config.log.json);
    assert_eq!(config.ingest.idle, Duration::from_secs(75));
    let text = GOOD.replace("waiting = 200", "idle = \"350 s\"");
    let config =
        Config::parse(Path::new("hookbox.toml"), &text, &env, NOW).expect("the config must load");
    assert_eq!(config.ingest.idle, Duration::from_secs(350));
    let text = GOOD.replace("connections_per_address = 50", "");
    let config =
        Config::parse(Path::new("hookbox.toml"), &text, &env, NOW).expect("the config must load");
    let share = config.ingest.connections_per_address_max;
    assert_eq!(
        share, 6,
        "connections_per_address must default to connections / 16"
    );
}

#[test]
fn all_mistakes_of_structure_are_reported_at_once() {
    let bad = GOOD
        .replace("environment", "enviroment")
        .replace("body_max = \"1 MiB\"", "body_max = \"1\"\nlimit = 3")
        .replace(
            "url = { env = \"DATABASE_URL\" }",
            "url = \"postgres://u:hunter2@h/db\"",
        )
        .replace("env = \"KEY2\"", "value = \"hunter2\"")
        .replace("attempts = 12", "atempts = 12");
    check(
        &bad,
        expect![[r#"
            hookbox.toml: the key "environment" is missing
            hookbox.toml:2:1: enviroment: there is no such key; did you mean "environment"?
            hookbox.toml:5:1: store.url: the value must be { env = "NAME" } or { file = "PATH" }, because a URL may hold a password; only a "sqlite:PATH" URL may be written here
            hookbox.toml:11:1: ingest.body_max: the value must be a whole number and B, KiB or MiB, such as "1 MiB"
            hookbox.toml:12:1: ingest.limit: there is no such key
            hookbox.toml:28:59: source[0].secrets[1].value: there is no such key; a secret is never written here: { id = "NAME", env = "VARIABLE" } or { id = "NAME", file = "PATH" } says where it is
            hookbox.toml:46:11: route[0].retry.atempts: there is no such key; did you mean "attempts"?
        "#]],
    );
}

#[test]
fn all_mistakes_of_meaning_are_reported_at_once() {
    let bad = GOOD
        .replacen("env = \"KEY\"", "env = \"NOWHERE\"", 1)
        .replace("\"2026-12-31T00:00:00Z\"", "\"tomorrow\"")
        .replace("env = \"AMQP_URL\"", "env = \"EMPTY\"")
        .replace("attempts = 12", "attempts = 0")
        .replace("127.0.0.1:8080", "0.0.0.0:8080")
        .replace("trusted_proxies = [\"10.0.0.0/8\"]", "")
        .replace("\"1 MiB\"", "\"16 MiB\"")
        .replace("name = \"other\"", "name = \"begini\"")
        .replace("begini.*_score.complete", "begini..x");
    check(
        &bad,
        expect![[r#"
            hookbox.toml:8:1: broker.url: the referenced value is empty
            hookbox.toml:10:1: ingest.listen: a listener that is not on loopback needs tls = { certificate, key }, or trusted_proxies that terminate TLS
            hookbox.toml:11:1: ingest.body_max: the value must be from 1 B to 15 MiB: RabbitMQ 4 refuses messages over 16 MiB
            hookbox.toml:27:12: source[0].secrets[0]: the referenced environment variable is not set; set it (its name is not shown, because the name may be the secret itself)
            hookbox.toml:27:77: source[0].secrets[1].until: the value must be a time such as 2026-12-31T00:00:00Z
            hookbox.toml:29:1: source[1].name: there are two sources of the name "begini"
            hookbox.toml:43:11: route[0].topics[0]: "begini..x" is not a topic: 1 to 200 characters of A-Z, a-z, 0-9, '_', '-' and '.'; a part between two dots is empty
            hookbox.toml:45:1: route[0].retry: attempts must be from 1 to 100, so that every event reaches an outcome
        "#]],
    );
}

#[test]
fn routes_are_checked() {
    let more = |route: &str| format!("{GOOD}[[route]]\n{route}\n");
    check(
        &more("name = \"scores\"\ntopics = [\"#\"]"),
        expect![[r#"
            hookbox.toml:48:1: route[1].name: two routes have the name "scores"
        "#]],
    );
    check(
        &more("name = \"unrouted\"\ntopics = [\"#\"]"),
        expect![[r#"
            hookbox.toml:48:1: route[1].name: "unrouted" is the route for topics that no other route selects; it always exists
        "#]],
    );
    let endless = "name = \"x\"\ntopics = [\"#\"]\nretry = { attempts = 100000 }";
    check(
        &more(endless),
        expect![[r#"
            hookbox.toml:50:1: route[1].retry: attempts must be from 1 to 100, so that every event reaches an outcome
        "#]],
    );
    let shrinking = "name = \"x\"\ntopics = [\"#\"]\nretry = { factor = 0.5 }";
    check(
        &more(shrinking),
        expect![[r#"
            hookbox.toml:50:1: route[1].retry: factor must be from 1 to 100
        "#]],
    );
    let slow = "name = \"x\"\ntopics = [\"#\"]\nhandler_time_limit = \"1 h\"";
    check(
        &more(slow),
        expect![[r#"
            hookbox.toml:50:1: route[1].handler_time_limit: the value must be from 1 ms to 3 min: RabbitMQ redelivers a message that is not settled within 30 min
        "#]],
    );
}

#[test]
fn a_syntax_error_is_reported_with_its_place() {
    check(
        "environment = ",
        expect![[r#"
        hookbox.toml:1:15: the file is not TOML: string values must be quoted, expected literal string
    "#]],
    );
    check(
        "",
        expect![[r#"
        hookbox.toml: the key "broker" is missing
        hookbox.toml: the key "environment" is missing
        hookbox.toml: the key "source" is missing
        hookbox.toml: the key "store" is missing
    "#]],
    );
    check(
        &GOOD.replace("preset = \"begini\"", ""),
        expect![[r#"
            hookbox.toml:24:1: source[0]: the source needs a preset (begini, github, standard-webhooks) or a scheme
        "#]],
    );
    check(
        &GOOD.replace("preset = \"begini\"", "preset = \"stripe\""),
        expect![[r#"
            hookbox.toml:26:1: source[0].preset: the value is not one of "begini", "github" or "standard-webhooks"
        "#]],
    );
    check(
        &GOOD.replace("algorithm = \"sha256\"", ""),
        expect![[r#"
            hookbox.toml:28:1: source[1]: scheme "hmac" needs the keys "header" and "algorithm"
        "#]],
    );
    check(
        &GOOD.replace("id = \"old\"", "id = \"2026-11\""),
        expect![[r#"
            hookbox.toml:27:47: source[0].secrets[1].id: two secrets of this source have the id "2026-11"
        "#]],
    );
}

#[test]
fn structure_and_meaning_are_reported_together() {
    let bad = GOOD
        .replace("connections = 100", "connection = 100")
        .replace("algorithm = \"sha256\"", "algorithm = \"sha1\"")
        .replace("trusted_proxies = [\"10.0.0.0/8\"]", "trusted_proxies = 1")
        .replace("127.0.0.1:8080", "0.0.0.0:8080")
        .replace("first = \"5 s\"", "first = \"5\"")
        .replacen("env = \"KEY\"", "env = \"NOWHERE\"", 1)
        .replace("begini.*_score.complete", "begini..x");
    check(
        &bad,
        expect![[r#"
            hookbox.toml:12:1: ingest.connection: there is no such key; did you mean "connections"?
            hookbox.toml:16:1: ingest.trusted_proxies: the value is not of type "array"
            hookbox.toml:27:12: source[0].secrets[0]: the referenced environment variable is not set; set it (its name is not shown, because the name may be the secret itself)
            hookbox.toml:32:1: source[1].algorithm: the value is not one of "sha256" or "sha512"
            hookbox.toml:43:11: route[0].topics[0]: "begini..x" is not a topic: 1 to 200 characters of A-Z, a-z, 0-9, '_', '-' and '.'; a part between two dots is empty
            hookbox.toml:45:26: route[0].retry.first: the value must be a number and ms, s, min, h or d, such as "5 s"
        "#]],
    );
}

#[test]
fn what_would_be_ignored_is_refused() {
    let begini = "preset = \"begini\"\n";
    check(
        &GOOD.replace(begini, &format!("{begini}tolerance = \"1 min\"\n")),
        expect![[r#"
            hookbox.toml:27:1: source[0].tolerance: this key applies only to scheme "standard-webhooks"; an HMAC has timestamp = { header, tolerance }
        "#]],
    );
    check(
        &GOOD.replace("scheme = \"hmac\"", "scheme = \"standard-webhooks\""),
        expect![[r#"
            hookbox.toml:31:1: source[1].header: this key applies only to scheme "hmac"
            hookbox.toml:32:1: source[1].algorithm: this key applies only to scheme "hmac"
            hookbox.toml:33:1: source[1].encoding: this key applies only to scheme "hmac"
            hookbox.toml:34:1: source[1].prefix: this key applies only to scheme "hmac"
            hookbox.toml:35:1: source[1].timestamp: this key applies only to scheme "hmac"
            hookbox.toml:40:12: source[1].secrets[0]: the secret is not base64, in which Standard Webhooks encodes secrets
        "#]],
    );
}

#[test]
fn a_file_is_one_however_it_is_written() {
    let parse = |store: &str, broker: &str| {
        let text = GOOD
            .replace("{ env = \"DATABASE_URL\" }", &format!("{store:?}"))
            .replace("{ env = \"AMQP_URL\" }", &format!("{broker:?}"));
        let config = Config::parse(Path::new("hookbox.toml"), &text, &env, NOW);
        config.unwrap_or_else(|mistakes| panic!("{mistakes}"))
    };
    assert!(parse("sqlite:h.db", "sqlite:h.db").is_one_file());
    assert!(parse("sqlite:h.db", "sqlite:./h.db").is_one_file());
    assert!(parse("sqlite:src/../h.db", "sqlite:h.db").is_one_file());
    assert!(!parse("sqlite:h.db", "sqlite:b.db").is_one_file());
    assert!(!parse("sqlite:h.db", "sqlite:src/h.db").is_one_file());
    let broker = |url: &str| GOOD.replace("{ env = \"AMQP_URL\" }", &format!("{url:?}"));
    check(
        &broker("sqlite:"),
        expect![[r#"
        hookbox.toml:8:1: broker.url: after sqlite: there must be a path, without // and without parameters, such as "sqlite:hookbox.db" or "sqlite:/var/lib/hookbox/hookbox.db"
    "#]],
    );
    check(
        &broker("sqlite://h.db"),
        expect![[r#"
        hookbox.toml:8:1: broker.url: after sqlite: there must be a path, without // and without parameters, such as "sqlite:hookbox.db" or "sqlite:/var/lib/hookbox/hookbox.db"
    "#]],
    );
    check(
        &broker("sqlite:h.db?mode=rwc"),
        expect![[r#"
        hookbox.toml:8:1: broker.url: after sqlite: there must be a path, without // and without parameters, such as "sqlite:hookbox.db" or "sqlite:/var/lib/hookbox/hookbox.db"
    "#]],
    );
}

#[test]
fn what_is_given_with_the_image_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let compose = std::fs::read_to_string(folder.join(".docker/hookbox.toml"))
        .expect("the config of the image must exist");
    // In the container of `docker-compose.yml`, the secrets are mounted files. This test replaces
    // each reference to such a file by a reference to an environment variable.
    let here = |name: &str| match name {
        "database_url" => env("DATABASE_URL"),
        "amqp_url" => env("AMQP_URL"),
        "identity_key" => Some("0a".repeat(32)),
        _ => env("KEY"),
    };
    let text = compose.replace("file = \"/run/secrets/", "env = \"");
    let config = Config::parse(Path::new("hookbox.toml"), &text, &here, NOW);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(config.log.json && config.ingest.connections_per_address_max == 256);
    // With this config, hookbox must accept plain HTTP from the machine that runs the container, so
    // that it can be tried with curl.
    assert_eq!(config.ingest.plain_http_from, config.ingest.trusted_proxies);
    // The config names the servers of other containers, and declares the network between them
    // private. Without this declaration, each of the two connections causes a warning.
    let there = |name: &str| match name {
        "database_url" => Some("postgres://hookbox:hunter2@postgres:5432/hookbox".to_owned()),
        "amqp_url" => Some("amqp://hookbox:hunter2@rabbitmq:5672/%2f".to_owned()),
        "identity_key" => Some("0a".repeat(32)),
        _ => env("KEY"),
    };
    let unprotected = |text: &str| {
        let config = Config::parse(Path::new("hookbox.toml"), text, &there, NOW);
        let warnings = config.expect("the config must load").warnings.into_iter();
        let of_network = |warning: &String| warning.contains("network = \"private\"");
        warnings.filter(of_network).count()
    };
    assert_eq!(unprotected(&text), 0);
    assert_eq!(unprotected(&text.replace("network = \"private\"\n", "")), 2);
}

mod conditions;
mod defaults;
mod handlers;
mod identity;
mod identity_key;
mod key_files;
mod keys;
mod limits;
mod needs;
mod networks;
mod newest;
mod page;
mod parts;
mod same_key;
mod schema;
mod secrets;
mod spool;
mod unmatched;
mod urls;
mod verifying;
