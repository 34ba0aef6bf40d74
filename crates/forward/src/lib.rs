//! Posts one event to the user's own service. This crate has everything that one call needs.
//!
//! [`Client::call`] signs the event (Standard Webhooks), connects to an address that was checked,
//! posts the body as it was received, and says what the answer means. It makes one attempt. The
//! caller decides when and how often an event is posted and how many calls run at the same time,
//! and it records the results.
//!
//! Architecture invariant: this crate knows no store, no broker and no engine, and no task outlives
//! the client: a call reads and writes its own socket, and the only task closes idle connections.
//! The time that is signed and the resolver of names are arguments.

mod address;
mod answer;
mod client;
mod connect;
mod connection;
mod error;
mod excerpt;
mod headers;
mod invalid;
mod keys;
mod limits;
mod pool;
mod request;
mod resolve;
mod settings;
mod target;
mod trust;

pub use address::RefusedAddress;
pub use client::Client;
pub use error::{CallClass, CallError, Excerpt};
pub use invalid::InvalidSettings;
pub use limits::{LimitSettings, Limits, Span};
pub use request::{Call, IdempotencyKey, InvalidKey};
pub use resolve::{Resolve, SystemResolver};
pub use settings::{AnyMode, RateSettings, ReadSecret, Reference, Secret, Settings};
