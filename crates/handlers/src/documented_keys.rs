//! Compares the keys of the handlers' settings with the tables of `docs/CONFIG.md`. The schema of
//! the config does not contain these keys, so no other test would notice a key that is not
//! documented.

use std::collections::BTreeSet;

use hookbox_forward::LimitSettings;
use serde::de::DeserializeOwned;

use crate::{forward, publish, sql};

const PAGE: &str = include_str!("../../../docs/CONFIG.md");

/// Returns the keys that a struct accepts, taken from serde's error about an unknown key. `of` is
/// the prefix of each key.
fn taken<T: DeserializeOwned>(of: &str) -> BTreeSet<String> {
    let refused = serde_json::from_str::<T>(r#"{"no such key": 1}"#).err();
    let refused = refused.expect("the struct must refuse an unknown key");
    let refused = refused.to_string();
    let (_, expected) = refused
        .split_once(", expected")
        .expect("the error must list the keys");
    let keys = expected.split('`').skip(1).step_by(2);
    keys.map(|key| format!("{of}{key}")).collect()
}

/// Returns the keys that the page documents for a handler.
fn documented(kind: &str) -> BTreeSet<String> {
    let heading = format!("### The handler `{kind}`\n");
    let (_, section) = PAGE
        .split_once(&heading)
        .expect("the page must have a section for the handler");
    let section = section.split("\n#").next().unwrap_or_default();
    let keys = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    keys.map(str::to_owned).collect()
}

/// Compares the keys that a handler accepts with those that the page documents. `tables` are the
/// keys whose values are tables; in their place, the page documents the keys of these tables.
fn check(kind: &str, taken: &[BTreeSet<String>], tables: &[&str]) {
    let mut taken: BTreeSet<String> = taken.iter().flatten().cloned().collect();
    for table in tables {
        assert!(taken.remove(*table), "{kind} must have the key {table}");
    }
    assert_eq!(documented(kind), taken, "{kind}");
}

#[test]
fn the_page_of_the_config_describes_every_key_of_the_handlers() {
    check(
        sql::NAME,
        &[
            taken::<sql::Settings>(""),
            taken::<sql::Statements>("statements."),
            taken::<sql::Parameter>("parameters.NAME."),
            taken::<sql::Classes>("errors."),
        ],
        &["statements", "parameters", "errors"],
    );
    check(
        forward::NAME,
        &[
            taken::<forward::Settings>(""),
            taken::<LimitSettings>("limits."),
        ],
        &["limits"],
    );
    check(publish::NAME, &[taken::<publish::Settings>("")], &[]);
}
