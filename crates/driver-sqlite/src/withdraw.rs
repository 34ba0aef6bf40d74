//! Withdraws claims that the current transaction has made.

use hookbox_driver::{CommitError, Fault};
use hookbox_event::{EventId, EventNumber, RouteName};

use crate::claims;
use crate::diagnose::fault;
use crate::settle::{number, unclaimed};
use crate::tx::Tx;

/// See [`hookbox_driver::Store::withdraw`].
pub(crate) async fn withdraw(
    tx: &mut Tx,
    route: &RouteName,
    events: &[EventId],
) -> Result<(), CommitError> {
    let (fresh, granted) = sort(tx, route, events)?;
    let withdrawn = claims::withdraw(tx.connection(), route, &fresh, &granted)
        .await
        .map_err(fault("withdraw claims"))?;
    if withdrawn != events.len() as u64 {
        return Err(CommitError::BrokenByHandler {
            why: format!(
                "of the {} claims to withdraw, only {withdrawn} were unchanged",
                events.len()
            ),
        });
    }
    for event in events {
        tx.owned.remove(&(route.clone(), *event));
    }
    Ok(())
}

/// Returns the numbers of the events whose claims are new, and of those whose retry was granted.
fn sort(
    tx: &Tx,
    route: &RouteName,
    events: &[EventId],
) -> Result<(Vec<EventNumber>, Vec<EventNumber>), Fault> {
    let (mut fresh, mut granted) = (Vec::new(), Vec::new());
    for event in events {
        let number = number(tx, event)?;
        let owned = tx.owned.get(&(route.clone(), *event));
        if owned.ok_or_else(unclaimed)?.granted {
            granted.push(number);
        } else {
            fresh.push(number);
        }
    }
    Ok((fresh, granted))
}
