//! Reads from the store what ingests have reported.

use hookbox_driver::{Accounts, Fault, Ledger, SilentIngest, Unvouched};

use super::judge::OVERDUE;
use crate::{Problem, Reach, Source};

/// How many receipts without an outcome are listed at most.
const OPEN_MAX: u32 = 100;

/// What ingests have reported, and the ingests that have not reported their last sequence numbers.
pub(super) struct Reports {
    pub accounts: Accounts,
    pub unvouched: Vec<Unvouched>,
    pub silent: Vec<SilentIngest>,
}

/// Reads what ingests have reported. A store that does not answer is returned as a problem. For a
/// store that could not be opened, no problem is returned, because it is already listed elsewhere.
pub(super) async fn read(store: &Reach<dyn Ledger>) -> (Option<Reports>, Vec<Problem>) {
    let Ok((ledger, _)) = store.opened() else {
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
