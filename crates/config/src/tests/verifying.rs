//! Checks that a source at which no request could ever verify is refused, and that a key which can
//! be guessed is refused.

use expect_test::expect;

use super::*;

const TIMESTAMP: &str =
    "timestamp = { header = \"X-Time\", separator = \":\", tolerance = \"5 min\" }";

#[test]
fn a_source_that_can_never_verify_is_refused() {
    let good = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replace(from, to)
    };
    for (text, expect) in [
        (
            good("header = \"X-Time\"", "header = \"x-sig\""),
            expect![[r#"
                hookbox.toml:35:15: source[1].timestamp.header: the signature is in x-sig, too, and one header cannot contain both the signature and the timestamp: no request would ever verify
            "#]],
        ),
        (
            good("header = \"X-Sig\"", "header = \"Content-Length\""),
            expect![[r#"
                hookbox.toml:31:1: source[1].header: content-length is a header of HTTP itself, which a sender cannot choose freely; name the header that the provider documents
            "#]],
        ),
        (
            good("header = \"X-Time\"", "header = \"Date\""),
            expect![[r#"
                hookbox.toml:35:15: source[1].timestamp.header: date is a header of HTTP itself, which a sender cannot choose freely; name the header that the provider documents
            "#]],
        ),
        (
            good("tolerance = \"5 min\"", "tolerance = \"500 ms\""),
            expect![[r#"
                hookbox.toml:35:51: source[1].timestamp.tolerance: the value must be at least 1 s: timestamps are whole seconds, and with less no request would arrive in time
            "#]],
        ),
        (
            good("prefix = \"v0=\"", "prefix = \" v0=\""),
            expect![[r#"
                hookbox.toml:28:1: source[1]: no request can ever verify, because even a request that hookbox signs by these settings is refused: the signature is not written as the scheme requires (prefix, length or alphabet); compare the settings with the provider's documentation
            "#]],
        ),
        (
            good("prefix = \"v0=\"", "prefix = \"v\u{e9}\""),
            expect![[r#"
                hookbox.toml:28:1: source[1]: no request can ever verify, because even a request that hookbox signs by these settings is refused: a signature header has characters or a length that no signature has; compare the settings with the provider's documentation
            "#]],
        ),
        (
            good("prefix = \"v0=\"", "prefix = \"v0\\n\""),
            expect![[r#"
                hookbox.toml:28:1: source[1]: no request can ever verify, because even a request that hookbox signs by these settings is refused: the signature is not written as the scheme requires (prefix, length or alphabet); compare the settings with the provider's documentation
            "#]],
        ),
        (
            good(
                "prefix = \"v0=\"",
                &format!("prefix = \"{}\"", "x".repeat(4096)),
            ),
            expect![[r#"
                hookbox.toml:28:1: source[1]: no request can ever verify, because even a request that hookbox signs by these settings is refused: a signature header has characters or a length that no signature has; compare the settings with the provider's documentation
            "#]],
        ),
    ] {
        check(&text, expect);
    }
    // Without a timestamp, the source has no second header, so no header can be meant for both the
    // signature and the timestamp.
    check(&good(TIMESTAMP, ""), expect!["ok"]);
}

#[test]
fn a_key_that_can_be_guessed_is_refused_and_a_weak_one_is_warned_about() {
    let parse = |text: &str, key: &'static str| {
        let env = move |name: &str| match name {
            "KEY" => Some(key.to_owned()),
            // The second source must have another key, because no two sources may share one.
            "KEY3" => Some(key.chars().rev().collect()),
            _ => env(name),
        };
        Config::parse(Path::new("hookbox.toml"), text, &env, NOW)
    };
    let refused = |key| {
        parse(GOOD, key)
            .err()
            .expect("a config with this key must be refused")
            .to_string()
    };
    expect![[r#"
        hookbox.toml:27:12: source[0].secrets[0]: the secret is shorter than 8 bytes: one captured request is enough to find it by trying all keys; make a secret of 32 random bytes and give it to the provider
        hookbox.toml:40:12: source[1].secrets[0]: the secret is shorter than 8 bytes: one captured request is enough to find it by trying all keys; make a secret of 32 random bytes and give it to the provider
    "#]]
    .assert_eq(&(refused("canary7") + "\n"));
    assert_eq!(refused("kj"), refused("canary7"));
    for (weak, warnings) in [
        ("12345678", 2),
        ("12345678901234", 2),
        ("12345678901234567890123", 2),
        ("123456789012345678901234", 0),
    ] {
        let config = parse(GOOD, weak).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.warnings.len(), warnings, "{weak}");
        for warning in config.warnings {
            assert!(warning.contains("SP 800-131A") && !warning.contains(weak));
        }
        // A weak key made by the provider causes no warning, because the operator cannot change it.
        let by_provider =
            GOOD.replace("secrets = [", "secrets_made_by = \"provider\"\nsecrets = [");
        let config = parse(&by_provider, weak).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.warnings, [""; 0], "{weak}");
        assert!(parse(&by_provider, "canary7").is_err());
    }
}
