//! SIGTERM and SIGINT: the first drains, the second stops at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit;

/// A token that the first signal cancels. A second signal ends the process at once: what was
/// taken and not settled comes again.
pub fn shutdown(tasks: &TaskTracker) -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let first = token.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = first.cancelled() => {}
        }
        if !first.is_cancelled() {
            tracing::info!("draining; a second signal stops at once");
            first.cancel();
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(exit::STOPPED.code().into());
    });
    Ok(token)
}
