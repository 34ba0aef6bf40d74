//! Connections to the server, and what only a server has: its version and settings, sessions with
//! their time limits, roles with their rights, and the refusals that follow from these.

pub(crate) mod connection;
pub(crate) mod inspect;
mod lifetime;
pub(crate) mod moved;
pub(crate) mod prepared_statements;
pub(crate) mod properties;
pub(crate) mod query_error;
pub(crate) mod refusal;
pub(crate) mod remedy;
pub(crate) mod rights;
pub(crate) mod search_path;
pub(crate) mod sequences;
pub(crate) mod session;
pub(crate) mod time_limit;
pub(crate) mod unlimited;
