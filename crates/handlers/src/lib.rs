//! The built-in handlers and effects, one file each. `built_in` lists the handlers without
//! settings.
//!
//! A handler executes native SQL through the connection that it is given. Each handler is written
//! once and compiled for both databases, so to change the database, a config changes only two URLs:
//! that of the broker and that of the store. An effect does not use the database.

mod begini;
mod call_limits;
#[cfg(test)]
mod documented_keys;
pub mod forward;
pub mod publish;
mod record;
pub mod sql;

pub use begini::{Begini, schemas as begini_schemas};
pub use call_limits::InvalidLimits;
pub use record::Record;

use hookbox_driver::Store;
use hookbox_worker::{Handler, Registered, register};

/// What the constructors of `forward` and `publish` take: where secrets are, how they are read, and
/// how host names are resolved.
pub use hookbox_forward::{ReadSecret, Reference, Resolve, SystemResolver};
/// sqlx, in the version whose connections handlers borrow.
pub use sqlx;

/// Returns the built-in handlers without settings for one database, ready to be used by a route.
/// The others are [`sql::Sql`], and the effects [`forward::Forward`] and [`publish::Publish`].
pub fn built_in<S: Store>() -> Vec<Registered<S>>
where
    Record: Handler<S>,
    Begini: Handler<S>,
{
    vec![register(Record), register(Begini)]
}

#[cfg(test)]
mod tests {
    use hookbox_driver_postgres::Postgres;
    use hookbox_driver_sqlite::Sqlite;

    use super::*;

    const SCHEMA: &str = include_str!("../../../schemas/config.json");

    #[test]
    fn the_config_names_every_built_in_handler_and_no_other() {
        let schema: serde_json::Value =
            serde_json::from_str(SCHEMA).expect("the schema must be JSON");
        let kinds = "/properties/route/items/properties/handler/properties/kind/enum";
        let kinds = schema
            .pointer(kinds)
            .expect("the config's JSON Schema must list the kinds of handlers");
        let names = [names::<Postgres>(), names::<Sqlite>()];
        assert_eq!(names[0], names[1]);
        assert_eq!(*kinds, serde_json::json!(names[0]));
    }

    fn names<S: Store>() -> Vec<&'static str>
    where
        Record: Handler<S>,
        Begini: Handler<S>,
    {
        let handlers = built_in::<S>();
        let names = handlers.iter().map(|handler| handler.name());
        let with_settings = [sql::NAME, forward::NAME, publish::NAME];
        names.chain(with_settings).collect()
    }
}
