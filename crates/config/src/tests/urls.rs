//! Checks that a URL with which `migrate` or the start of a service would fail is already refused
//! when the config is checked.

use expect_test::expect;

use super::*;

#[test]
fn a_url_that_a_driver_refuses_is_refused_at_its_place() {
    for (name, url, expect) in [
        (
            "DATABASE_URL",
            "postgres://u:hunter2@localhost:99999999/db",
            expect![[r#"
                hookbox.toml:5:1: store.url: the URL or one of its parameters cannot be read
            "#]],
        ),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@localhost/db?sslmode=sometimes",
            expect![[r#"
                hookbox.toml:5:1: store.url: the URL or one of its parameters cannot be read
            "#]],
        ),
        (
            "AMQP_URL",
            "amqp://u:hunter2@localhost:port/",
            expect![[r#"
                hookbox.toml:8:1: broker.url: invalid port number
            "#]],
        ),
        (
            "AMQP_URL",
            "amqp://u:hunter2@localhost/v?heartbeat=0",
            expect![[r#"
                hookbox.toml:8:1: broker.url: heartbeat must be between 1 and 60 seconds: without a heartbeat, a dead connection is taken for alive
            "#]],
        ),
    ] {
        let env = |asked: &str| match asked {
            asked if asked == name => Some(url.to_owned()),
            _ => env(asked),
        };
        let refused = Config::parse(Path::new("hookbox.toml"), GOOD, &env, NOW);
        let refused = refused
            .err()
            .expect("a config with this URL must be refused")
            .to_string();
        assert!(
            !refused.contains("hunter2"),
            "no message may contain a password"
        );
        expect.assert_eq(&(refused + "\n"));
    }
    let managed = "management = \"http://not a host\"\n[ingest]\n";
    check(
        &GOOD.replace("[ingest]\n", managed),
        expect![[r#"
        hookbox.toml:9:1: broker.management: the URL of the management API cannot be read
    "#]],
    );
}
