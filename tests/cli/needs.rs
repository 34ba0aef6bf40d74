//! Which secrets a command needs, how secrets are stored, and that messages do not show them.

use crate::binary::{Said, command};
use crate::service::{Service, write_secret};

const SOURCE: &str = "[[source]]\nname = \"pay\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
                      algorithm = \"sha256\"\nidentity = [\"/id\"]\n\
                      secrets = [{ id = \"k\", env = \"PAY_KEY\" }]\n";

/// Prepares a service whose config names an environment variable for each secret.
fn service(test: &str) -> Service {
    let service = Service::prepare(test, SOURCE);
    let config = service.folder().join("hookbox.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replacen("\"sqlite:hookbox.db\"", "{ env = \"STORE_URL\" }", 1)
        .replacen("\"sqlite:hookbox.db\"", "{ env = \"BROKER_URL\" }", 1);
    std::fs::write(config, text).unwrap();
    service
}

fn run(service: &Service, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut command = command(service.folder(), arguments);
    for name in ["STORE_URL", "BROKER_URL", "PAY_KEY"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const STORE: (&str, &str) = ("STORE_URL", "sqlite:hookbox.db");
const BROKER: (&str, &str) = ("BROKER_URL", "sqlite:hookbox.db");
const KEY: (&str, &str) = ("PAY_KEY", "a-key-for-tests-of-32-bytes-0009");

/// The exit code for a config that cannot be used.
const UNUSABLE: i32 = 64;

#[test]
fn a_command_resolves_only_the_secrets_that_it_uses() {
    let service = service("a_command_resolves_only_the_secrets");
    run(&service, &["migrate"], &[STORE, BROKER]).well();
    for lists in [
        "dead", "events", "retries", "routes", "targets", "refusals", "audit",
    ] {
        run(&service, &[lists, "list"], &[STORE]).well();
    }
    run(&service, &["queues"], &[STORE, BROKER]).well();
    run(&service, &["reconcile"], &[STORE, BROKER]).well();
    run(&service, &["check-config"], &[STORE, BROKER, KEY]).well();
    // No process listens on port 9, so `send` must fail. Its error must be about the connection and
    // not about a missing secret.
    let sent = run(&service, &["send", "--url", "http://127.0.0.1:9"], &[KEY]);
    assert!(
        sent.code != UNUSABLE && sent.err.contains("127.0.0.1:9"),
        "{sent:?}"
    );
    for (arguments, has, missing) in [
        (&["dead", "list"][..], &[BROKER, KEY][..], "store.url"),
        (&["ingest"], &[STORE, BROKER], "source[0].secrets[0]"),
        (&["ingest"], &[STORE, KEY], "broker.url"),
        (&["worker"], &[STORE, KEY], "broker.url"),
        (&["worker"], &[BROKER, KEY], "store.url"),
        (&["run"], &[STORE, BROKER], "source[0].secrets[0]"),
        (&["check-config"], &[STORE, BROKER], "source[0].secrets[0]"),
        (&["check-config"], &[STORE, KEY], "broker.url"),
        (&["check-config"], &[BROKER, KEY], "store.url"),
    ] {
        let refused = run(&service, arguments, has);
        assert_eq!(refused.code, UNUSABLE, "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(missing), "{arguments:?}: {refused:?}");
        // The error must not show the name of a variable either, because a user may have written
        // the secret itself where the name belongs.
        for name in ["STORE_URL", "BROKER_URL", "PAY_KEY"] {
            assert!(!refused.err.contains(name), "{refused:?}");
        }
    }
}

/// Checks that two sources cannot share a key, because a request that was captured at one source
/// would be accepted at the other.
#[test]
fn one_key_in_two_sources_is_refused() {
    let source = |name: &str, key: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\npreset = \"begini\"\n\
             secrets = [{{ id = \"k\", file = \"{key}\" }}]\n"
        )
    };
    let sources = source("begini-sandbox", "key") + &source("begini-live", "live");
    let service = Service::prepare("one_key_in_two_sources_is_refused", &sources);
    let key = std::fs::read_to_string(service.folder().join("key")).unwrap();
    write_secret(&service.folder().join("live"), &key);
    service.run(&["migrate"]).well();
    for command in ["check-config", "ingest", "run"] {
        let refused = service.run(&[command]);
        assert_eq!(refused.code, UNUSABLE, "{command}: {refused:?}");
        for name in ["begini-sandbox", "begini-live"] {
            assert!(refused.err.contains(name), "{command}: {refused:?}");
        }
        assert!(!refused.err.contains(&key), "{command}: {refused:?}");
    }
    write_secret(
        &service.folder().join("live"),
        "another-key-for-tests-of-32-byte",
    );
    let said = service.run(&["check-config"]).well();
    assert_eq!(said.err, "");
}

/// Checks that a service writes no core file, whatever its shell allows.
#[test]
fn core_dumps_are_off_in_a_service() {
    let mut service = Service::prepare(
        "core_dumps_are_off_in_a_service",
        &SOURCE.replace("env = \"PAY_KEY\"", "file = \"key\""),
    );
    service.begin();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
}
