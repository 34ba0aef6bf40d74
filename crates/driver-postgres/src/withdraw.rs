//! Withdraws claims that the current transaction has made.

use hookbox_driver::{CommitError, Fault};
use hookbox_event::{EventId, EventNumber, RouteName};

use crate::claims;
use crate::tx::{Tx, ended};

/// See [`hookbox_driver::Store::withdraw`].
pub(crate) async fn withdraw(
    tx: &mut Tx,
    route: &RouteName,
    events: &[EventId],
) -> Result<(), CommitError> {
    let (fresh, granted) = sort(tx, route, events)?;
    let transaction = tx.id.clone().unwrap_or_default();
    let withdrawn = tx
        .run(|c| claims::withdraw(c, transaction, route, &fresh, &granted))
        .await;
    match withdrawn {
        Ok(count) if count == events.len() as u64 => {}
        Ok(_) if !tx.is_alive().await? => return Err(ended()),
        Ok(_) => {
            let why = "the claims of the transaction were changed".to_owned();
            return Err(CommitError::BrokenByHandler { why });
        }
        Err(error) => return Err(tx.attribute(error, "withdraw claims").await),
    }
    for event in events {
        tx.owned.remove(&(route.clone(), *event));
    }
    Ok(())
}

/// Returns the numbers of the events whose claims are new, and of those whose retry was granted.
fn sort(
    tx: &mut Tx,
    route: &RouteName,
    events: &[EventId],
) -> Result<(Vec<EventNumber>, Vec<EventNumber>), Fault> {
    let (mut fresh, mut granted) = (Vec::new(), Vec::new());
    for event in events {
        let number = tx.number(event)?;
        if tx.owned_mut(route, event)?.granted {
            granted.push(number);
        } else {
            fresh.push(number);
        }
    }
    Ok((fresh, granted))
}
