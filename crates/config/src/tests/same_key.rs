//! Checks that no two sources may share a key.

use super::*;

/// Parses a config with these keys in `KEY` and `KEY2` (of one source) and `KEY3` (of another
/// source).
fn parse(keys: [&str; 3]) -> Result<Config, Mistakes> {
    let keys = keys.map(str::to_owned);
    let env = move |name: &str| match name {
        "KEY" => Some(keys[0].clone()),
        "KEY2" => Some(keys[1].clone()),
        "KEY3" => Some(keys[2].clone()),
        _ => env(name),
    };
    Config::parse(Path::new("hookbox.toml"), GOOD, &env, NOW)
}

const A: &str = "canary-a-key-of-thirty-two-bytes";
const B: &str = "canary-another-of-32-bytes-exact";
const C: &str = "canary-a-third-one-of-32-bytes-ok";

#[test]
fn one_key_in_two_sources_is_refused_by_both_names() {
    for keys in [[A, B, A], [B, A, A], [A, A, A]] {
        let refused = parse(keys)
            .err()
            .expect("a key that two sources share must be refused")
            .to_string();
        assert!(
            refused.contains("hookbox.toml:40:12: source[1].secrets[0]"),
            "{refused}"
        );
        for name in ["source begini", "at other"] {
            assert!(refused.contains(name), "{name}: {refused}");
        }
        assert_eq!(refused.lines().count(), 1, "{refused}");
        assert!(!refused.contains("canary"), "{refused}");
    }
    // White space at the end of a file does not belong to the key, so a key with a line break must
    // count as the same key.
    let with_space = format!("{A}\n");
    assert!(parse([A, B, &with_space]).is_err());
    let config = parse([A, B, C]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn one_key_twice_in_a_source_is_warned_of() {
    let config = parse([A, A, B]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let [warning] = &config.warnings[..] else {
        panic!("{:?}", config.warnings)
    };
    assert!(warning.contains("source[0].secrets[1]: this is the same key as \"2026-11\""));
    assert!(!warning.contains("canary"), "{warning}");
}
