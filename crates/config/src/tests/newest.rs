//! Tests the setting `newest` of routes: how it is read, and the message about each mistake.

use expect_test::{Expect, expect};
use hookbox_event::VersionKind;

use super::*;

/// Returns the config with another route, which has this `newest`. The `newest` is in line 50 of
/// the config.
fn config(newest: &str) -> String {
    format!("{GOOD}[[route]]\nname = \"some\"\ntopics = [\"#\"]\nnewest = {newest}\n")
}

fn check_newest(newest: &str, expect: Expect) {
    check(&config(newest), expect);
}

#[test]
fn each_type_of_version_is_read() {
    for (word, kind) in [
        ("integer", VersionKind::Integer),
        ("decimal", VersionKind::Decimal),
        ("rfc3339", VersionKind::Rfc3339),
    ] {
        let text = config(&format!(
            r#"{{ key = ["/uid", "/a~1b"], version = "/event/at", type = "{word}" }}"#
        ));
        let config = Config::parse(Path::new("hookbox.toml"), &text, &env, NOW);
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
        assert!(config.routes[0].newest.is_none());
        let newest = config.routes[1].newest.as_ref();
        let newest = newest.expect("the second route must have the setting `newest`");
        let key: Vec<String> = newest.key.iter().map(ToString::to_string).collect();
        assert_eq!(key, ["/uid", "/a~1b"]);
        assert_eq!(
            (newest.version.to_string().as_str(), newest.kind),
            ("/event/at", kind)
        );
    }
}

#[test]
fn each_mistake_is_reported() {
    check_newest(
        r#"{ key = ["/uid", "/v", "/uid"], version = "/v", type = "integer" }"#,
        expect![[r#"
            hookbox.toml:50:33: route[1].newest.key[2]: the list `key` already contains this pointer
            hookbox.toml:50:42: route[1].newest.version: the version must not be a part of the key, or every version would be a key of its own
        "#]],
    );
    check_newest(
        r#"{ key = [], version = "v", type = "date" }"#,
        expect![[r#"
            hookbox.toml:50:12: route[1].newest.key: the value has less than 1 item
            hookbox.toml:50:22: route[1].newest.version: the value must begin with '/', as a JSON Pointer does
            hookbox.toml:50:37: route[1].newest.type: the value is not one of "integer", "decimal" or "rfc3339"
        "#]],
    );
    check_newest(
        r#"{ key = ["/a~2"], type = "integer", order = 1 }"#,
        expect![[r#"
            hookbox.toml:50:1: route[1].newest: the key "version" is missing
            hookbox.toml:50:46: route[1].newest.order: there is no such key
        "#]],
    );
    check_newest(
        r#"["/uid"]"#,
        expect![[r#"
        hookbox.toml:50:1: route[1].newest: the value is not of type "object"
    "#]],
    );
}
