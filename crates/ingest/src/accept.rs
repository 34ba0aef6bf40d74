//! hookbox's own accept loop: it limits the number of open connections, and at a shutdown it waits
//! for the answers to open requests before it closes their connections.
//!
//! hookbox does not use `axum::serve`, for two reasons. `axum::serve` builds its server without a
//! timer, and without one hyper's time-out for reading a request's head has no effect (axum 0.8,
//! tokio-rs/axum#2741). And it does not limit the number of connections.

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

/// How long the accept loop waits after `accept` has failed, for example for lack of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening socket of an ingest, with its TLS settings.
pub struct Listener {
    /// The bound socket.
    pub tcp: TcpListener,
    /// The TLS acceptor: required for every listener that is neither on loopback nor behind a
    /// declared proxy.
    pub tls: Option<TlsAcceptor>,
}

/// The durations of the two phases of a drain.
#[derive(Debug, Clone, Copy)]
pub struct DrainTimes {
    /// How long requests are still accepted after readiness has turned red, so that a load balancer
    /// stops sending before connections are refused. Zero where there is no load balancer.
    pub lead: Duration,
    /// How long requests that are in flight may take to be answered once no new ones are accepted.
    /// Connections that are still open after that are cut.
    pub grace: Duration,
}

/// Serves connections until `shutdown` is cancelled, then drains. As soon as the drain starts,
/// `/readyz` reports that the ingest is not ready. After the time [`DrainTimes::lead`], the
/// listener and idle connections are closed, and requests in flight are waited for.
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
        // The accept loop can be cancelled only while it waits for the next connection, so no
        // connection that was accepted is dropped.
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
            "the drain deadline has passed: open connections are cut"
        );
        cut.cancel();
        connections.wait().await;
    }
    ingest.finish().await;
}

/// Accepts connections until this future is dropped.
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
