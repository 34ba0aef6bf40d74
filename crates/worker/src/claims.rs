//! Claims envelopes for a route. If the body of an envelope differs from the body that is stored
//! under its event id, this module also determines which event the envelope belongs to.

use hookbox_driver::{Claimed, Fault, FaultKind, Store};
use hookbox_event::{ContentDigest, Envelope, EventId, RouteName};

use crate::route_context::RouteContext;
use crate::{Config, OnConflict};

/// One envelope with the result of its claim.
pub(crate) struct Claim {
    /// The envelope, with the event id that was claimed and the body that the handler gets.
    pub envelope: Envelope,
    pub claimed: Claimed,
    /// The id of the event that this event conflicts with: an event with that id was stored
    /// before, with another body. Set only if this conflict is processed as an event of its own.
    pub conflict_with: Option<EventId>,
    /// The content digest of the receipt's own body. It is set only if the event was stored with
    /// another body, and the config says that the event id decides which event a receipt belongs
    /// to.
    pub other_digest: Option<ContentDigest>,
}

/// Claims envelopes of distinct events for a route. Conflicts are claimed a second time, as the
/// config decides: as events of their own, or as the event that is stored.
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
        claims.extend(claim_as_own(context, tx, &own).await?);
    }
    if !by_id.is_empty() {
        claims.extend(claim_by_id(store, tx, route, &by_id).await?);
    }
    Ok(claims)
}

impl Claim {
    /// Returns whether a handler may run after this claim. An invalid body, or a missing or an old
    /// version, may still prevent the run.
    pub fn would_run<S: Store>(&self, config: &Config<S>) -> bool {
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

/// Claims each conflict as an event of its own.
async fn claim_as_own<S: Store>(
    context: &RouteContext<'_, S>,
    tx: &mut S::Tx,
    conflicts: &[&Envelope],
) -> Result<Vec<Claim>, Fault> {
    let (store, route) = (context.store(), context.route);
    let digester = &context.inner.config.digester;
    let own = |envelope: &&Envelope| Envelope {
        event: EventId::of_conflict(digester, &envelope.event, &envelope.digest),
        id_tail: None,
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

/// Claims each conflict as the event that is stored under the same id. This route may not have
/// claimed that event yet: the receipt with the stored body may have been for other routes only, or
/// may still wait in the queue behind this conflict. In both cases the handler runs with the stored
/// body, as it would for a retry.
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
        // The claim found this event in the same transaction, and nothing deletes an event between
        // two statements of a transaction. So this error is not expected.
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
        "claim a conflict: the event that is stored under its id is gone",
    )
}
