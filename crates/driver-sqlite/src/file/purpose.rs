//! The purposes of transactions. The order in which transactions get the writing connection
//! ([`crate::file::turns`]) and the space that they must leave on the disk ([`crate::file::room`])
//! depend on their purpose.

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The transaction accepts events: one transaction writes all publishes that wait for it.
    Accept,
    /// The transaction delivers or settles messages, or renews their leases.
    Drain,
    /// The transaction processes accepted events, or records what became of one.
    Process,
    /// The transaction is an operator's command, or belongs to the accounting.
    Operate,
}
