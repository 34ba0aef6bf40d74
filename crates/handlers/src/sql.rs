//! The handler `sql`: runs statements that a user wrote, in the transaction of the event.
//!
//! The statements name their parameters (`:uid`), whose values come from the event and its body.
//! They are checked when the worker starts, and run for each event, or once for a batch of events
//! with arrays in place of single values.

mod batch;
mod codes;
mod invalid;
mod parameter;
mod postgres;
mod program;
mod settings;
mod sqlite;
mod sqlite_writes;
mod statement_error;
mod values;

use std::marker::PhantomData;
use std::path::Path;

use hookbox_driver::Store;
use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_sql::Dialect;

pub use invalid::InvalidSettings;
pub use parameter::Kind;
use program::Program;
pub use settings::{Classes, Parameter, Settings, Statements};
pub use values::Values;

/// The name of the handler in the config.
pub const NAME: &str = "sql";

/// The handler that runs a user's statements on the database of the store `S`.
pub struct Sql<S> {
    program: Program,
    store: PhantomData<fn() -> S>,
}

/// A store whose database can run a user's statements.
pub trait SqlStore: Store {
    /// The SQL dialect by whose rules hookbox reads the statements.
    const DIALECT: Dialect;
}

impl SqlStore for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
}

impl SqlStore for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
}

impl<S: SqlStore> Sql<S> {
    /// Creates the handler from its settings. A relative path in the settings is relative to
    /// `folder`, the folder of the config file.
    ///
    /// # Errors
    /// When the settings contradict each other or the statements, or the file of the statements
    /// cannot be read.
    pub fn new(settings: &Settings, folder: &Path) -> Result<Self, InvalidSettings> {
        let program = Program::new(settings, folder, S::DIALECT)?;
        Ok(Self {
            program,
            store: PhantomData,
        })
    }
}

#[cfg(test)]
mod tests;
