//! What senders were answered during faults: true, in time, and no other error than 503, which asks
//! for a retry.

use anyhow::{Result, ensure};

use crate::journal::Journal;

/// In milliseconds. The deadline of a confirm is 2.5 s, and that of the request for it 2.8; the
/// rest is what a debug build takes on two cores that it shares with three servers.
const ANSWERED_MAX: f64 = 2_800.0 + 2_000.0;

/// The status that asks for a retry.
const LATER: u16 = 503;

/// Checks the answers. `held` is for how many milliseconds ingest itself stood still.
///
/// # Errors
/// When another error was answered, or an answer came late.
pub fn are_true(journal: &Journal, held: u64) -> Result<()> {
    for (status, count) in &journal.answers {
        ensure!(
            *status < 500 || *status == LATER,
            "I15: {status} was answered {count} times, which does not ask for a retry"
        );
    }
    let max = ANSWERED_MAX + held as f64;
    for (status, longest) in &journal.longest {
        ensure!(
            *longest <= max,
            "I15: the answer {status} took {longest:.0} ms, which is more than {max} (0 is none)"
        );
    }
    Ok(())
}

/// Checks that a fault was felt: some request was answered 503.
///
/// # Errors
/// When none was.
pub fn some_asked_to_retry(journal: &Journal) -> Result<()> {
    ensure!(
        journal.answers.get(&LATER).copied().unwrap_or(0) > 0,
        "no sender felt the fault: nothing was answered {LATER} ({:?})",
        journal.answers
    );
    Ok(())
}
