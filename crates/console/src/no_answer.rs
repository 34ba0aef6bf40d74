//! Why a question to the operator has no answer.

use std::io;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// There is no terminal.
    #[error("there is no terminal to ask on")]
    NoTerminal,
    /// The terminal failed.
    #[error("the answer could not be read")]
    Unreadable(#[source] io::Error),
}
