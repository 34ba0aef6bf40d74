//! `check-config` and the start of a role: which configs they refuse, and which warnings they
//! print.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::binary::Said;
use crate::service::Service;

const PLAIN: &str = "[[source]]\nname = \"jira\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
                     algorithm = \"sha256\"\nidentity = [\"/id\"]\n\
                     secrets = [{ id = \"k\", file = \"key\" }]\n";

/// The exit code for a config that cannot be used.
const UNUSABLE: i32 = 64;

fn refused(said: &Said, words: &[&str]) {
    assert_eq!(said.code, UNUSABLE, "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
}

/// Checks that `check-config`, `worker` and `run` refuse a schema file that can never apply: its
/// name cannot be an event type, or the events of its source have no type at all.
#[test]
fn a_schema_that_no_event_would_be_checked_with_is_refused() {
    let typed = format!("{PLAIN}topic = \"/webhookEvent\"\nschemas = \"schemas\"\n");
    let service = Service::prepare("a_schema_that_no_event", &typed);
    let schemas = service.folder().join("schemas");
    std::fs::create_dir(&schemas).unwrap();
    let write = |name: &str, text: &str| std::fs::write(schemas.join(name), text).unwrap();
    write("jira:issue_created.json", r#"{"required":["issue"]}"#);
    let words = ["jira:issue_created.json", "jira.untyped", "A-Z, a-z, 0-9"];
    refused(&service.run(&["check-config"]), &words);
    refused(&service.run(&["worker"]), &words);
    refused(&service.run(&["run"]), &words);

    std::fs::remove_file(schemas.join("jira:issue_created.json")).unwrap();
    for name in ["issue_created.json", "unknown.json", "untyped.json"] {
        write(name, "{}");
    }
    service.run(&["check-config"]).well();
    let large = std::fs::File::create(schemas.join("large.json")).unwrap();
    large.set_len(16 * 1024 * 1024 + 1).unwrap();
    let words = ["large.json", "larger than 16384 KiB"];
    refused(&service.run(&["check-config"]), &words);
    let untyped = format!("{PLAIN}schemas = \"schemas\"\n");
    let without = Service::prepare("a_schema_without_a_topic", &untyped);
    let schemas = without.folder().join("schemas");
    std::fs::create_dir(&schemas).unwrap();
    std::fs::write(schemas.join("unknown.json"), "{}").unwrap();
    without.run(&["check-config"]).well();
    std::fs::write(schemas.join("issue_created.json"), "{}").unwrap();
    let words = ["issue_created.json", "without \"topic\""];
    refused(&without.run(&["check-config"]), &words);
}

/// Checks that hookbox applies a schema by the rules of the JSON Schema draft that the schema
/// names. The first event of this test is valid by draft 7, which its schema names, and would be
/// invalid by later drafts.
#[test]
fn a_schema_is_of_the_draft_that_it_names() {
    let sources = format!("{PLAIN}topic = \"/kind\"\nschemas = \"schemas\"\n");
    let mut service = Service::prepare("a_schema_is_of_the_draft", &sources);
    let schemas = service.folder().join("schemas");
    std::fs::create_dir(&schemas).unwrap();
    let schema = |dialect: &str| {
        format!(
            r##"{{"$schema":"{dialect}","definitions":{{"x":{{"type":"string"}}}},
                "properties":{{"code":{{"$ref":"#/definitions/x","maxLength":3}}}}}}"##
        )
    };
    let write = |text: String| std::fs::write(schemas.join("seven.json"), text).unwrap();
    write(schema("https://example.com/my-dialect"));
    let words = ["seven.json", "https://example.com/my-dialect"];
    refused(&service.run(&["check-config"]), &words);
    refused(&service.run(&["worker"]), &words);

    write(schema("http://json-schema.org/draft-07/schema#"));
    service.run(&["check-config"]).well();
    service.begin();
    service.send("jira", &[], r#"{"kind":"seven","code":"four"}"#);
    service.send("jira", &[], r#"{"kind":"seven","code":4}"#);
    let states = service.events();
    let states: Vec<&str> = states.iter().map(|(_, state, _)| state.as_str()).collect();
    assert_eq!(states, ["dead", "done"]);
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// Writes a self-signed certificate that is valid from the first to the second of these years, and
/// returns its private key.
fn certificate(folder: &Path, years: (i32, i32)) -> KeyPair {
    let mut params = CertificateParams::new(["hooks.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let text = pem("CERTIFICATE", certificate.der());
    std::fs::write(folder.join("cert.pem"), text).unwrap();
    write_key(folder, &key);
    key
}

fn write_key(folder: &Path, key: &KeyPair) {
    let text = pem("PRIVATE KEY", &key.serialize_der());
    std::fs::write(folder.join("key.pem"), text).unwrap();
}

#[test]
fn a_certificate_that_senders_reject_is_refused() {
    let tls = "tls = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    let mut service = Service::prepare(
        "a_certificate_that_senders_reject",
        &format!("{tls}{PLAIN}"),
    );
    let folder = service.folder().to_owned();
    certificate(&folder, (2020, 4000));
    service.run(&["check-config"]).well();

    write_key(&folder, &KeyPair::generate().unwrap());
    let mismatch = service.run(&["check-config"]);
    refused(&mismatch, &["the key to the certificate"]);
    refused(&service.run(&["run"]), &["the key to the certificate"]);
    std::fs::write(folder.join("cert.pem"), "no certificate").unwrap();
    refused(&service.run(&["check-config"]), &["cert.pem"]);
    std::fs::write(folder.join("cert.pem"), [b'a'; 1024 * 1024 + 1]).unwrap();
    let large = ["cert.pem cannot be used", "larger than 1024 KiB"];
    refused(&service.run(&["check-config"]), &large);
    certificate(&folder, (3000, 4000));
    let early = ["cert.pem cannot be used", "not valid before 3000-01-01"];
    refused(&service.run(&["check-config"]), &early);
    certificate(&folder, (2019, 2020));
    let expired = ["cert.pem cannot be used", "expired at 2020-01-01"];
    refused(&service.run(&["check-config"]), &expired);
    // `check-config` refuses an expired certificate. A service with an expired certificate logs a
    // warning and starts, so that a restart does not cause an outage.
    service.begin();
    assert!(
        service.log().contains("expired at 2020-01-01"),
        "{}",
        service.log()
    );
}

/// Checks that `check-config` refuses every URL that `migrate` refuses.
#[test]
fn a_url_that_migrate_refuses_is_refused() {
    for (store, broker, at) in [
        (
            "postgres://u:p@localhost:99999999/db",
            "amqp://localhost",
            "store.url",
        ),
        (
            "postgres://u:p@localhost/db",
            "amqp://localhost/v?heartbeat=0",
            "broker.url",
        ),
    ] {
        let service = Service::prepare("a_url_that_migrate_refuses", PLAIN);
        let config = service.folder().join("hookbox.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replacen("\"sqlite:hookbox.db\"", "{ file = \"store\" }", 1);
        let text = text.replacen("\"sqlite:hookbox.db\"", "{ file = \"broker\" }", 1);
        std::fs::write(&config, text).unwrap();
        std::fs::write(service.folder().join("store"), store).unwrap();
        std::fs::write(service.folder().join("broker"), broker).unwrap();
        // A wrong store URL is tested with a worker, because an ingest does not use the store.
        let role = if at == "store.url" {
            "worker"
        } else {
            "ingest"
        };
        for command in ["check-config", "migrate", role] {
            refused(&service.run(&[command]), &[at]);
        }
    }
    for (path, why) in [("nowhere/h.db", "does not exist"), (".", "is a folder")] {
        let service = Service::prepare("a_file_that_migrate_cannot_make", PLAIN);
        let config = service.folder().join("hookbox.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("sqlite:hookbox.db", &format!("sqlite:{path}"));
        std::fs::write(&config, text).unwrap();
        refused(&service.run(&["check-config"]), &["store.url", why]);
        assert_ne!(service.run(&["migrate"]).code, 0);
    }
}

#[test]
fn a_default_that_makes_one_event_of_two_is_a_warning() {
    let github = "[[source]]\nname = \"hub\"\npreset = \"github\"\n\
                  secrets = [{ id = \"k\", file = \"key\" }]\n";
    let mut service = Service::prepare("a_default_that_makes_one", github);
    let said = service.run(&["check-config", "--json"]).well();
    assert!(
        said.err
            .contains("warning: hookbox.toml:8:1: source[0]: two requests")
    );
    let shown = said.json();
    assert_eq!(shown["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(shown["sources"][0]["identity"], "what the body says");
    assert!(shown["sources"][0]["topic"].is_null());
    service.begin();
    assert!(
        service
            .log()
            .contains("two requests with the same body are one event")
    );

    let chosen = format!(
        "{github}topic = {{ header = \"X-GitHub-Event\", pointer = \"/action\" }}\n\
         identity = {{ header = \"X-GitHub-Delivery\", with = \"body\" }}\n"
    );
    let service = Service::prepare("a_default_that_was_chosen", &chosen);
    let said = service.run(&["check-config", "--json"]).well();
    assert_eq!(said.err, "");
    let source = &said.json()["sources"][0];
    assert_eq!(source["topic"]["header"], "x-github-event");
    assert_eq!(source["topic"]["pointer"], "/action");
    assert_eq!(source["identity"]["header"], "x-github-delivery");
    assert_eq!(source["identity"]["with"], "body");
}

/// Checks that `check-config` warns in the two weeks before the last valid key of a source expires,
/// and refuses a source whose keys have all expired.
#[test]
fn the_end_of_the_last_key_is_a_warning_before_it_comes() {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let ends_in = |days: i64| {
        let micros = i64::try_from(now.as_micros()).unwrap() + days * 86_400_000_000;
        let until = hookbox_event::Timestamp::from_unix_micros(micros);
        PLAIN.replace(
            "file = \"key\"",
            &format!("file = \"key\", until = {until}"),
        )
    };
    let service = Service::prepare("the_end_is_far", &ends_in(20));
    assert_eq!(service.run(&["check-config"]).well().err, "");
    let service = Service::prepare("the_end_is_near", &ends_in(5));
    let said = service.run(&["check-config", "--json"]).well();
    let what = "the last key of source jira expires at ";
    assert!(
        said.err.contains(what) && said.err.contains("in 4 days"),
        "{said:?}"
    );
    assert_eq!(said.json()["warnings"].as_array().unwrap().len(), 1);
    let service = Service::prepare("the_end_is_over", &ends_in(-1));
    let words = ["every key of source jira has expired", "SIGHUP"];
    refused(&service.run(&["check-config"]), &words);
}

#[test]
fn a_route_that_no_event_reaches_is_a_warning() {
    let route = "topic = \"/kind\"\n[[route]]\nname = \"issues\"\ntopics = [\"jra.issue.*\"]\n";
    let service = Service::prepare("a_route_that_no_event", &format!("{PLAIN}{route}"));
    let said = service.run(&["check-config", "--json"]).well();
    let warnings = said.json()["warnings"].as_array().unwrap().clone();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for expected in [
        "source[0]: no route selects the topics of this source (jira.…)",
        "route[0].topics[0]: no source of this config has a topic that matches this pattern",
    ] {
        assert!(said.err.contains(expected), "{expected}: {said:?}");
    }
}

#[test]
fn the_conditions_of_a_route_are_shown() {
    let route = "[[route]]\nname = \"large\"\ntopics = [\"#\"]\n\
                 where = [{ pointer = \"/total\", greater = 999.990 }, \
                 { pointer = \"/kind\", in = [\"a\", 1, true] }]\n";
    let service = Service::prepare("conditions_are_shown", &format!("{PLAIN}{route}"));
    let shown = service.run(&["check-config", "--json"]).well().json();
    let routes = shown["routes"].as_array().unwrap();
    let large = routes.iter().find(|it| it["name"] == "large").unwrap();
    assert_eq!(large["where"][0], "/total is greater than 999.990");
    assert_eq!(large["where"][1], "/kind is one of \"a\", 1, true");
    let others = routes.iter().filter(|it| it["name"] != "large");
    assert!(others.into_iter().all(|it| it.get("where").is_none()));
    let wrong = route.replace("greater = 999.990", "between = [1, 2]");
    let service = Service::prepare("conditions_are_checked", &format!("{PLAIN}{wrong}"));
    let words = ["route[0].where[0].between: there is no such key"];
    refused(&service.run(&["check-config"]), &words);
}
