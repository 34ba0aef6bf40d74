//! Turns claims of the current transaction into leases for external calls.

use std::collections::HashMap;
use std::time::Duration;

use hookbox_driver::{
    ClaimState, CommitError, Fault, LeaseClaim, LeaseTerms, LeaseWish, Leased, Leases,
    StoredOutcome, TargetName, TargetState, granted_leases,
};
use hookbox_event::{EventNumber, KeyDigest, RouteName};

use crate::leases::{self, InFlight, NewLease, StoredLease};
use crate::server::query_error::QueryError;
use crate::tx::{Tx, changed, ended};
use crate::{newest, receipts, targets};

/// A claim of this transaction for which a lease is requested.
struct Wanted {
    event: EventNumber,
    /// Whether the claim is for a retry or a replay. If not, it is for a first attempt.
    granted: bool,
    /// The state in which this transaction has written the claim.
    written: ClaimState,
}

/// The decisions about the requested leases.
struct Allotted {
    /// For each requested lease: whether it is given, and the state of the event's leases
    /// afterwards.
    leased: Vec<(Leased, Leases)>,
    /// The state of the target after the permits were taken; `None` if the state does not change.
    target: Option<TargetState>,
    /// How long the leases last, counted from the beginning of the transaction.
    length: Duration,
}

/// See [`hookbox_driver::Store::lease`]. To prevent deadlocks, all transactions lock rows in the
/// same order: claims, keys, waiting attempts, the target.
pub(crate) async fn lease(
    tx: &mut Tx,
    route: &RouteName,
    terms: LeaseTerms<'_>,
    wishes: &[LeaseWish<'_>],
) -> Result<Vec<Leased>, CommitError> {
    if wishes.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = find(tx, route, wishes)?;
    let allotted = match allot(tx, route, &terms, wishes, &wanted).await {
        Ok(allotted) => allotted,
        Err((error, doing)) => return Err(tx.attribute(error, doing).await),
    };
    give(tx, route, &terms, wishes, &wanted, &allotted).await?;
    let leased = allotted.leased.into_iter().map(|(leased, _)| leased);
    Ok(leased.collect())
}

/// Returns the claims for which `wishes` request leases, in the same order.
fn find(tx: &mut Tx, route: &RouteName, wishes: &[LeaseWish<'_>]) -> Result<Vec<Wanted>, Fault> {
    let mut wanted = Vec::with_capacity(wishes.len());
    for wish in wishes {
        let event = tx.number(&wish.envelope.event)?;
        let owned = tx.owned_mut(route, &wish.envelope.event)?;
        wanted.push(Wanted {
            event,
            granted: owned.granted,
            written: owned.written,
        });
    }
    Ok(wanted)
}

/// Decides which wishes get a lease. It locks the row of the target for the rest of the
/// transaction.
async fn allot(
    tx: &mut Tx,
    route: &RouteName,
    terms: &LeaseTerms<'_>,
    wishes: &[LeaseWish<'_>],
    wanted: &[Wanted],
) -> Result<Allotted, (QueryError, &'static str)> {
    let doing = |doing: &'static str| move |error| (error, doing);
    let granted = wanted.iter().filter(|one| one.granted);
    let granted: Vec<EventNumber> = granted.map(|one| one.event).collect();
    let mut stored: HashMap<EventNumber, StoredLease> = HashMap::new();
    if !granted.is_empty() {
        let found = tx
            .run(|c| leases::stored(c, route, &granted))
            .await
            .map_err(doing("look up the leases of waiting events"))?;
        stored.extend(found.into_iter().map(|one| (one.event, one)));
    }
    let before = tx
        .run(|c| targets::lock(c, terms.target))
        .await
        .map_err(doing("lock the row of a target"))?;
    // This must be a separate statement, because leases may have been committed while this
    // transaction waited for the lock.
    let InFlight { calls, now, age } = tx
        .run(|c| leases::in_flight(c, terms.target))
        .await
        .map_err(doing("count the calls in flight to a target"))?;
    let claims: Vec<LeaseClaim> = wishes
        .iter()
        .zip(wanted)
        .map(|(wish, one)| {
            let stored = stored.get(&one.event);
            LeaseClaim {
                attempt: wish.attempt,
                waiting: stored.map(|stored| stored.waiting),
                leases: stored.map(|stored| stored.leases).unwrap_or_default(),
            }
        })
        .collect();
    let mut state = before;
    Ok(Allotted {
        leased: terms.allot(&mut state, now, calls, &claims),
        target: (state != before).then_some(state),
        length: age.saturating_add(terms.length),
    })
}

/// Writes the leases. The transaction then no longer has to settle their claims.
async fn give(
    tx: &mut Tx,
    route: &RouteName,
    terms: &LeaseTerms<'_>,
    wishes: &[LeaseWish<'_>],
    wanted: &[Wanted],
    allotted: &Allotted,
) -> Result<(), CommitError> {
    let (mut given, mut receipts) = (Vec::new(), Vec::new());
    let wishes = wishes.iter().zip(wanted);
    for ((wish, one), leases) in granted_leases(wishes, &allotted.leased) {
        given.push(NewLease {
            event: one.event,
            written: one.written,
            attempt: wish.attempt,
            attempts_before: wish.attempts_before,
            leases,
        });
        receipts.push(receipts::OutcomeRow {
            event: one.event,
            envelope: wish.envelope,
            word: StoredOutcome::Retrying,
            other_digest: wish.other_digest,
        });
    }
    if given.is_empty() {
        return Ok(());
    }
    let (target, length) = (terms.target, allotted.length);
    write(tx, route, (target, length), &given, &receipts).await?;
    if let Some(state) = &allotted.target {
        let put = tx.run(|c| targets::put(c, target, state)).await;
        if let Err(error) = put {
            return Err(tx
                .attribute(error, "take permits for calls to a target")
                .await);
        }
    }
    let versioned = receipts.iter().filter_map(|receipt| {
        let key = (route.clone(), receipt.envelope.event);
        tx.versions.get(&key).map(|it| (it.key, receipt.event))
    });
    let calls: Vec<(KeyDigest, EventNumber)> = versioned.collect();
    if !calls.is_empty() {
        let noted = tx.run(|c| newest::call(c, route, &calls, length)).await;
        if let Err(error) = noted {
            return Err(tx
                .attribute(error, "record calls in flight for the keys of events")
                .await);
        }
    }
    for receipt in &receipts {
        let key = (route.clone(), receipt.envelope.event);
        tx.owned.remove(&key);
        tx.leased.insert(key);
    }
    // If the transaction has no other claims, the statements above have checked all that the guard
    // would check, so the guard need not run.
    tx.is_proved |= tx.owned.is_empty();
    Ok(())
}

/// Writes the rows of the leases, provided that the transaction is the one that made the claims and
/// that its commit will be durable.
async fn write(
    tx: &mut Tx,
    route: &RouteName,
    (target, length): (&TargetName, Duration),
    given: &[NewLease],
    receipts: &[receipts::OutcomeRow<'_>],
) -> Result<(), CommitError> {
    let transaction = tx.id.clone().unwrap_or_default();
    let inserted = tx
        .run(|c| receipts::insert(c, &transaction, route, receipts, &[], &[]))
        .await;
    match inserted {
        Ok(found) if !found.is_same => return Err(ended()),
        Ok(found) if !found.is_whole => return Err(changed()),
        Ok(_) => {}
        Err(error) => return Err(tx.attribute(error, "write the outcomes of receipts").await),
    }
    let given_all = tx
        .run(|c| leases::give(c, &transaction, route, given))
        .await;
    match given_all {
        Ok(true) => {}
        Ok(false) => return Err(changed()),
        Err(error) => return Err(tx.attribute(error, "turn claims into leases").await),
    }
    let put = tx
        .run(|c| leases::put(c, route, target, given, length))
        .await;
    match put {
        Ok(()) => Ok(()),
        Err(error) => Err(tx.attribute(error, "write the leases of events").await),
    }
}
