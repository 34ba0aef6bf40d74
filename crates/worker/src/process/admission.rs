//! Decides whether an event runs while its route is paused, because the database lacks a right or
//! an object that the handler needs.

use hookbox_driver::{Deferred, Store};
use hookbox_event::Envelope;
use tokio::time::Instant;

use super::Process;
use crate::pause::Stopped;
use crate::record;
use crate::rights::Admission;
use crate::work::Work;
use crate::would_run::event_to_run;

impl<S: Store> Process<'_, S> {
    /// Waits until an event may run, which is at once unless the route is paused. While the route
    /// is paused:
    ///
    /// - An event whose handler would not run, such as a duplicate, does not wait. Its run would
    ///   not show whether the right is still missing.
    /// - Any other event waits until it is tried. If it is not its turn at the time `until`, it is
    ///   deferred, and the result is [`Admission::Late`].
    pub(super) async fn admit(
        &self,
        envelope: &Envelope,
        until: Instant,
    ) -> Result<Admission<'_>, Stopped> {
        let Work::Handle { route, .. } = self.work else {
            return Ok(Admission::Run);
        };
        let (context, rights) = (self.context, &self.context.counters.rights);
        while rights.missing().is_some() {
            context.may_start()?;
            let event = || event_to_run(context, context.newest(route), envelope);
            let Some(event) = context.until_done(event).await? else {
                break;
            };
            let admission = rights.admit(until, context.shutdown).await?;
            match admission {
                Admission::Run | Admission::Probe(_) => return Ok(admission),
                Admission::Late => match record::untried(context, &event).await? {
                    Deferred::Recorded => return Ok(Admission::Late),
                    // The event has changed since it was claimed, so it is claimed again.
                    Deferred::Superseded | Deferred::Expired => {}
                },
            }
        }
        Ok(Admission::Run)
    }
}
