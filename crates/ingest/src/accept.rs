//! hookbox's own accept loop: connections bounded in number, and drained in order.
//!
//! `axum::serve` builds its server without a timer, so that hyper's time-out for the head does
//! nothing (axum 0.8, tokio-rs/axum#2741), and it has no limit on connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Connection;
use crate::connection_log::ConnectionLog;
use crate::places::Places;
use crate::{Ingest, router};

/// How long to wait after accepting failed (out of file descriptors, say) before trying again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener of an ingest.
pub struct Listener {
    /// The bound socket.
    pub tcp: TcpListener,
    /// TLS, for every listener that is neither on loopback nor behind a declared proxy.
    pub tls: Option<TlsAcceptor>,
}

/// How long the two parts of a drain may take.
#[derive(Debug, Clone, Copy)]
pub struct DrainTimes {
    /// Readiness is red and requests are still taken, so that a balancer stops sending before a
    /// connection is refused. Zero, where there is no balancer.
    pub lead: Duration,
    /// No more requests are taken; open ones get their true answer. What is left then is cut.
    pub grace: Duration,
}

/// Serves until `shutdown`, then drains: readiness turns red at once, and after the lead the
/// listener and idle connections are closed and open requests are waited for.
pub async fn serve(
    listener: Listener,
    ingest: Arc<Ingest>,
    shutdown: CancellationToken,
    drain_times: DrainTimes,
) {
    let connections = TaskTracker::new();
    let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
    let long_enough = async {
        shutdown.cancelled().await;
        ingest.turn_away();
        if !drain_times.lead.is_zero() {
            tokio::time::sleep(drain_times.lead).await;
        }
    };
    tokio::select! {
        // Between two connections: none is dropped that was accepted.
        () = accept(&listener, &ingest, &connections, &drain, &cut) => {}
        () = long_enough => {}
    }
    ingest.begin_drain();
    drop(listener);
    drain.cancel();
    connections.close();
    let waited = tokio::time::timeout(drain_times.grace, connections.wait()).await;
    if waited.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections are cut at the end of the grace"
        );
        cut.cancel();
        connections.wait().await;
    }
    ingest.finish().await;
}

/// Accepts connections until it is dropped.
async fn accept(
    listener: &Listener,
    ingest: &Arc<Ingest>,
    connections: &TaskTracker,
    drain: &CancellationToken,
    cut: &CancellationToken,
) {
    let limits = &ingest.limits;
    let places = Places::new(limits, Arc::clone(&ingest.counters));
    let app = router(Arc::clone(ingest));
    let mut log = ConnectionLog::default();
    loop {
        places.settled().await;
        let accepted = listener.tcp.accept().await;
        let (stream, peer) = match accepted {
            Ok(accepted) => {
                places.accepted();
                accepted
            }
            Err(error) => {
                log.not_accepted(&error);
                places.not_accepted().await;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let is_proxy = ingest.peers.is_proxy(peer.ip());
        let Some(place) = log.place(places.enter(peer.ip(), is_proxy), peer.ip()) else {
            continue;
        };
        let connection = Connection {
            app: app.clone(),
            peer,
            limits: limits.clone(),
            place: Some(place),
            drain: drain.clone(),
            cut: cut.clone(),
        };
        connections.spawn(connection.begin(stream, listener.tls.clone()));
    }
}
