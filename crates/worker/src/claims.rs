//! Claiming: which event an envelope is of, where another body came under its event id.

use hookbox_driver::{Claimed, Fault, FaultKind, Store};
use hookbox_event::{ContentDigest, Envelope, EventId, RouteName};

use crate::route_context::RouteContext;
use crate::{Config, OnConflict};

/// One envelope, and what its claim found.
pub(crate) struct Claim {
    /// The envelope under the event id that was claimed, with the body that is run for it.
    pub envelope: Envelope,
    pub claimed: Claimed,
    /// The event whose id another body came under, where that makes this an event of its own.
    pub conflict_with: Option<EventId>,
    /// What the receipt's own body says, where the id decides and its event has another body.
    pub other_digest: Option<ContentDigest>,
}

/// Claims envelopes of distinct events for a route, and claims conflicts again as what the config
/// says that they are: events of their own, or the event that is stored.
pub(crate) async fn claim<S: Store>(
    context: &RouteContext<'_, S>,
    tx: &mut S::Tx,
    envelopes: &[&Envelope],
) -> Result<Vec<Claim>, Fault> {
    let (store, route) = (context.store(), context.route);
    let config = &context.inner.config;
    let claimed = store.claim(tx, route, envelopes).await?;
    let mut claims = Vec::with_capacity(envelopes.len());
    let (mut own, mut by_id) = (Vec::new(), Vec::new());
    for (envelope, claimed) in envelopes.iter().copied().zip(claimed) {
        if claimed != Claimed::Conflict {
            claims.push(Claim {
                envelope: envelope.clone(),
                claimed,
                conflict_with: None,
                other_digest: None,
            });
            continue;
        }
        match config.on_conflict(&envelope.topic) {
            OnConflict::DeadLetter | OnConflict::Process => own.push(envelope),
            OnConflict::Duplicate => by_id.push(envelope),
        }
    }
    if !own.is_empty() {
        claims.extend(claim_as_own(store, tx, route, &own).await?);
    }
    if !by_id.is_empty() {
        claims.extend(claim_by_id(store, tx, route, &by_id).await?);
    }
    Ok(claims)
}

/// Whether the handler would run for an envelope now, by a claim that is rolled back. While another
/// process has the event in flight, be it by a copy of the message, the claim waits: processes that
/// wait for each other are not counted as so many deaths.
pub(crate) async fn would_run<S: Store>(
    context: &RouteContext<'_, S>,
    envelope: &Envelope,
) -> Result<bool, Fault> {
    let store = context.store();
    let mut tx = store.begin().await?;
    let claimed = claim(context, &mut tx, &[envelope]).await;
    store.rollback(tx).await;
    let none = || Fault::plain(FaultKind::Internal, "claim: it returned no claim");
    let claim = claimed?.pop().ok_or_else(none)?;
    Ok(claim.would_run(&context.inner.config))
}

impl Claim {
    /// Whether a handler runs for what was claimed so.
    fn would_run<S: Store>(&self, config: &Config<S>) -> bool {
        let is_handled = match config.on_conflict(&self.envelope.topic) {
            OnConflict::DeadLetter => self.conflict_with.is_none(),
            OnConflict::Process | OnConflict::Duplicate => true,
        };
        match self.claimed {
            Claimed::Fresh | Claimed::Granted { .. } => is_handled,
            Claimed::Conflict | Claimed::Redelivered | Claimed::Duplicate | Claimed::Orphaned => {
                false
            }
        }
    }
}

/// Each as an event of its own.
async fn claim_as_own<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    route: &RouteName,
    conflicts: &[&Envelope],
) -> Result<Vec<Claim>, Fault> {
    let own = |envelope: &&Envelope| Envelope {
        event: EventId::of_conflict(&envelope.event, &envelope.digest),
        ..(*envelope).clone()
    };
    let own: Vec<Envelope> = conflicts.iter().map(own).collect();
    let claimed = store
        .claim(tx, route, &own.iter().collect::<Vec<_>>())
        .await?;
    let claims = own.into_iter().zip(conflicts).zip(claimed);
    let claim = |((envelope, original), claimed): ((Envelope, &&Envelope), Claimed)| Claim {
        envelope,
        claimed,
        conflict_with: Some(original.event),
        other_digest: None,
    };
    Ok(claims.map(claim).collect())
}

/// Each as the event that is stored. Where this route has not claimed that one yet (its first body
/// may have come for other routes only, or waits behind this one), it is run with the stored body,
/// as a retry would be.
async fn claim_by_id<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    route: &RouteName,
    conflicts: &[&Envelope],
) -> Result<Vec<Claim>, Fault> {
    let ids: Vec<EventId> = conflicts.iter().map(|envelope| envelope.event).collect();
    let stored = store.stored(tx, &ids).await?;
    let mut known = Vec::with_capacity(conflicts.len());
    for (envelope, stored) in conflicts.iter().zip(stored) {
        // Nothing is ever taken out of the store between two statements of a transaction.
        let stored = stored.ok_or_else(vanished)?;
        known.push(Envelope {
            topic: stored.topic,
            digest: stored.digest,
            seal: stored.seal,
            body: stored.body,
            ..(*envelope).clone()
        });
    }
    let claimed = store
        .claim(tx, route, &known.iter().collect::<Vec<_>>())
        .await?;
    let claims = known.into_iter().zip(conflicts).zip(claimed);
    let claim = |((envelope, received), claimed): ((Envelope, &&Envelope), Claimed)| Claim {
        envelope,
        claimed,
        conflict_with: None,
        other_digest: Some(received.digest),
    };
    Ok(claims.map(claim).collect())
}

fn vanished() -> Fault {
    Fault::plain(
        FaultKind::Contention,
        "claim an event: the event whose id another body has is no longer stored",
    )
}
