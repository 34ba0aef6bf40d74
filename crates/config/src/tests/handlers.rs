//! Tests the handlers that a program adds to those of hookbox: their kinds, their settings, and the
//! stores that they can write to.

use expect_test::{Expect, expect};
use serde::Deserialize;
use serde_json::json;

use super::super::{HandlerKind, HandlerKinds, SettingsType};
use super::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Settings {
    currency: String,
    limit: Option<u32>,
    #[serde(default)]
    rounding: Rounding,
    #[serde(default)]
    accounts: Vec<Account>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rounding {
    #[default]
    Up,
    Down,
    ToMultiple(u8),
}

#[derive(Debug, PartialEq, Deserialize)]
struct Account {
    name: String,
    #[serde(default)]
    share: f64,
}

/// Returns two kinds that come with hookbox, the kind `book-receipt`, which has settings, and for
/// each store a kind that can write only to this store.
fn kinds() -> HandlerKinds {
    let settings = Some(SettingsType::of::<Settings>());
    let plain = Some(SettingsType::NONE);
    let kind = |name, postgres, sqlite| HandlerKind {
        name,
        postgres,
        sqlite,
    };
    HandlerKinds::new(vec![
        kind("record", plain, plain),
        kind("begini", plain, plain),
        kind("book-receipt", settings, settings),
        kind("only-postgres", settings, None),
        kind("only-sqlite", None, plain),
    ])
}

fn config(handler: &str) -> String {
    GOOD.replace("handler = { kind = \"begini\" }", handler)
}

fn parse(handler: &str, needs: Needs) -> Result<Config, Mistakes> {
    let text = config(handler);
    Config::parse_for(Path::new("hookbox.toml"), &text, &env, needs, &kinds(), NOW)
}

fn check(handler: &str, expect: Expect) {
    let message = match parse(handler, Needs::ALL) {
        Ok(_) => "ok\n".to_owned(),
        Err(mistakes) => format!("{mistakes}\n"),
    };
    assert!(
        !message.contains("hunter2"),
        "no message may contain a value, because the value may be a secret"
    );
    expect.assert_eq(&message);
}

#[test]
fn the_settings_of_a_handler_reach_its_own_type() {
    let text = "handler = { kind = \"book-receipt\", currency = \"EUR\", limit = 5, \
                rounding = { to_multiple = 5 }, accounts = [{ name = \"a\", share = 1 }] }";
    let config = parse(text, Needs::ALL).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let handler = &config.routes[0].handler;
    assert_eq!(handler.kind, "book-receipt");
    let settings: Settings = handler
        .settings
        .read()
        .expect("the settings must fit the type `Settings`");
    let expected = Settings {
        currency: "EUR".to_owned(),
        limit: Some(5),
        rounding: Rounding::ToMultiple(5),
        accounts: vec![Account {
            name: "a".to_owned(),
            share: 1.0,
        }],
    };
    assert_eq!(settings, expected);
    assert_eq!(handler.settings.as_json()["currency"], json!("EUR"));
    assert!(config.routes[1].handler.settings.is_empty());
    let table = "handler.kind = \"book-receipt\"\nhandler.currency = \"EUR\"";
    assert!(parse(table, Needs::ALL).is_ok());
}

#[test]
fn what_does_not_fit_is_refused_with_its_place_and_without_its_value() {
    check(
        "handler = { kind = \"book-receipt\", curency = \"hunter2\" }",
        expect![[r#"
            hookbox.toml:44:1: route[0].handler: the key "currency" is missing
            hookbox.toml:44:36: route[0].handler.curency: there is no such key; did you mean "currency"?
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = 5, zone = 3 }",
        expect![[r#"
            hookbox.toml:44:36: route[0].handler.currency: the value has another type; expected a string
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", limit = \"hunter2\" }",
        expect![[r#"
            hookbox.toml:44:54: route[0].handler.limit: the value has another type; expected a whole number from 0 to 4294967295
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", limit = -1 }",
        expect![[r#"
            hookbox.toml:44:54: route[0].handler.limit: the value is not allowed; expected a whole number from 0 to 4294967295
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", rounding = \"hunter2\" }",
        expect![[r#"
            hookbox.toml:44:54: route[0].handler.rounding: the value must be one of "up", "down", "to_multiple"
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", accounts = [\n\
         { name = \"a\" }, { name = \"b\", shares = 2 }] }",
        expect![[r#"
            hookbox.toml:45:31: route[0].handler.accounts[1].shares: there is no such key; did you mean "share"?
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", accounts = [\"hunter2\", [1]] }",
        expect![[r#"
            hookbox.toml:44:66: route[0].handler.accounts[0]: the value must be a table, such as { name = … }
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", accounts = 7 }",
        expect![[r#"
            hookbox.toml:44:54: route[0].handler.accounts: the value has another type; expected a list
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", rounding = 7 }",
        expect![[r#"
            hookbox.toml:44:54: route[0].handler.rounding: the value must be one of "up", "down", "to_multiple"
        "#]],
    );
    check(
        "handler = { kind = \"book-receipt\", currency = \"EUR\", accounts = [{ }] }",
        expect![[r#"
            hookbox.toml:44:66: route[0].handler.accounts[0]: the key "name" is missing
        "#]],
    );
}

#[test]
fn a_handler_without_settings_takes_no_other_key() {
    check(
        "handler = { kind = \"begini\", currency = \"EUR\" }",
        expect![[r#"
            hookbox.toml:44:30: route[0].handler.currency: there is no such key
        "#]],
    );
    check(
        "handler = { knid = \"begini\" }",
        expect![[r#"
        hookbox.toml:44:1: route[0].handler: the key "kind" is missing
        hookbox.toml:44:13: route[0].handler.knid: there is no such key; did you mean "kind"?
    "#]],
    );
    check(
        "handler = { currency = \"EUR\" }",
        expect![[r#"
        hookbox.toml:44:1: route[0].handler: the key "kind" is missing
        hookbox.toml:44:13: route[0].handler.currency: there is no such key
    "#]],
    );
}

#[test]
fn a_kind_that_the_program_does_not_have_is_refused() {
    check(
        "handler = { kind = \"book-recipt\", currency = \"EUR\" }",
        expect![[r#"
            hookbox.toml:44:13: route[0].handler.kind: this program has no handler of this kind; it has "record", "begini", "book-receipt", "only-postgres", "only-sqlite"; did you mean "book-receipt"?
        "#]],
    );
    check(
        "handler = { kind = 5 }",
        expect![[r#"
        hookbox.toml:44:13: route[0].handler.kind: this program has no handler of this kind; it has "record", "begini", "book-receipt", "only-postgres", "only-sqlite"
    "#]],
    );
    super::check(
        &config("handler = { kind = \"book-receipt\", currency = \"EUR\" }"),
        expect![[r#"
            hookbox.toml:44:13: route[0].handler.kind: this program has no handler of this kind; it has "record", "begini", "sql", "forward", "publish"
        "#]],
    );
}

#[test]
fn a_handler_for_another_store_is_refused() {
    let sqlite = |handler: &str| {
        config(handler).replace(
            "url = { env = \"DATABASE_URL\" }\nconnections = 8",
            "url = \"sqlite:a\"",
        )
    };
    let refusal = |text: &str| {
        let path = Path::new("hookbox.toml");
        let parsed = Config::parse_for(path, text, &env, Needs::ALL, &kinds(), NOW);
        let refusal = parsed.err().map(|mistakes| format!("{mistakes}\n"));
        refusal.unwrap_or_default()
    };
    let of_postgres = "handler = { kind = \"only-postgres\", currency = \"EUR\" }";
    let of_sqlite = "handler = { kind = \"only-sqlite\" }";
    assert_eq!(refusal(&config(of_postgres)), "");
    assert_eq!(refusal(&sqlite(of_sqlite)), "");
    let expected = expect![[r#"
        hookbox.toml:44:13: route[0].handler.kind: the handler "only-sqlite" of this program cannot write to PostgreSQL, which is the store of this config
    "#]];
    expected.assert_eq(&refusal(&config(of_sqlite)));
    let expected = expect![[r#"
        hookbox.toml:43:13: route[0].handler.kind: the handler "only-postgres" of this program cannot write to SQLite, which is the store of this config
    "#]];
    expected.assert_eq(&refusal(&sqlite(of_postgres)));
}

/// A command that runs no handler must not refuse a config because of a handler's settings.
#[test]
fn settings_are_checked_where_a_handler_could_run() {
    let wrong = "handler = { kind = \"book-receipt\" }";
    assert!(parse(wrong, Needs::STORE).is_err());
    assert!(parse(wrong, Needs::BROKER_AND_KEYS).is_ok());
    let unknown = "handler = { kind = \"other\" }";
    assert!(parse(unknown, Needs::BROKER_AND_KEYS).is_err());
}
