//! The types that the other crates share: names, ids, topics, envelopes, and their encodings.
//!
//! Architecture invariant: nothing in this crate does IO, reads a clock or generates random bytes.
//! Times and random bytes are passed in as arguments, so that tests control them.

mod account;
mod digest;
mod envelope;
mod hex_text;
mod id;
mod json;
mod name;
mod pointer;
mod timestamp;
mod topic;
mod wire;
mod witness;

pub use account::{ACCOUNT_VERSION, Accepted, Account};
pub use digest::ContentDigest;
pub use envelope::{Envelope, Redo};
pub use id::{EventId, EventNumber, IdDigest, Incarnation, InstanceId, ReceiptId};
pub use json::{
    Decimal, DigestedJson, Document, Extract, JsonError, Scalar, digest_json, exact_integer,
    number_end, scan,
};
pub use name::{EnvironmentName, InvalidName, RouteName, SourceName};
pub use pointer::{InvalidPointer, Pointer};
pub use timestamp::Timestamp;
pub use topic::{InvalidTopic, Topic, TopicPattern};
pub use wire::{
    BATCH_VERSION, BadBatch, BadFrame, ENVELOPE_VERSION, Frame, WireError, decode_batch,
    encode_batch, join_batches,
};
pub use witness::{ReportedUpTo, WITNESS_VERSION, Witness};
