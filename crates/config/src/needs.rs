//! Which secrets of the config a command reads: only those that it uses, so that a role can run
//! where the secrets of other roles do not exist.

/// Which secrets of the config a command reads. A field is true if the command uses the secrets
/// that the field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The store's URL.
    pub store: bool,
    /// The URLs of the broker and of its management API.
    pub broker: bool,
    /// The keys of all sources.
    pub keys: bool,
    /// The certificate and the private key of the listener.
    pub certificate: bool,
    /// The identity key, with which ids are computed.
    pub identity: bool,
}

impl Needs {
    /// All secrets: for a process that runs all roles at once, and for `check-config`.
    pub const ALL: Self = Self {
        store: true,
        broker: true,
        keys: true,
        certificate: true,
        identity: true,
    };
    /// The URLs of the store and of the broker, and the identity key: for commands that process
    /// events, or that prepare store and broker for them.
    pub const PROCESSING: Self = Self {
        keys: false,
        certificate: false,
        ..Self::ALL
    };
    /// The URLs of the store and of the broker: for commands that read both.
    pub const STORE_AND_BROKER: Self = Self {
        identity: false,
        ..Self::PROCESSING
    };
    /// The store's URL: for operators' commands that connect to nothing but the store.
    pub const STORE: Self = Self {
        broker: false,
        keys: false,
        certificate: false,
        identity: false,
        ..Self::ALL
    };
    /// All secrets except the store's URL: for the role that receives webhooks.
    pub const BROKER_AND_KEYS: Self = Self {
        store: false,
        ..Self::ALL
    };
    /// The keys of the sources: for commands that sign events as a provider does.
    pub const KEYS: Self = Self {
        store: false,
        broker: false,
        certificate: false,
        identity: false,
        ..Self::ALL
    };
    /// No secret: for commands that use only the address at which a process listens.
    pub const NONE: Self = Self {
        store: false,
        broker: false,
        keys: false,
        certificate: false,
        identity: false,
    };
}
