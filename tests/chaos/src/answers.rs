//! Checks the responses that senders got during faults: each is correct and in time, and 503, which
//! asks for a retry, is the only error.

use anyhow::{Result, ensure};

use crate::journal::Journal;

/// The longest time in milliseconds that a response may take. The deadline of a confirm is 2.5 s,
/// and that of a request 2.8 s. Two more seconds are for a debug build that shares two cores with
/// three servers.
const ANSWERED_MAX: f64 = 2_800.0 + 2_000.0;

/// The status that asks for a retry.
const LATER: u16 = 503;

/// Checks the responses. `held` is the number of milliseconds for which the ingest was stopped.
///
/// # Errors
/// When a response is another error than 503, or is late.
pub fn are_true(journal: &Journal, held: u64) -> Result<()> {
    for (status, count) in &journal.answers {
        ensure!(
            *status < 500 || *status == LATER,
            "I15: {count} requests were answered {status}, which does not ask for a retry"
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

/// Checks that some request was answered 503, so that the fault had an effect on senders.
///
/// # Errors
/// When no request was answered 503.
pub fn some_asked_to_retry(journal: &Journal) -> Result<()> {
    ensure!(
        journal.answers.get(&LATER).copied().unwrap_or(0) > 0,
        "the fault had no effect on senders: no request was answered {LATER} ({:?})",
        journal.answers
    );
    Ok(())
}
