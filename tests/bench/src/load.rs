//! The client: sends signed requests over many connections, in a closed or an open loop.
//!
//! It uses no code of hookbox, so that it sends the same bytes to every build. It uses as little
//! processor time as possible, because it shares the machine with the build that is measured.

mod connection;
mod request;
mod send;

pub(crate) use connection::{Connection, content_length};
pub(crate) use request::{Kind, Requests, SECRET};
pub(crate) use send::{Answered, Gate, Plan, Sent, now, send};
