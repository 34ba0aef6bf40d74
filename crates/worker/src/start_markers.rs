//! Start markers: how often a handler was started on a redelivered event.
//!
//! A handler that aborts, overflows its stack or exhausts the memory leaves nothing behind that
//! could record a failure. So the start of a handler is counted in the store before it runs, for
//! redelivered events only, and the count is cleared once the process has survived the attempt.
//! An event with a count was in flight when a process died.

use hookbox_driver::{Fault, Start, StartCounts, StartKind, Store, describe};

use crate::pause::Stopped;
use crate::route_context::RouteContext;

/// The counts of these, in the order given, without what this process has counted itself: it has
/// not died.
pub(crate) async fn counts<S: Store>(
    context: &RouteContext<'_, S>,
    of: &[Start],
) -> Result<Vec<StartCounts>, Stopped> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let (inner, route) = (context.inner, context.route);
    let counts = context.until_done(|| inner.store.starts(route, of)).await?;
    let others = of.iter().zip(counts);
    let others = others.map(|(start, it)| inner.own_markers.without_own(route, *start, it));
    Ok(others.collect())
}

/// Counts the starts of handlers that run beside others.
pub(crate) async fn set<S: Store>(
    context: &RouteContext<'_, S>,
    on: &[Start],
) -> Result<(), Stopped> {
    if on.is_empty() {
        return Ok(());
    }
    let (inner, route) = (context.inner, context.route);
    // Before it is counted: the answer that it was may be lost.
    inner.own_markers.add(route, StartKind::Shared, on);
    let start = || inner.store.start(route, &inner.id, StartKind::Shared, on);
    context.until_done(start).await
}

/// Counts the start of a handler that runs alone in its process. A fault is not waited out here:
/// everything else in the process waits meanwhile.
pub(crate) async fn set_isolated<S: Store>(
    context: &RouteContext<'_, S>,
    start: Start,
) -> Result<(), Fault> {
    let (inner, route) = (context.inner, context.route);
    let kind = match inner.own_markers.get(route, start).map(|own| own.kind) {
        // It may be counted, and then it is counted so.
        Some(kind @ (StartKind::Isolated | StartKind::Unproven)) => kind,
        None | Some(StartKind::Shared) if inner.counters.has_completed() => StartKind::Isolated,
        None | Some(StartKind::Shared) => StartKind::Unproven,
    };
    inner.own_markers.add(route, kind, &[start]);
    inner.store.start(route, &inner.id, kind, &[start]).await?;
    inner.own_markers.counted(route, start);
    Ok(())
}

/// Takes back the start of a handler that has run alone and has to run again: until then it ends
/// no process, and another one that gets the event meanwhile must not take it for a death. It is
/// tried once, since everything else in the process waits meanwhile.
pub(crate) async fn retract<S: Store>(context: &RouteContext<'_, S>, start: Start) {
    let (inner, route) = (context.inner, context.route);
    let Some(counted) = inner.own_markers.get(route, start) else {
        return;
    };
    let retracted = inner.store.retract_start(route, &inner.id, counted, start);
    match retracted.await {
        Ok(()) => inner.own_markers.remove(route, &[start]),
        // It stays this process's own, and its next try is not counted again.
        Err(fault) => tracing::info!(
            route = %route,
            error = describe(&fault),
            "a start of a handler on route {route} could not be taken back; until it has run \
             again, another worker may take it for a death"
        ),
    }
}

/// Clears the start markers of work that has ended, in one way or the other.
pub(crate) async fn clear<S: Store>(
    context: &RouteContext<'_, S>,
    of: &[Start],
    ended: Result<(), Stopped>,
) -> Result<(), Stopped> {
    let (inner, route) = (context.inner, context.route);
    match ended {
        Ok(()) if of.is_empty() => {}
        Ok(()) => {
            let clear = || inner.store.survived(route, of);
            context.until_done(clear).await?;
            inner.own_markers.remove(route, of);
        }
        Err(Stopped) => {
            // The store is most likely unavailable. It is tried all the same, and once more at the
            // end of the process: what stays makes its event a suspect. An event that was a
            // suspect and had no turn stays one.
            let own = inner.own_markers.among(route, of);
            if !own.is_empty() && inner.store.survived(route, &own).await.is_ok() {
                inner.own_markers.remove(route, &own);
            }
        }
    }
    ended
}
