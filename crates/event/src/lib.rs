//! The types that the other crates share: names, ids, topics, envelopes, and their encodings.
//!
//! Architecture invariant: nothing in this crate does IO, reads a clock or generates random bytes.
//! Times and random bytes are passed in as arguments, so that tests control them.

mod account;
mod control;
mod digest;
mod digester;
mod duration;
mod envelope;
mod hex_text;
mod id;
mod identity_key;
mod json;
mod name;
mod newest;
mod pointer;
mod routing;
mod timestamp;
mod topic;
mod wire;
mod witness;

pub use account::{ACCOUNT_VERSION, Accepted, Account};
pub use control::is_unsafe;
pub use digest::ContentDigest;
pub use digester::Digester;
pub use duration::parse_duration;
pub use envelope::{Envelope, Redo};
pub use id::{EventId, EventNumber, IdDigest, Incarnation, InstanceId, ReceiptId};
pub use identity_key::{IdentityFingerprint, IdentityKey, InvalidIdentityKey};
pub use json::{
    Condition, Conditions, Decimal, DigestedJson, Document, ExactNumber, Extract, InvalidNumber,
    JsonError, Literal, Scalar, Test, decide_conditions, digest_json, exact_integer, number_end,
    scan,
};
pub use name::{EnvironmentName, InvalidName, RouteName, SourceName};
pub use newest::{
    ExactTime, InvalidVersion, KeyDigest, Newest, VERSION_AHEAD_MAX, Version, VersionKind,
};
pub use pointer::{InvalidPointer, Pointer};
pub use routing::{MatchedRoutes, Routing, Selection, SourceConditions};
pub use timestamp::Timestamp;
pub use topic::{InvalidTopic, Topic, TopicPattern};
pub use wire::{
    BATCH_VERSION, BadBatch, BadFrame, ENVELOPE_VERSION, Frame, WireError, decode_batch,
    encode_batch, join_batches,
};
pub use witness::{ReportedUpTo, WITNESS_VERSION, Witness};
