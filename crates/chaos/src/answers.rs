//! What senders were told while things were broken: the truth, in time, and no other error than
//! the one that says "again, later".

use anyhow::{Result, ensure};

use crate::journal::Journal;

/// In milliseconds. The deadline of a confirm is 2.5 s, and that of the request for it 2.8; the
/// rest is what a debug build takes on two cores that it shares with three servers.
const ANSWERED_MAX: f64 = 2_800.0 + 2_000.0;

/// The status that says so.
const LATER: u16 = 503;

/// Holds the answers to it. `held` is for how many milliseconds ingest itself stood still.
///
/// # Errors
/// When another error was answered, or an answer came late.
pub fn are_true(journal: &Journal, held: u64) -> Result<()> {
    for (status, count) in &journal.answers {
        ensure!(
            *status < 500 || *status == LATER,
            "I15: {status} was answered {count} times, which does not say that an outage is one"
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

/// That a fault was felt: something was refused because it could not be promised.
///
/// # Errors
/// When nothing was.
pub fn told_later(journal: &Journal) -> Result<()> {
    ensure!(
        journal.answers.get(&LATER).copied().unwrap_or(0) > 0,
        "no sender felt the fault: nothing was answered {LATER} ({:?})",
        journal.answers
    );
    Ok(())
}
