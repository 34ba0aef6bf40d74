//! Tests the handlers and effects that a user's program adds to those of hookbox.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use hookbox_driver::{Rate, TargetLimits, TargetName};
use hookbox_event::Timestamp;
use hookbox_worker::{Call, CallError, Event, HandlerError, Json};
use serde::Deserialize;

use super::*;
use crate::exit;

#[derive(Deserialize)]
struct Settings {
    currency: String,
}

/// A handler for both databases.
#[derive(Clone, Copy)]
struct BookReceipt;

/// Implements the handler for one database.
macro_rules! book_receipt_for {
    ($store:ty) => {
        impl Handler<$store> for BookReceipt {
            const NAME: &'static str = "book-receipt";
            type Payload = Json;

            async fn handle(
                &self,
                _event: &Event<Json>,
                _tx: &mut <$store as Store>::Connection,
            ) -> Result<(), HandlerError> {
                Ok(())
            }
        }
    };
}

book_receipt_for!(Postgres);
book_receipt_for!(Sqlite);

/// A handler for PostgreSQL with a name that no config can contain.
struct Nameless;

impl Handler<Postgres> for Nameless {
    const NAME: &'static str = "Book Receipt";
    type Payload = Json;

    async fn handle(
        &self,
        _event: &Event<Json>,
        _tx: &mut <Postgres as Store>::Connection,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}

fn book_receipt(settings: Settings) -> Result<BookReceipt, BoxError> {
    match settings.currency.as_str() {
        "EUR" => Ok(BookReceipt),
        _ => Err("only EUR is booked".into()),
    }
}

fn config(handler: &str, registry: &Registry) -> Config {
    let text = format!(
        r#"
environment = "test"
[store]
url = "sqlite:a"
[broker]
url = "sqlite:a"
[[source]]
name = "billing"
preset = "github"
identity = "body"
secrets = [{{ id = "a", env = "KEY" }}]
[[route]]
name = "receipts"
topics = ["billing.#"]
handler = {handler}
[[route]]
name = "events"
topics = ["billing.#"]
"#
    );
    let env = |_: &str| Some("a-key-for-tests-of-handlers".to_owned());
    let (path, now) = (Path::new("hookbox.toml"), Timestamp::from_unix_micros(0));
    let needs = hookbox_config::Needs::ALL;
    let parsed = Config::parse_for(path, &text, &env, needs, &registry.kinds(), now);
    parsed.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn names(registry: &Registry) -> Vec<&'static str> {
    registry.kinds().names().collect()
}

fn names_of<S: Store>(kinds: &[Kind<S>]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.name).collect()
}

/// Returns the kinds of the handlers that were made for a worker on SQLite, by their routes.
fn made_on_sqlite(made: RouteHandlers) -> Vec<(String, &'static str)> {
    let RouteHandlers::Sqlite(made) = made else {
        panic!("the handlers must be those for SQLite, which is the store of the config");
    };
    let made = made.iter();
    let mut made: Vec<_> = made
        .map(|(route, handler)| (route.to_string(), handler.name()))
        .collect();
    made.sort();
    made
}

#[test]
fn own_handlers_stand_beside_those_of_hookbox() {
    let mut registry = Registry::built_in();
    let built_in = hookbox_config::BUILT_IN;
    assert_eq!(names(&registry), built_in);
    registry.add::<Sqlite, _>(BookReceipt);
    registry.add::<Postgres, _>(BookReceipt);
    assert_eq!(registry.mistake(), None);
    let all = [&built_in[..], &["book-receipt"]].concat();
    assert_eq!(names(&registry), all);
    let config = config("{ kind = \"book-receipt\" }", &registry);
    let made = made_on_sqlite(registry.make(&config, &[]).unwrap());
    let made: Vec<_> = made
        .iter()
        .map(|(route, name)| (route.as_str(), *name))
        .collect();
    let all = [
        ("events", "record"),
        ("receipts", "book-receipt"),
        ("unrouted", "record"),
    ];
    assert_eq!(made, all);
    let only = ["receipts".parse().unwrap()];
    let made = made_on_sqlite(registry.make(&config, &only).unwrap());
    assert_eq!(made, [("receipts".to_owned(), "book-receipt")]);
}

#[test]
fn a_handler_that_cannot_be_made_from_its_settings_makes_the_config_unusable() {
    let mut registry = Registry::built_in();
    registry.add_with::<Sqlite, _, _>(book_receipt);
    let right = config("{ kind = \"book-receipt\", currency = \"EUR\" }", &registry);
    assert!(registry.make(&right, &[]).is_ok());
    let wrong = config("{ kind = \"book-receipt\", currency = \"USD\" }", &registry);
    let error = registry.make(&wrong, &[]).err().unwrap();
    let (code, message) = exit::report(&error, false, exit::PROGRAM);
    assert_eq!(code, exit::CONFIG);
    let expected = "hookbox: hookbox.toml:15:1: route[0].handler: the handler \"book-receipt\" of \
                    the route receipts cannot be made: only EUR is booked";
    assert_eq!(message, expected);
    // A worker of other routes does not need the handler.
    let other = ["events".parse().unwrap()];
    assert!(registry.make(&wrong, &other).is_ok());
}

#[test]
fn a_mistake_in_the_program_is_found_before_it_runs() {
    let mut registry = Registry::built_in();
    registry.add::<Postgres, _>(BookReceipt);
    registry.add_with::<Postgres, _, _>(book_receipt);
    let mistake = registry.mistake().unwrap();
    assert!(
        mistake.contains("two handlers of this program for PostgreSQL"),
        "{mistake}"
    );
    assert!(mistake.contains("\"book-receipt\""), "{mistake}");
    let mut registry = Registry::built_in();
    registry.add::<Postgres, _>(Nameless);
    let mistake = registry.mistake().unwrap();
    assert!(mistake.contains("\"Book Receipt\""), "{mistake}");
}

#[test]
fn statements_of_a_user_are_checked_when_their_handler_is_made() {
    let registry = Registry::built_in();
    let sql = |text: &str| {
        let parameters = "uid = { pointer = \"/uid\", type = \"text\" }";
        let statements = format!("statements = {{ text = \"{text}\" }}");
        let handler =
            format!("{{ kind = \"sql\", {statements}, parameters = {{ {parameters} }} }}");
        registry.make(&config(&handler, &registry), &[])
    };
    let made = made_on_sqlite(sql("select :uid").unwrap());
    assert!(made.contains(&("receipts".to_owned(), "sql")), "{made:?}");
    let error = sql("select :uid; commit").err().unwrap();
    let (code, message) = exit::report(&error, false, exit::PROGRAM);
    assert_eq!(code, exit::CONFIG);
    let expected = "hookbox: hookbox.toml:15:1: route[0].handler: the handler \"sql\" of the route \
                    receipts cannot be made: statements.text, line 1, column 14: a statement must \
                    begin with select, insert, update, delete, merge, with or values";
    assert_eq!(message, expected);
}

/// An effect whose calls go to the target in its settings.
#[derive(Clone)]
struct Notify {
    target: TargetName,
    rate: Option<Rate>,
}

#[derive(Deserialize)]
struct NotifySettings {
    target: String,
    /// The most calls in a second.
    #[serde(default)]
    calls: Option<NonZeroU32>,
}

impl Effect for Notify {
    const NAME: &'static str = "notify";
    type Payload = Json;

    fn target(&self) -> &TargetName {
        &self.target
    }

    fn limits(&self) -> TargetLimits {
        TargetLimits {
            concurrency: NonZeroU32::MIN,
            rate: self.rate,
        }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn call(&self, _event: &Event<Json>, _call: &Call) -> Result<(), CallError> {
        Ok(())
    }
}

fn notify(settings: NotifySettings) -> Result<Notify, BoxError> {
    let per = Duration::from_secs(1);
    Ok(Notify {
        target: settings.target.parse()?,
        rate: settings.calls.map(|calls| Rate { calls, per }),
    })
}

#[test]
fn an_effect_is_named_like_a_handler_and_works_with_both_databases() {
    let mut registry = Registry::built_in();
    registry.add_effect_with(notify);
    assert_eq!(registry.mistake(), None);
    for kinds in [names_of(&registry.postgres), names_of(&registry.sqlite)] {
        assert!(kinds.contains(&"notify"), "{kinds:?}");
    }
    let right = config("{ kind = \"notify\", target = \"crm\" }", &registry);
    let made = made_on_sqlite(registry.make(&right, &[]).unwrap());
    assert!(
        made.contains(&("receipts".to_owned(), "notify")),
        "{made:?}"
    );
    let wrong = config("{ kind = \"notify\", target = \"c r m\" }", &registry);
    let error = registry.make(&wrong, &[]).err().unwrap();
    let (_, message) = exit::report(&error, false, exit::PROGRAM);
    assert!(message.ends_with("the name of a target has 1 to 300 visible ASCII characters"));
    let target = "crm".parse().unwrap();
    registry.add_effect(Notify { target, rate: None });
    let mistake = registry.mistake().unwrap();
    assert!(mistake.contains("have the NAME \"notify\""), "{mistake}");
}

#[test]
fn routes_with_one_target_have_one_rate() {
    let mut registry = Registry::built_in();
    registry.add_effect_with(notify);
    let make = |second: &str| {
        let first = "{ kind = \"notify\", target = \"crm\", calls = 1 }";
        let route = "[[route]]\nname = \"mails\"\ntopics = [\"billing.#\"]";
        let second = format!("{{ kind = \"notify\", {second} }}");
        let handlers = format!("{first}\n{route}\nhandler = {second}");
        registry.make(&config(&handlers, &registry), &[])
    };
    assert!(make("target = \"crm\", calls = 1").is_ok());
    assert!(make("target = \"mail\", calls = 2").is_ok());
    for different in ["target = \"crm\", calls = 2", "target = \"crm\""] {
        let error = make(different).err().unwrap();
        let (code, message) = exit::report(&error, false, exit::PROGRAM);
        assert_eq!(code, exit::CONFIG);
        let expected = "hookbox: hookbox.toml:19:1: route[1].handler: the routes receipts and \
                        mails have the same target, crm, and different rates; give all routes \
                        with this target the same `rate`";
        assert_eq!(message, expected);
    }
}

#[test]
fn the_effects_of_hookbox_are_made_from_their_settings() {
    let folder = std::env::temp_dir();
    let key = folder.join(format!("hookbox-effects-{}", std::process::id()));
    std::fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let registry = Registry::built_in();
    let make = |handler: &str| registry.make(&config(handler, &registry), &[]);
    let forward = |others: &str| {
        let secret = format!("{{ id = \"a\", file = {key:?}, mode = \"any\" }}");
        let url = "url = \"http://127.0.0.1/in\", private_host = \"127.0.0.1\"";
        make(&format!(
            "{{ kind = \"forward\", {url}, secrets = [{secret}]{others} }}"
        ))
    };
    let made = made_on_sqlite(forward("").unwrap());
    assert!(
        made.contains(&("receipts".to_owned(), "forward")),
        "{made:?}"
    );
    let refused = |made: anyhow::Result<RouteHandlers>| {
        let (code, message) = exit::report(&made.err().unwrap(), false, exit::PROGRAM);
        assert_eq!(code, exit::CONFIG);
        message
    };
    let message = refused(forward(", limits = { total = \"1 h\" }"));
    assert!(
        message.contains("the handler \"forward\" of the route receipts"),
        "{message}"
    );
    assert!(
        message.ends_with("limits.total: must be 100ms to 300s"),
        "{message}"
    );
    std::fs::remove_file(&key).unwrap();
    // A replay needs to know only whether the handler is repeatable. For this, the key file may be
    // missing.
    let handler = format!(
        "{{ kind = \"forward\", url = \"https://a/\", repeatable = true, secrets = [{{ id = \"a\", \
         file = {key:?} }}] }}"
    );
    let without_key = config(&handler, &registry);
    let route = &without_key.routes[0];
    assert!(registry.is_repeatable(&without_key, route).unwrap());
    let message = refused(forward(""));
    assert!(message.contains("secrets.a: "), "{message}");
    // The broker of this config is a SQLite file, so the settings of `publish` must name a broker.
    let message = refused(make("{ kind = \"publish\", exchange = \"orders\" }"));
    assert!(
        message.contains("url: the broker of this config is a SQLite file"),
        "{message}"
    );
}
