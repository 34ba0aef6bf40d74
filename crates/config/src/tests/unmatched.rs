//! Tests the warnings about routes that no event can reach, and about sources without a route.

use expect_test::{Expect, expect};

use super::*;

const HEAD: &str = r#"environment = "test"
[store]
url = "sqlite:h.db"
[broker]
url = "sqlite:h.db"
"#;

fn source(name: &str, topic: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
         algorithm = \"sha256\"\nidentity = [\"/id\"]\n{topic}\
         secrets = [{{ id = \"{name}\", env = \"{}\" }}]\n",
        if name == "shop" { "KEY" } else { "KEY2" }
    )
}

fn route(topics: &str) -> String {
    format!("[[route]]\nname = \"orders\"\ntopics = [{topics}]\n")
}

fn warned(parts: &[String], expect: Expect) {
    let text = HEAD.to_owned() + &parts.concat();
    let config = Config::parse(Path::new("hookbox.toml"), &text, &env, NOW);
    let warnings = config.expect("the config must load").unmatched_topics();
    let lines: String = warnings.iter().map(|line| format!("{line}\n")).collect();
    expect.assert_eq(&lines);
}

#[test]
fn a_pattern_and_a_source_without_a_match_get_a_warning() {
    let shop = source("shop", "topic = \"/type\"\n");
    let bank = source("bank", "");
    warned(
        &[
            shop.clone(),
            route("\"shop.order.*\", \"shops.#\", \"shop\""),
        ],
        expect![[r#"
            hookbox.toml:16:27: route[0].topics[1]: no source of this config has a topic that matches this pattern; the topics of the sources are shop.…
            hookbox.toml:16:38: route[0].topics[2]: no source of this config has a topic that matches this pattern; the topics of the sources are shop.…
        "#]],
    );
    warned(
        &[
            shop.clone(),
            bank.clone(),
            route("\"shop.#\", \"bank.paid\""),
        ],
        expect![[r#"
            hookbox.toml:14:1: source[1]: no route selects the topics of this source (bank.untyped), so all its events go to the route "unrouted", which only stores them
            hookbox.toml:23:21: route[0].topics[1]: no source of this config has a topic that matches this pattern; the topics of the sources are shop.…, bank.untyped
        "#]],
    );
    for all in ["\"#\"", "\"*.#\"", "\"shop.order\", \"*.untyped\""] {
        let parts = [shop.clone(), bank.clone(), route(all)];
        warned(&parts, expect![""]);
    }
}

/// A config for a first trial of hookbox has no routes yet, and needs no warning.
#[test]
fn a_config_without_routes_gets_no_warning() {
    warned(&[source("shop", "")], expect![""]);
}
