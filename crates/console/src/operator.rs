//! The operator: asked before a change, informed about progress, free to interrupt.

use crate::{CommandError, NoAnswer};

/// The operator who runs a command, as the command sees them.
pub trait Operator: Send {
    /// Asks a question that is answered by yes or no.
    fn ask(&mut self, question: &str) -> Result<bool, NoAnswer>;

    /// Reports the progress of a long operation.
    fn progress(&mut self, done: u64, total: u64);

    /// Whether the operator asked to stop. Checked between steps, each of which is complete.
    fn interrupted(&self) -> bool;
}

/// Shows what will be done, and asks for confirmation.
pub(crate) fn confirmed(operator: &mut dyn Operator, sentence: String) -> Result<(), CommandError> {
    match operator.ask(&format!("This will {sentence} Continue?")) {
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

/// The name in the audit: `--by`, else the user of the system, else "unknown".
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
