//! Which secrets a command resolves: those that it uses, and no others, so that a role can run
//! where the secrets of other roles do not exist.

/// The secrets to resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The store's URL.
    pub store: bool,
    /// The broker's URL, and that of its management API.
    pub broker: bool,
    /// The keys of all sources.
    pub keys: bool,
    /// The certificate of the listener and its key.
    pub certificate: bool,
}

impl Needs {
    /// Everything: all roles at once, and `check-config`.
    pub const ALL: Self = Self {
        store: true,
        broker: true,
        keys: true,
        certificate: true,
    };
    /// For commands that process events, or read both the broker and the store.
    pub const STORE_AND_BROKER: Self = Self {
        keys: false,
        certificate: false,
        ..Self::ALL
    };
    /// For operators' commands that use the store only.
    pub const STORE: Self = Self {
        broker: false,
        keys: false,
        certificate: false,
        ..Self::ALL
    };
    /// For receiving webhooks.
    pub const BROKER_AND_KEYS: Self = Self {
        store: false,
        ..Self::ALL
    };
    /// For signing as a provider does.
    pub const KEYS: Self = Self {
        store: false,
        broker: false,
        certificate: false,
        ..Self::ALL
    };
    /// For reading where a process listens.
    pub const NONE: Self = Self {
        store: false,
        broker: false,
        keys: false,
        certificate: false,
    };
}
