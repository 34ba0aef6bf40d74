//! The names that a program with handlers of its own needs: `use hookbox::prelude::*;`.
//!
//! Programs rely on these names. CHANGELOG.md lists each removed name, and each name with a changed
//! meaning, under **Upgrade**.

pub use std::process::ExitCode;

pub use bytes::Bytes;
pub use hookbox_driver::{Rate, TargetLimits, TargetName};
pub use hookbox_driver_postgres::Postgres;
pub use hookbox_driver_sqlite::Sqlite;
pub use hookbox_handlers::sqlx::{self, PgConnection, SqliteConnection};
pub use hookbox_worker::{
    BatchError, Call, CallError, Effect, Event, Handler, HandlerError, Json, JsonValue, OrReject,
    Payload,
};
pub use serde::Deserialize;

pub use crate::App;
