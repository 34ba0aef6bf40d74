//! Checks the responses that senders got during faults: each response must be correct and in time.
//! The only error may be 503, which asks the sender to retry.

use anyhow::{Result, ensure};

use crate::journal::Journal;

/// The longest time in milliseconds that a response may take. A request waits up to 2.8 s until the
/// broker has confirmed its event. Two more seconds are for a debug build that shares two cores
/// with three servers.
const ANSWERED_MAX: f64 = 2_800.0 + 2_000.0;

/// The HTTP status by which ingest asks the sender to retry the request later.
const LATER: u16 = 503;

/// Checks that no request was answered with an error other than 503, and that no response was late.
/// `held` is the number of milliseconds for which a fault had stopped the ingest process; responses
/// may be later by that time.
///
/// # Errors
/// When a response is an error other than 503, or is late.
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
            "I15: a response took {longest:.0} ms, but may take {max} ms (status {status}; 0 means \
             that no response came)"
        );
    }
    Ok(())
}

/// Checks that at least one request was answered 503, which shows that the fault had an effect on
/// senders.
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
