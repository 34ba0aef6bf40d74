//! Checks how the identity key is read, and which commands read it.

use hookbox_driver::ExpectedIdentity;

use super::super::secret::Env;
use super::*;

/// 64 hex digits.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Returns a config that reads the identity key from this environment variable.
fn keyed(variable: &str) -> String {
    let table = format!("[identity]\nkey = {{ env = \"{variable}\" }}\n[worker]\n");
    GOOD.replacen("[worker]\n", &table, 1)
}

fn with_key(name: &str) -> Option<String> {
    match name {
        "IDENTITY" => Some(format!("{KEY}\n")),
        "SHORT" => Some(KEY[2..].to_owned()),
        "OTHER" => Some(format!("hunter2{}", &KEY[7..])),
        name => env(name),
    }
}

fn parse(text: &str, env: Env<'_>, needs: Needs) -> Result<Config, Mistakes> {
    let kinds = HandlerKinds::built_in();
    Config::parse_for(Path::new("hookbox.toml"), text, env, needs, &kinds, NOW)
}

fn refusal(text: &str, env: Env<'_>, needs: Needs) -> String {
    let refused = parse(text, env, needs).err();
    refused.map_or_else(String::new, |mistakes| mistakes.to_string())
}

#[test]
fn the_key_is_read_where_ids_are_computed() {
    for needs in [Needs::ALL, Needs::PROCESSING, Needs::BROKER_AND_KEYS] {
        let config = parse(&keyed("IDENTITY"), &with_key, needs);
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let IdentityConfig::Keyed(key) = &config.identity else {
            panic!("a command with {needs:?} must read the identity key");
        };
        let expected = ExpectedIdentity::Keyed(key.fingerprint());
        assert_eq!(config.identity.expected(), expected);
        let digester = config
            .identity
            .digester()
            .expect("ids must be computed with this config");
        assert_eq!(digester.fingerprint(), Some(key.fingerprint()));
        let refusal = refusal(&keyed("ABSENT"), &with_key, needs);
        assert!(refusal.contains("identity.key: "), "{needs:?}: {refusal}");
    }
    for needs in [
        Needs::STORE_AND_BROKER,
        Needs::STORE,
        Needs::KEYS,
        Needs::NONE,
    ] {
        let config = parse(&keyed("ABSENT"), &with_key, needs);
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(matches!(config.identity, IdentityConfig::NotResolved));
        assert_eq!(config.identity.expected(), ExpectedIdentity::Unchecked);
        assert!(config.identity.digester().is_none());
    }
}

#[test]
fn without_a_key_ids_are_plain() {
    let config = parse(GOOD, &with_key, Needs::ALL);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.identity.expected(), ExpectedIdentity::Plain);
    let digester = config
        .identity
        .digester()
        .expect("ids must be computed with this config");
    assert_eq!(digester.fingerprint(), None);
}

#[test]
fn a_text_that_is_no_key_is_refused_and_not_shown() {
    for variable in ["SHORT", "OTHER"] {
        let refusal = refusal(&keyed(variable), &with_key, Needs::ALL);
        let expected = "identity.key: an identity key is 64 hex digits, as `hookbox keys generate` \
                        prints it";
        assert!(refusal.ends_with(expected), "{refusal}");
        assert!(
            !refusal.contains("hunter2") && !refusal.contains("0708"),
            "{refusal}"
        );
    }
    let written = keyed("X").replace("{ env = \"X\" }", &format!("\"{KEY}\""));
    let refusal = refusal(&written, &with_key, Needs::ALL);
    assert!(
        refusal.contains("the key is never written here"),
        "{refusal}"
    );
    assert!(!refusal.contains("0708"), "{refusal}");
}

#[test]
fn a_running_service_keeps_its_key() {
    let (path, kinds) = (Path::new("hookbox.toml"), HandlerKinds::built_in());
    let text = keyed("HOOKBOX_TEST_ABSENT");
    let parsed = Config::parse_parts(path, &text, Needs::ALL, &kinds, NOW);
    let (_, parts) = parsed.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let why = parts.why(&Part::Servers);
    let why = why.expect("a missing identity key must be reported");
    assert!(why.contains("identity.key: "), "{why}");
}
