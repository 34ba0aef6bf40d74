//! Checks that a config contains only references to secrets, that a secret can expire at a given
//! time, and that no message shows a secret.

use expect_test::expect;

use super::{Config, GOOD, NOW, Path, check, env};

#[test]
fn a_secret_is_never_written_down_and_never_shown() {
    let secrets = |text: &str| {
        let begin = GOOD.find("secrets = [").expect("GOOD must contain secrets");
        let end = begin + GOOD[begin..].find('\n').expect("the line must end");
        format!("{}secrets = {text}{}", &GOOD[..begin], &GOOD[end..])
    };
    check(
        &secrets("[\"hunter2\"]"),
        expect![[r#"
        hookbox.toml:27:12: source[0].secrets[0]: a secret is never written here: { id = "NAME", env = "VARIABLE" } or { id = "NAME", file = "PATH" } says where it is
    "#]],
    );
    check(
        &secrets("\"hunter2\""),
        expect![[r#"
        hookbox.toml:27:1: source[0].secrets: the value is not of type "array"
    "#]],
    );
    check(
        &secrets("[{ id = \"a\", value = \"hunter2\" }]"),
        expect![[r#"
            hookbox.toml:27:24: source[0].secrets[0].value: there is no such key; a secret is never written here: { id = "NAME", env = "VARIABLE" } or { id = "NAME", file = "PATH" } says where it is
        "#]],
    );
    check(
        &secrets("[{ id = \"a\", env = \"hunter2+/=\" }]"),
        expect![[r#"
            hookbox.toml:27:24: source[0].secrets[0].env: the value must be the name of an environment variable, not the secret itself
        "#]],
    );
    check(
        &secrets("[{ id = \"a\" }]"),
        expect![[r#"
        hookbox.toml:27:12: source[0].secrets[0]: the reference must name either env or file
    "#]],
    );
    check(
        &secrets("[{ id = \"a\", env = \"KEY\", file = \"key\" }]"),
        expect![[r#"
            hookbox.toml:27:12: source[0].secrets[0]: the reference must name either env or file
        "#]],
    );
    check(
        &secrets("[{ id = \"a\", file = \"nowhere\" }]"),
        expect![[r#"
            hookbox.toml:27:12: source[0].secrets[0]: the referenced file cannot be found (No such file or directory (os error 2)); its path is not shown, because the path may be the secret itself
        "#]],
    );
    check(
        &secrets("[]"),
        expect![[r#"
        hookbox.toml:27:1: source[0].secrets: the source needs a secret: verification cannot be switched off
    "#]],
    );
    check(
        &GOOD.replace("{ env = \"AMQP_URL\" }", "\"amqp://u:hunter2@h\""),
        expect![[r#"
            hookbox.toml:8:1: broker.url: the value must be { env = "NAME" } or { file = "PATH" }, because a URL may hold a password; only a "sqlite:PATH" URL may be written here
        "#]],
    );
    let pem = "tls = { certificate = \"nowhere\", key = \"\"\"-----BEGIN hunter2\n\"\"\" }\n";
    check(
        &GOOD.replace("connections = 100\n", &format!("connections = 100\n{pem}")),
        expect![[r#"
            hookbox.toml:13:9: ingest.tls.certificate: the file nowhere cannot be found (No such file or directory (os error 2))
            hookbox.toml:13:34: ingest.tls.key: the value must be the path of a PEM file, not its text
        "#]],
    );
}

#[test]
fn a_secret_ends_and_another_takes_over() {
    let until = |moment: &str| GOOD.replace("\"2026-12-31T00:00:00Z\"", moment);
    // The time at which a secret expires may be a text, or a time in TOML's own syntax. A source
    // may have an expired secret beside a valid one.
    check(&until("2026-12-31T00:00:00Z"), expect![["ok"]]);
    check(&until("2026-01-01T00:00:00Z"), expect![["ok"]]);
    check(
        &until("2026-12-31"),
        expect![[r#"
        hookbox.toml:27:73: source[0].secrets[1].until: the value must be a time such as 2026-12-31T00:00:00Z
    "#]],
    );
    let all = until("2026-01-01T00:00:00Z").replace(
        "{ id = \"2026-11\", env = \"KEY\" }",
        "{ id = \"2026-11\", env = \"KEY\", until = \"2026-11-24T00:00:00Z\" }",
    );
    // All secrets of one source have expired. A service still starts, because of its other sources,
    // but `check-config` refuses this config.
    check(&all, expect![["ok"]]);
    let config =
        Config::parse(Path::new("hookbox.toml"), &all, &env, NOW).expect("the config must load");
    let warning = "hookbox.toml:27:1: source[0].secrets: every secret is past its \"until\", so \
                   requests are answered 503; add one that is valid";
    assert_eq!(config.warnings, [warning]);
}
