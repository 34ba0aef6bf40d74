//! What a command needs from its operator: answers to its questions, and a way to be interrupted.
//! It also reports its progress to the operator.

use crate::{CommandError, NoAnswer};

/// The operator who runs a command, as the command sees that person.
pub trait Operator: Send {
    /// Asks a yes-or-no question; returns whether the answer was yes.
    fn ask(&mut self, question: &str) -> Result<bool, NoAnswer>;

    /// Reports the progress of a long operation: `done` steps out of `total`.
    fn progress(&mut self, done: u64, total: u64);

    /// Returns whether the operator wants the command to stop. A command checks this between its
    /// steps and never stops in the middle of a step.
    fn interrupted(&self) -> bool;
}

/// Shows what will be done, and asks for confirmation. Returns an error unless the operator
/// confirms, and also when the operator has interrupted the command at the question.
pub(crate) fn confirmed(operator: &mut dyn Operator, sentence: String) -> Result<(), CommandError> {
    match operator.ask(&format!("This will {sentence} Continue?")) {
        _ if operator.interrupted() => Err(CommandError::Interrupted),
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

/// Returns the operator's name for the audit: the value of `--by`, otherwise the name of the
/// system's user, otherwise "unknown".
pub fn actor(by: Option<String>, user: Option<String>) -> String {
    // Audit rows are shown in tables, so a name must fit on one line.
    const ACTOR_CHARS_MAX: usize = 100;
    let said = |name: &String| !name.trim().is_empty();
    let name = by.filter(said).or(user.filter(said));
    let name = name.as_deref().map_or("unknown", str::trim);
    name.chars()
        .filter(|c| !c.is_control())
        .take(ACTOR_CHARS_MAX)
        .collect()
}
