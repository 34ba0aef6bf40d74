//! Turns claims of the current transaction into leases for external calls.

use std::collections::HashMap;

use hookbox_driver::{
    ClaimState, CommitError, Fault, LeaseClaim, LeaseTerms, LeaseWish, Leased, Leases,
    StoredOutcome, granted_leases,
};
use hookbox_event::{EventNumber, KeyDigest, RouteName, Timestamp};

use crate::diagnose::fault;
use crate::leases::{self, NewLease, StoredLease};
use crate::settle::{number, unclaimed};
use crate::tx::Tx;
use crate::{moment, newest, receipts, targets};

/// A claim of this transaction for which a lease is requested.
struct Wanted {
    event: EventNumber,
    /// Whether the claim is for a retry or a replay. If not, it is for a first attempt.
    granted: bool,
    /// The state in which this transaction has written the claim.
    written: ClaimState,
}

/// See [`hookbox_driver::Store::lease`]. The caller has checked that the transaction is open.
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
    let allotted = allot(tx, route, &terms, wishes, &wanted)
        .await
        .map_err(fault("take permits for calls to a target"))?;
    give(tx, route, &terms, wishes, &wanted, &allotted).await?;
    Ok(allotted.into_iter().map(|(leased, _)| leased).collect())
}

/// Returns the claims for which `wishes` request leases, in the same order.
fn find(tx: &Tx, route: &RouteName, wishes: &[LeaseWish<'_>]) -> Result<Vec<Wanted>, Fault> {
    let mut wanted = Vec::with_capacity(wishes.len());
    for wish in wishes {
        let event = number(tx, &wish.envelope.event)?;
        let owned = tx.owned.get(&(route.clone(), wish.envelope.event));
        let owned = owned.ok_or_else(unclaimed)?;
        wanted.push(Wanted {
            event,
            granted: owned.granted,
            written: owned.written,
        });
    }
    Ok(wanted)
}

/// Decides which wishes get a lease, and takes a permit of the target for each of these.
async fn allot(
    tx: &mut Tx,
    route: &RouteName,
    terms: &LeaseTerms<'_>,
    wishes: &[LeaseWish<'_>],
    wanted: &[Wanted],
) -> sqlx::Result<Vec<(Leased, Leases)>> {
    let now = moment::now();
    let granted = wanted.iter().filter(|one| one.granted);
    let granted: Vec<EventNumber> = granted.map(|one| one.event).collect();
    let mut stored: HashMap<EventNumber, StoredLease> = HashMap::new();
    if !granted.is_empty() {
        let found = leases::stored(tx.connection(), route, &granted, now).await?;
        stored.extend(found.into_iter().map(|one| (one.event, one)));
    }
    let before = targets::read(tx.connection(), terms.target).await?;
    let in_flight = leases::in_flight(tx.connection(), terms.target, now).await?;
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
    let (mut state, now) = (before, Timestamp::from_unix_micros(now));
    let allotted = terms.allot(&mut state, now, in_flight, &claims);
    // The target's row is written even if it does not change, so that operators see each target.
    targets::put(tx.connection(), terms.target, &state).await?;
    Ok(allotted)
}

/// Writes the leases. The transaction then no longer has to settle their claims.
async fn give(
    tx: &mut Tx,
    route: &RouteName,
    terms: &LeaseTerms<'_>,
    wishes: &[LeaseWish<'_>],
    wanted: &[Wanted],
    allotted: &[(Leased, Leases)],
) -> Result<(), CommitError> {
    let (mut given, mut receipts) = (Vec::new(), Vec::new());
    let wishes = wishes.iter().zip(wanted);
    for ((wish, one), leases) in granted_leases(wishes, allotted) {
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
    let written = write(tx, route, terms, &given, &receipts).await;
    if !written.map_err(fault("write the leases of events"))? {
        let why = "the claims of the transaction were changed".to_owned();
        return Err(CommitError::BrokenByHandler { why });
    }
    for receipt in &receipts {
        let key = (route.clone(), receipt.envelope.event);
        tx.owned.remove(&key);
        tx.leased.insert(key);
    }
    Ok(())
}

/// Writes the rows in all tables. Returns whether the claims were still as this transaction has
/// written them.
async fn write(
    tx: &mut Tx,
    route: &RouteName,
    terms: &LeaseTerms<'_>,
    given: &[NewLease],
    receipts: &[receipts::OutcomeRow<'_>],
) -> sqlx::Result<bool> {
    let now = moment::now();
    let not_before = Timestamp::from_unix_micros(now).saturating_add(terms.length);
    let not_before = not_before.unix_micros();
    let connection = tx.connection();
    if !leases::give(connection, route, given, now).await? {
        return Ok(false);
    }
    receipts::insert(connection, route, receipts, now).await?;
    let times = (not_before, now);
    leases::put(connection, route, terms.target, given, times).await?;
    let versioned = receipts.iter().filter_map(|receipt| {
        let key = (route.clone(), receipt.envelope.event);
        tx.versions.get(&key).map(|it| (it.key, receipt.event))
    });
    let calls: Vec<(KeyDigest, EventNumber)> = versioned.collect();
    newest::call(tx.connection(), route, &calls, not_before).await?;
    Ok(true)
}
