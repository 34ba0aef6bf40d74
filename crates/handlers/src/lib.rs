//! The built-in handlers, one file each. `by_name` lists all of them.
//!
//! A handler executes native SQL through the connection that it is given. Each handler is written
//! once and compiled for both databases, so changing the database of a config means changing only
//! its two URLs.

mod begini;
mod record;

pub use begini::{Begini, schemas as begini_schemas};
pub use record::Record;

use hookbox_driver::Store;
use hookbox_worker::{Handler, Registered, register};

/// The names of the built-in handlers, as they are written in the config.
pub const NAMES: [&str; 2] = ["record", "begini"];

/// Returns the built-in handler of this name, ready to be used by a route.
pub fn by_name<S>(name: &str) -> Option<Registered<S>>
where
    S: Store,
    Record: Handler<S>,
    Begini: Handler<S>,
{
    match name {
        "record" => Some(register(Record)),
        "begini" => Some(register(Begini)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hookbox_driver_postgres::Postgres;
    use hookbox_driver_sqlite::Sqlite;

    use super::*;

    const SCHEMA: &str = include_str!("../../../schemas/config.json");

    #[test]
    fn the_config_names_every_built_in_handler_and_no_other() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("JSON");
        let kinds = "/properties/route/items/properties/handler/properties/kind/enum";
        let kinds = schema
            .pointer(kinds)
            .expect("the schema lists the kinds of handlers");
        assert_eq!(*kinds, serde_json::json!(NAMES));
        for name in NAMES {
            let names = [
                by_name::<Postgres>(name).map(|handler| handler.name()),
                by_name::<Sqlite>(name).map(|handler| handler.name()),
            ];
            assert_eq!(names, [Some(name); 2]);
        }
    }
}
