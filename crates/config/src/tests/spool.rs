//! Tests the settings of the spool and of the management API.

use expect_test::expect;

use super::{GOOD, check, env};
use crate::{Config, SpoolConfig};

fn with(lines: &str) -> String {
    GOOD.replacen("[ingest]\n", &format!("[ingest]\n{lines}\n"), 1)
}

#[test]
fn a_spool_has_a_file_and_a_bound() {
    let load = |lines: &str| {
        let path = std::path::Path::new("/etc/hookbox.toml");
        let config =
            Config::parse(path, &with(lines), &env, super::NOW).expect("the config must load");
        let SpoolConfig { path, bytes_max } =
            config.ingest.spool.expect("the config must have a spool");
        (path.display().to_string(), bytes_max)
    };
    let usual = load("spool = \"sqlite:spool.db\"");
    assert_eq!(usual, ("/etc/spool.db".to_owned(), 1 << 30));
    let own = load("spool = \"sqlite:/var/spool.db\"\nspool_max = \"16 MiB\"");
    assert_eq!(own, ("/var/spool.db".to_owned(), 16 << 20));
}

#[test]
fn an_invalid_spool_is_reported() {
    check(
        &with("spool = \"/var/spool\"\nspool_max = \"15 MiB\""),
        expect![[r#"
            hookbox.toml:10:1: ingest.spool: the value must begin with sqlite:, as in "sqlite:spool.db"
            hookbox.toml:11:1: ingest.spool_max: the value must be 16 MiB or more
        "#]],
    );
    check(
        &with("spool_max = \"1024 MiB\""),
        expect![[r#"
        hookbox.toml:10:1: ingest.spool_max: spool_max limits a spool, but no spool is set
    "#]],
    );
    let one = with("spool = \"sqlite:hookbox.db\"")
        .replace("{ env = \"AMQP_URL\" }", "\"sqlite:hookbox.db\"")
        .replace("{ env = \"DATABASE_URL\" }", "\"sqlite:hookbox.db\"");
    check(
        &one,
        expect![[r#"
            hookbox.toml:10:1: ingest.spool: the broker is a file on this machine, and never unavailable: remove the spool
            hookbox.toml:10:1: ingest.spool: this is the file of the store; the spool needs another file
        "#]],
    );
}

#[test]
fn a_management_url_with_a_password_is_a_reference() {
    let managed = |text: &str| GOOD.replacen("[broker]\n", &format!("[broker]\n{text}\n"), 1);
    check(
        &managed("management = \"https://rabbitmq:15671\""),
        expect!["ok"],
    );
    check(
        &managed("management = \"http://u:hunter2@rabbitmq\""),
        expect![[r#"
            hookbox.toml:8:1: broker.management: the value must be { env = "NAME" } or { file = "PATH" }, or a URL without a password, such as "http://rabbitmq:15672"
        "#]],
    );
    check(
        &managed("management = { env = \"AMQP_URL\" }"),
        expect![[r#"
            hookbox.toml:8:1: broker.management: the URL of the management API must begin with http:// or https://
        "#]],
    );
}
