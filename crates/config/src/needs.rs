//! Which secrets a command resolves: only those that it uses, so that a role can run where the
//! secrets of other roles do not exist.

/// The secrets that a command resolves: a field is true if the command uses these secrets.
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
}

impl Needs {
    /// Everything, for running all roles at once, and for `check-config`.
    pub const ALL: Self = Self {
        store: true,
        broker: true,
        keys: true,
        certificate: true,
    };
    /// The needs of commands that process events, or that read both broker and store.
    pub const STORE_AND_BROKER: Self = Self {
        keys: false,
        certificate: false,
        ..Self::ALL
    };
    /// The needs of operators' commands that use the store only.
    pub const STORE: Self = Self {
        broker: false,
        keys: false,
        certificate: false,
        ..Self::ALL
    };
    /// The needs of the role that receives webhooks.
    pub const BROKER_AND_KEYS: Self = Self {
        store: false,
        ..Self::ALL
    };
    /// The needs of commands that sign events as a provider does.
    pub const KEYS: Self = Self {
        store: false,
        broker: false,
        certificate: false,
        ..Self::ALL
    };
    /// The needs of commands that use only the address at which a process listens.
    pub const NONE: Self = Self {
        store: false,
        broker: false,
        keys: false,
        certificate: false,
    };
}
