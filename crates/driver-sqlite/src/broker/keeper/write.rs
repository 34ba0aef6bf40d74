//! One transaction of a keeper, which writes settlements, renews leases and takes messages.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hookbox_driver::Fault;
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use super::Keeper;
use crate::broker::delivery::{InFlight, Settlement};
use crate::broker::messages::{self, Leases, TakenMessage};
use crate::diagnose::fault;
use crate::moment::in_;

/// The results of one transaction of a keeper.
struct KeeperResult {
    taken: Vec<TakenMessage>,
    gave_up: bool,
    /// The messages whose lease was renewed, because this subscription still owned them; `None`
    /// when no lease was due for renewal.
    still_ours: Option<HashSet<i64>>,
    /// The number of messages that were acknowledged after another subscription had taken them.
    too_late: u64,
}

impl Keeper {
    /// Writes all settlements, renews leases that are due, and takes as many messages as the
    /// prefetch allows. After a failure nothing is lost: the next call repeats all three steps.
    pub(super) async fn write(&mut self) -> Result<(), Fault> {
        let mut unit = self.shared.writer.begin_for_queues().await?;
        let began = Instant::now();
        let room = if self.maybe { self.room() } else { 0 };
        let renew = self.must_renew();
        let written = self.transact(unit.connection(), room, renew).await;
        let ended = unit.end_with(written).await;
        let done = ended.map_err(fault("take and settle messages"))?;
        if done.too_late > 0 {
            tracing::debug!(
                messages = done.too_late,
                "messages were acknowledged after their lease was lost; they are redelivered"
            );
        }
        if self.settlements.returned() > 0 {
            self.maybe = true;
            self.shared.notifiers.notify(&self.queue);
        } else if room > 0 {
            // When the transaction took fewer messages than it could, the queue has no more free
            // messages until the next notification.
            self.maybe = done.taken.len() == room;
        }
        if done.gave_up {
            self.shared.notifiers.notify(&self.dead);
        }
        self.settlements.written();
        if let Some(still_ours) = done.still_ours {
            self.renewed = began;
            self.held.retain(|id, lost| {
                let ours = still_ours.contains(id);
                if !ours {
                    lost.store(true, Ordering::Release);
                }
                ours
            });
        }
        if self.held.is_empty() {
            self.renewed = began;
        }
        for taken in done.taken {
            self.hand_out(taken);
        }
        Ok(())
    }

    async fn transact(
        &self,
        connection: &mut SqliteConnection,
        room: usize,
        renew: bool,
    ) -> sqlx::Result<KeeperResult> {
        let token = &self.token;
        let settlements = &self.settlements;
        let mut too_late = 0;
        if !settlements.acks.is_empty() {
            let acks = settlements.acks.iter().copied();
            let forgotten = messages::forget(connection, token, acks).await?;
            too_late = (settlements.acks.len() as u64).saturating_sub(forgotten);
        }
        for (list, delivered) in [
            (&settlements.releases, true),
            (&settlements.put_backs, false),
        ] {
            if !list.is_empty() {
                let ids = list.iter().copied();
                messages::put_back(connection, token, ids, delivered).await?;
            }
        }
        if !settlements.drops.is_empty() {
            let drops = settlements.drops.iter().copied();
            messages::put_back_counted(connection, token, drops).await?;
        }
        let lease_until = in_(self.shared.options.lease);
        let mut still_ours = None;
        if renew {
            let held = self.held.keys().copied();
            still_ours = Some(messages::renew(connection, token, held, lease_until).await?);
        }
        let mut taken = Vec::new();
        if room > 0 {
            let queue = &self.queue;
            let leases = Leases::lasting(self.shared.options.lease);
            taken = messages::take(connection, queue, token, leases, lease_until, room).await?;
        }
        let given_up: Vec<i64> = taken
            .iter()
            .filter(|one| self.is_worn(one))
            .map(|one| one.id)
            .collect();
        if !given_up.is_empty() {
            let ids = given_up.iter().copied();
            messages::give_up(connection, token, ids, &self.dead).await?;
        }
        Ok(KeeperResult {
            taken,
            gave_up: !given_up.is_empty(),
            still_ours,
            too_late,
        })
    }

    fn is_worn(&self, taken: &TakenMessage) -> bool {
        let most = self.shared.options.deliveries_max;
        !self.is_dead && most.is_some_and(|most| taken.deliveries > most)
    }

    fn hand_out(&mut self, taken: TakenMessage) {
        if self.is_worn(&taken) {
            return;
        }
        let id = taken.id;
        let lost = Arc::new(AtomicBool::new(false));
        let message = InFlight {
            id,
            bytes: taken.bytes,
            redelivered: taken.deliveries > 1,
            died_in: taken.died_in,
            lost: Arc::clone(&lost),
        };
        self.held.insert(id, lost);
        if self.deliveries.try_send(Ok(message)).is_err() {
            // The subscription was closed after the message was taken, so the message returns to
            // the queue.
            self.note(Settlement::PutBack(id));
        }
    }
}
