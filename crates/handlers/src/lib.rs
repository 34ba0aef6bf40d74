//! The built-in handlers, one file each. `all` lists them.
//!
//! A handler executes native SQL through the connection that it is given. Each handler is written
//! once and compiled for both databases, so to change the database, a config changes only two URLs:
//! that of the broker and that of the store.

mod begini;
mod record;

pub use begini::{Begini, schemas as begini_schemas};
pub use record::Record;

use hookbox_driver::Store;
use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_worker::{Handler, Registered, register};

/// The list of the built-in handlers.
fn all<S: Store>() -> Vec<Registered<S>>
where
    Record: Handler<S>,
    Begini: Handler<S>,
{
    vec![register(Record), register(Begini)]
}

/// A store whose database the built-in handlers can use.
pub trait HandlerStore: Store + Sized {
    /// Returns every built-in handler, ready to be used by a route.
    fn built_in() -> Vec<Registered<Self>>;
}

impl HandlerStore for Postgres {
    fn built_in() -> Vec<Registered<Self>> {
        all()
    }
}

impl HandlerStore for Sqlite {
    fn built_in() -> Vec<Registered<Self>> {
        all()
    }
}

/// Returns the built-in handler with this name, as the config names it.
pub fn by_name<S: HandlerStore>(name: &str) -> Option<Registered<S>> {
    let mut handlers = S::built_in().into_iter();
    handlers.find(|handler| handler.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = include_str!("../../../schemas/config.json");

    #[test]
    fn the_config_names_every_built_in_handler_and_no_other() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("JSON");
        let kinds = "/properties/route/items/properties/handler/properties/kind/enum";
        let kinds = schema
            .pointer(kinds)
            .expect("the config's JSON Schema must list the kinds of handlers");
        let names = [names::<Postgres>(), names::<Sqlite>()];
        assert_eq!(names[0], names[1]);
        assert_eq!(*kinds, serde_json::json!(names[0]));
    }

    fn names<S: HandlerStore>() -> Vec<&'static str> {
        let handlers = S::built_in();
        let names = handlers.iter().map(|handler| handler.name());
        for name in names.clone() {
            assert!(by_name::<S>(name).is_some(), "{name}");
        }
        assert!(by_name::<S>("other").is_none());
        names.collect()
    }
}
