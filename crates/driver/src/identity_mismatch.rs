//! The errors for a broker or store that belongs to another identity key.

/// Why the identity key of the config is not that of a broker or store. The text of an error
/// follows the name of the broker or store in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityMismatch {
    /// The broker or store is stamped with another key.
    #[error(
        "is stamped with the fingerprint of another identity key: with the key of the config, \
         hookbox would forget all deduplication, and would process again every event that is sent \
         again; restore in `[identity] key` the key that was backed up with the database"
    )]
    OtherKey,
    /// The broker or store is stamped with a key, and the config has none.
    #[error(
        "is stamped with the fingerprint of an identity key, and the config has none: without it, \
         hookbox would forget all deduplication, and would process again every event that is sent \
         again; restore in `[identity] key` the key that was backed up with the database"
    )]
    NoKey,
    /// The broker or store has events whose ids were computed without a key.
    #[error(
        "has events whose ids were computed without an identity key: with the key of the config, \
         hookbox would forget all deduplication, and would process again every event that is sent \
         again; remove `[identity] key` from the config, or begin with a new database and new \
         queues, under another `environment`"
    )]
    PlainEvents,
    /// The broker or store has no stamp and no events yet.
    #[error(
        "is not stamped with the fingerprint of the identity key of the config yet; run `hookbox \
         migrate`"
    )]
    NotStamped,
}
