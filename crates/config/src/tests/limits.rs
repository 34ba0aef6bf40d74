//! Tests that limits outside their range, and addresses that cannot be parsed, are refused.

use expect_test::expect;

use super::{GOOD, check};

#[test]
fn limits_and_addresses_are_checked() {
    check(
        &GOOD.replace("bodies_max = \"32 MiB\"", "bodies_max = \"512 KiB\""),
        expect![[r#"
            hookbox.toml:14:1: ingest.bodies_max: the value must be at least body_max, or the largest body would never be accepted
        "#]],
    );
    check(
        &GOOD.replace("10.0.0.0/8\"", "10.0.0.0/33\", \"proxy\", \"::1\""),
        expect![[r#"
            hookbox.toml:16:20: ingest.trusted_proxies[0]: "10.0.0.0/33" is not an address or a network, such as 10.0.0.0/8
            hookbox.toml:16:35: ingest.trusted_proxies[1]: "proxy" is not an address or a network, such as 10.0.0.0/8
        "#]],
    );
    check(
        &GOOD.replace("127.0.0.1:8080", "localhost"),
        expect![[r#"
        hookbox.toml:10:1: ingest.listen: "localhost" is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080
    "#]],
    );
    check(
        &GOOD.replace("drain = \"10 s\"", "drain = \"10 min\""),
        expect![[r#"
            hookbox.toml:3:1: drain: the value must be from 1 ms to 90 s
        "#]],
    );
    check(
        &GOOD.replace("waiting = 200", "drain_lead = \"6 s\""),
        expect![[r#"
            hookbox.toml:15:1: ingest.drain_lead: drain_lead must be at most half of drain: it is the first part of that time, and requests that are open at its end still need time for their answers
        "#]],
    );
    check(
        &GOOD.replace("waiting = 200", "drain_lead = \"soon\""),
        expect![[r#"
            hookbox.toml:15:1: ingest.drain_lead: the value must be a number and ms, s, min, h or d, such as "5 s"
        "#]],
    );
    for idle in ["4 s", "3 h"] {
        check(
            &GOOD.replace("waiting = 200", &format!("idle = \"{idle}\"")),
            expect![[r#"
                hookbox.toml:15:1: ingest.idle: the value must be from 5 s to 2 h, and longer than the load balancer in front keeps its idle connections (ALB and nginx: 60 s)
            "#]],
        );
    }
    check(
        &GOOD.replace("filter = \"info\"", "filter = \"a=loud\""),
        expect![[r#"
            hookbox.toml:23:1: log.filter: "a=loud" is not a log filter such as "info" or "hookbox_worker=debug,info" (error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5)
        "#]],
    );
    check(
        &GOOD.replace(
            "handler_time_limit = \"10 s\"",
            "handler_time_limit = \"10 min\"",
        ),
        expect![[r#"
            hookbox.toml:20:1: worker.handler_time_limit: the value must be from 1 ms to 3 min: RabbitMQ redelivers a message that is not settled within 30 min
        "#]],
    );
    check(
        &GOOD.replace("\"process\" }]", "\"drop\" }]"),
        expect![[r#"
            hookbox.toml:38:1: source[1].on_conflict: the value must be "dead_letter", "process", "duplicate", or a list of { topics, action }
        "#]],
    );
    check(
        &GOOD
            .replace("jitter = 0.2", "jitter = 2, attempts = -1")
            .replace("attempts = 12, ", ""),
        expect![[r#"
            hookbox.toml:45:1: route[0].retry: attempts must be from 1 to 100, so that every event reaches an outcome
        "#]],
    );
    check(
        &GOOD.replace("max = \"6 h\"", "max = \"1 s\""),
        expect![[r#"
            hookbox.toml:45:1: route[0].retry: max must be at least first, and at most 7 days
        "#]],
    );
    check(
        &GOOD.replace("kind = \"begini\"", "kind = \"bergini\""),
        expect![[r#"
            hookbox.toml:44:13: route[0].handler.kind: this program has no handler of this kind; it has "record", "begini", "sql", "forward", "publish"; did you mean "begini"?
        "#]],
    );
    check(
        &GOOD.replace("factor = 3", "factor = inf"),
        expect![[r#"
        hookbox.toml:45:41: route[0].retry.factor: the value is not of type "number"
    "#]],
    );
    check(
        &GOOD.replace("connections = 8", "\"a/b~c\" = 8"),
        expect![[r#"
            hookbox.toml:6:1: store.a/b~c: there is no such key
        "#]],
    );
}

#[test]
fn the_lifetime_of_a_connection_is_checked() {
    for lifetime in ["900 ms", "2 h"] {
        check(
            &GOOD.replace(
                "connections = 8",
                &format!("connection_lifetime = \"{lifetime}\""),
            ),
            expect![[r#"
                hookbox.toml:6:1: store.connection_lifetime: the value must be from 1 s to 1 h
            "#]],
        );
    }
}

#[test]
fn a_duration_without_its_unit_is_refused_as_one() {
    let bad = GOOD
        .replace("connections = 8", "connection_lifetime = \"5\"")
        .replace("waiting = 200", "idle = \"5\"");
    check(
        &bad,
        expect![[r#"
        hookbox.toml:6:1: store.connection_lifetime: the value must be a number and ms, s, min, h or d, such as "5 s"
        hookbox.toml:15:1: ingest.idle: the value must be a number and ms, s, min, h or d, such as "5 s"
    "#]],
    );
}

#[test]
fn peers_that_are_everyone_are_refused() {
    let proxies = |networks: &str| GOOD.replace("\"10.0.0.0/8\"", networks);
    for everything in [
        "\"0.0.0.0/0\"",
        "\"::/0\"",
        "\"10.0.0.0/8\", \"0.0.0.0/1\", \"128.0.0.0/1\"",
    ] {
        check(
            &proxies(everything),
            expect![[r#"
                hookbox.toml:16:1: ingest.trusted_proxies: the list contains every address, so any peer would be trusted to say who sent a request and that it came over https; name the addresses of your proxies
            "#]],
        );
    }
    let plain = |networks: &str| {
        let line = format!("plain_http_from = [{networks}]");
        GOOD.replace("127.0.0.1:8080", "0.0.0.0:8080")
            .replace("trusted_proxies = [\"10.0.0.0/8\"]", &line)
    };
    check(&plain("\"172.16.0.0/12\""), expect![["ok"]]);
    check(
        &plain("\"0.0.0.0/0\""),
        expect![[r#"
            hookbox.toml:16:1: ingest.plain_http_from: the list contains every address, so any peer could send over plain HTTP; name the addresses that may do so
        "#]],
    );
}
