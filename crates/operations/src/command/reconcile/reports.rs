//! Reads from the store what ingests have reported.

use hookbox_driver::{Accounts, Fault, Ledger, SilentIngest, Unvouched};

use super::{OPEN_MAX, OVERDUE};
use crate::{Problem, Reach, Source};

/// What ingests have reported, and what is unknown about them.
pub(super) struct Reports {
    pub accounts: Accounts,
    pub unvouched: Vec<Unvouched>,
    pub silent: Vec<SilentIngest>,
}

/// Reads the reports. A store that does not answer is a problem; a store that could not be opened
/// is already listed as one.
pub(super) async fn read(store: &Reach<dyn Ledger>) -> (Option<Reports>, Vec<Problem>) {
    let Reach::Open(ledger) = store else {
        return (None, Vec::new());
    };
    let read = async {
        Ok::<_, Fault>(Reports {
            accounts: ledger.accounts(OPEN_MAX, OVERDUE).await?,
            unvouched: ledger.unvouched(OPEN_MAX, OVERDUE).await?,
            silent: ledger.silent(OPEN_MAX, OVERDUE).await?,
        })
    };
    match read.await {
        Ok(reports) => (Some(reports), Vec::new()),
        Err(fault) => (None, vec![Problem::of(Source::Store, &fault)]),
    }
}
