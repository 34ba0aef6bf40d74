//! The operator's side of a command: answers questions, sees the progress, and may interrupt.

use crate::{CommandError, NoAnswer};

/// The operator who runs a command, as the command sees them.
pub trait Operator: Send {
    /// Asks a yes-or-no question; returns whether the answer was yes.
    fn ask(&mut self, question: &str) -> Result<bool, NoAnswer>;

    /// Reports the progress of a long operation.
    fn progress(&mut self, done: u64, total: u64);

    /// Returns whether the operator wants to stop. A command checks it between steps, and each step
    /// is complete.
    fn interrupted(&self) -> bool;
}

/// Shows what will be done and asks for confirmation.
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

/// Returns the operator's name for the audit: `--by`, otherwise the user of the system, otherwise
/// "unknown".
pub fn actor(by: Option<String>, user: Option<String>) -> String {
    // Names are shown in tables, so they must fit on one line.
    const ACTOR_CHARS_MAX: usize = 100;
    let said = |name: &String| !name.trim().is_empty();
    let name = by.filter(said).or(user.filter(said));
    let name = name.as_deref().map_or("unknown", str::trim);
    name.chars()
        .filter(|c| !c.is_control())
        .take(ACTOR_CHARS_MAX)
        .collect()
}
