//! The person at the other end: asked before a change, told how far it is, free to interrupt.

use std::io;

use crate::CommandError;

/// The person who runs a command, as a command sees them.
pub trait Operator: Send {
    /// Asks a question that is answered by yes or no.
    fn ask(&mut self, question: &str) -> Result<bool, NoAnswer>;

    /// Says how far a long piece of work is.
    fn progress(&mut self, done: u64, total: u64);

    /// Whether they asked to stop. Looked at between pieces of work, each of which is whole.
    fn interrupted(&self) -> bool;
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody can be asked.
    #[error("there is no terminal to ask on")]
    NoTerminal,
    /// The terminal failed.
    #[error("the answer could not be read")]
    Unreadable(#[source] io::Error),
}

/// Says what will be done, and asks whether it may be.
pub(crate) fn confirmed(operator: &mut dyn Operator, sentence: String) -> Result<(), CommandError> {
    match operator.ask(&format!("This will {sentence} Go on?")) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CommandError::Declined),
        Err(source @ (NoAnswer::NoTerminal | NoAnswer::Unreadable(_))) => {
            Err(CommandError::NotAsked {
                question: sentence,
                source,
            })
        }
    }
}

/// Who is written into the audit: what `--by` says, else the user of the system, else "unknown".
pub fn actor(by: Option<String>, user: Option<String>) -> String {
    // Audit rows are read in tables: one line, and not a page of it.
    const ACTOR_CHARS_MAX: usize = 100;
    let said = |name: &String| !name.trim().is_empty();
    let name = by.filter(said).or(user.filter(said));
    let name = name.as_deref().map_or("unknown", str::trim);
    name.chars()
        .filter(|c| !c.is_control())
        .take(ACTOR_CHARS_MAX)
        .collect()
}
