//! Why a question to the operator was not answered.

use std::io;

/// Why a question to the operator was not answered.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// There is no terminal on which the operator could be asked.
    #[error("there is no terminal on which the operator could be asked")]
    NoTerminal,
    /// The terminal could not be read.
    #[error("the operator's answer could not be read")]
    Unreadable(#[source] io::Error),
}
