//! What a program with handlers of its own needs: `use hookbox::prelude::*;`.
//!
//! Programs rely on these names. A change that removes one, or changes what it means, is a line
//! under **Upgrade** in CHANGELOG.md.

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
