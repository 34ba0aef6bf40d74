//! Tests the handlers of a program of the user's own.

use hookbox_event::Timestamp;
use hookbox_worker::{Event, HandlerError, Json};
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

/// A handler for PostgreSQL with a name that the config could not say.
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

/// Returns the kinds of the handlers that were made for a worker on SQLite, by their routes.
fn made_on_sqlite(made: RouteHandlers) -> Vec<(String, &'static str)> {
    let RouteHandlers::Sqlite(made) = made else {
        panic!("the store of the config is a SQLite file");
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
    assert_eq!(names(&registry), ["record", "begini", "sql"]);
    registry.add::<Sqlite, _>(BookReceipt);
    registry.add::<Postgres, _>(BookReceipt);
    assert_eq!(registry.mistake(), None);
    assert_eq!(
        names(&registry),
        ["record", "begini", "sql", "book-receipt"]
    );
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
    let (code, message) = exit::report(&error, false);
    assert_eq!(code, exit::CONFIG);
    let expected = "hookbox: hookbox.toml: the handler \"book-receipt\" of the route receipts \
                    cannot be made: only EUR is booked";
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
        let parameters = "uid = { pointer = \"/uid\", type = \"text\", required = true }";
        let statements = format!("statements = {{ text = \"{text}\" }}");
        let handler =
            format!("{{ kind = \"sql\", {statements}, parameters = {{ {parameters} }} }}");
        registry.make(&config(&handler, &registry), &[])
    };
    let made = made_on_sqlite(sql("select :uid").unwrap());
    assert!(made.contains(&("receipts".to_owned(), "sql")), "{made:?}");
    let error = sql("select :uid; commit").err().unwrap();
    let (code, message) = exit::report(&error, false);
    assert_eq!(code, exit::CONFIG);
    let expected = "hookbox: hookbox.toml: the handler \"sql\" of the route receipts cannot be \
                    made: statements.text, line 1, column 14: a statement must begin with select, \
                    insert, update, delete, merge, with or values";
    assert!(message.starts_with(expected), "{message}");
}
